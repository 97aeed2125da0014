set local lock_timeout = '5s';

create table plans (
    name text primary key,
    dedicated boolean not null,
    offered boolean not null,
    cadence_ms integer not null,
    connection_limit integer not null,
    databases_per_server integer not null,
    constraint name_is_a_word check (name ~ '^[a-z][a-z0-9-]{1,30}$'),
    constraint cadence_is_sane check (cadence_ms between 100 and 3600000),
    constraint connection_limit_is_sane check (connection_limit between 1 and 10000),
    constraint dedicated_means_one_database check (not dedicated or databases_per_server = 1),
    constraint databases_per_server_is_sane check (databases_per_server between 1 and 1000)
);

comment on table plans is 'What a customer can choose.';
comment on column plans.name is 'Name of the plan, as customers write it.';
comment on column plans.dedicated is 'Whether each resource gets a server of its own.';
comment on column plans.offered is 'Whether new resources may choose it: a plan is offered only once its promise can be kept.';
comment on column plans.cadence_ms is 'Milliseconds between two turns of an available resource on the ring, before jitter.';
comment on column plans.connection_limit is 'Most connections a customer may hold to one database.';
comment on column plans.databases_per_server is 'Most databases on one server; 1 for dedicated plans.';

insert into plans (name, dedicated, offered, cadence_ms, connection_limit, databases_per_server)
values
    ('hobby', false, true, 60000, 20, 40),
    ('standard', true, true, 10000, 120, 1),
    ('premium', true, false, 1000, 480, 1);
