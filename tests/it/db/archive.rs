//! Epochs, watermarks and gaps in the control database.

use chrono::{DateTime, TimeDelta, Utc};
use shared::archive::epoch::EpochRecord;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{
    self, Epoch, Position, Progress, Retry, advance, begin_epoch, current_epoch, lagging,
    load_push, note_who_is_behind, protection_of, record_gap, seal_epoch,
};
use shared::db::fleet::Recorded;
use shared::domain::ParticipantState;
use shared::ids::{ParticipantId, RequestId, ResourceId, TimelineId};
use shared::units::Lsn;

use super::world::{World, now};

pub(super) const SEGMENT: u32 = 16 << 20;
const START: Lsn = Lsn::from_bytes(0x0300_0000);

pub(super) fn at(offset: u64) -> Lsn {
    Lsn::from_bytes(START.bytes() + offset)
}

pub(super) fn later(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

/// One resource on a server of its own, whose leader serves.
pub(super) struct Fixture {
    pub(super) world: World,
    pub(super) resource: ResourceId,
    pub(super) participant: ParticipantId,
    pub(super) timeline: TimelineId,
}

impl Fixture {
    async fn new() -> Self {
        let world = World::start().await;
        let resource = world.create("shop").await.unwrap().operation.resource_id;
        let (_, participant) = world.place(resource).await;
        let query = "select timeline_id from participants where id = $1";
        let timeline = sqlx::query_scalar(query)
            .bind(participant)
            .fetch_one(world.pool())
            .await
            .unwrap();
        Self {
            world,
            resource,
            participant,
            timeline,
        }
    }

    /// The same with its job and its first epoch.
    pub(super) async fn pushed() -> Self {
        let fixture = Self::new().await;
        let asked = archive::ask_to_push(fixture.pool(), fixture.participant, now()).await;
        assert_eq!(asked.unwrap(), Some(fixture.timeline));
        assert!(fixture.begin().await);
        fixture
    }

    pub(super) fn pool(&self) -> &sqlx::PgPool {
        self.world.pool()
    }

    fn record(&self) -> EpochRecord {
        EpochRecord {
            timeline: self.timeline,
            number: 1,
            system_identifier: 7_300_000_000_000_000_001,
            tli: 1,
            segment_bytes: SEGMENT,
            start: START,
            participant: self.participant,
            generation: 1,
            parent: None,
            created_at: now(),
        }
    }

    async fn begin(&self) -> bool {
        let request = RequestId::new();
        begin_epoch(self.pool(), &self.record(), request, now())
            .await
            .unwrap()
    }

    pub(super) async fn epoch(&self) -> Epoch {
        let epoch = current_epoch(self.pool(), self.timeline).await.unwrap();
        epoch.expect("there is an epoch")
    }

    /// Records a push that came to `watermark` while `flush` was flushed.
    pub(super) async fn push(
        &self,
        epoch: &Epoch,
        watermark: u64,
        flush: u64,
        seconds: i64,
    ) -> Recorded {
        let progress = Progress {
            to: Position {
                watermark: at(watermark),
                tail: epoch.tail,
                compacted: epoch.compacted,
            },
            retry: epoch.retry,
            flush: at(flush),
            looked_at: None,
        };
        advance(self.pool(), epoch, &progress, later(seconds))
            .await
            .unwrap()
    }

    /// Says that the WAL of the resource was seen at `lsn`.
    async fn observe(&self, lsn: Lsn, seconds: i64) {
        let body = serde_json::json!({ "wal_lsn": lsn });
        sqlx::query(
            "insert into observations (resource_id, observed_at, available, body)
             values ($1, $2, true, $3)
             on conflict (resource_id) do update
             set observed_at = excluded.observed_at, body = excluded.body",
        )
        .bind(self.resource)
        .bind(later(seconds))
        .bind(body)
        .execute(self.pool())
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_a_push_is_made_from_is_one_row() {
    let fixture = Fixture::new().await;
    let load = || load_push(fixture.pool(), fixture.timeline);
    assert!(load().await.unwrap().is_none(), "nobody asked");
    let ask = || archive::ask_to_push(fixture.pool(), fixture.participant, now());
    assert_eq!(ask().await.unwrap(), Some(fixture.timeline));
    assert_eq!(ask().await.unwrap(), None, "it is not new");

    let row = load().await.unwrap().unwrap();
    let leader = row.leader.unwrap();
    assert_eq!(leader.participant, fixture.participant);
    assert_eq!(leader.state, ParticipantState::Serving);
    assert_eq!(leader.interval_ms, 10_000);
    assert_eq!(leader.resource, Some(fixture.resource));
    assert_eq!(leader.agent.unwrap().port, 7001);
    assert_eq!((row.epoch, row.attempts), (None, 0));

    assert!(fixture.begin().await);
    assert!(!fixture.begin().await, "an epoch begins once");
    let epoch = load().await.unwrap().unwrap().epoch.unwrap();
    assert_eq!(epoch, fixture.epoch().await);
    assert_eq!(epoch.record, fixture.record());
    assert_eq!((epoch.watermark, epoch.compacted), (START, START));
}

#[tokio::test]
async fn whoever_was_overtaken_moves_no_watermark() {
    let fixture = Fixture::pushed().await;
    let first = fixture.epoch().await;
    assert_eq!(fixture.push(&first, 500, 500, 1).await, Recorded::Yes);
    assert_eq!(fixture.push(&first, 900, 900, 2).await, Recorded::Overtaken);
    let second = fixture.epoch().await;
    assert_eq!((second.watermark, second.flush), (at(500), at(500)));
    assert_eq!(second.watermark_at, later(1));
    let back = fixture.push(&second, 400, 500, 3).await;
    assert_eq!(back, Recorded::Overtaken, "it never goes back");
    assert_eq!(fixture.epoch().await, second);
}

#[tokio::test]
async fn nothing_is_recorded_for_a_sealed_epoch() {
    let fixture = Fixture::pushed().await;
    let epoch = fixture.epoch().await;
    let key = (fixture.timeline, 1);
    let seal = |watermark| seal_epoch(fixture.pool(), key, watermark, later(5));
    assert_eq!(seal(at(1)).await.unwrap(), Recorded::Overtaken);
    assert_eq!(seal(START).await.unwrap(), Recorded::Yes);
    assert_eq!(seal(START).await.unwrap(), Recorded::Overtaken);
    assert_eq!(fixture.push(&epoch, 500, 500, 6).await, Recorded::Overtaken);
    let to = at(u64::from(SEGMENT));
    let gap = record_gap(fixture.pool(), &epoch, to, later(6)).await;
    assert_eq!(gap.unwrap(), Recorded::Overtaken);
    assert_eq!(fixture.epoch().await.watermark, START);
}

#[tokio::test]
async fn what_waits_is_measured_from_one_position_until_that_is_passed() {
    let fixture = Fixture::pushed().await;
    let behind = |epoch: Epoch| epoch.behind.map(|behind| (behind.lsn, behind.since));
    let push = async |watermark, flush, seconds| {
        let epoch = fixture.epoch().await;
        let recorded = fixture.push(&epoch, watermark, flush, seconds).await;
        assert_eq!(recorded, Recorded::Yes);
        behind(fixture.epoch().await)
    };
    assert_eq!(push(0, 800, 1).await, Some((at(800), later(1))));
    assert_eq!(push(300, 900, 2).await, Some((at(800), later(1))));
    assert_eq!(push(800, 1000, 3).await, Some((at(1000), later(3))));
    assert_eq!(push(1000, 1000, 4).await, None);
}

#[tokio::test]
async fn a_push_that_found_nothing_new_is_not_news() {
    let fixture = Fixture::pushed().await;
    let progress = |epoch: &Epoch, watermark, flush| Progress {
        to: Position {
            watermark: at(watermark),
            tail: epoch.tail,
            compacted: epoch.compacted,
        },
        retry: epoch.retry,
        flush: at(flush),
        looked_at: None,
    };
    let idle = fixture.epoch().await;
    assert!(!progress(&idle, 0, 0).is_news_for(&idle));
    assert!(progress(&idle, 5, 5).is_news_for(&idle));
    assert!(progress(&idle, 0, 5).is_news_for(&idle), "it waits now");
    assert_eq!(fixture.push(&idle, 0, 5, 1).await, Recorded::Yes);
    let waits = fixture.epoch().await;
    assert!(!progress(&waits, 0, 9).is_news_for(&waits));
    assert!(progress(&waits, 5, 9).is_news_for(&waits));
}

#[tokio::test]
async fn the_last_object_is_recorded_with_the_watermark_and_forgotten_behind_a_gap() {
    let fixture = Fixture::pushed().await;
    let push = async |tail: u64, watermark: u64| {
        let epoch = fixture.epoch().await;
        let progress = Progress {
            to: Position {
                watermark: at(watermark),
                tail: Some(at(tail)),
                compacted: epoch.compacted,
            },
            retry: epoch.retry,
            flush: at(watermark),
            looked_at: None,
        };
        let done = advance(fixture.pool(), &epoch, &progress, later(1)).await;
        assert_eq!(done.unwrap(), Recorded::Yes);
        fixture.epoch().await
    };
    assert_eq!(
        fixture.epoch().await.tail,
        None,
        "nothing is before the start"
    );
    assert_eq!(push(0, 100).await.tail, Some(at(0)));
    let epoch = push(100, 300).await;
    assert_eq!(epoch.tail, Some(at(100)));
    let row = load_push(fixture.pool(), fixture.timeline).await.unwrap();
    assert_eq!(row.unwrap().epoch, Some(epoch.clone()));
    let to = at(u64::from(SEGMENT));
    let gap = record_gap(fixture.pool(), &epoch, to, later(2)).await;
    assert_eq!(gap.unwrap(), Recorded::Yes);
    assert_eq!(fixture.epoch().await.tail, None);
}

#[tokio::test]
async fn a_segment_that_failed_is_remembered_until_one_is_put_together() {
    let fixture = Fixture::pushed().await;
    let push = async |retry: Option<Retry>| {
        let epoch = fixture.epoch().await;
        let progress = Progress {
            to: epoch.position(),
            retry,
            flush: epoch.flush,
            looked_at: None,
        };
        assert_eq!(progress.is_news_for(&epoch), retry != epoch.retry);
        let done = advance(fixture.pool(), &epoch, &progress, later(1)).await;
        assert_eq!(done.unwrap(), Recorded::Yes);
        let epoch = fixture.epoch().await;
        let row = load_push(fixture.pool(), fixture.timeline).await.unwrap();
        assert_eq!(row.unwrap().epoch, Some(epoch.clone()));
        epoch.retry
    };
    assert_eq!(fixture.epoch().await.retry, None);
    for failures in 1..3 {
        let retry = Some(Retry {
            failures,
            at: later(60),
        });
        assert_eq!(push(retry).await, retry);
    }
    assert_eq!(push(None).await, None);
}

#[tokio::test]
async fn a_gap_is_jumped_over_once_and_remembered() {
    let fixture = Fixture::pushed().await;
    let epoch = fixture.epoch().await;
    assert_eq!(fixture.push(&epoch, 100, 9000, 1).await, Recorded::Yes);
    let epoch = fixture.epoch().await;
    let to = at(2 * u64::from(SEGMENT));
    let jump = || record_gap(fixture.pool(), &epoch, to, later(2));
    assert_eq!(jump().await.unwrap(), Recorded::Yes);
    assert_eq!(jump().await.unwrap(), Recorded::Overtaken);
    let after = fixture.epoch().await;
    assert_eq!((after.watermark, after.compacted), (to, to));
    assert_eq!(after.behind, None, "what waited is lost");
    let protection = protection_of(fixture.pool(), fixture.resource).await;
    let gap = protection.unwrap().unwrap().gap.unwrap();
    assert_eq!((gap.from, gap.to, gap.found_at), (at(100), to, later(2)));
}

#[tokio::test]
async fn a_push_that_never_comes_is_seen_by_what_was_observed() {
    let fixture = Fixture::pushed().await;
    let note = async |seconds| {
        note_who_is_behind(fixture.pool(), later(seconds))
            .await
            .unwrap()
    };
    fixture.observe(START, 30).await;
    assert_eq!(note(31).await, 0, "nothing waits");
    fixture.observe(at(700), 15).await;
    assert_eq!(note(16).await, 0, "the next push may still be on its way");
    fixture.observe(at(700), 40).await;
    assert_eq!(note(41).await, 1);
    assert_eq!(note(42).await, 0, "it is known");
    let found = lagging(fixture.pool()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].timeline, fixture.timeline);
    assert_eq!((found[0].since, found[0].bytes), (Some(later(40)), 700));
    assert_eq!((found[0].grace_s, found[0].alert_is_open), (300, false));
    assert_eq!(found[0].resource, Some(fixture.resource));

    let epoch = fixture.epoch().await;
    assert_eq!(fixture.push(&epoch, 700, 700, 50).await, Recorded::Yes);
    assert_eq!(lagging(fixture.pool()).await.unwrap(), []);
}

#[tokio::test]
async fn a_timeline_without_an_epoch_waits_since_it_was_asked_for() {
    let fixture = Fixture::new().await;
    assert_eq!(lagging(fixture.pool()).await.unwrap(), []);
    let asked = archive::ask_for_pushes(fixture.pool(), now())
        .await
        .unwrap();
    assert_eq!(asked, [fixture.timeline.as_uuid()]);
    let asked = archive::ask_for_pushes(fixture.pool(), now())
        .await
        .unwrap();
    assert!(asked.is_empty(), "it was asked for");
    let found = lagging(fixture.pool()).await.unwrap();
    assert_eq!(found[0].since, Some(now()));
    let protection = protection_of(fixture.pool(), fixture.resource).await;
    let protection = protection.unwrap().unwrap();
    assert!(protection.is_asked_for);
    assert_eq!((protection.epoch, protection.watermark), (None, None));
}

#[tokio::test]
async fn the_alerts_of_a_timeline_end_with_it() {
    let fixture = Fixture::pushed().await;
    let id = fixture.timeline.as_uuid();
    let raise = async || {
        let alert = NewAlert {
            name: "archive-behind",
            subject_kind: "timeline",
            subject_id: id,
            resource_id: None,
            detail: "raised by somebody who looked before",
            now: now(),
        };
        assert!(alerts::raise(fixture.pool(), &alert).await.unwrap());
    };
    let settle = async || {
        archive::settle_ended(fixture.pool(), later(1))
            .await
            .unwrap()
    };
    let run = async |query: &'static str| {
        let done = sqlx::query(query).bind(id).execute(fixture.pool()).await;
        assert_eq!(done.unwrap().rows_affected(), 1, "{query}");
    };
    let waits = async || lagging(fixture.pool()).await.unwrap().len();
    raise().await;
    assert_eq!((settle().await, waits().await), (0, 1), "it lives");
    run("update participants set destroy_requested_at = now() where timeline_id = $1").await;
    assert_eq!(waits().await, 0, "nobody is told any more");
    assert_eq!(settle().await, 0, "its job settles it");
    run("delete from jobs where kind = 'wal_push' and subject_id = $1").await;
    assert_eq!(settle().await, 1);
    raise().await;
    assert_eq!(settle().await, 1, "raised too late");
    assert_eq!(settle().await, 0);
}
