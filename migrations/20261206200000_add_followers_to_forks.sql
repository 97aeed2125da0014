set local lock_timeout = '5s';

alter table forks
    add column follows boolean not null default false,
    add column unfollow_requested_at timestamptz,
    add column unfollowed_at timestamptz,
    add column behind_lsn bigint,
    add column behind_since timestamptz,
    add constraint behind_whole_or_absent check ((behind_lsn is null) = (behind_since is null)),
    add constraint only_followers_unfollow check (
        follows or (unfollow_requested_at is null and unfollowed_at is null)
    ),
    add constraint unfollowed_was_asked_for check (
        unfollowed_at is null or unfollow_requested_at is not null
    ),
    add constraint a_follower_has_no_target check (
        not follows or (target_lsn is null and target_at is null)
    );

create index followers_of on forks (parent_resource_id) where follows and unfollowed_at is null;

comment on column forks.follows is 'Whether it goes on with what the original writes, until that is ended.';
comment on column forks.unfollow_requested_at is 'Moment it was asked to go on by itself; null while it follows.';
comment on column forks.unfollowed_at is 'Moment from which on it is protected as a database of its own; null before.';
comment on column forks.behind_lsn is 'Position that its leader was seen to have and it was not; null while it has everything.';
comment on column forks.behind_since is 'Moment that position was seen.';

comment on column resources.database_name is 'Database on the participant; that of its original for a resource that begins as a follower.';
comment on column resources.role_name is 'Owner of the database; that of its original for a resource that begins as a follower.';

create index followers_by_timeline on participants (timeline_id)
where role = 'follower' and state <> 'removed';

alter table participants add column told_role_generation bigint;

comment on column participants.told_role_generation is 'Newest instruction that said its role. Written by workers that know of followers.';

create function refuse_role_untold() returns trigger
language plpgsql
as $$
begin
    raise exception 'participant % is a follower, and would be told to lead', new.id
        using errcode = 'integrity_constraint_violation',
            constraint = 'a_follower_is_told_so';
end
$$;

comment on function refuse_role_untold is 'Keeps a worker that knows nothing of followers from promoting one.';

create trigger a_follower_is_told_so
before update of generation on participants
for each row
when (
    new.role = 'follower'
    and new.generation > old.generation
    and new.told_role_generation is distinct from new.generation
)
execute function refuse_role_untold();

create function refuse_independent_follower() returns trigger
language plpgsql
as $$
begin
    if exists (
        select
        from forks
        join participants on participants.id = new.participant_id
        where
            forks.resource_id = new.id
            and forks.follows
            and forks.unfollow_requested_at is null
            and participants.role <> 'follower'
    ) then
        raise exception 'resource % follows another one, and participant % does not',
            new.id, new.participant_id
            using errcode = 'integrity_constraint_violation',
                constraint = 'who_follows_is_on_a_follower';
    end if;
    return new;
end
$$;

comment on function refuse_independent_follower is 'Keeps a worker that knows nothing of followers from making a writable copy in place of one.';

create trigger who_follows_is_on_a_follower
before update of participant_id on resources
for each row
when (new.participant_id is not null)
execute function refuse_independent_follower();

create function is_restorable_alone(timeline uuid) returns boolean
language sql stable
as $$
    select
        exists (
            select
            from backups
            where backups.timeline_id = timeline and backups.state = 'finished'
        )
        or exists (
            select
            from epochs as own
            join epochs as parents
                on parents.timeline_id = own.parent_timeline_id
                and parents.number = own.parent_number
            where
                own.timeline_id = timeline
                and own.number = 1
                and parents.watermark_lsn >= own.start_lsn
        )
$$;

comment on function is_restorable_alone is 'Whether a timeline has a backup of its own, or begins where the archive of its parent reaches.';
