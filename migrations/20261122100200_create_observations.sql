set local lock_timeout = '5s';

create table observations (
    resource_id uuid primary key references resources (id) on delete cascade,
    observed_at timestamptz not null,
    available boolean not null,
    body jsonb not null
) with (fillfactor = 70);

comment on table observations is 'The newest observation of each resource.';
comment on column observations.resource_id is 'Resource that was observed.';
comment on column observations.observed_at is 'Moment feel looked.';
comment on column observations.available is 'Whether the service answered.';
comment on column observations.body is 'Everything that was seen (shared::domain::Observation).';

create table observation_history (
    resource_id uuid not null,
    observed_at timestamptz not null,
    available boolean not null,
    body jsonb not null,
    primary key (resource_id, observed_at)
) partition by range (observed_at);

comment on table observation_history is 'Sampled observations: one a minute and each change of availability; partitions of one day, dropped by age.';
comment on column observation_history.resource_id is 'Resource that was observed.';
comment on column observation_history.observed_at is 'Moment feel looked.';
comment on column observation_history.available is 'Whether the service answered.';
comment on column observation_history.body is 'Everything that was seen (shared::domain::Observation).';
