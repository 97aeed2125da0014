set local lock_timeout = '5s';

create table route_changes (
    id boolean primary key default true,
    newest bigint not null,
    constraint there_is_one check (id)
);

insert into route_changes (newest) values (0);

comment on table route_changes is 'One row: the number of the newest change of a route.';
comment on column route_changes.id is 'Always true.';
comment on column route_changes.newest is 'Number of the newest change, about its milliseconds since 1970. Whoever changes a route holds this row, so that changes are seen in the order of their numbers.';

create table routes (
    resource_id uuid primary key references resources (id),
    generation bigint not null,
    host text,
    port integer,
    traffic text not null,
    change bigint not null unique,
    changed_at timestamptz not null,
    constraint port_is_a_port check (port between 1 and 65535),
    constraint upstream_whole_or_absent check ((host is null) = (port is null)),
    constraint traffic_is_known check (traffic in ('open', 'paused', 'cut'))
);

comment on table routes is 'Where gateways lead the clients of each resource. A row outlives its route, so that a late word is still refused.';
comment on column routes.resource_id is 'The resource.';
comment on column routes.generation is 'Number of the newest word that was heard about it.';
comment on column routes.host is 'Address of the participant''s PostgreSQL; null once the route was withdrawn.';
comment on column routes.port is 'TCP port there.';
comment on column routes.traffic is 'open: clients get through; paused: those in a transaction finish it, the others wait; cut: nobody stays connected, new ones wait.';
comment on column routes.change is 'Number of the change that made this row what it is.';
comment on column routes.changed_at is 'Moment of that change.';

create table gateways (
    id uuid primary key,
    host text not null,
    session_port integer not null,
    pooled_port integer not null,
    applied_change bigint not null,
    unsettled uuid [] not null,
    problem text,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    constraint ports_are_ports check (
        session_port between 1 and 65535 and pooled_port between 1 and 65535
    )
);

comment on table gateways is 'Replicas of the gateway: processes that lead clients to databases.';
comment on column gateways.id is 'Id of the replica, kept in its directory.';
comment on column gateways.host is 'Host that clients are told.';
comment on column gateways.session_port is 'TCP port that clients are told, one server connection for each of theirs.';
comment on column gateways.pooled_port is 'TCP port that clients are told, a server connection for each transaction.';
comment on column gateways.applied_change is 'Every change of a route up to this number is in force there, but for those of unsettled resources.';
comment on column gateways.unsettled is 'Resources whose newest known word is not in force there yet.';
comment on column gateways.problem is 'Why it does not do what it should, for operators; null when it does.';
comment on column gateways.started_at is 'Moment the process started.';
comment on column gateways.seen_at is 'Moment it last said that it is there.';

-- Behind a gateway databases of many servers are in one place: a follower, whose database has the
-- name of its original, needs a name of its own there.
alter table resources add column routing_name text;

update resources
set routing_name = left(replace(name, '-', '_'), 24) || '_' || replace(id::text, '-', '');

alter table resources alter column routing_name set not null;

alter table resources add constraint one_resource_per_routing_name unique (routing_name);

comment on column resources.routing_name is 'Name of its database behind a gateway; unique in the fleet, for ever.';

alter table resources add column endpoint_database text;
alter table resources add column endpoint_pooled_port integer;

update resources set endpoint_database = database_name where endpoint_host is not null;

alter table resources drop constraint endpoint_whole_or_absent;

alter table resources add constraint endpoint_whole_or_absent check (
    (endpoint_host is null) = (endpoint_port is null)
    and (endpoint_host is null) = (endpoint_upstream is null)
    and (endpoint_host is null) = (endpoint_database is null)
    and (endpoint_pooled_port is null or endpoint_host is not null)
);

comment on column resources.endpoint_database is 'Name of the database in the URL.';
comment on column resources.endpoint_pooled_port is 'Port in the URL for connections that are pooled by transaction; null where the endpoint has none.';
