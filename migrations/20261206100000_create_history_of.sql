set local lock_timeout = '5s';

create function history_of(timeline uuid) returns setof uuid
language sql stable
as $$
    with recursive line as (
        select timeline as id
        union
        select epochs.parent_timeline_id
        from line
        join epochs on epochs.timeline_id = line.id
        where epochs.parent_timeline_id is not null
    )
    select id from line
$$;

comment on function history_of is 'A timeline and all that it comes from.';
