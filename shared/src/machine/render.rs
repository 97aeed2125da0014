//! Tables as documents: a mermaid diagram and the reasons, for `docs/machines/`.

use std::fmt::Write as _;

use super::participant::{self, Participant};
use super::resource::{self, Resource};
use super::server::{self, Server};
use super::{Machine, Word};

/// File name (below `docs/machines/`) and content of the document of each machine.
pub fn documents() -> [(&'static str, String); 3] {
    [
        (
            "resource.md",
            document::<Resource>(resource::Event::meaning, resource::Step::meaning),
        ),
        (
            "participant.md",
            document::<Participant>(participant::Event::meaning, participant::Step::meaning),
        ),
        (
            "server.md",
            document::<Server>(server::Event::meaning, server::Step::meaning),
        ),
    ]
}

fn document<M: Machine>(
    meaning_of_event: fn(M::Event) -> &'static str,
    meaning_of_step: fn(M::Step) -> &'static str,
) -> String {
    let mut text = format!(
        "<!-- Rendered from the table in shared::machine::{kind}; do not edit by hand. -->\n\
         # The {kind} machine\n\n```mermaid\nstateDiagram-v2\n    [*] --> {initial}\n",
        kind = M::KIND,
        initial = M::INITIAL,
    );
    for row in M::TABLE {
        line(
            &mut text,
            format_args!("    {} --> {}: {}", row.from, row.to, row.on),
        );
    }
    for state in M::State::ALL.iter().filter(|state| M::is_final(**state)) {
        line(&mut text, format_args!("    {state} --> [*]"));
    }
    text.push_str("```\n\n| in | on | goes to | because |\n|---|---|---|---|\n");
    for row in M::TABLE {
        line(
            &mut text,
            format_args!("| {} | {} | {} | {} |", row.from, row.on, row.to, row.why),
        );
    }
    text.push_str("\n## Deadlines\n\n| state | minutes | alert |\n|---|---|---|\n");
    for state in M::State::ALL {
        if let Some(deadline) = M::deadline(*state) {
            let (minutes, alert) = (deadline.after.as_secs() / 60, deadline.alert);
            line(
                &mut text,
                format_args!("| {state} | {minutes} | [{alert}](../runbooks/{alert}.md) |"),
            );
        }
    }
    meanings::<M::Event>(&mut text, "Events", meaning_of_event);
    meanings::<M::Step>(&mut text, "Steps", meaning_of_step);
    text
}

fn meanings<W: Word>(text: &mut String, title: &str, meaning: fn(W) -> &'static str) {
    line(
        text,
        format_args!("\n## {title}\n\n| word | meaning |\n|---|---|"),
    );
    for word in W::ALL {
        line(text, format_args!("| {word} | {} |", meaning(*word).trim()));
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a string does not fail");
}
