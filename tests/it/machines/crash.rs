//! Crash at every step: each event and each step of each machine is interrupted in every way there
//! is, and the story around it must end the same.
//!
//! [`survives_every_cut`] does not know on what the stories are played ([`Stage`]): `theatre` has the
//! fakes, and stories that together come by every row of a table and every step – one that none
//! comes by fails the suite; `fleet` has everything real, and a sample of the stories.

mod fleet;
mod stories;
mod theatre;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use shared::machine::participant::Participant;
use shared::machine::resource::Resource;
use shared::machine::server::Server;
use shared::machine::{Act, Machine, Word};

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
pub(crate) struct Played<E> {
    /// What is left when everything has settled, without anything that may differ (numbers of
    /// versions and generations, times).
    pub(crate) end: E,
    /// Acts that were performed, with their number of phases.
    pub(crate) met: BTreeMap<Act, usize>,
    /// Acts that were interrupted.
    pub(crate) cut: BTreeSet<Act>,
}

/// Somebody who can play stories.
pub(crate) trait Stage {
    /// What is left in the end.
    type End: PartialEq + Debug;

    /// Number of stories.
    fn stories(&self) -> usize;

    /// Most cuts of one play. Plays of little fakes are so quick that each has one; those of real
    /// servers have a few, each of another act.
    fn cuts_at_once(&self) -> usize {
        1
    }

    /// Whether `act` is to be cut in `story`.
    fn cuts(&self, _story: usize, _act: Act) -> bool {
        true
    }

    /// Plays one story from an empty fleet to its end, interrupting each of these acts the first
    /// time that it comes by. Fails the test if the story does not come to its end.
    async fn play(&self, story: usize, cuts: &[(Act, Cut)]) -> Played<Self::End>;
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

/// Every cut of these acts, in plays of at most so many. No act is twice in one play.
fn plays(met: &BTreeMap<Act, usize>, cuts_at_once: usize) -> Vec<Vec<(Act, Cut)>> {
    let longest = met.values().copied().max().unwrap_or_default();
    let mut plays = Vec::new();
    for cut in cuts(longest) {
        let cut_by_it = met
            .iter()
            .filter(|(_, phases)| cuts(**phases).contains(&cut))
            .map(|(act, _)| (*act, cut))
            .collect::<Vec<_>>();
        plays.extend(cut_by_it.chunks(cuts_at_once).map(<[_]>::to_vec));
    }
    plays
}

/// Plays every story with every cut of every act that comes by in it; answers how many cuts.
pub(crate) async fn survives_every_cut<S: Stage>(stage: &S, all: &BTreeSet<Act>) -> usize {
    let mut met = BTreeSet::new();
    let mut made = 0;
    for story in 0..stage.stories() {
        let mut calm = stage.play(story, &[]).await;
        calm.met.retain(|act, _| stage.cuts(story, *act));
        met.extend(calm.met.keys().copied());
        let mut plays = plays(&calm.met, stage.cuts_at_once());
        while let Some(cuts) = plays.pop() {
            let rough = stage.play(story, &cuts).await;
            assert_eq!(rough.end, calm.end, "story {story} cut by {cuts:?}");
            let missed = cuts.iter().filter(|(act, _)| !rough.cut.contains(act));
            let missed: Vec<_> = missed.copied().collect();
            let alone = cuts.len() == 1;
            assert!(missed.is_empty() || !alone, "story {story} misses {cuts:?}");
            made += rough.cut.len();
            // One cut may save another worker the act of the next; alone it must come by.
            plays.extend(missed.into_iter().map(|cut| vec![cut]));
        }
    }
    let missed: Vec<_> = all.difference(&met).collect();
    assert!(missed.is_empty(), "no story comes by {missed:?}");
    made
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
    let made = survives_every_cut(&Theatre, &all_acts()).await;
    assert!(made > 500, "only {made} cuts");
}
