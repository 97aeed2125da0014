set local lock_timeout = '5s';

alter table gaps add column reached_at timestamptz;

comment on column gaps.reached_at is 'Moment the watermark had come to the first missing position; null where that was not noted.';
