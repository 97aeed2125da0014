//! Base backups of one database, beside pgBackRest and barman.

use std::time::Duration;

use serde_json::json;
use shared::archive::layout::Prefix;
use shared::ids::TimelineId;
use tokio::time::Instant;

use crate::archiving::{
    Barman, Common, Peers, PgBackRest, Rates, Server, Store, back_up, database,
};
use crate::cpu;
use crate::progress::{Progress, line};
use crate::report::{Bar, Report};

/// Time between two looks of the worker, as it looks.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// Most memory of the agent.
const AGENT_MIB: f64 = 256.0;

/// Options of the backup scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// Mebibytes of the database.
    #[arg(long, default_value_t = 2048)]
    mebibytes: u64,
}

/// Rates of everybody.
#[derive(Default)]
struct All {
    ours: Rates,
    pgbackrest_zst: Rates,
    pgbackrest_lz4: Rates,
    barman: Rates,
}

/// Measures all in turns.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let common = &options.common;
    report.settings(json!({ "mebibytes": options.mebibytes, "rounds": common.rounds }));
    let store = common.programs.store().await?;
    let server = Server::start(&common.programs.agent()?, None).await?;
    database::fill(&server, options.mebibytes).await?;
    let peers = Peers::of(&server, &store).await?;
    let pgbackrest = PgBackRest::find(common, report).await;
    let barman = Barman::find(common, report).await;
    let status = server.until_converged().await?;
    let postgres = status.postgres.expect("a converged leader runs PostgreSQL");
    let system_identifier = postgres.system_identifier.parse()?;
    let mut all = All::default();
    let (mut agent_cpu, mut objects) = (0.0, 0);
    for round in 1..=common.rounds {
        let progress = Progress::begin(format!("round {round}"), 0);
        store.clear().await?;
        let (cpu, store_cpu) = (
            cpu::time_of(server.agent_pid())?,
            cpu::time_of(store.pid())?,
        );
        let prefix = Prefix {
            timeline: TimelineId::new(),
            system_identifier,
        };
        let begun = Instant::now();
        let (status, manifest) = back_up(&server, &store, prefix, LOOK).await?;
        let bytes = manifest.bytes();
        let rate = all.ours.add(bytes, begun.elapsed());
        agent_cpu = cpu::time_of(server.agent_pid())?
            .saturating_sub(cpu)
            .as_secs_f64();
        objects = status.object_bytes;
        let store_cpu = cpu::time_of(store.pid())?
            .saturating_sub(store_cpu)
            .as_secs_f64();
        line(&format!(
            "ours {rate:.0} MiB/s of {bytes} bytes, {objects} compressed (agent {agent_cpu:.2} s, \
             store {store_cpu:.2} s)"
        ));
        let others = (pgbackrest.as_ref(), barman.as_ref());
        all.measure_peers((&store, &peers), others, (round, bytes))
            .await?;
        progress.end("done");
    }
    all.report(report);
    report.note("processor time of the agent for it", agent_cpu, "s");
    report.note(
        "its objects",
        f64::from(u32::try_from(objects >> 20)?),
        "MiB",
    );
    let peak = server.agent_peak_mib()?;
    report.judge(
        "most memory of the agent",
        peak,
        "MiB",
        Bar::AtMost(AGENT_MIB),
    );
    server.stop().await?;
    store.stop().await
}

impl All {
    /// The same by everybody who is there.
    async fn measure_peers(
        &mut self,
        (store, peers): (&Store, &Peers<'_>),
        (pgbackrest, barman): (Option<&PgBackRest>, Option<&Barman>),
        (round, bytes): (usize, u64),
    ) -> anyhow::Result<()> {
        if let Some(pgbackrest) = pgbackrest {
            for (compression, rates) in [
                ("zst", &mut self.pgbackrest_zst),
                ("lz4", &mut self.pgbackrest_lz4),
            ] {
                store.clear().await?;
                let name = format!("backup-{compression}-{round}");
                let stanza = pgbackrest.stanza(peers, &name, compression).await?;
                let begun = Instant::now();
                stanza.back_up().await?;
                let rate = rates.add(bytes, begun.elapsed());
                line(&format!("pgBackRest {compression} {rate:.0} MiB/s"));
            }
        }
        if let Some(barman) = barman {
            store.clear().await?;
            let begun = Instant::now();
            barman
                .back_up(peers, &format!("backup-{round}"), "lz4")
                .await?;
            let rate = self.barman.add(bytes, begun.elapsed());
            line(&format!("barman-cloud-backup lz4 {rate:.0} MiB/s"));
        }
        Ok(())
    }

    fn report(&self, report: &mut Report) {
        self.ours.note("base backup, ours", report);
        let peer = "the same, pgBackRest, 2 processes";
        self.pgbackrest_zst.note(&format!("{peer}, zst"), report);
        self.pgbackrest_lz4.note(&format!("{peer}, lz4"), report);
        self.barman
            .note("the same, barman-cloud-backup, 2 jobs, lz4", report);
        self.ours
            .against(&self.pgbackrest_zst, "pgBackRest, zst", 1.5, report);
        self.ours
            .against(&self.pgbackrest_lz4, "pgBackRest, lz4", 1.5, report);
        self.ours
            .against(&self.barman, "barman-cloud-backup", 1.1, report);
    }
}
