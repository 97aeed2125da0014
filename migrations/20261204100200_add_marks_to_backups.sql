set local lock_timeout = '5s';

alter table backups
    add column expiring_at timestamptz,
    add column deletion_began_at timestamptz;

comment on column backups.expiring_at is 'Moment it was marked to be deleted; null before, and for those that were marked by a version that deleted at once.';
comment on column backups.deletion_began_at is 'Moment the deletion of its objects began: from then on there is no way back; null before.';
