set local lock_timeout = '5s';

alter table operations
    drop constraint kind_is_known,
    add constraint kind_is_known check (
        kind in ('create', 'destroy', 'capture', 'unfollow', 'restore_check', 'rotate')
    );
