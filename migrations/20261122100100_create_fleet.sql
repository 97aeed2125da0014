set local lock_timeout = '5s';

create table timelines (
    id uuid primary key,
    parent_id uuid references timelines (id),
    branch_lsn bigint,
    created_at timestamptz not null,
    constraint branch_lsn_iff_parent check ((parent_id is null) = (branch_lsn is null))
);

comment on table timelines is 'One history of one database cluster''s data.';
comment on column timelines.id is 'Id of the timeline.';
comment on column timelines.parent_id is 'Timeline this one was forked from; null for a first one.';
comment on column timelines.branch_lsn is 'WAL position at which it left its parent, in bytes.';
comment on column timelines.created_at is 'Moment the row was made.';

create table servers (
    id uuid primary key,
    provider text not null,
    plan text not null references plans (name),
    state text not null,
    state_since timestamptz not null,
    deadline_at timestamptz,
    destroy_requested_at timestamptz,
    instance_id text,
    host text,
    agent_port integer,
    postgres_port integer,
    zone text,
    image text,
    boot_id text,
    last_seen_at timestamptz,
    problem text,
    request_id uuid not null,
    created_at timestamptz not null,
    version bigint not null default 1,
    constraint state_is_known check (
        state in ('requested', 'booting', 'ready', 'unreachable', 'terminating', 'terminated')
    ),
    constraint ports_are_ports check (
        agent_port between 1 and 65535 and postgres_port between 1 and 65535
    ),
    constraint ready_has_an_address check (
        state not in ('ready', 'unreachable')
        or (host is not null and agent_port is not null and postgres_port is not null)
    ),
    constraint terminated_has_no_deadline check (state <> 'terminated' or deadline_at is null)
);

create index servers_alive on servers (id) where state <> 'terminated';

comment on table servers is 'Machines: bookkeeping that customers never see.';
comment on column servers.id is 'Id of the server; outside names derive from it.';
comment on column servers.provider is 'Who runs the machine: local, ec2.';
comment on column servers.plan is 'Plan whose resources it may carry.';
comment on column servers.state is 'State of the server machine (docs/machines/server.md).';
comment on column servers.state_since is 'Moment it entered this state.';
comment on column servers.deadline_at is 'Moment after which this state raises an alert; null where it may stay.';
comment on column servers.destroy_requested_at is 'Moment somebody decided that it shall go; null while it shall live.';
comment on column servers.instance_id is 'The provider''s own name for it; null before it is known.';
comment on column servers.host is 'Address of agent and PostgreSQL; null before it is known.';
comment on column servers.agent_port is 'TCP port of the agent.';
comment on column servers.postgres_port is 'TCP port of PostgreSQL.';
comment on column servers.zone is 'Availability zone; null where the provider has none.';
comment on column servers.image is 'Machine image; null where the provider has none.';
comment on column servers.boot_id is 'The machine''s boot, as its agent last told; another value means it rebooted.';
comment on column servers.last_seen_at is 'Moment the agent last answered; null before the first time.';
comment on column servers.problem is 'Why it is not well, for operators; null when it is.';
comment on column servers.request_id is 'Request that made it.';
comment on column servers.created_at is 'Moment the row was made.';
comment on column servers.version is 'Grows by one with every write; writers compare and set it.';

create table participants (
    id uuid primary key,
    timeline_id uuid not null references timelines (id),
    server_id uuid not null references servers (id),
    role text not null,
    state text not null,
    state_since timestamptz not null,
    deadline_at timestamptz,
    destroy_requested_at timestamptz,
    postgres_major integer not null,
    generation bigint not null default 0,
    spec_digest text,
    incarnation bigint not null default 1,
    restart_asked_at timestamptz,
    acknowledged_generation bigint not null default 0,
    prober_password bytea not null,
    prober_verifier bytea not null,
    system_identifier text,
    crashes bigint not null default 0,
    problem text,
    request_id uuid not null,
    created_at timestamptz not null,
    version bigint not null default 1,
    constraint role_is_known check (role in ('leader', 'follower')),
    constraint state_is_known check (
        state in ('planned', 'creating', 'serving', 'down', 'removing', 'removed')
    ),
    constraint postgres_major_is_supported check (postgres_major >= 15),
    constraint acknowledged_was_instructed check (acknowledged_generation <= generation),
    constraint removed_has_no_deadline check (state <> 'removed' or deadline_at is null)
);

create unique index one_leader_per_timeline on participants (timeline_id)
where role = 'leader' and state <> 'removed';

create unique index one_participant_per_server on participants (server_id)
where state <> 'removed';

comment on table participants is 'PostgreSQL instances, each on one timeline and one server.';
comment on column participants.id is 'Id of the participant.';
comment on column participants.timeline_id is 'Timeline whose data it holds.';
comment on column participants.server_id is 'Server it runs on.';
comment on column participants.role is 'leader may write, follower replays.';
comment on column participants.state is 'State of the participant machine (docs/machines/participant.md).';
comment on column participants.state_since is 'Moment it entered this state.';
comment on column participants.deadline_at is 'Moment after which this state raises an alert; null where it may stay.';
comment on column participants.destroy_requested_at is 'Moment somebody decided that it shall go; null while it shall live.';
comment on column participants.postgres_major is 'Major version of PostgreSQL.';
comment on column participants.generation is 'Number of the newest instruction, allocated before it is sent; 0 before the first.';
comment on column participants.spec_digest is 'Digest of the newest instruction; null before the first.';
comment on column participants.incarnation is 'Counts asked-for restarts; part of the spec, so that a larger number restarts PostgreSQL.';
comment on column participants.restart_asked_at is 'Moment the last restart in place was asked for; null if none ever was.';
comment on column participants.acknowledged_generation is 'Highest generation whose spec the agent said to hold in full.';
comment on column participants.prober_password is 'Password of our own role there, encrypted.';
comment on column participants.prober_verifier is 'SCRAM verifier of that password, encrypted; stored so that the spec is stable.';
comment on column participants.system_identifier is 'PostgreSQL''s system identifier; null before the agent told it.';
comment on column participants.crashes is 'How often PostgreSQL ended without being told to, as the agent counts.';
comment on column participants.problem is 'Why it is not well, for operators; null when it is.';
comment on column participants.request_id is 'Request that made it.';
comment on column participants.created_at is 'Moment the row was made.';
comment on column participants.version is 'Grows by one with every write; writers compare and set it.';

create table resources (
    id uuid primary key,
    name text not null,
    plan text not null references plans (name),
    state text not null,
    state_since timestamptz not null,
    deadline_at timestamptz,
    destroy_requested_at timestamptz,
    participant_id uuid references participants (id),
    database_name text not null,
    role_name text not null,
    password bytea,
    verifier bytea,
    instructed_generation bigint,
    endpoint_host text,
    endpoint_port integer,
    endpoint_generation bigint not null default 0,
    endpoint_acknowledged_generation bigint not null default 0,
    endpoint_upstream text,
    problem text,
    request_id uuid not null,
    created_at timestamptz not null,
    version bigint not null default 1,
    constraint name_is_dns_like check (name ~ '^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$'),
    constraint state_is_known check (
        state in (
            'creating', 'available', 'unavailable', 'recovering', 'deprovisioning', 'deprovisioned'
        )
    ),
    constraint secret_whole_or_absent check ((password is null) = (verifier is null)),
    constraint endpoint_acknowledged_was_told check (
        endpoint_acknowledged_generation <= endpoint_generation
    ),
    constraint endpoint_whole_or_absent check (
        (endpoint_host is null) = (endpoint_port is null)
        and (endpoint_host is null) = (endpoint_upstream is null)
    ),
    constraint attached_unless_new_or_gone check (
        state in ('creating', 'deprovisioning', 'deprovisioned') or participant_id is not null
    ),
    constraint reachable_once_available check (
        state in ('creating', 'deprovisioning', 'deprovisioned') or endpoint_host is not null
    ),
    constraint deprovisioned_keeps_no_secret check (
        state <> 'deprovisioned'
        or (password is null and participant_id is null and deadline_at is null)
    )
);

create unique index one_live_resource_per_name on resources (name) where state <> 'deprovisioned';

create index resources_by_participant on resources (participant_id)
where participant_id is not null;

create index resources_alive on resources (id) where state <> 'deprovisioned';

comment on table resources is 'What customers get: a name, a plan, a URL.';
comment on column resources.id is 'Id of the resource.';
comment on column resources.name is 'Name chosen by the customer, unique among living ones.';
comment on column resources.plan is 'Plan it is on.';
comment on column resources.state is 'State of the resource machine (docs/machines/resource.md).';
comment on column resources.state_since is 'Moment it entered this state.';
comment on column resources.deadline_at is 'Moment after which this state raises an alert; null where it may stay.';
comment on column resources.destroy_requested_at is 'Moment the customer asked to destroy it; null while it shall live.';
comment on column resources.participant_id is 'Participant it is attached to; null before placement and after the end.';
comment on column resources.database_name is 'Database on the participant; unique in the fleet.';
comment on column resources.role_name is 'Owner of the database; unique in the fleet.';
comment on column resources.password is 'Password of the owner, encrypted; null before the worker made it.';
comment on column resources.verifier is 'SCRAM verifier of that password, encrypted.';
comment on column resources.instructed_generation is 'Generation of the participant whose spec first said what this resource needs now; null while none does.';
comment on column resources.endpoint_host is 'Host in the URL.';
comment on column resources.endpoint_port is 'Port in the URL.';
comment on column resources.endpoint_generation is 'Number of the newest word to the endpoint.';
comment on column resources.endpoint_acknowledged_generation is 'Number of the newest word that the endpoint acknowledged.';
comment on column resources.endpoint_upstream is 'Address of the participant that the endpoint acknowledged to point at, as host:port.';
comment on column resources.problem is 'Why it is not well, for people; null when it is.';
comment on column resources.request_id is 'Request that made it or last changed its intent.';
comment on column resources.created_at is 'Moment the row was made.';
comment on column resources.version is 'Grows by one with every write; writers compare and set it.';
