//! Crash at every step: each event and each step of each machine is interrupted in every way there
//! is, and the story around it must end the same.
//!
//! [`survives_every_cut`] knows nothing of the fakes: whoever can play stories with one interruption
//! ([`Stage`]) can be held to it, with real adapters too. A row of a table or a step that no story
//! comes by fails the suite.

mod stories;
mod theatre;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use shared::machine::participant::Participant;
use shared::machine::resource::Resource;
use shared::machine::server::Server;
use shared::machine::{Machine, Word};

use super::world::turn::Act;
use theatre::Theatre;

/// How an act is interrupted. An act has phases: effects on the outside and records in the control
/// database; before the first and after the last count as phases' borders too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The worker dies with so many phases done.
    Dies { phases_done: usize },
    /// Two workers do it at once, phase by phase.
    Twice,
    /// The worker is stalled with so many phases done, for longer than its lease and until the
    /// story is over; then it goes on.
    StallsUntilTheEnd { phases_done: usize },
}

/// How a story went.
#[derive(Debug)]
pub(crate) struct Played<A, E> {
    /// What is left when everything has settled, without anything that may differ (numbers of
    /// versions and generations, times).
    pub(crate) end: E,
    /// Acts that were performed, with their number of phases.
    pub(crate) met: BTreeMap<A, usize>,
    /// Whether the interruption took place.
    pub(crate) was_cut: bool,
}

/// Somebody who can play stories.
pub(crate) trait Stage {
    /// An event in a state, or a step.
    type Act: Copy + Ord + Debug;
    /// What is left in the end.
    type End: PartialEq + Debug;

    /// Number of stories.
    fn stories(&self) -> usize;

    /// Plays one story from an empty fleet to its end, interrupting the act the first time that it
    /// comes by. Fails the test if the story does not come to its end.
    async fn play(
        &self,
        story: usize,
        cut: Option<(Self::Act, Cut)>,
    ) -> Played<Self::Act, Self::End>;
}

fn cuts(phases: usize) -> Vec<Cut> {
    let mut cuts = vec![Cut::Twice];
    for phases_done in 0..=phases {
        cuts.push(Cut::Dies { phases_done });
        if phases_done < phases {
            cuts.push(Cut::StallsUntilTheEnd { phases_done });
        }
    }
    cuts
}

/// Plays every story with every cut of every act that comes by in it; answers how many times.
pub(crate) async fn survives_every_cut<S: Stage>(stage: &S, all: &BTreeSet<S::Act>) -> usize {
    let mut met = BTreeSet::new();
    let mut played = 0;
    for story in 0..stage.stories() {
        let calm = stage.play(story, None).await;
        for (act, phases) in &calm.met {
            met.insert(*act);
            for cut in cuts(*phases) {
                let rough = stage.play(story, Some((*act, cut))).await;
                assert!(
                    rough.was_cut,
                    "story {story} does not come by {act:?} again"
                );
                assert_eq!(
                    rough.end, calm.end,
                    "story {story} with {act:?} cut by {cut:?}"
                );
                played += 1;
            }
        }
    }
    let missed: Vec<_> = all.difference(&met).collect();
    assert!(missed.is_empty(), "no story comes by {missed:?}");
    played
}

/// Every row of every table, and every step.
fn all_acts() -> BTreeSet<Act> {
    let mut all = BTreeSet::new();
    all.extend(
        Resource::TABLE
            .iter()
            .map(|row| Act::ResourceEvent(row.from, row.on)),
    );
    all.extend(
        Participant::TABLE
            .iter()
            .map(|row| Act::ParticipantEvent(row.from, row.on)),
    );
    all.extend(
        Server::TABLE
            .iter()
            .map(|row| Act::ServerEvent(row.from, row.on)),
    );
    all.extend(Word::ALL.iter().map(|step| Act::ResourceStep(*step)));
    all.extend(Word::ALL.iter().map(|step| Act::ParticipantStep(*step)));
    all.extend(Word::ALL.iter().map(|step| Act::ServerStep(*step)));
    all
}

#[tokio::test]
async fn every_step_of_every_machine_may_be_cut_short_doubled_or_late() {
    let played = survives_every_cut(&Theatre, &all_acts()).await;
    assert!(played > 500, "only {played} cuts");
}
