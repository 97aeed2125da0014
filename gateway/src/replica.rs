//! One replica: rounds, for as long as it runs.

use std::fs::File;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use shared::db::gateways::{self, NewGateway, Progress};
use shared::db::routes::{self, CHANNEL};
use shared::secret::Vault;
use shared::telemetry::metrics::gateway as names;
use shared::telemetry::{Readiness, chain};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bouncer::Bouncer;
use crate::certificate::Keeper;
use crate::table::Table;

/// Time between two rounds when nothing is heard: replicas that are silent for
/// [`gateways::LIVE_FOR`] are not waited for.
const BEAT: Duration = Duration::from_millis(500);

/// Time between two rounds while clients have not left a database that they shall leave.
const HURRIED: Duration = Duration::from_millis(20);

/// Time between two looks at bouncers about which nothing changed: what somebody else did to them is
/// mended then.
const LOOK: Duration = Duration::from_secs(5);

/// Longest time for one call to the control database.
const PATIENCE: Duration = Duration::from_secs(5);

/// A replica of the gateway.
#[derive(Debug)]
pub(crate) struct Replica {
    pub pool: PgPool,
    pub vault: Vault,
    pub identity: NewGateway,
    pub certificates: Keeper,
    pub session: Bouncer,
    pub transaction: Bouncer,
    pub readiness: Readiness,
    pub state: State,
    /// That of its directory.
    pub _lock: File,
}

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    table: Table,
    /// Number of the newest change in the table.
    read: u64,
    /// Whether the routes were read at all.
    has_read: bool,
    /// Whether the control database has its row.
    has_entered: bool,
    progress: Progress,
    /// Moment of the last look that found both bouncers as they should be.
    well_at: Option<Instant>,
}

impl State {
    /// Whether there is something to do, or it is time to look.
    fn is_due(&self) -> bool {
        let is_new = self.progress.applied != self.read;
        let looked = self.well_at.is_some_and(|at| at.elapsed() < LOOK);
        is_new || !looked || !self.progress.unsettled.is_empty()
    }
}

impl Replica {
    /// Rounds until `stop`. Nothing that fails ends them.
    pub(crate) async fn run(&mut self, stop: CancellationToken) {
        let mut listener = None;
        while !stop.is_cancelled() {
            if listener.is_none() {
                listener = self.listen().await;
            }
            self.round().await;
            let pause = if self.state.progress.unsettled.is_empty() {
                BEAT
            } else {
                HURRIED
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = heard(&mut listener) => {}
                () = self.session.ended() => {}
                () = self.transaction.ended() => {}
            }
        }
    }

    /// Reads what changed, makes the bouncers so, and says how far it is.
    async fn round(&mut self) {
        let began = Instant::now();
        if let Err(error) = self.read().await {
            counter!(names::FAILURES, "part" => "read").increment(1);
            warn("routes cannot be read", &*error);
        }
        let both_run = self.session.is_running() && self.transaction.is_running();
        if self.state.has_read && (self.state.is_due() || !both_run) {
            self.apply().await;
        }
        if let Err(error) = self.beat().await {
            counter!(names::FAILURES, "part" => "beat").increment(1);
            warn("the control database does not hear", &*error);
        }
        histogram!(names::ROUND_SECONDS).record(began.elapsed());
    }

    async fn read(&mut self) -> Result<(), anyhow::Error> {
        if !self.state.has_entered {
            timeout(PATIENCE, gateways::enter(&self.pool, &self.identity)).await??;
            self.state.has_entered = true;
        }
        let changes = routes::changed_since(&self.pool, self.state.read);
        let (newest, changed) = timeout(PATIENCE, changes).await??;
        if newest < self.state.read {
            // The control database was put back: what it counts on from there are other changes.
            tracing::warn!(newest, read = self.state.read, "the routes are read anew");
            let (newest, all) = timeout(PATIENCE, routes::changed_since(&self.pool, 0)).await??;
            self.state.table = Table::of(all, &self.vault)?;
            self.state.read = newest;
            self.state.well_at = None;
        } else {
            self.state.table.take_up(changed, &self.vault)?;
            self.state.read = newest;
        }
        self.state.has_read = true;
        gauge!(names::ROUTES).set(count(self.state.table.leads().len()));
        Ok(())
    }

    /// Both bouncers, or a problem.
    async fn apply(&mut self) {
        let read = self.state.read;
        match self.converge().await {
            Ok(unsettled) => {
                self.state.progress = Progress {
                    applied: read,
                    unsettled,
                    problem: None,
                };
                self.state.well_at = Some(Instant::now());
                self.readiness.set_ready();
            }
            Err(error) => {
                counter!(names::FAILURES, "part" => "apply").increment(1);
                warn("PgBouncer is not what it should be", &*error);
                self.state.progress.problem = Some(format!("{error:#}"));
                self.state.well_at = None;
                self.readiness.set_not_ready(format!("{error:#}"));
            }
        }
    }

    async fn converge(&mut self) -> Result<Vec<shared::ids::ResourceId>, anyhow::Error> {
        let certificates = self.certificates.current()?;
        let leads = self.state.table.leads();
        let (session, transaction) = tokio::join!(
            self.session.converge(leads, &certificates),
            self.transaction.converge(leads, &certificates),
        );
        let mut unsettled = session?;
        unsettled.extend(transaction?);
        unsettled.sort();
        unsettled.dedup();
        for bouncer in [&mut self.session, &mut self.transaction] {
            let (load, pooling) = (bouncer.load().await?, bouncer.pooling().name());
            let clients = |state| gauge!(names::CLIENTS, "pooling" => pooling, "state" => state);
            clients("active").set(f64::from(load.clients_active));
            clients("waiting").set(f64::from(load.clients_waiting));
            gauge!(names::SERVER_CONNECTIONS, "pooling" => pooling).set(f64::from(load.servers));
        }
        Ok(unsettled)
    }

    async fn beat(&mut self) -> Result<(), anyhow::Error> {
        if !self.state.has_entered {
            return Ok(());
        }
        let beat = gateways::beat(&self.pool, self.identity.id, &self.state.progress);
        let is_known = timeout(PATIENCE, beat).await??;
        self.state.has_entered = is_known;
        Ok(())
    }

    async fn listen(&self) -> Option<PgListener> {
        let listen = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        match timeout(PATIENCE, listen).await {
            Ok(Ok(listener)) => Some(listener),
            Ok(Err(error)) => {
                warn("changes of routes are not heard at once", &error);
                None
            }
            Err(_) => None,
        }
    }
}

/// Returns when a route was changed, or when nothing can be heard any more; never without a listener.
async fn heard(listener: &mut Option<PgListener>) {
    let Some(listening) = listener else {
        return std::future::pending().await;
    };
    // A lost connection may have lost notifications: a round follows in either case.
    if !matches!(listening.try_recv().await, Ok(Some(_))) {
        *listener = None;
    }
}

fn warn(what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error = %chain(error), "{what}");
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap_or(u32::MAX))
}
