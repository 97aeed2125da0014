//! Where observations are recorded.

use std::error::Error;

use shared::db::{DbError, observations};
use shared::domain::Observation;
use shared::ids::ResourceId;
use sqlx::PgPool;

/// The tables of observations in the control database.
///
/// Both calls may be repeated with the same batch. Observations of resources that do not exist any
/// more are left out without an error.
pub trait ObservationStore: Send + Sync {
    /// How a call fails.
    type Error: Error + Send + Sync + 'static;

    /// Replaces the newest observation of each resource, unless a newer one is stored. Each
    /// resource is in the batch at most once.
    fn put_newest(
        &self,
        batch: &[(ResourceId, Observation)],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Adds to the history. What is there already, by resource and moment, stays.
    fn add_history(
        &self,
        batch: &[(ResourceId, Observation)],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl ObservationStore for PgPool {
    type Error = DbError;

    async fn put_newest(&self, batch: &[(ResourceId, Observation)]) -> Result<(), DbError> {
        observations::record_newest(self, batch).await
    }

    async fn add_history(&self, batch: &[(ResourceId, Observation)]) -> Result<(), DbError> {
        observations::record_history(self, batch).await
    }
}
