set local lock_timeout = '5s';

alter table jobs
    drop constraint kind_is_known,
    add constraint kind_is_known check (
        kind in (
            'provision', 'deprovision', 'recover', 'catch_up', 'wal_push', 'base_backup', 'expire'
        )
    );

alter table operations
    drop constraint kind_is_known,
    add constraint kind_is_known check (kind in ('create', 'destroy', 'capture', 'unfollow'));
