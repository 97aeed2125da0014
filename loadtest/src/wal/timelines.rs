//! Many timelines with WAL to push, and one worker that serves the queue of the archive and nothing
//! else.
//!
//! Control database, Redis, object store and worker are real. The agents are played from here, on one
//! port, each with its certificate: they do what the contract says, with WAL of zeros that grows at a
//! steady pace, and store it through the requests that the worker signed. Their segments are as small
//! as PostgreSQL makes them, and their pace is that of a database that fills a segment in about two
//! minutes: so segments are put together as often as those of a busy database of the usual size, and
//! this program has little to compress.

mod agents;
mod counting;
mod played;
mod rows;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::clock::SystemClock;
use shared::domain::JobKind;
use shared::pki::stored::load_or_make;
use shared::process::{Launched, Signal, free_port, tail_of};
use shared::queue::{Member, Queue, QueueConfig};
use shared::telemetry::metrics::archive::PUSHES;
use tokio::time::{Instant, interval, sleep};

use self::agents::Agents;
use self::counting::CountedStore;
use self::played::Played;
use self::tally::{Counts, Stored, Tally};
use super::Options;
use crate::cpu;
use crate::progress::Progress;
use crate::report::{Bar, Report, quantile};
use crate::system::{Control, archive_variables};

/// Time over which timelines come to the worker, one after the other: all at once would be a thousand
/// handshakes of TLS, of which the half that is the agents' would be on this machine, too.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Longest time until each timeline was pushed.
const PATIENCE: Duration = Duration::from_mins(5);

/// Between two looks until then.
const LOOK: Duration = Duration::from_millis(500);

/// What comes to the interval of a plan, in which a push begins, in seconds: a beat of the ring (50 ms), and the upload.
const BEAT: f64 = 0.5;

/// What a moment of the run looks like.
struct Meter {
    at: Instant,
    worker: Duration,
    postgres: Duration,
    redis: Duration,
    counts: Counts,
}

/// Everything that takes part.
struct Scene {
    control: Control,
    store: CountedStore,
    tally: Arc<Tally>,
    worker: Launched,
    metrics_url: String,
    agents: Agents,
    /// Seconds between two pushes, as the plan says.
    interval: f64,
}

/// Measures what the worker does for all.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::start(options).await?;
    scene.until_all_pushed(options.timelines).await?;
    let what = format!("pushes of {} timelines", options.timelines);
    let progress = Progress::begin(what, 0);
    let before = scene.meter()?;
    scene.tally.forget();
    sleep(Duration::from_secs(options.timelines_seconds)).await;
    let after = scene.meter()?;
    let stored = scene.tally.all_stored();
    progress.end("measured");
    scene.report(report, (&before, &after), &stored)?;
    scene.check(report).await?;
    scene.stop().await
}

impl Scene {
    async fn start(options: &Options) -> anyhow::Result<Self> {
        // One provider for the whole process; another part may have been quicker.
        drop(rustls::crypto::ring::default_provider().install_default());
        let progress = Progress::begin(format!("{} timelines", options.timelines), 0);
        let control = Control::start().await?;
        let tally = Arc::new(Tally::default());
        let store = CountedStore::start(Arc::clone(&tally)).await?;
        let authority = load_or_make(&control.pool, &control.vault, &SystemClock).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let played = (0..options.timelines)
            .map(|number| Played::new(number, options.timelines, &http, &tally))
            .collect::<Vec<_>>();
        let port = free_port()?;
        let interval = rows::interval_s(&control.pool, &options.timelines_plan).await?;
        let agents = Agents::start(port, &authority, played, &tally).await?;
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let mut variables = archive_variables(store.address, &store.secret);
        for (name, value) in [
            ("RINGMASTER_QUEUES", "archive"),
            ("RINGMASTER_METRICS_LISTEN", &metrics),
            // It starts no servers.
            ("RINGMASTER_AGENT_BINARY", "/bin/false"),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        let program = options.common.programs.worker()?;
        let worker = control.launch("worker", &program, &variables).await?;
        progress.end("made");
        enter(&control, &agents, (port, options)).await?;
        Ok(Self {
            control,
            store,
            tally,
            worker,
            metrics_url: format!("http://{metrics}/metrics"),
            agents,
            interval,
        })
    }

    /// Waits until each has its epoch and was pushed again at its pace.
    async fn until_all_pushed(&self, timelines: u32) -> anyhow::Result<()> {
        let progress = Progress::begin("first pushes", timelines.into());
        let begun = Instant::now();
        loop {
            let pushed = self.agents.pushed_twice();
            progress.at(pushed.into());
            if pushed == timelines {
                break;
            }
            let log = || tail_of(self.worker.log());
            ensure!(begun.elapsed() < PATIENCE, "{pushed}: {}", log());
            sleep(LOOK).await;
        }
        progress.end(&format!("after {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    fn meter(&self) -> anyhow::Result<Meter> {
        Ok(Meter {
            at: Instant::now(),
            worker: cpu::time_of(self.worker.pid())?,
            postgres: self.control.postgres_time()?,
            redis: cpu::time_of(self.control.redis.pid())?,
            counts: self.tally.counts(),
        })
    }

    fn report(
        &self,
        report: &mut Report,
        (before, after): (&Meter, &Meter),
        stored: &[Stored],
    ) -> anyhow::Result<()> {
        let did = after.counts.since(&before.counts);
        ensure!(did.pushes > 0.0, "nothing was pushed");
        let seconds = (after.at - before.at).as_secs_f64();
        report.note("pushes", did.pushes / seconds, "/s");
        report.note("push interval of the plan", self.interval, "s");
        let mut took: Vec<f64> = stored.iter().map(|push| push.took).collect();
        let mut ages: Vec<f64> = stored.iter().map(|push| push.age).collect();
        let what = "age of the oldest WAL of a push, once durable";
        report.note(format!("{what}, p50"), quantile(&mut ages, 50), "s");
        report.note(format!("{what}, p99"), quantile(&mut ages, 99), "s");
        let bar = Bar::AtMost(self.interval + BEAT);
        let slowest = quantile(&mut ages, 100);
        report.judge(format!("{what}, longest"), slowest, "s", bar);
        let what = "of that, agent and object store, p99";
        report.note(what, quantile(&mut took, 99), "s");
        for (who, before, after) in [
            ("worker", before.worker, after.worker),
            ("control database", before.postgres, after.postgres),
            ("Redis", before.redis, after.redis),
        ] {
            let time = after.saturating_sub(before).as_secs_f64();
            let each = time * 1e3 / did.pushes;
            report.note(format!("processor time of a push, {who}"), each, "ms");
            if who == "worker" {
                report.note("worker", 100.0 * time / seconds, "% of a core");
            }
        }
        for (what, count) in [
            ("calls to agents", did.calls),
            ("requests of the worker to the store", did.worker_requests),
            ("requests of agents to the store", did.agent_requests),
        ] {
            report.note(format!("{what}, each push"), count / did.pushes, "");
        }
        let put_together = did.segments / seconds;
        report.note("segments put together", put_together, "/s");
        Ok(())
    }

    /// Nothing went wrong that the worker knows of, and each timeline is a chain without a hole.
    async fn check(&self, report: &mut Report) -> anyhow::Result<()> {
        let answer = reqwest::Client::builder().no_proxy().build()?;
        let text = answer.get(&self.metrics_url).send().await?.text().await?;
        let of = |result: &str| {
            let label = format!("result=\"{result}\"");
            let lines = text.lines().filter(|line| line.starts_with(PUSHES));
            lines
                .filter(|line| line.contains(&label))
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum::<f64>()
        };
        ensure!(of("pushed") > 0.0, "no push is counted: {text}");
        let wrong = ["refused", "failed", "missing", "conflict"].map(of);
        let wrong = wrong.iter().sum();
        report.judge("pushes that went wrong", wrong, "", Bar::AtMost(0.0));
        let gaps: i64 = sqlx::query_scalar("select count(*) from gaps")
            .fetch_one(&self.control.pool)
            .await
            .context("count gaps")?;
        ensure!(gaps == 0, "{gaps} gaps");
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.worker.process().signal(Signal::TERM)?;
        self.worker.wait().await?;
        drop(self.agents);
        self.store.stop().await;
        self.control.stop().await
    }
}

/// Brings all timelines to the worker, at an even pace.
async fn enter(
    control: &Control,
    agents: &Agents,
    (port, options): (u16, &Options),
) -> anyhow::Result<()> {
    let progress = Progress::begin("they come to the worker", options.timelines.into());
    let queue = Queue::connect(QueueConfig::single(control.redis.url())?).await?;
    let mut pace = interval(ARRIVAL / options.timelines.max(1));
    let mut entered = 0;
    for played in agents.all() {
        pace.tick().await;
        rows::insert(&control.pool, played, (port, &options.timelines_plan)).await?;
        let (ring, member) = Member::of_job(JobKind::WalPush, played.timeline.as_uuid());
        queue.wake(ring, member).await?;
        entered += 1;
        progress.at(entered);
    }
    progress.end("entered");
    Ok(())
}
