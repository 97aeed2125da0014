set local lock_timeout = '5s';

alter table forks
    add column follows boolean not null default false,
    add column unfollow_requested_at timestamptz,
    add column unfollowed_at timestamptz,
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

-- Volatile, so that within one statement it sees what was committed while the statement waited.
create function followers_of_resource(original uuid) returns bigint
language plpgsql volatile
as $$
begin
    return (
        select count(*)
        from forks
        join resources on resources.id = forks.resource_id
        where
            forks.parent_resource_id = original
            and forks.follows
            and forks.unfollowed_at is null
            and resources.destroy_requested_at is null
            and resources.state <> 'deprovisioned'
    );
end
$$;

comment on function followers_of_resource is 'How many follow a resource and shall go on to.';

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
