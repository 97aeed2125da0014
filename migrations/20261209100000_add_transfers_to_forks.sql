set local lock_timeout = '5s';

alter table forks
    add column by_transfer boolean not null default false,
    add column donor_id uuid references participants (id),
    add column transferred_bytes bigint not null default 0,
    add column transfer_bytes bigint not null default 0,
    add column transferred_at timestamptz,
    add constraint donor_is_restored check (
        (donor_id is not null) = (by_transfer and restore_id is not null)
    ),
    add constraint transferred_from_a_donor check (transferred_at is null or donor_id is not null),
    add constraint followers_are_not_transferred check (not (follows and by_transfer));

create index forks_by_donor on forks (donor_id) where donor_id is not null;

comment on column forks.by_transfer is 'Whether the original or the copy shares its server with others: what is restored is hidden, and one database is taken out of it.';
comment on column forks.donor_id is 'The hidden instance that is restored, and gives the database; null before that is planned, and if the copy itself is restored.';
comment on column forks.transferred_bytes is 'Bytes that were brought over from the donor, as they are dumped.';
comment on column forks.transfer_bytes is 'Size in bytes of the database at the donor; 0 before that is known.';
comment on column forks.transferred_at is 'Moment from which on the database is whole where it shall be; null before.';

-- As with proofs: whoever looks for a leader does not find a donor.
alter table participants
    drop constraint role_is_known,
    add constraint role_is_known check (role in ('leader', 'follower', 'proof', 'donor'));

comment on column participants.role is 'leader may write, follower replays, proof was restored to be checked, donor to give one database to a copy; both of these are nobody''s.';

create or replace function refuse_place_on_proof() returns trigger
language plpgsql
as $$
begin
    if exists (
        select
        from participants
        where id = new.participant_id and role in ('proof', 'donor')
    ) then
        raise exception 'participant % is hidden, and not for resource %',
            new.participant_id, new.id
            using errcode = 'integrity_constraint_violation',
                constraint = 'nobody_is_on_a_proof';
    end if;
    return new;
end
$$;

comment on function refuse_place_on_proof is 'Keeps a worker that knows nothing of proofs and donors from placing a resource on one: its data is somebody else''s, and it goes.';

create or replace function refuse_empty_copy() returns trigger
language plpgsql
as $$
begin
    if exists (
        select
        from forks
        join participants on participants.id = new.participant_id
        where
            forks.resource_id = new.id
            and (participants.restore_id is not distinct from forks.restore_id) = forks.by_transfer
    ) then
        raise exception 'resource % is a copy, and participant % is not where it belongs',
            new.id, new.participant_id
            using errcode = 'integrity_constraint_violation',
                constraint = 'a_copy_is_on_what_was_restored';
    end if;
    return new;
end
$$;

comment on function refuse_empty_copy is 'Keeps a worker that knows nothing of copies from placing one on an empty instance, and one that knows nothing of transfers from placing one among restored neighbours.';

create function refuse_half_a_transfer() returns trigger
language plpgsql
as $$
begin
    if exists (
        select
        from forks
        where resource_id = new.id and by_transfer and transferred_at is null
    ) then
        raise exception 'resource % was not brought over yet', new.id
            using errcode = 'integrity_constraint_violation',
                constraint = 'a_transferred_copy_is_whole';
    end if;
    return new;
end
$$;

comment on function refuse_half_a_transfer is 'Keeps a worker that knows nothing of transfers from taking an empty database for the copy.';

create trigger a_transferred_copy_is_whole
before update of state on resources
for each row
when (old.state = 'creating' and new.state = 'available')
execute function refuse_half_a_transfer();
