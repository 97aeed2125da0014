use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::secret::Secret;
use crate::telemetry::Stage;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(filter: &str, events: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = Registry::default()
        .with(parse_filter(filter).unwrap())
        .with(logfmt_layer(move || writer.clone()));
    tracing::subscriber::with_default(subscriber, events);
    let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(bytes.clone())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_event_is_one_line_of_logfmt_with_the_request_id_of_its_span() {
    let request_id = RequestId::new();
    let lines = logged("info", || {
        request_span(request_id).in_scope(|| {
            tracing::info!(
                resource.name = "shop",
                turn.count = 3,
                "turned \"it\"\nover"
            );
            tracing::debug!("not at this level");
        });
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!(time.starts_with("ts=2"), "{time}");
    assert_eq!(
        rest,
        format!(
            "level=info target=shared::telemetry::logging::tests \
             message=\"turned \\\"it\\\"\\nover\" resource.name=shop turn.count=3 \
             request_id={request_id}"
        )
    );
}

#[test]
fn a_secret_in_a_field_is_not_in_the_log() {
    let password = Secret::new("hunter2");
    let lines = logged("trace", || tracing::error!(?password, "kept"));
    assert!(lines[0].contains("[redacted]"), "{lines:?}");
    assert!(!lines[0].contains("hunter2"), "{lines:?}");
}

#[test]
fn a_stage_says_when_it_starts_and_how_long_it_took() {
    let lines = logged("info", || {
        Stage::start("migrate").finish();
        Stage::start("initdb").fail(&io::Error::other("disk full"));
        drop(Stage::start("cut_short"));
    });
    let said: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once("message=").unwrap().1)
        .collect();
    assert_eq!(said[0], "migrate at=start stage=migrate");
    assert!(
        said[1].starts_with("migrate at=finish stage=migrate elapsed="),
        "{said:?}"
    );
    assert!(
        said[3].starts_with("initdb at=fail stage=initdb elapsed="),
        "{said:?}"
    );
    assert!(said[3].ends_with("error=\"disk full\""), "{said:?}");
    assert!(
        said[5].starts_with("cut_short at=abandon stage=cut_short"),
        "{said:?}"
    );
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Layer {
    text: &'static str,
    #[source]
    cause: Option<Box<Layer>>,
}

#[test]
fn a_chain_names_every_cause_once() {
    let layer = |text, cause| Layer { text, cause };
    let root = layer("no route to host", None);
    let repeated = layer("connect: no route to host", Some(Box::new(root)));
    let outer = layer("failed to reach the agent", Some(Box::new(repeated)));
    assert_eq!(
        chain(&outer).to_string(),
        "failed to reach the agent: connect: no route to host"
    );
}

#[test]
fn a_filter_that_cannot_be_read_is_shown_with_examples() {
    let error = parse_filter("info,workers=loud").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the log filter \"info,workers=loud\" is not valid; examples: info, or info,workers=debug"
    );
}
