set local lock_timeout = '5s';

alter table epochs add column tail_end_lsn bigint;

update epochs set tail_end_lsn = watermark_lsn where tail_lsn is not null;

comment on column epochs.tail_end_lsn is 'Watermark that tail_lsn was recorded with: a tail of another watermark says nothing. Null if no tail was recorded.';
