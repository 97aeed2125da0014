//! How a worker turns its rings: sizes, times, and which rings it serves.

use std::num::ParseIntError;
use std::time::Duration;

use shared::queue::Ring;

/// Settings of one worker's loop; the defaults suit a machine of two cores.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Rings that this worker serves, so that each kind of work scales alone.
    #[arg(
        long = "queues",
        env = "RINGMASTER_QUEUES",
        value_delimiter = ',',
        default_value = "urgent,ring,jobs,archive"
    )]
    pub rings: Vec<Ring>,

    /// Time for which a claim gives the right to a member, in milliseconds.
    ///
    /// A turn may take longer, its lease is then extended. A member whose worker died is turned
    /// again after this time.
    #[arg(long = "lease-ms", env = "RINGMASTER_LEASE_MS", value_parser = milliseconds, default_value = "15000")]
    pub lease: Duration,

    /// Longest time of one turn, in milliseconds; after it the turn has failed.
    #[arg(long = "turn-timeout-ms", env = "RINGMASTER_TURN_TIMEOUT_MS", value_parser = milliseconds, default_value = "60000")]
    pub turn_timeout: Duration,

    /// Members of one ring that this worker holds at a time. Each ring has its own, so that a
    /// flood in one takes no capacity from another.
    #[arg(long, env = "RINGMASTER_IN_FLIGHT", default_value_t = 1024)]
    pub in_flight: usize,

    /// Members asked for in one claim (1..=500).
    #[arg(long, env = "RINGMASTER_CLAIM_BATCH", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub claim_batch: u16,

    /// Tasks of the runtime that turn the members of one ring. More than one uses more cores.
    #[arg(long, env = "RINGMASTER_LANES", default_value_t = 2)]
    pub lanes: usize,

    /// Longest time between two looks at a shard, in milliseconds: how late a member is if its
    /// wake was lost.
    #[arg(long = "poll-cap-ms", env = "RINGMASTER_POLL_CAP_MS", value_parser = milliseconds, default_value = "1000")]
    pub poll_cap: Duration,

    /// Time between two looks at shards that were found drained, in milliseconds: members that
    /// become due meanwhile are claimed and begin together, which costs each of them less. A wake
    /// does not wait for it. At most 5 in the rings of jobs and of what is urgent.
    #[arg(long = "poll-floor-ms", env = "RINGMASTER_POLL_FLOOR_MS", value_parser = milliseconds, default_value = "50")]
    pub poll_floor: Duration,

    /// How overdue the members of another worker's shard must be before this worker helps, in
    /// milliseconds.
    #[arg(long = "take-over-ms", env = "RINGMASTER_TAKE_OVER_MS", value_parser = milliseconds, default_value = "2000")]
    pub take_over: Duration,

    /// Time after which a silent worker's shards have new owners, in milliseconds.
    #[arg(long = "worker-ttl-ms", env = "RINGMASTER_WORKER_TTL_MS", value_parser = milliseconds, default_value = "10000")]
    pub worker_ttl: Duration,

    /// Time that running turns get to finish at shutdown, in milliseconds; what is left is
    /// dropped and handed back.
    #[arg(long = "grace-ms", env = "RINGMASTER_GRACE_MS", value_parser = milliseconds, default_value = "20000")]
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rings: Ring::ALL.to_vec(),
            lease: Duration::from_secs(15),
            turn_timeout: Duration::from_mins(1),
            in_flight: 1024,
            claim_batch: 128,
            lanes: 2,
            poll_cap: Duration::from_secs(1),
            poll_floor: Duration::from_millis(50),
            take_over: Duration::from_secs(2),
            worker_ttl: Duration::from_secs(10),
            grace: Duration::from_secs(20),
        }
    }
}

fn milliseconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_code() {
        let parsed = Cli::parse_from(["worker"]).settings;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn a_worker_serves_the_queues_it_is_told() {
        let parsed = Cli::parse_from(["worker", "--queues", "urgent,jobs"]).settings;
        assert_eq!(parsed.rings, [Ring::Urgent, Ring::Jobs]);
        assert!(Cli::try_parse_from(["worker", "--queues", "slow"]).is_err());
    }
}
