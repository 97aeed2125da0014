set local lock_timeout = '5s';

create view newest_gaps as
select distinct on (timeline_id)
    timeline_id,
    epoch_number,
    to_lsn
from gaps
order by timeline_id, epoch_number desc, from_lsn desc;

comment on view newest_gaps is 'The newest gap of each timeline that has one.';
comment on column newest_gaps.timeline_id is 'The timeline.';
comment on column newest_gaps.epoch_number is 'Epoch it is in.';
comment on column newest_gaps.to_lsn is 'First position after it that is in the archive.';
