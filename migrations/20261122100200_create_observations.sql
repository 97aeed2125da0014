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

create function create_observation_partition(day date) returns boolean
language plpgsql
as $$
declare
    partition_name text := 'observation_history_' || to_char(day, 'YYYYMMDD');
begin
    -- One at a time: two workers may want the same day.
    perform pg_advisory_xact_lock(hashtext('observation_history'));
    if to_regclass(partition_name) is not null then
        return false;
    end if;
    -- Attaching a finished table, unlike creating it in place, does not stop readers and writers.
    execute format('create table %I (like observation_history including all)', partition_name);
    execute format(
        'alter table observation_history attach partition %I for values from (%L) to (%L)',
        partition_name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
    );
    return true;
end
$$;

comment on function create_observation_partition is 'Makes room for the observations of a day (UTC); false if there is room already.';

create function drop_observation_partitions(before date, at_most integer) returns integer
language plpgsql
as $$
declare
    partition_name text;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('observation_history'));
    for partition_name in
        select c.relname
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'observation_history'::regclass
            and c.relname < 'observation_history_' || to_char(before, 'YYYYMMDD')
        order by c.relname
        limit at_most
    loop
        execute format('drop table %I', partition_name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;

comment on function drop_observation_partitions is 'Forgets the sampled observations of whole days before a day (UTC), oldest first; tells how many days.';
