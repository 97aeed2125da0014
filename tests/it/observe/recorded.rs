//! What was felt arrives in the control database.

use chrono::{DateTime, Duration, TimeZone as _, Utc};
use shared::db::resources::create::{NewResource, create};
use shared::db::{Limit, observations};
use shared::domain::{Observation, Outage, ResourceName, TokenScope};
use shared::ids::{OperationId, RequestId, ResourceId};
use tests::control_database::ControlDatabase;
use tokio_util::sync::CancellationToken;
use workers::observe::{ObservationWriter, RecordConfig};

use super::world::until;

fn at(second: i64) -> DateTime<Utc> {
    let start = Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0);
    start.single().expect("a moment that exists") + Duration::seconds(second)
}

fn observed(second: i64, available: bool) -> Observation {
    Observation {
        available,
        ..Observation::absent(at(second), Outage::TimedOut)
    }
}

async fn resource(control: &ControlDatabase) -> anyhow::Result<ResourceId> {
    let (token_id, _) = control.token(TokenScope::Write, at(0)).await?;
    let name: ResourceName = "shop".parse()?;
    let id = ResourceId::new();
    let new = NewResource {
        id,
        operation_id: OperationId::new(),
        name: &name,
        plan: "standard",
        fork: None,
        deadline_at: at(300),
        token_id,
        key: None,
        request_id: RequestId::new(),
        now: at(0),
    };
    create(&control.pool, &new).await?;
    Ok(id)
}

#[tokio::test]
async fn observations_survive_a_restart_of_the_control_database() -> anyhow::Result<()> {
    let mut control = ControlDatabase::start().await?;
    observations::create_partition(&control.pool, at(0).date_naive()).await?;
    let (known, gone) = (resource(&control).await?, ResourceId::new());
    let writer = ObservationWriter::new(RecordConfig::default());
    let shutdown = CancellationToken::new();
    let pool = control.pool.clone();
    let recorded = async {
        let _ends_the_writer = shutdown.clone().drop_guard();
        let newest_is = async |second| {
            until("the newest is stored", async || {
                let stored = observations::newest(&pool, known).await;
                Ok(stored.ok().flatten().map(|seen| seen.observed_at) == Some(at(second)))
            })
            .await
        };
        writer.record(gone, &observed(0, true));
        for second in [0, 10, 20] {
            writer.record(known, &observed(second, true));
        }
        newest_is(20).await?;
        control.server_mut().stop().await?;
        for second in [30, 40, 50] {
            writer.record(known, &observed(second, false));
        }
        writer.record(known, &observed(60, true));
        control.server_mut().restart().await?;
        newest_is(60).await?;
        // What is written last is written at shutdown.
        writer.record(known, &observed(70, false));
        anyhow::Ok(())
    };
    let (done, ()) = futures::join!(recorded, writer.run(&pool, shutdown.clone()));
    done?;
    let stored = observations::list(&pool, known, None, Limit::most()).await?;
    let found: Vec<_> = stored
        .items
        .iter()
        .map(|seen| ((seen.observed_at - at(0)).num_seconds(), seen.available))
        .collect();
    assert_eq!(found, [(70, false), (60, true), (30, false), (0, true)]);
    assert_eq!(observations::newest(&pool, gone).await?, None);
    Ok(())
}
