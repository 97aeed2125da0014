//! What a scenario measured: a table for people, JSON for programs.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::machine::Machine;

/// The report of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    versions: Map<String, Value>,
    settings: Value,
    measurements: Vec<Measurement>,
}

#[derive(Debug, Serialize)]
struct Measurement {
    what: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<Bar>,
    /// Whether the bar was met; absent without a bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// What a value must reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// The value or more.
    AtLeast(f64),
    /// The value or less.
    AtMost(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
        }
    }
}

impl Report {
    pub(crate) fn new(scenario: &'static str) -> Self {
        let mut report = Self {
            scenario,
            machine: Machine::this(),
            versions: Map::new(),
            settings: Value::Null,
            measurements: Vec::new(),
        };
        report.version("ringmaster", env!("CARGO_PKG_VERSION"));
        report.version(
            "build",
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        );
        report
    }

    /// Notes the version of something that took part.
    pub(crate) fn version(&mut self, of: &str, version: impl Into<String>) {
        self.versions
            .insert(of.to_owned(), Value::String(version.into()));
    }

    /// Notes the settings of the run.
    pub(crate) fn settings(&mut self, settings: Value) {
        self.settings = settings;
    }

    /// Notes a value that has no bar.
    pub(crate) fn note(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.measurements.push(Measurement {
            what: what.into(),
            value,
            unit,
            bar: None,
            met: None,
        });
    }

    /// Notes a value and what it must reach.
    pub(crate) fn judge(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        bar: Bar,
    ) {
        let met = Some(bar.is_met(value));
        self.measurements.push(Measurement {
            what: what.into(),
            value,
            unit,
            bar: Some(bar),
            met,
        });
    }

    /// Prints the table to stdout.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["what", "measured", "bar", ""]);
        for measurement in &self.measurements {
            let bar = match measurement.bar {
                None => String::new(),
                Some(Bar::AtLeast(bar)) => format!("≥ {}", number(bar)),
                Some(Bar::AtMost(bar)) => format!("≤ {}", number(bar)),
            };
            let met = match measurement.met {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            let value = format!("{} {}", number(measurement.value), measurement.unit);
            table.add_row([measurement.what.clone(), value, bar, met.to_owned()]);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}\n{table}", self.machine).context("print the report")
    }

    /// Writes the report as JSON.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("render the report")?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("write the report to {}", path.display()))
    }
}

/// The value that so many percent of all are below or at: 50 is the middle, 100 the largest. Sorts them.
/// Not a number if there is none.
pub(crate) fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// A number for people: thousands apart, and as many decimals as matter.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let grouped = whole
        .char_indices()
        .flat_map(|(at, digit)| {
            let gap = at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit();
            gap.then_some(',').into_iter().chain([digit])
        })
        .collect::<String>();
    if rest.trim_end_matches('0').is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_readable() {
        for (value, text) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (25.0, "25"),
            (12.34, "12.3"),
            (112_345.6, "112,346"),
            (1_000.0, "1,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_bar_is_met_at_its_value() {
        assert!(Bar::AtLeast(1.0).is_met(1.0) && !Bar::AtLeast(1.0).is_met(0.9));
        assert!(Bar::AtMost(1.0).is_met(1.0) && !Bar::AtMost(1.0).is_met(1.1));
    }
}
