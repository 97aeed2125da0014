//! WAL that goes on from what is archived, and WAL that does not.

use std::path::Path;

use http::Method;
use shared::agent_api::wal::{Placed, WalPush};
use shared::agent_api::{InstanceRole, InstanceSpec, PROBER_ROLE, RefusalCode};
use shared::ids::RequestId;
use shared::process::{Account, Initdb, PostgresInstallations, Program, free_port, run_to_end};
use shared::units::Lsn;
use sqlx::Executor as _;
use tests::agent_server::AgentServer;
use tests::object_server::Fault;

use crate::agent::archiving::{MIB, World, after};

/// The same participant in another role.
async fn become_one(world: &mut World, role: InstanceRole) -> anyhow::Result<()> {
    world.spec.generation += 1;
    world.spec.role = role;
    world.server.converge(&world.spec).await?;
    Ok(())
}

/// A leader that does not run, all of whose WAL is in the archive, and where that begins.
async fn archived_and_stopped() -> anyhow::Result<(World, Lsn)> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    world.push_all(start).await?;
    become_one(&mut world, InstanceRole::Stopped).await?;
    Ok((world, start))
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = Program::new("cp", &Account::current()).arg("--archive");
    run_to_end(&copy.arg(from).arg(to)).await?;
    Ok(())
}

/// What became of the one chunk of `call`.
async fn placed(world: &World, call: &WalPush) -> anyhow::Result<Placed> {
    let mut pushed = world.push(call).await?;
    anyhow::ensure!(pushed.chunks.len() == 1, "{pushed:?}");
    Ok(pushed.chunks.remove(0))
}

#[tokio::test]
async fn after_a_start_the_end_of_the_archive_is_compared_once() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    world.push_all(start).await?;
    let gets = |world: &World| world.receiver.requests(&Method::GET);
    let mut before = gets(&world);
    for restarts in 0..3 {
        match restarts {
            0 => {}
            1 => {
                world.server.kill_agent().await?;
                world.server.start_agent().await?;
                let runs = |status: &shared::agent_api::InstanceStatus| status.postgres.is_some();
                world.server.until("running", runs).await?;
            }
            _ => {
                world.spec.generation += 1;
                world.spec.incarnation += 1;
                world.server.converge(&world.spec).await?;
            }
        }
        for first in [true, false] {
            world.write(1000).await?;
            let call = world.call_from(world.seam(start).await?).await?;
            before = before.max(gets(&world));
            let placed = placed(&world, &call).await?;
            assert!(matches!(placed, Placed::Stored { .. }), "{placed:?}");
            let compared = gets(&world) - before;
            assert_eq!(compared, usize::from(first && restarts > 0), "{restarts}");
        }
    }
    let (bytes, end) = world.chain(start).await?;
    assert!(bytes == world.files(start..end)?);
    Ok(())
}

#[tokio::test]
async fn wal_that_does_not_go_on_from_the_archive_is_a_conflict_and_moves_nothing()
-> anyhow::Result<()> {
    let (mut world, start) = archived_and_stopped().await?;
    let data = world.server.data_directory();
    let (snapshot, lost) = (data.with_extension("old"), data.with_extension("lost"));
    copy(&data, &snapshot).await?;
    become_one(&mut world, InstanceRole::Leader).await?;
    world.write(3 * MIB).await?;
    world.push_all(world.seam(start).await?.end).await?;

    // As if the machine were put back to an earlier state.
    become_one(&mut world, InstanceRole::Stopped).await?;
    std::fs::rename(&data, &lost)?;
    std::fs::rename(&snapshot, &data)?;
    become_one(&mut world, InstanceRole::Leader).await?;
    let (objects, slot) = (world.receiver.objects().await?, world.slot().await?);
    let seam = world.seam(start).await?;
    let mut call = world.call_from(seam.clone()).await?;
    let safe = seam.end.bytes() - seam.end.bytes() % world.segment_bytes;
    call.safe_lsn = Lsn::from_bytes(safe);
    let conflict = async |world: &World| -> anyhow::Result<String> {
        match placed(world, &call).await? {
            Placed::Conflict { detail } => Ok(detail),
            other => anyhow::bail!("{other:?}"),
        }
    };
    let short = conflict(&world).await?;
    assert!(short.contains("flushed only up to"), "{short}");

    // It writes on, beyond what is archived, and is another history all the same.
    world.write(5 * MIB).await?;
    assert!(world.flush_lsn().await? > after(seam.end, MIB));
    for _ in 0..2 {
        let other = conflict(&world).await?;
        assert!(other.contains("differs from our WAL at"), "{other}");
    }
    assert_eq!(world.receiver.objects().await?, objects);
    assert_eq!(world.slot().await?, slot, "what is not alike is kept");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_compared_is_not_gone_on_from() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    world.push_all(start).await?;
    world.server.kill_agent().await?;
    world.server.start_agent().await?;
    let runs = |status: &shared::agent_api::InstanceStatus| status.postgres.is_some();
    world.server.until("running", runs).await?;
    world.write(MIB).await?;
    let seam = world.seam(start).await?;
    let mut call = world.call_from(seam.clone()).await?;
    call.answer_within_ms = 1000;
    let puts = world.receiver.requests(&Method::PUT);
    let faults = vec![Fault::Answer(503, "SlowDown"); 100];
    world.receiver.fail(&Method::GET, &faults);
    let failed = placed(&world, &call).await?;
    assert!(matches!(failed, Placed::Failed { .. }), "{failed:?}");
    world.receiver.heal();
    assert_eq!(world.receiver.requests(&Method::PUT), puts);

    let key = world
        .prefix
        .chunk(crate::agent::archiving::RUN, seam.objects[0].start);
    let object = world.receiver.objects().await?[&key].clone();
    world.receiver.remove(&key).await?;
    let gone = placed(&world, &call).await?;
    assert!(
        matches!(&gone, Placed::Conflict { detail } if detail.contains("has lost")),
        "{gone:?}"
    );
    assert_eq!(world.receiver.requests(&Method::PUT), puts);
    world.receiver.insert(&key, object).await?;
    let placed = placed(&world, &call).await?;
    assert!(matches!(placed, Placed::Stored { .. }), "{placed:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_counts_of_a_call_in_which_postgres_became_another() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    let range = world.ranges(start, 1).remove(0);
    let mut call = world.call(vec![world.chunk(&range).await?]);
    call.answer_within_ms = 60_000;
    world.receiver.fail(&Method::PUT, &[Fault::Hang]);
    let client = world.server.client.clone();
    let (address, request_id) = (world.server.address, RequestId::new());
    let replace = async {
        world.receiver.until_requested(&Method::PUT, 1).await?;
        become_one(&mut world, InstanceRole::Stopped).await?;
        let data = world.server.data_directory();
        std::fs::rename(&data, data.with_extension("old"))?;
        let installations = PostgresInstallations::discover(&[]).await;
        let initdb = Initdb {
            superuser: "postgres",
            password: None,
            arguments: &["--wal-segsize=1"],
        };
        let account = Account::for_postgres()?;
        initdb.run(installations.newest()?, &account, &data).await?;
        become_one(&mut world, InstanceRole::Leader).await?;
        world.receiver.heal();
        anyhow::Ok(())
    };
    let (answer, replaced) = tokio::join!(client.push_wal(address, &call, request_id), replace);
    replaced?;
    let error = answer.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(refusal.code, RefusalCode::OtherHistory, "{refusal:?}");
    assert!(
        refusal.message.contains("nothing of this call counts"),
        "{refusal:?}"
    );
    Ok(())
}

/// Two that both write at this moment: a machine that was cloned, say, with its agent.
#[tokio::test]
async fn of_two_that_write_on_one_timeline_the_second_is_refused_and_keeps_what_is_its_own()
-> anyhow::Result<()> {
    let (mut world, start) = archived_and_stopped().await?;
    let twin = AgentServer::start(true).await?;
    copy(&world.server.data_directory(), &twin.data_directory()).await?;
    become_one(&mut world, InstanceRole::Leader).await?;
    let spec = InstanceSpec {
        port: free_port()?,
        ..world.spec.clone()
    };
    twin.converge(&spec).await?;
    let own = "create table own (id int); insert into own values (7)";
    twin.connect(&spec, PROBER_ROLE, "shop")
        .await?
        .execute(own)
        .await?;

    // Both go on from the same end; the first to write there is the one.
    let seam = world.seam(start).await?;
    world.write(MIB / 4).await?;
    let call = world.call_from(seam.clone()).await?;
    let first = placed(&world, &call).await?;
    assert!(matches!(first, Placed::Stored { .. }), "{first:?}");
    let objects = world.receiver.objects().await?;
    for goes_on in [false, true] {
        let seam = if goes_on {
            world.seam(start).await?
        } else {
            seam.clone()
        };
        let call = world.call_from(seam).await?;
        let second = twin.client.push_wal(twin.address, &call, RequestId::new());
        let second = second.await?.chunks;
        assert!(
            matches!(second.as_slice(), [Placed::Conflict { .. }]),
            "{second:?}"
        );
    }
    assert_eq!(world.receiver.objects().await?, objects);
    let (bytes, end) = world.chain(start).await?;
    assert!(bytes == world.files(start..end)?);

    // What only the second has stays with it, behind its slot.
    let held = "select restart_lsn::text from pg_replication_slots
                where slot_name = 'ringmaster_archive'";
    let mut session = twin.connect(&spec, PROBER_ROLE, "shop").await?;
    session.execute("checkpoint").await?;
    let held: String = sqlx::query_scalar(held).fetch_one(&mut session).await?;
    assert!(held.parse::<Lsn>()? <= seam.end, "{held}");
    Ok(())
}
