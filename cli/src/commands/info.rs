//! `ringmaster info`.

use chrono::TimeDelta;
use clap::Args;
use shared::domain::Observation;
use shared::http_api::{FollowerLag, ForkDetail, Protection, ProtectionState, ResourceDetail};

use super::Context;
use crate::client::Call;
use crate::failure::Failure;
use crate::format::{ago, bytes, moment, or_dash, span};
use crate::screen::{say, say_json};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct Info {
    /// Name or id of the database
    name: String,
}

/// A line: what, and its value.
type Line = (&'static str, String);

impl Info {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str()];
        let detail: ResourceDetail = context.client.call(Call::get(&path)).await?;
        if context.json {
            return say_json(&detail);
        }
        let mut lines = about_resource(&detail);
        lines.extend(detail.fork.iter().flat_map(about_copy));
        lines.extend(detail.lag.iter().flat_map(about_lag));
        if !detail.followers.is_empty() {
            lines.push(("followers", detail.followers.join(", ")));
        }
        lines.extend(detail.observation.iter().flat_map(about_observation));
        lines.extend(detail.protection.iter().flat_map(about_protection));
        for alert in &detail.alerts {
            let raised = ago(alert.raised_at);
            lines.push((
                "ALERT",
                format!("{}: {} (raised {raised})", alert.name, alert.detail),
            ));
        }
        let lines: Vec<String> = lines
            .iter()
            .map(|(what, value)| format!("{what:<20}{value}"))
            .collect();
        say(lines.join("\n"))
    }
}

fn about_resource(detail: &ResourceDetail) -> Vec<Line> {
    let resource = &detail.resource;
    let mut lines = vec![
        ("name", resource.name.clone()),
        ("id", resource.id.to_string()),
        ("plan", resource.plan.clone()),
        (
            "state",
            format!("{} (since {})", resource.state, ago(resource.state_since)),
        ),
        ("created", ago(resource.created_at)),
        ("postgres", or_dash(resource.postgres_major)),
    ];
    let endpoint = resource.endpoint.as_ref();
    let endpoint = endpoint.map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port));
    lines.push(("endpoint", or_dash(endpoint)));
    lines.extend(resource.problem.clone().map(|problem| ("problem", problem)));
    lines.extend(
        resource
            .deadline_at
            .map(|deadline| ("deadline", ago(deadline))),
    );
    let asked = resource.destroy_requested_at;
    lines.extend(asked.map(|asked| ("destroy asked", ago(asked))));
    lines
}

fn about_copy(copy: &ForkDetail) -> Vec<Line> {
    if !copy.follows {
        return about_fork(copy);
    }
    let name = copy.parent_name.clone();
    match (copy.unfollowed_at, copy.unfollow_requested_at) {
        (Some(at), _) => {
            let branch = copy.branch_lsn;
            let left = branch.map_or_else(String::new, |lsn| format!(" at {lsn}"));
            vec![("followed", format!("{name} until {}{left}", moment(at)))]
        }
        (None, Some(at)) => {
            let text = format!("{name}; asked to go on by itself {}", ago(at));
            vec![("follows", text)]
        }
        (None, None) => vec![("follows", name)],
    }
}

fn about_lag(lag: &FollowerLag) -> Vec<Line> {
    let from = if lag.streaming {
        "streaming"
    } else {
        "from the archive"
    };
    let mut lines = vec![("replayed up to", format!("{} ({from})", lag.replayed_lsn))];
    lines.extend(lag.bytes_behind.map(|behind| {
        let seconds = lag.seconds_behind;
        let in_time = seconds.map_or_else(String::new, |seconds| format!(", {seconds:.0} s"));
        ("behind", format!("{}{in_time}", bytes(behind)))
    }));
    lines
}

fn about_fork(fork: &ForkDetail) -> Vec<Line> {
    let as_of = match (fork.target_at, fork.target_lsn) {
        (Some(at), _) => moment(at),
        (None, Some(lsn)) => lsn.to_string(),
        (None, None) => moment(fork.asked_at),
    };
    let branch = fork.branch_lsn;
    let left = branch.map_or_else(String::new, |lsn| format!(", which it left at {lsn}"));
    let text = format!("{} as of {as_of}{left}", fork.parent_name);
    let mut lines = vec![("fork of", text)];
    let known_to_miss = fork.complete_until.filter(|until| *until < fork.asked_at);
    lines.extend(known_to_miss.map(|until| {
        let text = format!(
            "the original did not answer: only what was committed before {} is certain to be here",
            moment(until)
        );
        ("FORK", text)
    }));
    lines
}

fn about_protection(protection: &Protection) -> Vec<Line> {
    let state = match protection.state {
        ProtectionState::Off => "OFF: its WAL goes to no archive".to_owned(),
        ProtectionState::Starting => "starting: its WAL is not in the archive yet".to_owned(),
        ProtectionState::On => "on".to_owned(),
        ProtectionState::Behind => "BEHIND: WAL waits for the archive".to_owned(),
    };
    let mut lines = vec![("protection", state)];
    if let (Some(lsn), Some(at)) = (protection.durable_up_to_lsn, protection.durable_at) {
        lines.push(("archived up to", format!("{lsn} ({})", ago(at))));
    }
    if let (Some(behind), Some(seconds)) = (protection.bytes_behind, protection.seconds_behind) {
        let text = format!("{} in {seconds:.0} s", bytes(behind));
        lines.push(("not yet archived", text));
    }
    let last = protection.last_backup_at;
    lines.push((
        "backups",
        match last {
            Some(last) => format!("{}, the last {}", protection.backups, ago(last)),
            None => "none yet".to_owned(),
        },
    ));
    lines.extend(protection.windows.iter().map(|window| {
        let to = window
            .to_at
            .map_or_else(String::new, |at| format!("{} ", moment(at)));
        let text = format!(
            "{} ({}) to {to}({})",
            moment(window.from_at),
            window.from_lsn,
            window.to_lsn
        );
        ("can be restored", text)
    }));
    lines.extend(about_proofs(protection));
    lines.extend(protection.gap.as_ref().map(|gap| {
        let text = format!(
            "{} to {} is lost to the archive (found {})",
            gap.from_lsn,
            gap.to_lsn,
            ago(gap.found_at)
        );
        ("GAP", text)
    }));
    lines
}

fn about_proofs(protection: &Protection) -> Vec<Line> {
    let last = protection.last_proof.as_ref();
    let proven = last.map_or_else(
        || "not yet".to_owned(),
        |proof| {
            let (lsn, until) = (proof.lsn, moment(proof.until));
            let took = TimeDelta::milliseconds(proof.took_ms);
            format!(
                "{}, with all until {until} (up to {lsn}); it took {}",
                ago(proof.at),
                span(took)
            )
        },
    );
    let mut lines = vec![("restore proven", proven)];
    if let Some(open) = &protection.open_proof {
        let (what, text) = match (&open.problem, open.finished_at) {
            (Some(problem), Some(at)) => ("PROOF FAILED", format!("{}: {problem}", ago(at))),
            (Some(_) | None, _) => (
                "proof under way",
                format!("{} since {}", open.state, ago(open.asked_at)),
            ),
        };
        lines.push((what, text));
    }
    lines
}

fn about_observation(seen: &Observation) -> Vec<Line> {
    let answer = match (seen.available, seen.response_ms) {
        (true, Some(took)) => format!("answered in {took:.1} ms"),
        (true, None) => "answered".to_owned(),
        (false, _) => match seen.outage {
            Some(outage) => format!("did not answer: {outage:?}"),
            None => "did not answer".to_owned(),
        },
    };
    let mut lines = vec![("observed", format!("{} – {answer}", ago(seen.observed_at)))];
    lines.extend(seen.connections.map(|used| {
        let text = format!(
            "{} open, {} active, {} allowed",
            used.open, used.active, used.limit
        );
        ("connections", text)
    }));
    lines.extend(seen.tables.map(|tables| {
        let (count, rows) = (tables.count, tables.rows_estimated);
        let (sequential, index) = (tables.sequential_scans, tables.index_scans);
        let text =
            format!("{count}, about {rows} rows; {sequential} sequential, {index} index scans");
        ("tables", text)
    }));
    lines.extend(seen.database_size_bytes.map(|size| ("size", bytes(size))));
    lines.extend(
        seen.cache_hit_ratio
            .map(|hit| ("cache hits", format!("{:.2} %", hit * 100.0))),
    );
    lines.extend(seen.wal_lsn.map(|lsn| ("WAL position", lsn.to_string())));
    let oldest = seen.oldest_transaction_s;
    lines.extend(oldest.map(|age| ("oldest transaction", format!("{age:.1} s"))));
    if let (Some(used), Some(total)) = (seen.disk_used_bytes, seen.disk_total_bytes) {
        lines.push(("disk", format!("{} of {} used", bytes(used), bytes(total))));
    }
    let probe = seen.disk_probe_took_ms;
    lines.extend(probe.map(|took| ("disk probe", format!("fsync took {took} ms"))));
    lines
}
