set local lock_timeout = '5s';

-- Nobody has made a backup before; the default is for the rows of nobody.
alter table backups
    add column reason text not null default 'schedule',
    add column ordered_at timestamptz,
    add column bytes_done bigint not null default 0,
    add column bytes_total bigint not null default 0,
    add column moved_at timestamptz,
    add column stopped_at timestamptz,
    add column damaged_pages bigint,
    add constraint reason_is_known check (reason in ('first', 'gap', 'request', 'schedule')),
    add constraint progress_counts_up check (bytes_done >= 0 and bytes_total >= 0),
    add constraint finished_is_proven check (
        state <> 'finished' or (stopped_at is not null and damaged_pages is not null)
    );

update backups set moved_at = started_at where moved_at is null;

alter table backups
    alter column reason drop default,
    alter column moved_at set not null;

comment on column backups.reason is 'Why it was begun: the first of its timeline, a gap, a request, or the schedule.';
comment on column backups.ordered_at is 'Moment its agent was known to work on it; null before.';
comment on column backups.bytes_done is 'Bytes of files that are in the archive, as the agent last told.';
comment on column backups.bytes_total is 'Bytes of all files; 0 before the agent has listed them.';
comment on column backups.moved_at is 'Moment its progress last moved.';
comment on column backups.stopped_at is 'Moment it was complete, by the clock of its server: no restore by time goes before; null before.';
comment on column backups.damaged_pages is 'Pages whose checksum was wrong; null before it is finished.';
