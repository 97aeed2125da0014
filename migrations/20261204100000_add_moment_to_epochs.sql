set local lock_timeout = '5s';

alter table epochs
    add column complete_until timestamptz,
    add column complete_lsn bigint,
    add constraint complete_until_iff_complete_lsn check (
        (complete_until is null) = (complete_lsn is null)
    );

comment on column epochs.complete_until is 'Moment, by the clock of the leader, before which everything that was committed is below complete_lsn; null before a push was known to have drained everything.';
comment on column epochs.complete_lsn is 'Watermark at which complete_until was noted; null with it.';

comment on column gaps.reached_at is 'Moment, by the clock of the leader, before which everything that was committed is before the gap; null where that is not known.';
