//! `ringmaster events`.

use std::time::Duration;

use clap::Args;
use shared::http_api::{Page, Transition};
use tokio::time::sleep;

use super::Context;
use crate::client::Call;
use crate::failure::{Failure, FailureKind};
use crate::format::moment;
use crate::screen::{note, say};

/// Pause between two looks for new events.
const PAUSE: Duration = Duration::from_millis(500);

/// Most characters of a detail on a line for people; `--json` has all of it.
const DETAIL_CHARACTERS: usize = 120;

/// Rows asked for at a time.
const ROWS: &str = "1000";

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Name or id of the database
    name: String,
    /// Go on with new events until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

impl Events {
    /// Tells events in the order they happened; for programs one JSON object a line, so that it
    /// can be read while it follows.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "transitions"];
        let mut last: Option<i64> = None;
        loop {
            let mut call = Call::get(&path).with("limit", ROWS);
            if let Some(last) = last {
                call = call.with("after", last.to_string());
            }
            let page: Page<Transition> = match context.client.call(call).await {
                Err(failure) if self.follow && failure.kind() == FailureKind::Unreachable => {
                    note(format!("{failure}; still trying"));
                    sleep(PAUSE).await;
                    continue;
                }
                answer => answer?,
            };
            for event in &page.data {
                last = last.max(Some(event.id));
                tell(event, context.json)?;
            }
            match (page.next.is_some(), self.follow) {
                (true, _) => {}
                (false, true) => sleep(PAUSE).await,
                (false, false) => return Ok(()),
            }
        }
    }
}

fn tell(event: &Transition, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string(event).map_err(Failure::during("write JSON"))?;
        return say(text);
    }
    say(line(event))
}

fn line(event: &Transition) -> String {
    let Transition {
        machine,
        from,
        to,
        why,
        detail,
        ..
    } = event;
    let detail = detail
        .as_ref()
        .map_or_else(String::new, |detail| format!(" ({})", shortened(detail)));
    let machine = machine.as_str();
    let steps = format!("{from} → {to}");
    format!(
        "{}  {machine:<12}{steps:<32}{why}{detail}",
        moment(event.at)
    )
}

fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_CHARACTERS) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use shared::domain::MachineKind;
    use shared::ids::RequestId;

    use super::*;

    #[test]
    fn a_long_detail_is_cut() {
        assert_eq!(shortened("short"), "short");
        let long = "ö".repeat(DETAIL_CHARACTERS + 1);
        assert_eq!(
            shortened(&long),
            format!("{}…", "ö".repeat(DETAIL_CHARACTERS))
        );
    }

    #[test]
    fn an_event_is_told_in_one_line() {
        let event = Transition {
            id: 1,
            machine: MachineKind::Resource,
            subject_id: RequestId::new().into(),
            from: "available".to_owned(),
            event: "service_lost".to_owned(),
            to: "unavailable".to_owned(),
            why: "the service did not answer".to_owned(),
            detail: Some("connection refused".to_owned()),
            request_id: RequestId::new(),
            at: chrono::DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
        };
        assert_eq!(
            line(&event),
            "2023-11-14 22:13:20.123Z  resource    available → unavailable         the service did \
             not answer (connection refused)"
        );
    }
}
