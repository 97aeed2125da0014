//! Recording what a push found out, and telling people what they must know.

use shared::archive::chain::{Compaction, Stop, segment_start};
use shared::db::DbError;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{Epoch, advance, record_gap};
use shared::db::jobs::{self, JobKey};
use shared::domain::{ArchiveAlert, JobKind};
use shared::units::Lsn;

use super::error::PushError;
use super::push::Found;
use super::{Came, Slice, told};
use crate::ring::TurnError;

impl Slice<'_> {
    /// Records how far `epoch` came; then says what follows.
    pub(super) async fn settle(&self, epoch: &Epoch, found: &Found) -> Result<Came, TurnError> {
        let context = self.context;
        let progress = &found.progress;
        if progress.is_news_for(epoch)
            && advance(&context.pool, epoch, progress, context.now())
                .await?
                .is_overtaken()
        {
            told::pushed("overtaken");
            return Ok(Came::Overtaken);
        }
        context.borders.within().await;
        if let Some((at, detail)) = &found.other_segment {
            self.conflict(*at, detail).await?;
        }
        self.tell_of_compaction(epoch, found).await?;
        let at = progress.to.watermark;
        let moved = at > epoch.watermark;
        // Not for every step: chunks stay small on a way that is slow, or each first try on it
        // would fail.
        if progress.is_drained() {
            self.forget_failures().await?;
        }
        match &found.stop {
            Stop::Conflict(detail) => {
                told::pushed("conflict");
                self.conflict(at, detail).await?;
                let detail = detail.clone();
                Err(PushError::Conflict { at, detail }.into())
            }
            Stop::Missing if !moved => {
                told::pushed("missing");
                self.jump(epoch, found).await
            }
            // Whatever stopped it will stop the next slice too, and count then.
            _ if moved => {
                told::pushed("pushed");
                self.well(epoch, found).await?;
                Ok(what_is_left(epoch, found))
            }
            Stop::End if progress.is_drained() => {
                told::pushed("idle");
                self.well(epoch, found).await?;
                Ok(what_is_left(epoch, found))
            }
            stop => {
                told::pushed("failed");
                Err(why(at, stop).into())
            }
        }
    }

    /// The WAL at the watermark is gone. If the archive has it – who put the control database back to
    /// an older copy has forgotten that – it goes on from there. Else it notes the gap, and goes on from
    /// the oldest WAL that is there.
    async fn jump(&self, epoch: &Epoch, found: &Found) -> Result<Came, TurnError> {
        let (from, bytes) = (epoch.watermark, epoch.record.segment_bytes);
        let held = found.held_from.map(|held| segment_start(held, bytes));
        // The segment that is written now is always there.
        let newest = segment_start(found.progress.flush, bytes);
        let oldest = held
            .filter(|held| *held >= from)
            .unwrap_or(newest)
            .min(newest);
        if let Some(came) = self.take_again(epoch, found, oldest).await? {
            return Ok(came);
        }
        let to = if oldest > from { oldest } else { newest };
        if to <= from {
            let what = "it says that WAL is gone which it must hold".to_owned();
            return Err(PushError::Impossible { at: from, what }.into());
        }
        self.note_gap(epoch, to).await
    }

    /// Notes the gap and tells people, both or neither: nobody finds a gap again that is noted.
    async fn note_gap(&self, epoch: &Epoch, to: Lsn) -> Result<Came, TurnError> {
        let (context, from) = (self.context, epoch.watermark);
        let failed = DbError::during("record a gap and tell of it");
        let mut both = context.pool.begin().await.map_err(&failed)?;
        // As it is stored now: what waits may just have been noted.
        if record_gap(&mut *both, epoch, to, context.now())
            .await?
            .is_overtaken()
        {
            return Ok(Came::Overtaken);
        }
        let detail = format!(
            "the WAL from {from} to {to} was removed before it was archived: no restore goes across \
             it, and none after it before the next base backup"
        );
        alerts::raise(&mut *both, &self.alert(ArchiveAlert::Gap, &detail)).await?;
        context.borders.within().await;
        both.commit().await.map_err(failed)?;
        tracing::error!(
            timeline.id = %self.row.timeline, request_id = %self.row.request_id,
            from = %from, to = %to, "WAL is lost to the archive",
        );
        Ok(Came::PartOfTheWay)
    }

    pub(super) async fn conflict(&self, at: Lsn, detail: &str) -> Result<(), TurnError> {
        tracing::error!(
            timeline.id = %self.row.timeline, participant.id = %self.leader.participant,
            request_id = %self.row.request_id, at = %at, detail,
            "the archive has other WAL than the leader",
        );
        let detail = format!("at {at}: {detail}");
        self.raise(ArchiveAlert::Conflict, &detail).await
    }

    /// Tells people, once.
    pub(super) async fn raise(&self, alert: ArchiveAlert, detail: &str) -> Result<(), TurnError> {
        alerts::raise(&self.context.pool, &self.alert(alert, detail)).await?;
        Ok(())
    }

    fn alert<'a>(&self, alert: ArchiveAlert, detail: &'a str) -> NewAlert<'a> {
        NewAlert {
            name: alert.as_str(),
            subject_kind: "timeline",
            subject_id: self.row.timeline.as_uuid(),
            resource_id: self.leader.resource,
            detail,
            now: self.context.now(),
        }
    }

    /// Takes back what is not so any more.
    async fn well(&self, epoch: &Epoch, found: &Found) -> Result<(), TurnError> {
        let drained = found.progress.is_drained();
        let over = [
            (ArchiveAlert::Conflict, found.proves_segments_alike(epoch)),
            (ArchiveAlert::Behind, drained),
            (ArchiveAlert::Compaction, found.progress.retry.is_none()),
        ];
        for (alert, is_over) in over {
            let name = alert.as_str();
            if is_over && self.row.open_alerts.iter().any(|open| open == name) {
                let id = self.row.timeline.as_uuid();
                alerts::clear(&self.context.pool, name, id, self.context.now()).await?;
            }
        }
        Ok(())
    }

    async fn forget_failures(&self) -> Result<(), TurnError> {
        if self.row.attempts == 0 {
            return Ok(());
        }
        let key = JobKey {
            kind: JobKind::WalPush,
            subject_id: self.row.timeline.as_uuid(),
        };
        jobs::record_progress(&self.context.pool, key, self.context.now()).await?;
        Ok(())
    }
}

fn what_is_left(epoch: &Epoch, found: &Found) -> Came {
    let to = found.progress.to;
    let more_to_compact = to.compacted > epoch.compacted
        && Compaction::is_due(to.compacted, to.watermark, epoch.record.segment_bytes);
    if found.progress.is_drained() && !more_to_compact {
        Came::ToTheEnd
    } else {
        Came::PartOfTheWay
    }
}

/// Why a push that did not come forward stopped at `at`.
fn why(at: Lsn, stop: &Stop) -> PushError {
    let impossible = |what: String| PushError::Impossible { at, what };
    match stop {
        Stop::Failed(detail) => PushError::NotStored {
            at,
            detail: detail.clone(),
        },
        Stop::Unfinished => PushError::Slow { at },
        Stop::Impossible(end) => impossible(format!("an object there ends at {end}")),
        Stop::Conflict(detail) => PushError::Conflict {
            at,
            detail: detail.clone(),
        },
        Stop::Missing => impossible("it is gone".to_owned()),
        Stop::End => impossible("more is flushed, and nothing was pushed".to_owned()),
    }
}
