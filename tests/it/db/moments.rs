//! Up to when everything that was committed is in the archive, and what workers of an older version
//! leave behind.

use chrono::{DateTime, Utc};
use shared::archive::window::windows;
use shared::db::archive::{
    Complete, Epoch, Position, Progress, advance, load_push, record_gap, restorable,
};
use shared::db::fleet::Recorded;
use shared::units::Lsn;

use super::archive::{Fixture, SEGMENT, at, later};

impl Fixture {
    /// What a push found that looked after so many seconds.
    fn looked(epoch: &Epoch, (watermark, flush): (u64, u64), seconds: Option<i64>) -> Progress {
        let tail = epoch.watermark;
        Progress {
            to: Position {
                watermark: at(watermark),
                tail: if at(watermark) > tail {
                    Some(tail)
                } else {
                    epoch.tail
                },
                compacted: epoch.compacted,
            },
            retry: epoch.retry,
            flush: at(flush),
            looked_at: seconds.map(later),
        }
    }

    /// Records it a minute later. Gives the moment that is stored then.
    async fn note(
        &self,
        (watermark, flush): (u64, u64),
        seconds: Option<i64>,
    ) -> Option<(DateTime<Utc>, Lsn)> {
        let epoch = self.epoch().await;
        let progress = Self::looked(&epoch, (watermark, flush), seconds);
        let at = later(seconds.unwrap_or_default() + 60);
        let done = advance(self.pool(), &epoch, &progress, at).await;
        assert_eq!(done.unwrap(), Recorded::Yes);
        let complete = self.epoch().await.complete;
        complete.map(|Complete { until, lsn }| (until, lsn))
    }

    async fn run(&self, query: &'static str) {
        let done = sqlx::query(query).execute(self.pool()).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{query}");
    }
}

#[tokio::test]
async fn a_moment_is_complete_when_all_was_drained_that_was_flushed_at_it() {
    let fixture = Fixture::pushed().await;
    assert_eq!(fixture.epoch().await.complete, None);
    assert_eq!(fixture.note((0, 500), Some(10)).await, None);
    let drained = Some((later(20), at(900)));
    assert_eq!(fixture.note((900, 900), Some(20)).await, drained);
    // A push that leaves something over moves the watermark, and no moment.
    assert_eq!(fixture.note((1200, 1500), Some(30)).await, drained);
    let row = load_push(fixture.pool(), fixture.timeline).await.unwrap();
    assert_eq!(row.unwrap().epoch, Some(fixture.epoch().await));
    let span = &restorable(fixture.pool(), fixture.timeline)
        .await
        .unwrap()
        .epochs[0];
    assert_eq!(span.complete_until, Some(later(20)));
    let caught_up = Some((later(40), at(1500)));
    assert_eq!(fixture.note((1500, 1500), Some(40)).await, caught_up);
    // An agent of an older version does not say when it looked.
    assert_eq!(fixture.note((1700, 1700), None).await, caught_up);
}

#[tokio::test]
async fn an_idle_database_costs_no_write_once_its_moment_is_known() {
    let fixture = Fixture::pushed().await;
    let is_news = async |seconds| {
        let epoch = fixture.epoch().await;
        let reached = epoch.watermark.bytes() - at(0).bytes();
        Fixture::looked(&epoch, (reached, reached), seconds).is_news_for(&epoch)
    };
    assert!(is_news(Some(1)).await, "no moment is known");
    assert!(!is_news(None).await, "nor will be");
    fixture.note((0, 0), Some(1)).await;
    assert!(!is_news(Some(2)).await);
    fixture.note((500, 500), Some(3)).await;
    assert!(!is_news(Some(4)).await);
    fixture.note((700, 700), None).await;
    assert!(
        is_news(Some(5)).await,
        "the moment is that of an older watermark"
    );
}

#[tokio::test]
async fn a_window_that_ends_at_a_gap_ends_when_all_before_it_was_drained() {
    let fixture = Fixture::pushed().await;
    fixture.note((500, 500), Some(10)).await;
    fixture.note((900, 5000), Some(20)).await;
    let epoch = fixture.epoch().await;
    let to = at(u64::from(SEGMENT));
    let recorded = record_gap(fixture.pool(), &epoch, to, later(90)).await;
    assert_eq!(recorded.unwrap(), Recorded::Yes);
    let stored = restorable(fixture.pool(), fixture.timeline).await.unwrap();
    assert_eq!(stored.epochs[0].holes[0].reached_at, Some(later(10)));
    assert_eq!(
        stored.epochs[0].complete_until, None,
        "nothing is known behind it"
    );
    assert_eq!(windows(&stored.epochs, &stored.bases), []);
}

#[tokio::test]
async fn a_tail_of_another_watermark_is_none() {
    let fixture = Fixture::pushed().await;
    fixture.note((500, 500), Some(1)).await;
    let epoch = fixture.epoch().await;
    assert_eq!(epoch.tail, Some(at(0)));
    // A worker of a version that knew of no tails.
    fixture
        .run("update epochs set watermark_lsn = watermark_lsn + 300, watermark_at = now()")
        .await;
    let epoch = fixture.epoch().await;
    assert_eq!((epoch.watermark, epoch.tail), (at(800), None));
    let row = load_push(fixture.pool(), fixture.timeline).await.unwrap();
    assert_eq!(row.unwrap().epoch, Some(epoch.clone()));
    let idle = Fixture::looked(&epoch, (800, 800), None);
    assert!(!idle.is_news_for(&epoch), "it costs no write");
    fixture.note((900, 900), None).await;
    assert_eq!(fixture.epoch().await.tail, Some(at(800)));
}
