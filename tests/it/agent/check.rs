//! Checks of what was restored.

use std::time::Duration;

use anyhow::ensure;
use shared::agent_api::check::{CheckOrder, CheckPhase, CheckStatus};
use shared::agent_api::client::AgentError;
use shared::agent_api::restore::{RestoreStage, Target};
use shared::agent_api::{PROBER_ROLE, RefusalCode};
use shared::ids::{ProofId, RequestId};
use sqlx::Executor as _;
use tests::agent_server::AgentServer;
use tokio::time::{Instant, sleep};

use super::archiving::{MIB, World};
use super::backup::driver::back_up;
use super::restore::driver::{Fork, source};

/// Longest wait for a check.
const PATIENCE: Duration = Duration::from_mins(2);

async fn ask(server: &AgentServer, order: &CheckOrder) -> Result<CheckStatus, AgentError> {
    let (client, address) = (&server.client, server.address);
    client.check(address, order, RequestId::new()).await
}

fn code(answer: Result<CheckStatus, AgentError>) -> Option<RefusalCode> {
    let error = answer.err()?;
    Some(error.refusal()?.code)
}

/// What a customer may make in a database of his own: an aggregate that is nearer to a query of ours
/// than PostgreSQL's own, and an index that calls a function by half its name.
const OF_A_CUSTOMER: &str = "
    create table ran (at timestamptz);
    create function note(bigint, bigint) returns bigint language plpgsql as
        $$ begin insert into public.ran values (now()); return 1; end $$;
    create aggregate public.count(bigint) (sfunc = note, stype = bigint, initcond = '0');
    create sequence numbers;
    select nextval('numbers');
    create function folded(text) returns text immutable language plpgsql as
        $$ begin return lower($1); end $$;
    create function fold(text) returns text immutable language plpgsql as
        $$ begin return folded($1); end $$;
    create table named (name text);
    insert into named values ('A'), ('B');
    create index by_name on named (fold(name));
    alter database shop set search_path = public, pg_catalog;
    alter database shop set lock_timeout = 1";

#[tokio::test]
async fn what_was_restored_is_checked_once_and_what_is_a_customers_never() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(2 * MIB).await?;
    world.session().await?.execute(OF_A_CUSTOMER).await?;
    let (_, manifest) = back_up(&world).await?;
    let end = world.push_all(start).await?;
    // Nobody's: no database, and no role but our own.
    let server = AgentServer::start(true).await?;
    let what = source(&world, &manifest, end, Target::End);
    let fork = Fork::on(&world, &what, server, |spec| {
        spec.databases.clear();
        spec.roles.retain(|role| role.superuser);
    })
    .await?;
    let order = CheckOrder {
        proof: ProofId::new(),
        participant: fork.spec.participant,
        generation: fork.spec.generation,
    };
    let early = code(ask(&fork.server, &order).await);
    assert_eq!(early, Some(RefusalCode::NotRunning));
    let status = fork.finish(&world).await?;
    let Some(RestoreStage::Finished(restored)) = status.restore.map(|restore| restore.stage) else {
        anyhow::bail!("it is not restored");
    };

    let begun = Instant::now();
    let ended = loop {
        let status = ask(&fork.server, &order).await?;
        if status.phase != CheckPhase::Running {
            break status;
        }
        ensure!(begun.elapsed() < PATIENCE, "{status:#?}");
        sleep(Duration::from_millis(50)).await;
    };
    let CheckPhase::Finished(report) = &ended.phase else {
        anyhow::bail!("{ended:#?}\n{}", fork.server.agent_log());
    };
    let counted = (report.complaints_total, report.databases);
    assert_eq!(counted, (0, 3), "{report:#?}");
    assert_eq!(report.began_at, restored.began_at);
    assert!(ended.relations_done > 0 && ended.relations_done == report.relations);
    assert!(ended.pages_done > 0);
    // Nothing of the customer's ran as us.
    let mut shop = fork.server.connect(&fork.spec, PROBER_ROLE, "shop").await?;
    let ran: i64 = sqlx::query_scalar("select pg_catalog.count(*) from public.ran")
        .fetch_one(&mut shop)
        .await?;
    assert_eq!(ran, 0);
    // It is not made again, and shown to who asks how the instance is.
    assert_eq!(ask(&fork.server, &order).await?, ended);
    assert_eq!(fork.server.status().await?.check, Some(ended));
    // The customer's role is not let in.
    assert!(
        fork.server
            .connect(&fork.spec, "shop", "shop")
            .await
            .is_err()
    );

    let customers = CheckOrder {
        participant: world.spec.participant,
        generation: world.spec.generation,
        ..order
    };
    let refused = code(ask(&world.server, &customers).await);
    assert_eq!(refused, Some(RefusalCode::Invalid));
    let other = code(ask(&fork.server, &customers).await);
    assert_eq!(other, Some(RefusalCode::OtherParticipant));
    Ok(())
}
