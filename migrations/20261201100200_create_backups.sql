set local lock_timeout = '5s';

create table backups (
    id uuid primary key,
    timeline_id uuid not null,
    epoch_number integer not null,
    tli integer not null,
    participant_id uuid not null references participants (id),
    state text not null default 'running',
    start_lsn bigint,
    stop_lsn bigint,
    plain_bytes bigint,
    stored_bytes bigint,
    pieces integer,
    problem text,
    started_at timestamptz not null,
    finished_at timestamptz,
    request_id uuid not null,
    foreign key (timeline_id, epoch_number) references epochs (timeline_id, number),
    constraint state_is_known check (state in ('running', 'finished', 'failed', 'deleted')),
    constraint tli_counts_from_one check (tli >= 1),
    constraint finished_is_complete check (
        state <> 'finished'
        or (
            start_lsn is not null and stop_lsn is not null and plain_bytes is not null
            and stored_bytes is not null and pieces is not null
        )
    ),
    constraint stop_is_after_start check (stop_lsn > start_lsn),
    constraint finished_at_unless_running check ((state = 'running') = (finished_at is null))
);

create unique index one_running_backup_per_timeline on backups (timeline_id)
where state = 'running';

create index backups_by_timeline on backups (timeline_id, id);

comment on table backups is 'Base backups: copies of a cluster that a restore begins from.';
comment on column backups.id is 'Id of the backup; names of its objects derive from it.';
comment on column backups.timeline_id is 'Timeline whose data it has.';
comment on column backups.epoch_number is 'Epoch in which it was made.';
comment on column backups.tli is 'PostgreSQL''s own timeline number in it.';
comment on column backups.participant_id is 'Participant it was taken from.';
comment on column backups.state is 'running, then finished or failed; deleted once its objects are.';
comment on column backups.start_lsn is 'WAL position from which a restore replays; null before it is known.';
comment on column backups.stop_lsn is 'WAL position that a restore must reach to be consistent; null before it is known.';
comment on column backups.plain_bytes is 'Bytes of the files; null before it is finished.';
comment on column backups.stored_bytes is 'Bytes of the objects; null before it is finished.';
comment on column backups.pieces is 'Number of pieces; null before it is finished.';
comment on column backups.problem is 'Why it failed; null otherwise.';
comment on column backups.started_at is 'Moment it was begun.';
comment on column backups.finished_at is 'Moment it was finished or failed; null while it runs.';
comment on column backups.request_id is 'Request it belongs to.';
