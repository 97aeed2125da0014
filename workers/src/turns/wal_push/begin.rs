//! The first epoch of a timeline: its record in the archive first, then its row.

use shared::agent_api::restore::RestoreStage;
use shared::agent_api::{InstanceStatus, PostgresStatus};
use shared::archive::chain::segment_start;
use shared::archive::epoch::{EpochRecord, Parent};
use shared::archive::store::Put;
use shared::db::archive::begin_epoch;
use shared::domain::ArchiveAlert;

use super::error::PushError;
use super::{Came, Slice};
use crate::ring::TurnError;

/// Where a history comes from.
enum Birth {
    /// It begins empty.
    Empty,
    /// It went on from another one.
    Under(Parent),
    /// It is not known yet where it left the other one.
    Unknown,
}

impl Slice<'_> {
    /// Begins the first epoch where the oldest WAL is that the leader still holds for the archive.
    pub(super) async fn begin_epoch(&self) -> Result<Came, TurnError> {
        let (context, request_id) = (self.context, self.row.request_id);
        let client = context.agents.client();
        let status = client.status(self.agent, request_id).await?;
        let Some(wished) = self.first_epoch(&status)? else {
            return Ok(Came::Nowhere);
        };
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let record = self.write_down(wished).await?;
        context.borders.within().await;
        if begin_epoch(&context.pool, &record, request_id, context.now()).await? {
            tracing::info!(
                timeline.id = %record.timeline, epoch = record.number, tli = record.tli,
                participant.id = %record.participant, start = %record.start, %request_id,
                "an epoch begins",
            );
        }
        Ok(Came::PartOfTheWay)
    }

    /// What would be written down now; null while the leader is not ready for it.
    fn first_epoch(&self, status: &InstanceStatus) -> Result<Option<EpochRecord>, TurnError> {
        let is_ours = status.participant == Some(self.leader.participant);
        let Some(postgres) = status.postgres.as_ref().filter(|_| is_ours) else {
            return Ok(None);
        };
        let (Some(flush), Some(slot)) = (postgres.flush_lsn, postgres.archive_slot) else {
            return Ok(None);
        };
        let segment_bytes = postgres.wal_segment_bytes;
        let parent = match self.birth(status) {
            Birth::Empty => None,
            Birth::Under(parent) => Some(parent),
            Birth::Unknown => return Ok(None),
        };
        let oldest = slot.restart_lsn.unwrap_or(flush).min(flush);
        // Of a copy, WAL of its own begins where it left the original.
        let oldest = parent.map_or(oldest, |parent| parent.cut);
        Ok(Some(EpochRecord {
            timeline: self.row.timeline,
            number: 1,
            system_identifier: system_identifier(postgres)?,
            tli: postgres.tli,
            segment_bytes,
            start: segment_start(oldest, segment_bytes),
            participant: self.leader.participant,
            generation: self.leader.generation,
            parent,
            created_at: self.context.now(),
        }))
    }

    /// Where the history of the leader comes from.
    fn birth(&self, status: &InstanceStatus) -> Birth {
        let Some(source) = &self.row.birth else {
            return Birth::Empty;
        };
        let stage = status.restore.as_ref().map(|restore| &restore.stage);
        let Some(RestoreStage::Finished(restored)) = stage else {
            return Birth::Unknown;
        };
        // Whoever followed went on beyond the end of the last leg.
        let left = source.leg_of(restored.began_at, self.row.followed);
        left.map_or(Birth::Unknown, |leg| {
            Birth::Under(Parent {
                timeline: leg.timeline,
                epoch: leg.run.epoch,
                cut: restored.began_at,
            })
        })
    }

    /// Writes the record, or takes the one that somebody wrote who died before the row was there.
    async fn write_down(&self, wished: EpochRecord) -> Result<EpochRecord, TurnError> {
        let store = &self.archive.store;
        let key = wished.prefix().epoch(wished.number);
        match store.put(&key, wished.to_json().into()).await? {
            Put::Stored => return Ok(wished),
            Put::AlreadyThere => {}
        }
        let Some(found) = store.get(&key, None).await? else {
            return Err(PushError::RecordGone(key).into());
        };
        let found: EpochRecord =
            serde_json::from_slice(&found).map_err(|source| PushError::Record { key, source })?;
        match wished.adopt(found) {
            Ok(record) => Ok(record),
            Err(other) => {
                self.raise(ArchiveAlert::Conflict, &other.to_string())
                    .await?;
                Err(other.into())
            }
        }
    }
}

fn system_identifier(postgres: &PostgresStatus) -> Result<u64, PushError> {
    let text = &postgres.system_identifier;
    text.parse()
        .map_err(|_| PushError::Malformed(format!("its system identifier is {text:?}")))
}
