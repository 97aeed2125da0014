//! What customers can do to a look: nothing.

use super::world::{GENEROUS_MS, Session, World, feel, prober, until};

/// What a customer can plant in his own database, to be picked by whoever looks names up there:
/// exact matches of what a look calls. Each of them raises an error.
const TRAPS: &str = r"
    create function public.trap() returns void language plpgsql as
        $$ begin raise exception 'planted' using errcode = 'ZZ001'; end $$;
    create function public.pg_postmaster_start_time() returns timestamptz language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.pg_is_in_recovery() returns boolean language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.pg_current_wal_flush_lsn() returns pg_lsn language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.pg_database_size(name) returns bigint language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.pg_stat_get_live_tuples(oid) returns bigint language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.clock_timestamp() returns timestamptz language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.current_setting(text) returns text language plpgsql as
        $$ begin perform public.trap(); return 'pg_catalog,pg_temp'; end $$;
    create function public.lower(text) returns text language plpgsql as
        $$ begin perform public.trap(); return null; end $$;
    create function public.sprung(oid, oid) returns boolean language plpgsql as
        $$ begin perform public.trap(); return true; end $$;
    create function public.sprung(name, name) returns boolean language plpgsql as
        $$ begin perform public.trap(); return true; end $$;
    create function public.sprung(text, text) returns boolean language plpgsql as
        $$ begin perform public.trap(); return true; end $$;
    create function public.sprung(integer, integer) returns boolean language plpgsql as
        $$ begin perform public.trap(); return true; end $$;
    create function public.sprung(bigint, integer) returns boolean language plpgsql as
        $$ begin perform public.trap(); return true; end $$;
    create operator public.= (leftarg = oid, rightarg = oid, function = public.sprung);
    create operator public.<> (leftarg = oid, rightarg = oid, function = public.sprung);
    create operator public.>= (leftarg = oid, rightarg = oid, function = public.sprung);
    create operator public.= (leftarg = name, rightarg = name, function = public.sprung);
    create operator public.= (leftarg = text, rightarg = text, function = public.sprung);
    create operator public.<> (leftarg = integer, rightarg = integer, function = public.sprung);
    create operator public.= (leftarg = bigint, rightarg = integer, function = public.sprung);
    create view public.pg_database as select public.pg_is_in_recovery() as oid;
    create view public.pg_class as select public.pg_is_in_recovery() as oid;
    create view public.pg_authid as select public.pg_is_in_recovery() as oid;
    create view public.pg_stat_activity as select public.pg_is_in_recovery() as oid;
";

/// The same, by what a database owner may set for all sessions of his database.
const SETTINGS: &str = "
    alter database shop set search_path = public, pg_catalog;
    alter database shop set role = 'shop';
    alter database shop set statement_timeout = 1;
    alter database shop set idle_session_timeout = 1;
    alter database shop set idle_in_transaction_session_timeout = 1;
    alter database shop set client_min_messages = debug5;
    alter database shop set default_transaction_isolation = serializable;
    alter database shop set default_transaction_deferrable = on;
    alter database shop set default_transaction_read_only = off;
    alter database shop set plan_cache_mode = force_custom_plan;
    alter database shop set jit_above_cost = 0;
    alter database shop set row_security = off;
    alter database shop set client_encoding = 'LATIN1';
    alter database shop set datestyle = 'German';
    alter database shop set application_name = 'not feel';
";

async fn spring(session: &Session, sql: &str) -> Option<String> {
    let error = session.client.query(sql, &[]).await.err()?;
    Some(error.code()?.code().to_owned())
}

#[tokio::test]
async fn nothing_that_a_customer_plants_is_run() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer.run(TRAPS).await?;
    customer.run("set search_path = public, pg_catalog").await?;
    for sql in [
        "select 1::oid = 1::oid",
        "select pg_postmaster_start_time()",
        "select * from pg_class",
    ] {
        let sprung = spring(&customer, sql).await;
        assert_eq!(sprung.as_deref(), Some("ZZ001"), "the trap is set: {sql}");
    }
    drop(customer);
    world.customer("shop").await?.run(SETTINGS).await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    for _ in 0..3 {
        let seen = feel(&prober, &target).await;
        assert!(seen.available, "{seen:?}");
        assert!(seen.tables.is_some(), "{seen:?}");
        assert!(seen.database_size_bytes.is_some(), "{seen:?}");
    }
    assert_eq!(world.feelers().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_customer_has_no_way_to_run_code_in_our_session() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer
        .run("create function public.f() returns event_trigger language plpgsql as $$ begin end $$")
        .await?;
    for (sql, code) in [
        ("alter role ringmaster set search_path = public", "42501"),
        ("alter role all set search_path = public", "42501"),
        (
            "alter role ringmaster in database shop set search_path = public",
            "42501",
        ),
        ("alter database shop set post_auth_delay = 600", "55P02"),
        (
            "alter database shop set ignore_system_indexes = on",
            "55P02",
        ),
        (
            "alter database shop set session_preload_libraries = 'x'",
            "42501",
        ),
        (
            "alter database shop set session_replication_role = replica",
            "42501",
        ),
        (
            "create function pg_catalog.now(int) returns int language sql as 'select 1'",
            "42501",
        ),
        ("create table pg_catalog.mine (id int)", "42501"),
        (
            "create event trigger t on ddl_command_start execute function public.f()",
            "42501",
        ),
        (
            "do $$ begin lock table pg_catalog.pg_class; end $$",
            "42501",
        ),
        (
            "do $$ begin lock table pg_catalog.pg_authid; end $$",
            "42501",
        ),
    ] {
        assert_eq!(spring(&customer, sql).await.as_deref(), Some(code), "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn a_customer_who_fills_all_connections_is_still_felt() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let target = world.target("shop");
    let mut sessions = Vec::new();
    let refused = loop {
        match world.customer("shop").await {
            Ok(session) => sessions.push(session),
            Err(error) => break format!("{error:#}"),
        }
        anyhow::ensure!(sessions.len() < 1000, "the server has no end");
    };
    assert!(
        refused.contains("remaining connection slots are reserved"),
        "{refused}"
    );
    let prober = prober(GENEROUS_MS);
    for _ in 0..2 {
        let seen = feel(&prober, &target).await;
        assert!(seen.available, "{seen:?}");
        let open = seen.connections.map(|connections| connections.open);
        assert_eq!(open, Some(u32::try_from(sessions.len())?));
    }
    Ok(())
}

#[tokio::test]
async fn a_database_of_five_thousand_tables_is_felt() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    for first in [1, 2001, 4001] {
        let last = (first + 1999).min(5000);
        customer
            .run(&format!(
                "do $$ begin for n in {first}..{last} loop
                 execute 'create table t' || n || ' (id int)'; end loop; end $$"
            ))
            .await?;
    }
    let prober = prober(2_000);
    let target = world.target("shop");
    until("all are counted", async || {
        let seen = feel(&prober, &target).await;
        Ok(seen.available && seen.tables.is_some_and(|tables| tables.count == 5000))
    })
    .await
}

/// A customer's session may hold any lock on what is his: a look does not wait for it.
#[tokio::test]
async fn locks_of_a_customer_do_not_hold_up_a_look() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer.run("create table one (id int)").await?;
    customer
        .run("begin; lock table one in access exclusive mode")
        .await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let seen = feel(&prober, &target).await;
    assert!(seen.available, "{seen:?}");
    assert_eq!(seen.tables.map(|tables| tables.count), Some(1));
    let survey = prober.newest().get(target.resource).expect("it was felt");
    assert!(survey.observation.database_size_bytes.is_some());
    Ok(())
}
