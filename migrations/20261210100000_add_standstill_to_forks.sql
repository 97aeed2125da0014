set local lock_timeout = '5s';

alter table forks
    add column replayed_lsn bigint,
    add column replayed_since timestamptz,
    add constraint replayed_whole_or_absent check ((replayed_lsn is null) = (replayed_since is null));

comment on column forks.replayed_lsn is 'Position up to which the follower was last seen to have replayed; null before it was seen.';
comment on column forks.replayed_since is 'Moment it was first seen there.';
