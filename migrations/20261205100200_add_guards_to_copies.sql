set local lock_timeout = '5s';

create function refuse_empty_copy() returns trigger
language plpgsql
as $$
begin
    if exists (
        select
        from forks
        join participants on participants.id = new.participant_id
        where
            forks.resource_id = new.id
            and participants.restore_id is distinct from forks.restore_id
    ) then
        raise exception 'resource % is a copy, and participant % is not restored from its source',
            new.id, new.participant_id
            using errcode = 'integrity_constraint_violation',
                constraint = 'a_copy_is_on_what_was_restored';
    end if;
    return new;
end
$$;

comment on function refuse_empty_copy is 'Keeps a worker that knows nothing of copies from placing one on an empty instance.';

create trigger a_copy_is_on_what_was_restored
before update of participant_id on resources
for each row
when (new.participant_id is not null and new.state = 'creating')
execute function refuse_empty_copy();

alter table participants add column told_restore_id uuid;

comment on column participants.told_restore_id is 'What the newest instruction said to restore; null if it said to begin empty. Written by workers that know of restores.';

create function refuse_empty_birth() returns trigger
language plpgsql
as $$
begin
    raise exception 'participant % is to be restored, and would be told to begin empty', new.id
        using errcode = 'integrity_constraint_violation',
            constraint = 'what_is_restored_is_told_so';
end
$$;

comment on function refuse_empty_birth is 'Keeps a worker that knows nothing of restores from instructing what is to be restored.';

create trigger what_is_restored_is_told_so
before update of generation on participants
for each row
when (
    new.restore_id is not null
    and new.generation > old.generation
    and new.told_restore_id is distinct from new.restore_id
)
execute function refuse_empty_birth();

-- When an original that is not heard was first asked in vain.
alter table forks add column silent_since timestamptz;

comment on column forks.silent_since is 'Moment its original was first asked in vain how far it is; null while it answers.';
