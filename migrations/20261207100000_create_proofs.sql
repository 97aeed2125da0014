set local lock_timeout = '5s';

create table proofs (
    id uuid primary key,
    timeline_id uuid not null references timelines (id),
    state text not null default 'wanted',
    reason text not null,
    restore_id uuid references restores (id),
    participant_id uuid references participants (id),
    proven_until timestamptz,
    proven_lsn bigint,
    relations_done bigint not null default 0,
    relations_total bigint not null default 0,
    pages_done bigint not null default 0,
    problem text,
    request_id uuid not null,
    asked_at timestamptz not null,
    started_at timestamptz,
    moved_at timestamptz not null,
    looked_at timestamptz,
    finished_at timestamptz,
    constraint state_is_known check (
        state in ('wanted', 'restoring', 'checking', 'succeeded', 'failed')
    ),
    constraint reason_is_known check (reason in ('schedule', 'request')),
    constraint finished_at_iff_ended check (
        (state in ('succeeded', 'failed')) = (finished_at is not null)
    ),
    constraint problem_iff_failed check ((state = 'failed') = (problem is not null)),
    constraint begun_whole_or_not check (
        (restore_id is null) = (participant_id is null)
        and (restore_id is null) = (started_at is null)
        and (restore_id is null) = (proven_until is null)
    ),
    constraint restored_once_begun check (
        state in ('wanted', 'failed') or restore_id is not null
    ),
    constraint succeeded_says_up_to_where check (state <> 'succeeded' or proven_lsn is not null)
);

create unique index one_proof_at_a_time on proofs (timeline_id)
where state in ('wanted', 'restoring', 'checking');

create index proofs_by_timeline on proofs (timeline_id, id);

comment on table proofs is 'Attempts to prove that a timeline can be restored: by a restore on a server of its own, whose data is checked.';
comment on column proofs.id is 'Id of the proof.';
comment on column proofs.timeline_id is 'Timeline that is restored.';
comment on column proofs.state is 'wanted: nobody began; restoring: the server is made and restored; checking: its data is checked; succeeded and failed: the end.';
comment on column proofs.reason is 'schedule: its plan wants one from time to time; request: somebody asked.';
comment on column proofs.restore_id is 'The restore; null before it is planned.';
comment on column proofs.participant_id is 'The instance that is restored; it ends with the proof. Null before that is planned.';
comment on column proofs.proven_until is 'Everything that was committed before this moment is part of it; null before it is planned.';
comment on column proofs.proven_lsn is 'End of the last record that was replayed; null unless it succeeded.';
comment on column proofs.relations_done is 'Tables and indexes that were checked.';
comment on column proofs.relations_total is 'Tables and indexes that are to be checked; 0 before that is known.';
comment on column proofs.pages_done is 'Pages of them that were checked.';
comment on column proofs.problem is 'Why it failed; null otherwise.';
comment on column proofs.request_id is 'Request it belongs to.';
comment on column proofs.asked_at is 'Moment it was asked for.';
comment on column proofs.started_at is 'Moment it was planned; null before.';
comment on column proofs.moved_at is 'Moment it last came forward, but for its restore.';
comment on column proofs.looked_at is 'Moment somebody last looked how far it is, to within some seconds; null before.';
comment on column proofs.finished_at is 'Moment it ended; null before.';

alter table plans
    add column proof_interval_s integer,
    add column proof_grace_s integer,
    add column proofs_since timestamptz not null default now();

update plans
set
    proof_interval_s = case name when 'premium' then 86400 else 604800 end,
    proof_grace_s = case name when 'premium' then 21600 else 86400 end;

alter table plans
    alter column proof_interval_s set not null,
    alter column proof_grace_s set not null,
    add constraint proof_interval_is_sane check (proof_interval_s between 60 and 31536000),
    add constraint proof_grace_is_sane check (proof_grace_s between 1 and 31536000);

comment on column plans.proof_interval_s is 'Seconds after which a timeline is proven again by a restore.';
comment on column plans.proof_grace_s is 'Seconds beyond that after which somebody is told.';
comment on column plans.proofs_since is 'Moment from which on the plan promises proofs: nothing is late that was not proven before.';
