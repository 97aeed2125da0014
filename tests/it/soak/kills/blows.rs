//! What is killed and broken, by chance.

use std::collections::BTreeMap;

use anyhow::Context as _;
use http::Method;
use shared::process::{RunningProcess, Signal};
use tests::object_server::{Fault, On};
use tokio::time::sleep;

use crate::machines::world::dice::Dice;
use crate::protection::forks::ask_to_capture;
use crate::protection::world::Protected;

/// Requests that a fault hits at most.
const HITS: u32 = 4;

/// One thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Worker,
    Agent,
    Postmaster,
    /// Agent and postmaster at once: nobody is left who knows of the other.
    Server,
    Redis,
    Store,
    Unavailable,
    Lost,
    Reset,
    Hang,
    Truncated,
    /// Nothing breaks, but there is more that can.
    Backup,
}

/// More often what leaves something half done.
const ALL: [Blow; 14] = [
    Blow::Worker,
    Blow::Worker,
    Blow::Agent,
    Blow::Postmaster,
    Blow::Postmaster,
    Blow::Server,
    Blow::Redis,
    Blow::Store,
    Blow::Unavailable,
    Blow::Lost,
    Blow::Reset,
    Blow::Hang,
    Blow::Truncated,
    Blow::Backup,
];

/// All that was struck so far.
#[derive(Debug, Default)]
pub(super) struct Blows {
    struck: BTreeMap<Blow, u32>,
    worker: usize,
}

impl Blows {
    /// Breaks something, and puts it right again where nobody else does.
    pub(super) async fn strike(
        &mut self,
        protected: &mut Protected,
        dice: &mut Dice,
    ) -> anyhow::Result<()> {
        let blow = dice.one_of(ALL.to_vec()).context("there are blows")?;
        let faults = protected.server.faults().clone();
        let set = |fault| faults.set(fault, On::all().times(HITS));
        match blow {
            Blow::Worker => {
                protected.world.kill_worker(self.worker).await?;
                sleep(dice.millis(0, 2_000)).await;
                self.worker = protected.start_worker().await?;
            }
            Blow::Agent => kill(agent(protected).await),
            Blow::Postmaster => kill(postmaster(protected).await),
            Blow::Server => {
                kill(agent(protected).await);
                kill(postmaster(protected).await);
            }
            Blow::Redis => protected.world.redis.flush().await?,
            Blow::Store => {
                protected.server.stop().await?;
                sleep(dice.millis(100, 3_000)).await;
                protected.server.start_again().await?;
            }
            Blow::Unavailable => set(Fault::Answer(503, "SlowDown")),
            Blow::Lost => faults.set(Fault::LoseAnswer, On::method(Method::PUT).times(HITS)),
            Blow::Reset => {
                let bytes = usize::try_from(dice.below(100_000))?;
                let puts = On::method(Method::PUT).times(HITS);
                faults.set(Fault::ResetUpload(bytes), puts);
            }
            Blow::Hang => {
                faults.set(Fault::Hang, On::all());
                sleep(dice.millis(100, 3_000)).await;
                faults.clear();
            }
            Blow::Truncated => {
                faults.set(Fault::TruncateContent, On::method(Method::GET).times(HITS));
            }
            Blow::Backup => drop(ask_to_capture(protected, protected.id).await?),
        }
        *self.struck.entry(blow).or_default() += 1;
        Ok(())
    }
}

/// What is not there, or is gone meanwhile, needs no killing.
fn kill(process: anyhow::Result<RunningProcess>) {
    if let Ok(process) = process {
        drop(process.signal(Signal::KILL));
    }
}

async fn agent(protected: &Protected) -> anyhow::Result<RunningProcess> {
    let row = protected.world.row(protected.id).await?;
    let base = row.base.context("it is placed")?;
    protected.world.agent(base.server)
}

async fn postmaster(protected: &Protected) -> anyhow::Result<RunningProcess> {
    let row = protected.world.row(protected.id).await?;
    let base = row.base.context("it is placed")?;
    protected.world.postmaster(base.server)
}
