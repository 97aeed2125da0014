set local lock_timeout = '5s';

create view newest_backups as
select distinct on (timeline_id)
    timeline_id,
    epoch_number,
    start_lsn,
    stop_lsn,
    started_at
from backups
where state = 'finished'
order by timeline_id, epoch_number desc, start_lsn desc;

comment on view newest_backups is 'The newest finished backup of each timeline that has one.';
comment on column newest_backups.timeline_id is 'The timeline.';
comment on column newest_backups.epoch_number is 'Epoch in which it was made.';
comment on column newest_backups.start_lsn is 'WAL position from which a restore replays.';
comment on column newest_backups.stop_lsn is 'WAL position that a restore must reach to be consistent.';
comment on column newest_backups.started_at is 'Moment it was begun.';
