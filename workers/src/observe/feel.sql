-- One look at one database of a server. Writes nothing, and asks for nothing that is slow.
--
-- $1 name of the database, $2 name of the customer's role. No row: the database does not exist.
--
-- The path of the session holds nothing but pg_catalog, where no customer can create anything, so
-- that operators need no schema. Statistics come from the functions below the views: the views
-- join and group for every column that is not asked for.
select
    pg_catalog.pg_postmaster_start_time() as started_at,
    case
        when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
        else pg_catalog.pg_current_wal_flush_lsn()
    end as wal_lsn,
    pg_catalog.pg_is_in_recovery() as replays,
    -- The process that receives is there only while it is connected; of its state superusers see all.
    case when pg_catalog.pg_is_in_recovery() then (
        select receiver.status = 'streaming' from pg_catalog.pg_stat_get_wal_receiver() as receiver
    ) end as streaming,
    case
        when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_xact_replay_timestamp()
    end as last_commit_at,
    -- A limit of -2 marks a database whose drop was interrupted.
    database.datallowconn and database.datconnlimit <> -2 as database_usable,
    exists (
        select from pg_catalog.pg_authid as customer
        where customer.rolname = $2::pg_catalog.name and customer.rolcanlogin
    ) as role_usable,
    activity.open,
    activity.active,
    activity.oldest_transaction_s,
    activity.wal_wait_s,
    pg_catalog.pg_stat_get_db_blocks_fetched(database.oid) as blocks_fetched,
    pg_catalog.pg_stat_get_db_blocks_hit(database.oid) as blocks_hit
from pg_catalog.pg_database as database
cross join lateral (
    -- Nothing tells since when a process waits: only that its statement is older.
    select
        pg_catalog.count(*) filter (where customer.yes) as open,
        pg_catalog.count(*) filter (where customer.yes and a.state = 'active') as active,
        pg_catalog.max(extract(epoch from pg_catalog.clock_timestamp() - a.xact_start))
            filter (where customer.yes)::pg_catalog.float8 as oldest_transaction_s,
        pg_catalog.max(extract(epoch from pg_catalog.clock_timestamp() - a.query_start))
            filter (
                where a.state = 'active'
                and pg_catalog.lower(a.wait_event)
                    in ('walwrite', 'walsync', 'walinitwrite', 'walinitsync')
            )::pg_catalog.float8 as wal_wait_s
    from pg_catalog.pg_stat_get_activity(null) as a
    cross join lateral (
        -- Connections of superusers are ours.
        select
            a.datid = database.oid
            and a.backend_type = 'client backend'
            and a.usesysid <> all (array(
                select ours.oid from pg_catalog.pg_authid as ours where ours.rolsuper
            )) as yes
        offset 0
    ) as customer
) as activity
where database.datname = $1::pg_catalog.name
