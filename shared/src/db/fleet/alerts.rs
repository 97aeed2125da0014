//! The alert about one subject, as its machine last saw it.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::DbError;
use crate::domain::MachineKind;
use crate::machine::Alert;

/// What an alert is about.
#[derive(Debug, Clone, Copy)]
pub struct AlertSubject {
    /// The machine that raises it.
    pub kind: MachineKind,
    /// Id of what it is about.
    pub id: Uuid,
    /// Resource it belongs to; null for what many resources share.
    pub resource: Option<Uuid>,
}

/// Makes `alert` the only open alert about `subject`; nothing clears what is open. Idempotent.
pub async fn settle_alert(
    ex: impl PgExecutor<'_>,
    subject: AlertSubject,
    alert: Option<Alert>,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        with cleared as (
            update alerts
            set cleared_at = greatest($6, raised_at)
            where
                subject_id = $2
                and subject_kind = $1
                and cleared_at is null
                and ($4::text is null or name <> $4)
            returning 1
        )
        insert into alerts (name, subject_kind, subject_id, resource_id, detail, raised_at)
        select $4, $1, $2, $3, $5, $6
        where $4 is not null
        on conflict do nothing
        "#,
        subject.kind.as_str(),
        subject.id,
        subject.resource,
        alert.map(Alert::as_str),
        alert.map_or("", Alert::meaning),
        at,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("settle the alert of a subject"))?;
    Ok(())
}
