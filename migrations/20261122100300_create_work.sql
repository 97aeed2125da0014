set local lock_timeout = '5s';

create sequence ring_epochs as bigint minvalue 1;

comment on sequence ring_epochs is 'Numbers of ring epochs: each rebuild of a queue in Redis takes the next, so that no token is ever given twice.';

create table jobs (
    kind text not null,
    subject_id uuid not null,
    state text not null default 'pending',
    attempts integer not null default 0,
    last_error text,
    request_id uuid not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    primary key (kind, subject_id),
    constraint kind_is_known check (kind in ('provision', 'deprovision', 'recover')),
    constraint state_is_known check (state in ('pending', 'dead')),
    constraint attempts_count_up check (attempts >= 0)
);

create index jobs_dead on jobs (changed_at, subject_id) where state = 'dead';

comment on table jobs is 'Work with an end: a row exists from the intent until the goal is reached. The queue in Redis can be made again from it.';
comment on column jobs.kind is 'What is to be done.';
comment on column jobs.subject_id is 'Id of what it is done to.';
comment on column jobs.state is 'pending: in the queue; dead: gave up after too many attempts, waits for a person.';
comment on column jobs.attempts is 'Failed turns in a row.';
comment on column jobs.last_error is 'What the last failed turn said.';
comment on column jobs.request_id is 'Request that asked for it.';
comment on column jobs.created_at is 'Moment the row was made.';
comment on column jobs.changed_at is 'Moment of the last failed turn or change of state.';

create table operations (
    id uuid primary key,
    resource_id uuid not null references resources (id),
    kind text not null,
    state text not null,
    error text,
    request_id uuid not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    constraint kind_is_known check (kind in ('create', 'destroy')),
    constraint state_is_known check (state in ('pending', 'succeeded', 'failed')),
    constraint finished_at_iff_final check ((state = 'pending') = (finished_at is null))
);

create index operations_by_resource on operations (resource_id, id);

create unique index one_pending_operation_of_a_kind on operations (resource_id, kind)
where state = 'pending';

comment on table operations is 'Requests of customers that take longer than an HTTP call.';
comment on column operations.id is 'Id of the operation.';
comment on column operations.resource_id is 'Resource it is about.';
comment on column operations.kind is 'What was asked for.';
comment on column operations.state is 'Where it stands.';
comment on column operations.error is 'Why it failed; null otherwise.';
comment on column operations.request_id is 'Request that asked for it.';
comment on column operations.created_at is 'Moment it was asked for.';
comment on column operations.finished_at is 'Moment it ended.';

create table transitions (
    id bigint generated always as identity primary key,
    machine text not null,
    subject_id uuid not null,
    resource_id uuid,
    from_state text not null,
    event text not null,
    to_state text not null,
    why text not null,
    detail text,
    request_id uuid not null,
    at timestamptz not null,
    constraint machine_is_known check (machine in ('resource', 'participant', 'server'))
);

create index transitions_by_resource on transitions (resource_id, id) where resource_id is not null;

create index transitions_by_subject on transitions (subject_id, id);

comment on table transitions is 'Every step of every state machine, with its reason.';
comment on column transitions.id is 'Order of recording.';
comment on column transitions.machine is 'Which machine.';
comment on column transitions.subject_id is 'Id of the row that changed.';
comment on column transitions.resource_id is 'Resource it belongs to; null for what many resources share.';
comment on column transitions.from_state is 'State before.';
comment on column transitions.event is 'What was seen or asked for.';
comment on column transitions.to_state is 'State after.';
comment on column transitions.why is 'The reason in the table of the machine.';
comment on column transitions.detail is 'What was special this time; null when nothing was.';
comment on column transitions.request_id is 'Request it belongs to.';
comment on column transitions.at is 'Moment it was recorded.';

create table alerts (
    id bigint generated always as identity primary key,
    name text not null,
    subject_kind text not null,
    subject_id uuid not null,
    resource_id uuid,
    detail text not null,
    raised_at timestamptz not null,
    cleared_at timestamptz,
    constraint cleared_after_raised check (cleared_at >= raised_at)
);

create unique index one_open_alert on alerts (name, subject_id) where cleared_at is null;

create index alerts_by_resource on alerts (resource_id) where cleared_at is null;

comment on table alerts is 'What a person should look at.';
comment on column alerts.id is 'Order of raising.';
comment on column alerts.name is 'Kind of alert; docs/runbooks/ has a file of this name.';
comment on column alerts.subject_kind is 'What it is about: resource, participant, server, job.';
comment on column alerts.subject_id is 'Id of what it is about.';
comment on column alerts.resource_id is 'Resource it belongs to; null for what many resources share.';
comment on column alerts.detail is 'What is wrong this time.';
comment on column alerts.raised_at is 'Moment it was raised.';
comment on column alerts.cleared_at is 'Moment it was well again; null while open.';
