//! Where a turn can be interrupted: the borders of its acts and of their phases.
//!
//! An act is what a machine decided on: an event to record, or a step to perform. Its phases are
//! effects on the outside, records in the control database and wakes. A worker may die, stall or be
//! doubled at each border, and tests do that to it here ([`Gate`]). A worker process has no gate:
//! reaching a border then is one comparison.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use shared::machine::Act;

/// A border that a turn has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// The act was decided on; nothing of it is done yet.
    Begins(Act),
    /// A phase of the act is done, and the next one follows.
    Within,
    /// The act is over: done in full, or left early because somebody else was quicker.
    Ends,
}

/// Somebody at the borders, who decides when a turn goes on, if ever.
pub trait Gate: Send + Sync {
    /// Ends when the turn may go on.
    fn pass(&self, border: Border) -> BoxFuture<'_, ()>;
}

/// The borders of one worker's turns; without a gate by default.
#[derive(Clone, Default)]
pub struct Borders(Option<Arc<dyn Gate>>);

impl Borders {
    /// Borders at which `gate` is asked each time.
    pub fn with(gate: Arc<dyn Gate>) -> Self {
        Self(Some(gate))
    }

    /// The border before `act`.
    pub(crate) async fn begins(&self, act: Act) {
        self.reach(Border::Begins(act)).await;
    }

    /// The border behind the act that began last. An act that failed does not come to it.
    pub(crate) async fn ends(&self) {
        self.reach(Border::Ends).await;
    }

    /// The border between two phases of the act that is performed.
    pub(crate) async fn within(&self) {
        self.reach(Border::Within).await;
    }

    async fn reach(&self, border: Border) {
        if let Some(gate) = &self.0 {
            gate.pass(border).await;
        }
    }
}

impl fmt::Debug for Borders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gated = self.0.is_some();
        f.debug_struct("Borders").field("gated", &gated).finish()
    }
}
