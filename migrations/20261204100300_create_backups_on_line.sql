set local lock_timeout = '5s';

create function backups_on_line(of_timeline uuid) returns setof uuid
language sql stable
as $$
    with recursive line as (
        (
            select number, parent_number, cut_lsn, null::bigint as end_lsn
            from epochs
            where timeline_id = of_timeline
            order by number desc
            limit 1
        )
        union all
        select
            parents.number,
            parents.parent_number,
            parents.cut_lsn,
            least(line.cut_lsn, line.end_lsn)
        from line
        join epochs as parents
            on parents.timeline_id = of_timeline
            and parents.number = line.parent_number
            and parents.number < line.number
    )
    select backups.id
    from backups
    join line on line.number = backups.epoch_number
    where
        backups.timeline_id = of_timeline
        and (line.end_lsn is null or backups.stop_lsn <= line.end_lsn)
$$;

comment on function backups_on_line is 'Backups of a timeline whose end is part of its living history: of the newest epoch and its parents, each up to where the next one left it.';
