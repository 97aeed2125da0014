set local lock_timeout = '5s';

alter table epochs
    add column compaction_failures integer not null default 0,
    add column compaction_retry_at timestamptz,
    add constraint compaction_failures_are_counted check (compaction_failures >= 0),
    add constraint compaction_waits_iff_it_failed check (
        (compaction_failures = 0) = (compaction_retry_at is null)
    );

comment on column epochs.compaction_failures is 'Times in a row that the segment at compacted_lsn could not be put together; 0 when the last one could.';
comment on column epochs.compaction_retry_at is 'Moment before which it is not tried again; null when it did not fail.';
