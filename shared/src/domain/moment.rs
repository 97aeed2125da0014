//! Moments as people write them.

use chrono::{DateTime, Utc};

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a moment: write date, time and time zone, as 2026-11-22T10:15:00Z or \"2026-11-22 10:15:00+01\""
)]
pub struct InvalidMoment {
    text: String,
}

/// How a moment may be written besides RFC 3339: as PostgreSQL prints it.
const FORMS: &[&str] = &["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];

/// Reads a moment with its time zone. Without one it is refused: whoever guesses restores the wrong
/// data.
///
/// # Errors
/// [`InvalidMoment`] says how to write one.
pub fn parse_moment(text: &str) -> Result<DateTime<Utc>, InvalidMoment> {
    let text = text.trim();
    let spelled = text
        .strip_suffix(" UTC")
        .or_else(|| text.strip_suffix('Z'))
        .map(|moment| format!("{moment}+00"));
    let spelled = spelled.as_deref().unwrap_or(text);
    let mut read = FORMS
        .iter()
        .filter_map(|form| DateTime::parse_from_str(spelled, form).ok());
    let moment = read.next().ok_or_else(|| InvalidMoment {
        text: text.chars().take(64).collect(),
    })?;
    Ok(moment.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = parse_moment(text).ok().map(|moment| moment.to_rfc3339());
        assert_eq!(read.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_moment_is_read_in_any_time_zone() {
        let quarter_past = Some("2026-11-22T10:15:00+00:00");
        check("2026-11-22T10:15:00Z", quarter_past);
        check("2026-11-22 10:15:00Z", quarter_past);
        check("2026-11-22 10:15:00+00", quarter_past);
        check("2026-11-22 11:15:00+01", quarter_past);
        check("2026-11-22T05:45:00-04:30", quarter_past);
        check(" 2026-11-22 10:15:00 UTC ", quarter_past);
        check(
            "2026-11-22 10:15:00.5+00",
            Some("2026-11-22T10:15:00.500+00:00"),
        );
    }

    #[test]
    fn what_could_mean_two_moments_is_refused() {
        check("2026-11-22 10:15:00", None);
        check("2026-11-22", None);
        check("10:15", None);
        check("yesterday", None);
        check("2026-13-22T10:15:00Z", None);
        check("", None);
    }
}
