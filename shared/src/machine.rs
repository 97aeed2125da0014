//! Decisions: what becomes of a resource, a participant, a server. Pure: no async, no I/O, no
//! clock, no randomness; the same facts always give the same decision.
//!
//! Each machine is one file with its events, its steps, its `TABLE` and its `decide`. The table is
//! the specification: a pair of state and event that is not in it is refused. There are no
//! wildcards.
//!
//! A turn is a bounded loop of hops (at most [`MAX_HOPS`]):
//!
//! 1. load the row and look at the world: the facts;
//! 2. [`Machine::decide`];
//! 3. an event? Record it by compare-and-set on the row's version, with what the event's doc says
//!    is stored along with it, then begin again at 1;
//! 4. otherwise a step? Perform it;
//! 5. [`Decision::come_back`] zero? Begin again at 1. Otherwise raise or clear the alert, make sure
//!    that the job exists, and settle.
//!
//! A compare-and-set that fails ends the turn: somebody else was quicker, and the next turn looks
//! again. Every step is idempotent, so that a turn may die between any two instructions, run twice
//! or late. The why of a row is shown to operators and customers with the transition.
//!
//! To add a machine: a file like its neighbours, a line in [`render`], and its facts in `check`.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod cadence;
pub mod participant;
pub mod render;
pub mod resource;
pub mod server;

mod act;
mod alert;
#[cfg(test)]
mod check;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Duration;

pub use act::Act;
pub use alert::Alert;

use crate::domain::{JobKind, MachineKind, ParticipantState, ResourceState, ServerState};

/// Most hops of one turn. No path through one machine without waiting is longer; a turn that needs
/// more is cut off and comes back at once.
pub const MAX_HOPS: usize = 32;

/// One line of a table: in this state, on this event, go there, because of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<S, E> {
    /// State before.
    pub from: S,
    /// What was seen or asked for.
    pub on: E,
    /// State after. Equal to `from` for what is worth a record but changes nothing: time in state
    /// and deadline then stay as they are.
    pub to: S,
    /// The reason, as a sentence without a full stop, for operators and customers.
    pub why: &'static str,
}

const fn row<S: Copy, E: Copy>(from: S, on: E, to: S, why: &'static str) -> Row<S, E> {
    Row { from, on, to, why }
}

/// A closed set of words: states, events, steps.
pub trait Word: Copy + Eq + Hash + Debug + Display + Send + Sync + 'static {
    /// Every word of the set, in the order of a life.
    const ALL: &'static [Self];

    /// The word as it is stored, logged and shown: snake case.
    fn as_str(self) -> &'static str;
}

macro_rules! states_are_words {
    ($($state:ty),+) => {
        $(impl Word for $state {
            const ALL: &'static [Self] = Self::ALL;

            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }
        })+
    };
}

states_are_words!(ResourceState, ParticipantState, ServerState);

/// Defines an enum of words with their texts and meanings.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $name {
            /// Every word of the set.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is stored, logged and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What the word means, for generated documents.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::machine::Word for $name {
            const ALL: &'static [Self] = Self::ALL;

            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }
        }
    };
}
use words;

/// A state machine: its words, its table, and the decision.
pub trait Machine {
    /// Where the subject is in its life.
    type State: Word;
    /// What was seen or asked for: past facts.
    type Event: Word;
    /// What a worker can do about it: imperatives, each idempotent.
    type Step: Word;
    /// Everything a decision is made from.
    type Facts;

    /// Which machine.
    const KIND: MachineKind;
    /// State of a new row.
    const INITIAL: Self::State;
    /// Every transition there is.
    const TABLE: &'static [Row<Self::State, Self::Event>];

    /// Decides what to do next.
    fn decide(facts: &Self::Facts) -> Decision<Self::Event, Self::Step>;

    /// How long a state may last before somebody must look; nothing where it may stay for ever.
    fn deadline(state: Self::State) -> Option<Deadline>;

    /// The row for an event in a state; nothing if the event is refused there.
    fn next(from: Self::State, on: Self::Event) -> Option<&'static Row<Self::State, Self::Event>> {
        Self::TABLE
            .iter()
            .find(|row| row.from == from && row.on == on)
    }

    /// The row for an event in a state.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the table has none: to be logged and counted, never to be forced.
    fn transition(
        from: Self::State,
        on: Self::Event,
    ) -> Result<&'static Row<Self::State, Self::Event>, Refused> {
        Self::next(from, on).ok_or_else(|| Refused {
            machine: Self::KIND,
            from: from.as_str(),
            on: on.as_str(),
        })
    }

    /// Whether nothing leads out of a state.
    fn is_final(state: Self::State) -> bool {
        !Self::TABLE
            .iter()
            .any(|row| row.from == state && row.to != state)
    }
}

/// An event that the table does not have for this state. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {machine} machine refuses event {on} in state {from}")]
pub struct Refused {
    machine: MachineKind,
    from: &'static str,
    on: &'static str,
}

/// How long a state may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Time in the state after which the alert is raised. Measured progress extends it.
    pub after: Duration,
    /// What is raised.
    pub alert: Alert,
}

/// What to do next. At most one of event and step; see the module for how a turn uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<E, T> {
    /// What to record first; the turn then looks and decides again.
    pub event: Option<E>,
    /// What to perform.
    pub step: Option<T>,
    /// When to look again, before jitter ([`cadence::jittered`]); zero: at once, in this turn.
    pub come_back: Duration,
    /// Whether the one who asked has nothing left to do here, for ever: a ring member leaves its
    /// queue, a job ends.
    pub done: bool,
    /// The gravest thing a person should look at; nothing clears what this machine raised about
    /// this subject. Only to be acted on when the turn rests (no event, `come_back` not zero).
    pub alert: Option<Alert>,
    /// The job that must exist for the state to be left. Whoever sees it makes sure of that.
    pub job: Option<JobKind>,
}

impl<E, T> Decision<E, T> {
    /// Records an event, then decides again.
    fn record(event: E) -> Self {
        Self {
            event: Some(event),
            ..Self::rest(Duration::ZERO)
        }
    }

    /// Performs a step, then decides again after a while; zero: at once, because the step changes
    /// the facts.
    fn perform(step: T, come_back: Duration) -> Self {
        Self {
            step: Some(step),
            ..Self::rest(come_back)
        }
    }

    /// Does nothing for a while.
    const fn rest(come_back: Duration) -> Self {
        Self {
            event: None,
            step: None,
            come_back,
            done: false,
            alert: None,
            job: None,
        }
    }

    /// Does nothing any more.
    fn finished() -> Self {
        Self {
            done: true,
            ..Self::rest(Duration::ZERO)
        }
    }

    /// The same, raising an alert if there is one.
    fn alerting(self, alert: Option<Alert>) -> Self {
        Self { alert, ..self }
    }

    /// Whether the turn ends here: nothing to record, and not to be looked at again at once.
    pub const fn rests(&self) -> bool {
        self.event.is_none() && (self.done || !self.come_back.is_zero())
    }
}
