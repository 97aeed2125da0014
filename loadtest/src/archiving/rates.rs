//! What several measurements of one thing come to.

use std::time::Duration;

use super::MIB;
use crate::report::{Bar, Report};

/// Rates of one contender, in mebibytes of plain data a second.
#[derive(Debug, Default)]
pub(crate) struct Rates(Vec<f64>);

impl Rates {
    /// Adds a measurement.
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "bytes, as a figure for people"
    )]
    pub(crate) fn add(&mut self, bytes: u64, time: Duration) -> f64 {
        let rate = bytes as f64 / MIB as f64 / time.as_secs_f64();
        self.0.push(rate);
        rate
    }

    /// The middle one; none without a measurement.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }

    /// Notes the median and the extremes.
    pub(crate) fn note(&self, what: &str, report: &mut Report) {
        let Some(median) = self.median() else {
            return;
        };
        let all: Vec<String> = self.0.iter().map(|rate| format!("{rate:.0}")).collect();
        report.note(format!("{what} ({})", all.join(", ")), median, "MiB/s");
    }

    /// Notes how many times as fast as `peer` this is, if both were measured.
    pub(crate) fn against(&self, peer: &Self, who: &str, bar: f64, report: &mut Report) {
        if let (Some(ours), Some(theirs)) = (self.median(), peer.median()) {
            let what = format!("against {who}");
            report.judge(what, ours / theirs, "×", Bar::AtLeast(bar));
        }
    }
}
