set local lock_timeout = '5s';

alter table epochs
    add column kept_from_lsn bigint,
    add column trimmed_lsn bigint,
    add constraint kept_from_where_there_is_wal check (
        kept_from_lsn between start_lsn and watermark_lsn
    ),
    add constraint trimmed_only_what_is_not_kept check (trimmed_lsn <= kept_from_lsn);

comment on column epochs.kept_from_lsn is 'WAL before this position is not kept any more, because no kept backup needs it; null while all is.';
comment on column epochs.trimmed_lsn is 'WAL before this position is deleted for sure; null before any was. Less than kept_from_lsn while it is being deleted.';
