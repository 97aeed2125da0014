set local lock_timeout = '5s';

alter table epochs
    add column tail_lsn bigint,
    add constraint tail_is_before_the_watermark check (
        tail_lsn >= start_lsn and tail_lsn < watermark_lsn
    );

comment on column epochs.tail_lsn is 'Where the object begins that ends at the watermark; null if none is known to, as at the start and behind a gap.';
