set local lock_timeout = '5s';

create table epochs (
    timeline_id uuid not null references timelines (id),
    number integer not null,
    participant_id uuid not null references participants (id),
    generation bigint not null,
    tli integer not null,
    system_identifier text not null,
    segment_bytes integer not null,
    start_lsn bigint not null,
    parent_number integer,
    cut_lsn bigint,
    watermark_lsn bigint not null,
    watermark_at timestamptz not null,
    compacted_lsn bigint not null,
    flush_lsn bigint not null,
    behind_lsn bigint,
    behind_since timestamptz,
    sealed_at timestamptz,
    request_id uuid not null,
    created_at timestamptz not null,
    primary key (timeline_id, number),
    foreign key (timeline_id, parent_number) references epochs (timeline_id, number),
    constraint number_counts_from_one check (number >= 1),
    constraint generation_was_instructed check (generation >= 1),
    constraint tli_counts_from_one check (tli >= 1),
    constraint system_identifier_is_a_number check (system_identifier ~ '^[1-9][0-9]{0,19}$'),
    constraint segments_are_as_postgres_makes_them check (
        segment_bytes between 1048576 and 1073741824
        and segment_bytes & (segment_bytes - 1) = 0
    ),
    constraint start_is_the_start_of_a_segment check (start_lsn >= 0 and start_lsn % segment_bytes = 0),
    constraint cut_iff_parent check ((parent_number is null) = (cut_lsn is null)),
    constraint parent_came_before check (parent_number < number),
    constraint watermark_is_not_before_the_start check (watermark_lsn >= start_lsn),
    constraint compacted_in_whole_segments_below_the_watermark check (
        compacted_lsn between start_lsn and watermark_lsn and compacted_lsn % segment_bytes = 0
    ),
    constraint behind_since_iff_behind check ((behind_lsn is null) = (behind_since is null)),
    constraint behind_is_beyond_the_watermark check (behind_lsn > watermark_lsn)
);

create index epochs_open on epochs (timeline_id) where sealed_at is null;

comment on table epochs is 'Write periods: one leader''s run of WAL on a timeline, and how much of it the archive has.';
comment on column epochs.timeline_id is 'Timeline it belongs to.';
comment on column epochs.number is 'Counts the epochs of a timeline from 1; the greatest is the current one.';
comment on column epochs.participant_id is 'The leader that wrote it.';
comment on column epochs.generation is 'Generation of the leader when it began.';
comment on column epochs.tli is 'PostgreSQL''s own timeline number in it.';
comment on column epochs.system_identifier is 'PostgreSQL''s identifier of the cluster; part of every name in the archive.';
comment on column epochs.segment_bytes is 'Size of a WAL segment of the cluster, in bytes.';
comment on column epochs.start_lsn is 'First WAL position in the archive: the start of a segment.';
comment on column epochs.parent_number is 'Epoch that it went on from; null for the first.';
comment on column epochs.cut_lsn is 'WAL position at which it left its parent: what the parent has beyond is not part of its history.';
comment on column epochs.watermark_lsn is 'Everything from the start up to here is durable in the archive, but for rows of gaps. May lie inside a record.';
comment on column epochs.watermark_at is 'Moment the watermark last moved.';
comment on column epochs.compacted_lsn is 'Segments below here are in the archive as one object, or will never be.';
comment on column epochs.flush_lsn is 'How far the leader had flushed when WAL was last recorded.';
comment on column epochs.behind_lsn is 'A position that was seen flushed and not yet in the archive; null when it is not known to be behind.';
comment on column epochs.behind_since is 'Moment that position was seen; null when it is not known to be behind.';
comment on column epochs.sealed_at is 'Moment nothing more of it was accepted; null while it is written.';
comment on column epochs.request_id is 'Request that made it.';
comment on column epochs.created_at is 'Moment the row was made.';

create table gaps (
    timeline_id uuid not null,
    epoch_number integer not null,
    from_lsn bigint not null,
    to_lsn bigint not null,
    found_at timestamptz not null,
    primary key (timeline_id, epoch_number, from_lsn),
    foreign key (timeline_id, epoch_number) references epochs (timeline_id, number),
    constraint a_gap_is_not_empty check (to_lsn > from_lsn)
);

comment on table gaps is 'WAL that PostgreSQL removed before it was in the archive: no restore goes across it.';
comment on column gaps.timeline_id is 'Timeline it belongs to.';
comment on column gaps.epoch_number is 'Epoch it is in.';
comment on column gaps.from_lsn is 'First position that is missing.';
comment on column gaps.to_lsn is 'First position after it that is in the archive.';
comment on column gaps.found_at is 'Moment it was found.';
