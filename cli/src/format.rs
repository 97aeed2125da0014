//! How values look to people.

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use shared::clock::{Clock as _, SystemClock};

/// A table with these columns.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(
            columns
                .iter()
                .map(|name| Cell::new(name).add_attribute(Attribute::Bold)),
        );
    table
}

/// A table without the spaces that comfy-table puts before the first column and after the last.
pub(crate) fn render(table: &Table) -> String {
    let lines = table.to_string();
    let lines: Vec<&str> = lines
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n")
}

/// How long ago a moment was.
pub(crate) fn ago(moment: DateTime<Utc>) -> String {
    let since = SystemClock.now() - moment;
    if since < TimeDelta::zero() {
        return format!("in {}", span(-since));
    }
    format!("{} ago", span(since))
}

/// A length of time in its two largest units.
pub(crate) fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) if seconds % 60 == 0 => format!("{minutes} min"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// Seconds of a length of time as people type it: a number with s, m, h or d.
///
/// # Errors
/// How it is written.
pub(crate) fn parse_span(text: &str) -> Result<u32, String> {
    let seconds = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    });
    let number = text.get(..text.len().saturating_sub(1));
    let number = number.and_then(|number| number.parse::<u32>().ok());
    let all = number.zip(seconds);
    all.and_then(|(number, seconds)| number.checked_mul(seconds))
        .ok_or_else(|| "write a number and a unit: 90s, 15m, 2h or 1d".to_owned())
}

/// A moment, to the millisecond.
pub(crate) fn moment(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// A size in binary units.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kiB", "MiB", "GiB", "TiB", "PiB"];
    let mut rest = count;
    let mut unit = None;
    for name in UNITS {
        if rest < 10_240 && (unit.is_some() || rest < 1024) {
            break;
        }
        rest /= 1024;
        unit = Some(name);
    }
    format!("{rest} {}", unit.unwrap_or("B"))
}

/// How much of something is done, as a share; a dash while nobody knows of how much.
pub(crate) fn percent(done: u64, total: Option<u64>) -> String {
    let total = total.filter(|total| *total > 0);
    // What grows meanwhile may make it more than all.
    let share = total.map(|total| u128::from(done.min(total)) * 100 / u128::from(total));
    or_dash(share.map(|share| format!("{share} %")))
}

/// A value, or a dash for what is not known.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_number_with_a_unit() {
        assert_eq!(parse_span("90s"), Ok(90));
        assert_eq!(parse_span("15m"), Ok(900));
        assert_eq!(parse_span("2h"), Ok(7200));
        assert_eq!(parse_span("1d"), Ok(86_400));
        for bad in [
            "",
            "s",
            "15",
            "15 m",
            "-1s",
            "1.5h",
            "1w",
            "99999999d",
            "1µ",
        ] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_shown_in_two_units() {
        let check = |seconds, expected: &str| {
            assert_eq!(span(TimeDelta::seconds(seconds)), expected);
        };
        check(0, "0 s");
        check(59, "59 s");
        check(60, "1 min");
        check(61, "1 min 1 s");
        check(3_661, "1 h 1 min");
        check(90_061, "1 d 1 h");
    }

    #[test]
    fn shares_are_shown_in_whole_percent_and_never_more_than_all() {
        let check = |done, total, expected: &str| assert_eq!(percent(done, total), expected);
        check(0, None, "–");
        check(5, Some(0), "–");
        check(0, Some(7), "0 %");
        check(699, Some(700), "99 %");
        check(701, Some(700), "100 %");
        check(u64::MAX, Some(u64::MAX), "100 %");
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        let check = |count, expected: &str| assert_eq!(bytes(count), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1 kiB");
        check(10_239 * 1024, "10239 kiB");
        check(10 << 20, "10 MiB");
        check(u64::MAX, "16383 PiB");
    }
}
