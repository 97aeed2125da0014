set local lock_timeout = '5s';

alter table forks
    add column replacement_id uuid references participants (id),
    add column replaced_id uuid references participants (id);

create index forks_being_replaced on forks (resource_id)
where replacement_id is not null or replaced_id is not null;

comment on column forks.replacement_id is 'Participant that takes the place of a follower that cannot go on, once it serves; null while none is needed.';
comment on column forks.replaced_id is 'Participant that was replaced and answers until the endpoint points at the new one; null while there is none.';
