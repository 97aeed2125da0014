set local lock_timeout = '5s';

alter table plans
    add column backup_grace_s integer,
    add column keep_destroyed_s integer;

update plans
set
    backup_grace_s = case name when 'premium' then 3600 when 'standard' then 7200 else 21600 end,
    keep_destroyed_s = case name when 'hobby' then 86400 else 604800 end;

alter table plans
    alter column backup_grace_s set not null,
    alter column keep_destroyed_s set not null,
    add constraint backup_grace_is_sane check (backup_grace_s between 1 and 604800),
    add constraint keep_destroyed_outlasts_signed_requests check (keep_destroyed_s >= 3600);

comment on column plans.backup_grace_s is 'Seconds that a base backup that is due may take to be finished before somebody is told, unless it moves.';
comment on column plans.keep_destroyed_s is 'Seconds for which the archive of a destroyed server is kept.';
