set local lock_timeout = '5s';

alter table timelines add column archive_deleted_at timestamptz;

create index timelines_with_an_archive on timelines (id) where archive_deleted_at is null;

comment on column timelines.archive_deleted_at is 'Moment everything of it in the archive was deleted, because it was destroyed long enough ago; null before.';
