//! The alert about a subject, settled when its machine rests.

use chrono::{DateTime, Utc};
use shared::db::fleet::{AlertSubject, settle_alert};
use shared::machine::Alert;

use super::told;
use crate::context::Context;
use crate::ring::TurnError;

/// What is known of a subject's alert before this turn.
pub(super) struct Before<'a> {
    /// Name of the open alert.
    pub(super) open: Option<&'a str>,
    /// Moment after which its state raises one.
    pub(super) deadline_at: Option<DateTime<Utc>>,
}

/// Makes `alert` the only open one about `subject`. Writes nothing if it is already.
pub(super) async fn settle(
    context: &Context,
    subject: AlertSubject,
    before: Before<'_>,
    alert: Option<Alert>,
) -> Result<(), TurnError> {
    if alert.map(Alert::as_str) == before.open {
        return Ok(());
    }
    settle_alert(&context.pool, subject, alert, context.now()).await?;
    if alert.is_some() && before.deadline_at.is_some_and(|at| at <= context.now()) {
        told::deadline_passed(subject.kind);
    }
    Ok(())
}
