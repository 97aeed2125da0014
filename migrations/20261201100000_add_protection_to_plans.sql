set local lock_timeout = '5s';

alter table plans
    add column wal_push_interval_ms integer,
    add column backup_interval_s integer,
    add column retention_s integer,
    add column archive_grace_s integer;

update plans
set
    wal_push_interval_ms = case name when 'premium' then 2000 when 'standard' then 10000 else 60000 end,
    backup_interval_s = 86400,
    retention_s = case name when 'premium' then 1209600 when 'standard' then 604800 else 172800 end,
    archive_grace_s = case name when 'premium' then 60 when 'standard' then 300 else 900 end;

alter table plans
    alter column wal_push_interval_ms set not null,
    alter column backup_interval_s set not null,
    alter column retention_s set not null,
    alter column archive_grace_s set not null,
    add constraint wal_push_interval_is_sane check (wal_push_interval_ms between 500 and 600000),
    add constraint backup_interval_is_sane check (backup_interval_s between 3600 and 604800),
    add constraint retention_outlasts_two_backups check (retention_s >= 2 * backup_interval_s),
    add constraint archive_grace_outlasts_two_pushes check (
        archive_grace_s::bigint * 1000 >= 2 * wal_push_interval_ms
    );

comment on column plans.wal_push_interval_ms is 'Milliseconds between two pushes of WAL to the archive: what a lost server may cost at most.';
comment on column plans.backup_interval_s is 'Seconds between two base backups of a database that is written to.';
comment on column plans.retention_s is 'Seconds back from now to which a database can be restored.';
comment on column plans.archive_grace_s is 'Seconds that WAL may wait for the archive before somebody is told.';
