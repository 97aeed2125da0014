set local lock_timeout = '5s';

alter table jobs
    drop constraint kind_is_known,
    add constraint kind_is_known check (
        kind in (
            'provision', 'deprovision', 'recover', 'catch_up', 'wal_push', 'base_backup', 'expire',
            'verify'
        )
    );

alter table operations
    drop constraint kind_is_known,
    add constraint kind_is_known check (
        kind in ('create', 'destroy', 'capture', 'unfollow', 'restore_check')
    );

create index restore_checks_pending on operations (resource_id)
where kind = 'restore_check' and state = 'pending';
