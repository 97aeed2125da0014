set local lock_timeout = '5s';

create table restores (
    id uuid primary key,
    timeline_id uuid not null references timelines (id),
    backup_id uuid not null,
    source jsonb not null,
    segment_bytes integer not null,
    bytes_done bigint not null default 0,
    bytes_total bigint not null default 0,
    replay_lsn bigint,
    moved_at timestamptz not null,
    problem text,
    released_at timestamptz,
    request_id uuid not null,
    created_at timestamptz not null
);

create index restores_unreleased on restores (id) where released_at is null;

comment on table restores is 'What instances are born from: a base backup and the way from it to a target.';
comment on column restores.id is 'Id of the restore.';
comment on column restores.timeline_id is 'Timeline whose history is restored.';
comment on column restores.backup_id is 'Backup that it begins with. Its row is deleted some time after the restore was released.';
comment on column restores.source is 'Backup, way and target, as agents are told. Never changed.';
comment on column restores.segment_bytes is 'Size of a WAL segment of the cluster, in bytes.';
comment on column restores.bytes_done is 'Bytes of files that are in place.';
comment on column restores.bytes_total is 'Bytes of all files; 0 before that is known.';
comment on column restores.replay_lsn is 'WAL is replayed about up to here; null before that began.';
comment on column restores.moved_at is 'Moment it was last seen to come forward.';
comment on column restores.problem is 'Why it will not be finished; null while it may be.';
comment on column restores.released_at is 'Moment from which on nothing in the archive was kept for it; null before.';
comment on column restores.request_id is 'Request it belongs to.';
comment on column restores.created_at is 'Moment it was planned.';

alter table participants add column restore_id uuid references restores (id);

create index participants_by_restore on participants (restore_id) where restore_id is not null;

comment on column participants.restore_id is 'What its data was or will be restored from; null if it began empty.';

create table forks (
    resource_id uuid primary key references resources (id),
    parent_resource_id uuid not null references resources (id),
    parent_timeline_id uuid not null references timelines (id),
    target_lsn bigint,
    target_at timestamptz,
    end_lsn bigint,
    end_at timestamptz,
    restore_id uuid references restores (id),
    problem text,
    asked_at timestamptz not null,
    constraint target_is_one check (target_lsn is null or target_at is null),
    constraint end_whole_or_absent check ((end_lsn is null) = (end_at is null))
);

create index forks_by_parent on forks (parent_timeline_id);

comment on table forks is 'Resources that begin as a copy of another one.';
comment on column forks.resource_id is 'The copy.';
comment on column forks.parent_resource_id is 'The resource that is copied.';
comment on column forks.parent_timeline_id is 'Timeline that the copied resource was on when the copy was asked for.';
comment on column forks.target_lsn is 'WAL position as of which it is a copy; null for a moment or for the end.';
comment on column forks.target_at is 'Moment as of which it is a copy; null for a position or for the end.';
comment on column forks.end_lsn is 'Everything that was committed when the copy was asked for is in WAL before this position; null before it is known.';
comment on column forks.end_at is 'Everything that was committed before this moment is in WAL before that position.';
comment on column forks.restore_id is 'What it is restored from; null before that is planned.';
comment on column forks.problem is 'Why it cannot be restored; null while it may be.';
comment on column forks.asked_at is 'Moment it was asked for.';

-- Where a copy as of a moment left its parent is known only once it is there.
alter table timelines
    drop constraint branch_lsn_iff_parent,
    add constraint branch_lsn_needs_parent check (branch_lsn is null or parent_id is not null);

comment on column timelines.branch_lsn is 'WAL position at which it left its parent, in bytes; null for a first one, and before it is known.';

create function is_pinned(timeline uuid) returns boolean
language sql stable
as $$
    select
        exists (
            select
            from restores
            where
                restores.released_at is null
                and restores.source -> 'path'
                    @> jsonb_build_array(jsonb_build_object('timeline', timeline))
        )
        or exists (
            select
            from forks
            join resources on resources.id = forks.resource_id
            where
                forks.parent_timeline_id = timeline
                and forks.restore_id is null
                and resources.state = 'creating'
        )
$$;

comment on function is_pinned is 'Whether something that is or will be restored needs the archive of a timeline as it is.';
