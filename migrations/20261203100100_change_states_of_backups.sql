set local lock_timeout = '5s';

alter table backups
    drop constraint state_is_known,
    add constraint state_is_known check (state in ('running', 'finished', 'failed', 'expiring'));

comment on column backups.state is 'running, then finished or failed; expiring while its objects are deleted, and then the row is too.';

create index backups_to_clean_up on backups (timeline_id) where state in ('failed', 'expiring');
