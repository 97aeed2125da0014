set local lock_timeout = '5s';

create function has_sound_backup(timeline uuid) returns boolean
language sql stable
as $$
    select
        exists (
            select
            from backups
            where
                backups.timeline_id = timeline
                and backups.state = 'finished'
                and backups.damaged_pages = 0
        );
$$;

comment on function has_sound_backup is 'Whether a timeline has a backup of its own without damaged pages.';

-- A timeline that was branched off has nothing but what it comes from to be restored from until it has
-- a sound backup of its own, however it came to be: also one that a follower went on with, whose restore
-- was let go of when it served. A backup of one between may be from after the branch, and no help.
create or replace function is_pinned(timeline uuid) returns boolean
language sql stable
as $$
    with recursive descendants as (
        select timelines.id
        from timelines
        where timelines.parent_id = timeline
        union
        select timelines.id
        from timelines
        join descendants on descendants.id = timelines.parent_id
    )

    select
        exists (
            select
            from restores
            where
                restores.released_at is null
                and restores.source -> 'path'
                    @> jsonb_build_array(jsonb_build_object('timeline', timeline))
        )
        or exists (
            select
            from forks
            join resources on resources.id = forks.resource_id
            where
                forks.parent_timeline_id = timeline
                and forks.restore_id is null
                and resources.state = 'creating'
        )
        or exists (
            select
            from descendants
            join participants on participants.timeline_id = descendants.id
            where
                participants.role = 'leader'
                and participants.state <> 'removed'
                and not has_sound_backup(descendants.id)
        );
$$;

create index timelines_by_parent on timelines (parent_id) where parent_id is not null;
