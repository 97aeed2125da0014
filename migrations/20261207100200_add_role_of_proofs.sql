set local lock_timeout = '5s';

-- Whoever looks for a leader – to push, to back up, to place on – does not find one of these, also
-- a worker that knows nothing of proofs.
alter table participants
    drop constraint role_is_known,
    add constraint role_is_known check (role in ('leader', 'follower', 'proof'));

comment on column participants.role is 'leader may write, follower replays, proof was restored to be checked and is nobody''s.';

create function refuse_place_on_proof() returns trigger
language plpgsql
as $$
begin
    if exists (
        select from participants where participants.id = new.participant_id and role = 'proof'
    ) then
        raise exception 'participant % is there to be checked, and not for resource %',
            new.participant_id, new.id
            using errcode = 'integrity_constraint_violation',
                constraint = 'nobody_is_on_a_proof';
    end if;
    return new;
end
$$;

comment on function refuse_place_on_proof is 'Keeps a worker that knows nothing of proofs from placing a resource on one: its data is somebody else''s, and it goes.';

create trigger nobody_is_on_a_proof
before update of participant_id on resources
for each row
when (new.participant_id is not null)
execute function refuse_place_on_proof();
