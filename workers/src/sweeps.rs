//! What nobody asks for and has to be done all the same, again and again.
//!
//! Every worker sweeps; each sweep is idempotent and cheap when there is nothing to do, so two at
//! the same time do no harm. To add one: a file with an async function, and a line in `start`.

mod audit;
mod backups;
mod certificate;
mod clock;
mod donors;
mod followers;
mod gateways;
mod gauges;
mod housekeeping;
mod leftovers;
mod proofs;
mod protection;
mod retention;

pub use audit::sweep as audit;
pub use backups::sweep as backups;
pub use leftovers::sweep as leftovers;
pub use proofs::sweep as proofs;
pub use retention::sweep as retention;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::control_clock::ControlClock;

/// Time between two audits of the queue.
const AUDIT: Duration = Duration::from_secs(15);
/// Time between two samples of the gauges.
const GAUGES: Duration = Duration::from_secs(10);
/// Time between two rounds of housekeeping in the control database.
const HOUSEKEEPING: Duration = Duration::from_mins(10);
/// Time between two looks for machines that no server stands for.
const LEFTOVERS: Duration = Duration::from_mins(5);
/// Time between two comparisons of clocks.
const CLOCK: Duration = Duration::from_secs(30);
/// Time between two looks at how far the archive is behind.
const PROTECTION: Duration = Duration::from_secs(15);
/// Time between two looks at how far followers are behind.
const FOLLOWERS: Duration = Duration::from_secs(15);
/// Time between two looks for donors that nobody needs.
const DONORS: Duration = Duration::from_secs(30);
/// Time between two looks at the replicas of the gateway.
const GATEWAYS: Duration = Duration::from_secs(10);
/// Time between two looks at who needs a base backup.
const BACKUPS: Duration = Duration::from_secs(15);
/// Time between two looks at who is to be proven.
const PROOFS: Duration = Duration::from_secs(30);
/// Time between two looks at what may be deleted from the archive.
const RETENTION: Duration = Duration::from_mins(5);
/// Time between two renewals of this worker's own certificate: well within its day.
const CERTIFICATE: Duration = Duration::from_hours(4);

/// Starts all sweeps on `tasks`, until `stop`.
pub(crate) fn start(
    context: &Context,
    clock: &Arc<ControlClock>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let every = |name: &'static str, pause: Duration| Sweep {
        name,
        pause,
        stop: stop.clone(),
    };
    let at = context.clone();
    tasks.spawn(every("audit", AUDIT).run(move || audit::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("gauges", GAUGES).run(move || gauges::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("housekeeping", HOUSEKEEPING).run(move || housekeeping::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("leftovers", LEFTOVERS).run(move || leftovers::sweep(at.clone())));
    let (pool, clock) = (context.pool.clone(), Arc::clone(clock));
    tasks.spawn(every("clock", CLOCK).run(move || clock::sweep(Arc::clone(&clock), pool.clone())));
    let at = context.clone();
    tasks.spawn(every("protection", PROTECTION).run(move || protection::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("followers", FOLLOWERS).run(move || followers::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("donors", DONORS).run(move || donors::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("gateways", GATEWAYS).run(move || gateways::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("backups", BACKUPS).run(move || backups::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("proofs", PROOFS).run(move || proofs::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(every("retention", RETENTION).run(move || retention::sweep(at.clone())));
    let at = context.clone();
    tasks.spawn(
        every("certificate", CERTIFICATE).run(move || std::future::ready(certificate::sweep(&at))),
    );
}

struct Sweep {
    name: &'static str,
    pause: Duration,
    stop: CancellationToken,
}

impl Sweep {
    /// Sweeps at once and then after each pause. One that fails is tried again after the pause.
    async fn run<F, E>(self, sweep: impl Fn() -> F + Send)
    where
        F: Future<Output = Result<(), E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
    {
        let rounds = async {
            loop {
                if let Err(error) = sweep().await {
                    let error = error.into();
                    tracing::warn!(
                        sweep = self.name,
                        error = %shared::telemetry::chain(error.as_ref()), "a sweep failed",
                    );
                }
                tokio::time::sleep(self.pause).await;
            }
        };
        let _: Option<()> = self.stop.run_until_cancelled(rounds).await;
    }
}
