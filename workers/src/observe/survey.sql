-- What takes longer than a look: the size of the current database (a walk over its files) and its
-- tables (a scan of pg_class). Asked for at a slower cadence than feel.sql; writes nothing.
--
-- $1 whether to measure the size: that is most of the cost, and needless while no WAL is written.
--
-- Objects below 16384 were made by initdb. The counters of a table are forgotten in a crash, all
-- together: then the planner's estimate of its rows has to do.
select
    case
        when $1::pg_catalog.bool
        then pg_catalog.pg_database_size(pg_catalog.current_database())
    end as size_bytes,
    pg_catalog.count(*) filter (where c.relkind = 'r') as table_count,
    coalesce(pg_catalog.sum(
        case
            when counted.live = 0
                and pg_catalog.pg_stat_get_tuples_inserted(c.oid) = 0
                and pg_catalog.pg_stat_get_tuples_deleted(c.oid) = 0
            then greatest(c.reltuples, 0)::pg_catalog.int8
            else counted.live
        end
    ) filter (where c.relkind = 'r'), 0)::pg_catalog.int8 as rows_estimated,
    coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_numscans(c.oid))
        filter (where c.relkind = 'r'), 0)::pg_catalog.int8 as sequential_scans,
    coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_numscans(c.oid))
        filter (where c.relkind = 'i'), 0)::pg_catalog.int8 as index_scans
from pg_catalog.pg_class as c
cross join lateral (
    select
        case c.relkind when 'r' then pg_catalog.pg_stat_get_live_tuples(c.oid) end as live
    offset 0
) as counted
where
    c.oid >= 16384
    and c.relkind in ('r', 'i')
    and c.relpersistence <> 't'
    and c.relnamespace <> 'pg_toast'::pg_catalog.regnamespace
