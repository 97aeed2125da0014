set local lock_timeout = '5s';

-- What a restart is told by, stored with the event that says so: the newest observation is written
-- on its own, and may be lost or already know of the restart.
alter table resources add column postgres_started_at timestamptz;

comment on column resources.postgres_started_at is
'Moment its PostgreSQL started, as last recorded with an event; null before it was first ready.';

update resources
set postgres_started_at = (
    select (observations.body ->> 'postgres_started_at')::timestamptz
    from observations
    where observations.resource_id = resources.id
);
