//! Every metric there is: one row of [`ALL`] each.
//!
//! To add one: a constant with its name (units last: `_seconds`, `_bytes`; counters end in
//! `_total`), and a row in the table of its area. Labels come from closed sets wherever possible:
//! then each series exists, at zero, from the start, and a missing series means a missing process.
//! Names and labels are a contract with dashboards and alert rules; `docs/metrics.md` is rendered
//! from this table and checked by a test.

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

pub mod archive;
pub mod fleet;
pub mod gateway;
pub mod http;
pub mod process;
pub mod ring;

/// Upper bounds of buckets for durations in seconds: from a turn on the ring (0.1 ms) to a slow
/// provision (10 min).
pub const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0, 300.0, 600.0,
];

/// Upper bounds of buckets for sizes of batches.
pub const COUNT_BUCKETS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0,
];

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts samples below each of these upper bounds.
    Histogram(&'static [f64]),
}

/// A label, and the values it may have.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its key.
    pub key: &'static str,
    /// Gives every value; `None` where the set is not known beforehand.
    pub values: Option<fn() -> Vec<&'static str>>,
}

impl Label {
    /// Whether every value is known beforehand.
    pub const fn is_closed(&self) -> bool {
        self.values.is_some()
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What its numbers count.
    pub unit: Unit,
    /// What it means, for people.
    pub about: &'static str,
    /// Its labels.
    pub labels: &'static [Label],
}

/// Every metric of every process.
pub const ALL: &[Metric] = &concat_tables();

const TABLES: [&[Metric]; 6] = [
    process::TABLE,
    ring::TABLE,
    fleet::TABLE,
    archive::TABLE,
    gateway::TABLE,
    http::TABLE,
];

const COUNT: usize = {
    let mut count = 0;
    let mut table = 0;
    while table < TABLES.len() {
        count += TABLES[table].len();
        table += 1;
    }
    count
};

const fn concat_tables() -> [Metric; COUNT] {
    let mut all = [process::TABLE[0]; COUNT];
    let (mut next, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            all[next] = TABLES[table][row];
            next += 1;
            row += 1;
        }
        table += 1;
    }
    all
}

/// Tells the recorder of this process what each metric means.
pub fn describe_all() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.about),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.about),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.about),
        }
    }
}

/// Makes every series whose labels are all closed sets, at zero.
pub fn zero_all() {
    for metric in ALL {
        for labels in series(metric.labels) {
            match metric.kind {
                Kind::Counter => counter!(metric.name, &labels).increment(0),
                Kind::Gauge => gauge!(metric.name, &labels).set(0.0),
                Kind::Histogram(_) => drop(histogram!(metric.name, &labels)),
            }
        }
    }
}

/// Every combination of values; none if one of the sets is open.
fn series(labels: &[Label]) -> Vec<Vec<(&'static str, &'static str)>> {
    let mut all = vec![Vec::new()];
    for label in labels {
        let values = label.values.map_or_else(Vec::new, |values| values());
        let with = |series: &Vec<_>| {
            let longer = |value| {
                let mut series = series.clone();
                series.push((label.key, value));
                series
            };
            values.iter().copied().map(longer).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

/// The table as Markdown, for `docs/metrics.md`.
pub fn render_markdown() -> String {
    let rows: Vec<String> = ALL.iter().map(markdown_row).collect();
    format!(
        "# Metrics\n\nRendered from `shared/src/telemetry/metrics.rs`; do not edit.\n\n\
         | metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n{}",
        rows.concat()
    )
}

fn markdown_row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let label = |label: &Label| match label.values {
        Some(values) => format!("`{}` ({})", label.key, values().join(", ")),
        None => format!("`{}`", label.key),
    };
    let labels: Vec<String> = metric.labels.iter().map(label).collect();
    let (name, unit, about) = (metric.name, metric.unit.as_str(), metric.about);
    format!(
        "| `{name}` | {kind} | {unit} | {} | {about} |\n",
        labels.join("; ")
    )
}

const fn closed(key: &'static str, values: fn() -> Vec<&'static str>) -> Label {
    Label {
        key,
        values: Some(values),
    }
}

const fn open(key: &'static str) -> Label {
    Label { key, values: None }
}

const fn counts(name: &'static str, about: &'static str, labels: &'static [Label]) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: Unit::Count,
        about,
        labels,
    }
}

const fn gauges(
    name: &'static str,
    unit: Unit,
    about: &'static str,
    labels: &'static [Label],
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit,
        about,
        labels,
    }
}

const fn times(name: &'static str, about: &'static str, labels: &'static [Label]) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(SECONDS_BUCKETS),
        unit: Unit::Seconds,
        about,
        labels,
    }
}

#[cfg(test)]
mod tests;
