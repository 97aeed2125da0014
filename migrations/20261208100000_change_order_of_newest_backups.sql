set local lock_timeout = '5s';

-- One that is taken from a follower of an idle leader begins where the one before it does.
create or replace view newest_backups as
select distinct on (timeline_id)
    timeline_id,
    epoch_number,
    start_lsn,
    stop_lsn,
    started_at
from backups
where state = 'finished'
order by timeline_id, epoch_number desc, start_lsn desc, id desc;

comment on column backups.participant_id is 'Participant it was taken from: the leader of its epoch, or a follower.';
comment on column backups.stopped_at is 'No restore by time goes before: moment it was complete, or the last commit in it if it was taken from a follower, by the clock of the leader; null before.';
