set local lock_timeout = '5s';

alter table forks add column replacement_id uuid references participants (id);

comment on column forks.replacement_id is 'Participant that takes the place of a follower that cannot go on, once it serves; null while none is needed.';
