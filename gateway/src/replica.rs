//! One replica: rounds, for as long as it runs.

use std::fs::File;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use shared::db::gateways::{self, NewGateway, Progress};
use shared::db::routes::{self, CHANNEL, StoredRoute};
use shared::ids::ResourceId;
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
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// Whether reading failed since: what was there may have been put back meanwhile.
    reads_anew: bool,
    /// Why it could not be read the last time; none if it could.
    read_problem: Option<String>,
    /// Whether the control database has its row.
    has_entered: bool,
    /// Number of the newest change that both bouncers were made to be.
    applied: u64,
    /// Resources whose clients have not left yet, although they shall.
    waiting: Vec<ResourceId>,
    /// Why the bouncers are not what they should be; none if they are.
    bouncer_problem: Option<String>,
    /// Why clients are shown a former certificate; none if they are not.
    certificate_problem: Option<String>,
    /// Moment of the last look that found both bouncers as they should be.
    well_at: Option<Instant>,
}

impl State {
    /// Whether there is something to do, or it is time to look.
    fn is_due(&self) -> bool {
        let is_new = self.applied != self.read;
        let looked = self.well_at.is_some_and(|at| at.elapsed() < LOOK);
        is_new || !looked || !self.waiting.is_empty() || self.problem().is_some()
    }

    /// How far it is, as others are told.
    fn progress(&self) -> Progress {
        let unreadable = self.table.unreadable().iter();
        Progress {
            applied: self.applied,
            unsettled: self.waiting.iter().chain(unreadable).copied().collect(),
            problem: self.problem(),
        }
    }

    /// Why it does not do all that it should.
    fn problem(&self) -> Option<String> {
        let unreadable = self.table.unreadable();
        let unreadable = unreadable.first().map(|first| {
            let number = unreadable.len();
            format!("{number} routes cannot be read (is the encryption key another one?): {first}")
        });
        let others = [
            &self.bouncer_problem,
            &self.read_problem,
            &self.certificate_problem,
        ];
        others.into_iter().flatten().next().cloned().or(unreadable)
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
            let pause = if self.state.waiting.is_empty() {
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
        let read = self.read().await;
        self.state.read_problem = read.as_ref().err().map(|error| format!("{error:#}"));
        if let Err(error) = read {
            counter!(names::FAILURES, "part" => "read").increment(1);
            warn("routes cannot be read", &*error);
            self.state.reads_anew = true;
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
        let from = if self.state.reads_anew {
            0
        } else {
            self.state.read
        };
        let (mut newest, mut changed) = self.changed_since(from).await?;
        if newest < from {
            // The control database was put back: what it counts on from there are other changes.
            tracing::warn!(newest, read = from, "the routes are read anew");
            self.state.reads_anew = true;
            (newest, changed) = self.changed_since(0).await?;
        }
        if self.state.reads_anew {
            self.state.table = Table::of(changed, &self.vault);
            // Nothing of it is in force before it was applied.
            self.state.applied = 0;
            self.state.well_at = None;
            self.state.reads_anew = false;
        } else {
            self.state.table.take_up(changed, &self.vault);
        }
        self.state.read = newest;
        self.state.has_read = true;
        gauge!(names::ROUTES).set(count(self.state.table.leads().len()));
        Ok(())
    }

    async fn changed_since(&self, applied: u64) -> anyhow::Result<(u64, Vec<StoredRoute>)> {
        Ok(timeout(PATIENCE, routes::changed_since(&self.pool, applied)).await??)
    }

    /// Both bouncers, or a problem.
    async fn apply(&mut self) {
        let converged = self.converge().await;
        let problem = converged.as_ref().err().map(|error| format!("{error:#}"));
        self.state.bouncer_problem = problem;
        match converged {
            Ok(waiting) => {
                self.state.applied = self.state.read;
                self.state.waiting = waiting;
                self.state.well_at = Some(Instant::now());
            }
            Err(error) => {
                counter!(names::FAILURES, "part" => "apply").increment(1);
                warn("PgBouncer is not what it should be", &*error);
                self.state.well_at = None;
            }
        }
        match self.state.problem() {
            None => self.readiness.set_ready(),
            Some(problem) => self.readiness.set_not_ready(problem),
        }
    }

    async fn converge(&mut self) -> Result<Vec<ResourceId>, anyhow::Error> {
        let (certificates, problem) = self.certificates.current()?;
        self.state.certificate_problem = problem;
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
        let progress = self.state.progress();
        let beat = gateways::beat(&self.pool, self.identity.id, &progress);
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
        return;
    }
    // One round is for all of them.
    while listening.next_buffered().is_some() {}
}

fn warn(what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error = %chain(error), "{what}");
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap_or(u32::MAX))
}
