//! Base backups in the control database: who needs one, who waits too long, and what may be deleted.

use chrono::{DateTime, Utc};
use shared::agent_api::restore::RestoreSource;
use shared::archive::epoch::{EpochRecord, Parent};
use shared::archive::layout::Run;
use shared::archive::plan::{Leg, Target};
use shared::archive::sentinel::Sentinel;
use shared::archive::window::windows;
use shared::db::Limit;
use shared::db::archive::{
    self, BackupProgress, CaptureError, NewBackup, NewCapture, NewRestore, backup_candidates,
    backups_of, begin_backup, begin_epoch, due_backups, fail_backup, finish_backup, hold_restore,
    kept_backups, load_backup, mark_expiring, note_backup_progress, record_gap, release_restores,
    request_capture, restorable,
};
use shared::db::fleet::Recorded;
use shared::db::jobs::{self, JobKey};
use shared::db::{alerts, operations};
use shared::domain::{BackupReason, BackupState, JobKind, OperationState};
use shared::ids::{BackupId, OperationId, RequestId, RestoreId, TimelineId};
use shared::units::Lsn;

use super::archive::{Fixture, SEGMENT, at, later};
use super::world::now;

/// Seconds of a day.
const DAY: i64 = 86_400;

impl Fixture {
    /// A leader with a first epoch, whose archive has `bytes` of WAL.
    pub(super) async fn archived(bytes: u64) -> Self {
        let fixture = Self::pushed().await;
        fixture.write(bytes).await;
        fixture
    }

    async fn write(&self, bytes: u64) {
        let epoch = self.epoch().await;
        let pushed = self.push(&epoch, bytes, bytes, 1).await;
        assert_eq!(pushed, Recorded::Yes);
    }

    async fn ask(&self) -> bool {
        let key = JobKey {
            kind: JobKind::BaseBackup,
            subject_id: self.timeline.as_uuid(),
        };
        let asked = jobs::ask(self.pool(), key, RequestId::new(), now()).await;
        asked.unwrap()
    }

    /// Begins a backup; gives its id if it did.
    async fn begin_backup(&self, seconds: i64) -> Option<BackupId> {
        let new = NewBackup {
            id: BackupId::new(),
            timeline: self.timeline,
            run: self.epoch().await.record.run(),
            participant: self.participant,
            reason: BackupReason::First,
            request_id: RequestId::new(),
            now: later(seconds),
        };
        let begun = begin_backup(self.pool(), &new).await.unwrap();
        begun.then_some(new.id)
    }

    async fn finish(&self, backup: BackupId, start: u64, seconds: i64) -> Recorded {
        let record = self.epoch().await.record;
        let sentinel = Sentinel {
            backup,
            timeline: self.timeline,
            system_identifier: record.system_identifier,
            run: record.run(),
            start_lsn: at(start),
            stop_lsn: at(start + 100),
            started_at: later(seconds),
            stopped_at: later(seconds),
            plain_bytes: 1000,
            stored_bytes: 300,
            pieces: 2,
            damaged_pages: 0,
            follower: None,
        };
        let finished = finish_backup(self.pool(), &sentinel, later(seconds)).await;
        finished.unwrap()
    }

    /// Makes a whole backup.
    pub(super) async fn back_up(&self, start: u64, seconds: i64) -> BackupId {
        self.ask().await;
        let backup = self.begin_backup(seconds).await.expect("none runs");
        let finished = self.finish(backup, start, seconds).await;
        assert_eq!(finished, Recorded::Yes);
        backup
    }

    /// Why a backup is due after so many seconds.
    async fn due(&self, seconds: i64) -> Option<BackupReason> {
        let found = backup_candidates(self.pool(), later(seconds))
            .await
            .unwrap();
        found.first().and_then(|candidate| candidate.facts.due())
    }

    async fn capture(&self) -> Result<archive::Captured, CaptureError> {
        let new = NewCapture {
            resource: self.resource,
            operation: OperationId::new(),
            token_id: self.world.token_id,
            key: None,
            request_id: RequestId::new(),
            now: now(),
        };
        request_capture(self.pool(), &new).await
    }

    async fn running(&self) -> Option<archive::RunningBackup> {
        let row = load_backup(self.pool(), self.timeline).await.unwrap();
        row.and_then(|row| row.running)
    }
}

#[tokio::test]
async fn the_first_backup_waits_for_the_first_wal_and_then_for_nothing() {
    let fixture = Fixture::pushed().await;
    assert_eq!(fixture.due(1).await, None);
    fixture.write(500).await;
    assert_eq!(fixture.due(1).await, Some(BackupReason::First));
    assert!(fixture.ask().await);
    assert_eq!(fixture.due(1).await, None, "somebody asked");
}

#[tokio::test]
async fn the_next_backup_is_due_once_a_day_if_anybody_writes() {
    let fixture = Fixture::archived(500).await;
    fixture.back_up(200, 0).await;
    assert_eq!(fixture.due(10 * DAY).await, None, "nobody wrote");
    fixture.write(u64::from(SEGMENT) + 500).await;
    assert_eq!(fixture.due(10 * DAY).await, None, "that is its own noise");
    fixture.write(u64::from(SEGMENT) + 100_000).await;
    assert_eq!(fixture.due(DAY / 2).await, None);
    assert_eq!(fixture.due(DAY).await, Some(BackupReason::Schedule));
}

#[tokio::test]
async fn a_gap_behind_the_last_backup_makes_one_due_and_two_windows_after_it() {
    let fixture = Fixture::archived(5_000).await;
    fixture.back_up(200, 10).await;
    let epoch = fixture.epoch().await;
    let to = at(u64::from(SEGMENT));
    let recorded = record_gap(fixture.pool(), &epoch, to, later(20)).await;
    assert_eq!(recorded.unwrap(), Recorded::Yes);
    assert_eq!(fixture.due(21).await, Some(BackupReason::Gap));

    fixture.write(u64::from(SEGMENT) + 9_000).await;
    fixture.back_up(u64::from(SEGMENT) + 100, 30).await;
    assert_eq!(fixture.due(31).await, None);
    let stored = restorable(fixture.pool(), fixture.timeline).await.unwrap();
    let found: Vec<(Lsn, Lsn)> = windows(&stored.epochs, &stored.bases)
        .iter()
        .map(|window| (window.from, window.to))
        .collect();
    let segment = u64::from(SEGMENT);
    let after = (at(segment + 200), at(segment + 9_000));
    assert_eq!(found, [(at(300), at(5_000)), after]);
    assert_eq!(
        stored.epochs[0].holes[0].reached_at,
        epoch.complete.map(|complete| complete.until)
    );
}

#[tokio::test]
async fn one_backup_of_a_timeline_runs_and_only_while_it_is_asked_for() {
    let fixture = Fixture::archived(500).await;
    assert_eq!(fixture.begin_backup(1).await, None, "nobody asks");
    fixture.ask().await;
    let first = fixture.begin_backup(1).await.expect("none runs");
    assert_eq!(fixture.begin_backup(2).await, None, "one runs");
    let running = fixture.running().await.expect("one runs");
    assert_eq!((running.id, running.ordered_at), (first, None));

    let note = async |done, total, seconds| {
        let progress = BackupProgress {
            bytes_done: done,
            bytes_total: total,
        };
        let noted = note_backup_progress(fixture.pool(), first, progress, later(seconds)).await;
        noted.unwrap();
        let running = fixture.running().await.expect("one runs");
        let progress = running.progress;
        (progress.bytes_done, progress.bytes_total, running.moved_at)
    };
    assert_eq!(note(0, 0, 3).await, (0, 0, later(3)), "its agent knows it");
    assert_eq!(note(0, 0, 4).await, (0, 0, later(3)));
    assert_eq!(note(50, 100, 5).await, (50, 100, later(5)));
    assert_eq!(note(40, 100, 6).await, (50, 100, later(5)), "a late word");

    assert_eq!(fixture.finish(first, 200, 7).await, Recorded::Yes);
    assert_eq!(fixture.finish(first, 200, 8).await, Recorded::Overtaken);
    let failed = fail_backup(fixture.pool(), first, "late", later(9)).await;
    assert_eq!(failed.unwrap(), Recorded::Overtaken);
    assert_eq!(fixture.begin_backup(9).await, None, "its job is done");
}

#[tokio::test]
async fn what_was_given_up_is_not_listed() {
    let fixture = Fixture::archived(500).await;
    let made = fixture.back_up(200, 1).await;
    fixture.ask().await;
    let lost = fixture.begin_backup(2).await.expect("none runs");
    let failed = fail_backup(fixture.pool(), lost, "a fault", later(3)).await;
    assert_eq!(failed.unwrap(), Recorded::Yes);
    let running = fixture.begin_backup(4).await.expect("none runs");

    let list = async |before, limit| {
        let limit = Limit::new(limit).unwrap();
        let page = backups_of(fixture.pool(), fixture.resource, before, limit).await;
        let page = page.unwrap();
        let ids: Vec<_> = page
            .items
            .iter()
            .map(|backup| (backup.id, backup.state))
            .collect();
        (ids, page.next)
    };
    let newest = (running, BackupState::Running);
    assert_eq!(list(None, 1).await, (vec![newest], Some(running)));
    let oldest = (made, BackupState::Finished);
    assert_eq!(list(Some(running), 9).await, (vec![oldest], None));
}

#[tokio::test]
async fn a_request_needs_an_archive_and_ends_with_the_backup_or_the_resource() {
    let fixture = Fixture::pushed().await;
    sqlx::query("delete from epochs")
        .execute(fixture.pool())
        .await
        .unwrap();
    let refused = fixture.capture().await;
    assert!(
        matches!(refused, Err(CaptureError::NotProtected)),
        "{refused:?}"
    );

    let fixture = Fixture::archived(500).await;
    let asked = fixture.capture().await.unwrap();
    assert_eq!(asked.timeline, Some(fixture.timeline));
    let backup = fixture.begin_backup(1).await.expect("it is asked for");
    assert_eq!(fixture.finish(backup, 200, 2).await, Recorded::Yes);
    let get = async |id| operations::get(fixture.pool(), id).await.unwrap().unwrap();
    let state = get(asked.operation.id).await.state;
    assert_eq!(state, OperationState::Succeeded);

    let asked = fixture.capture().await.unwrap().operation;
    let request = shared::db::resources::destroy::DestroyRequest {
        resource_id: fixture.resource,
        operation_id: OperationId::new(),
        token_id: fixture.world.token_id,
        request_id: RequestId::new(),
        now: later(3),
    };
    let mut connection = fixture.pool().acquire().await.unwrap();
    shared::db::resources::destroy::request_destroy(&mut connection, &request)
        .await
        .unwrap();
    let ended = get(asked.id).await;
    assert_eq!(ended.state, OperationState::Failed);
    assert_eq!(ended.error.as_deref(), Some("the resource was destroyed"));
}

#[tokio::test]
async fn a_backup_that_is_due_is_known_until_it_is_made() {
    let fixture = Fixture::archived(500).await;
    let due = async || due_backups(fixture.pool()).await.unwrap();
    assert!(due().await.is_empty());
    fixture.ask().await;
    let waiting = due().await;
    let [waiting] = waiting.as_slice() else {
        panic!("{waiting:#?}");
    };
    assert_eq!((waiting.since, waiting.moved_at), (Some(now()), None));
    assert_eq!((waiting.grace_s, waiting.alert_is_open), (7200, false));
    let new = alerts::NewAlert {
        name: "backup-late",
        subject_kind: "timeline",
        subject_id: fixture.timeline.as_uuid(),
        resource_id: None,
        detail: "",
        now: now(),
    };
    assert!(alerts::raise(fixture.pool(), &new).await.unwrap());
    let backup = fixture.begin_backup(1).await.expect("none runs");
    assert_eq!(due().await[0].moved_at, Some(later(1)));
    assert_eq!(fixture.finish(backup, 200, 2).await, Recorded::Yes);
    let made = due().await;
    let [made] = made.as_slice() else {
        panic!("{made:#?}");
    };
    assert_eq!((made.since, made.alert_is_open), (None, true));
}

#[tokio::test]
async fn a_backup_that_is_needed_cannot_be_marked() {
    let fixture = Fixture::archived(500).await;
    let first = fixture.back_up(100, 10).await;
    let second = fixture.back_up(200, 20).await;
    let mark = async |backup, keep_since: Option<DateTime<Utc>>| {
        let of = (fixture.timeline, backup);
        let marked = mark_expiring(fixture.pool(), of, keep_since, later(99)).await;
        marked.unwrap() == Recorded::Yes
    };
    assert!(
        !mark(first, Some(later(19))).await,
        "moments before 20 need it"
    );
    assert!(!mark(second, Some(later(99))).await, "it is the last one");
    assert!(mark(first, Some(later(20))).await);
    assert!(!mark(first, Some(later(20))).await, "it is marked");
    assert!(!mark(second, Some(later(99))).await, "it is the last one");
    assert!(!mark(second, None).await, "its leader lives");
    sqlx::query("update participants set state = 'removed' where timeline_id = $1")
        .bind(fixture.timeline.as_uuid())
        .execute(fixture.pool())
        .await
        .unwrap();
    assert!(mark(second, None).await, "everything goes");
}

#[tokio::test]
async fn what_a_restore_needs_is_kept_until_it_is_let_go_of() {
    let fixture = Fixture::archived(500).await;
    let first = fixture.back_up(100, 10).await;
    fixture.back_up(200, 20).await;
    let source = RestoreSource {
        postgres_major: 15,
        system_identifier: 7,
        timeline: fixture.timeline,
        backup: first,
        path: vec![Leg {
            timeline: fixture.timeline,
            run: Run { epoch: 1, tli: 1 },
            end: Lsn::from_bytes(500),
        }],
        target: Target::End,
        complete_until: later(20),
        renames: Vec::new(),
    };
    let new = NewRestore {
        id: RestoreId::new(),
        source: &source,
        segment_bytes: 16 << 20,
        request_id: RequestId::new(),
        now: later(30),
    };
    let hold = async || {
        let mut transaction = fixture.pool().begin().await.unwrap();
        let held = hold_restore(&mut transaction, &new).await.unwrap();
        transaction.commit().await.unwrap();
        held
    };
    let mark = async || {
        let of = (fixture.timeline, first);
        mark_expiring(fixture.pool(), of, Some(later(20)), later(30))
            .await
            .unwrap()
    };
    assert_eq!(hold().await, Recorded::Yes);
    assert_eq!(mark().await, Recorded::Overtaken, "a restore needs it");
    // Nothing waits for that restore.
    assert_eq!(
        release_restores(fixture.pool(), later(31)).await.unwrap(),
        1
    );
    assert_eq!(mark().await, Recorded::Yes);
    let again = NewRestore {
        id: RestoreId::new(),
        ..new
    };
    let mut transaction = fixture.pool().begin().await.unwrap();
    let held = hold_restore(&mut transaction, &again).await.unwrap();
    assert_eq!(held, Recorded::Overtaken, "it is marked");
}

/// Runs a statement about a timeline.
async fn change(fixture: &Fixture, statement: &'static str, timeline: TimelineId) {
    let done = sqlx::query(statement)
        .bind(timeline)
        .execute(fixture.pool())
        .await;
    assert!(done.unwrap().rows_affected() > 0, "{statement}");
}

#[tokio::test]
async fn what_comes_of_a_timeline_needs_it_until_it_has_a_sound_backup() {
    let fixture = Fixture::archived(500).await;
    let first = fixture.back_up(100, 10).await;
    fixture.back_up(200, 20).await;
    fixture.back_up(300, 30).await;
    fixture.back_up(400, 40).await;
    let mark = async || {
        let of = (fixture.timeline, first);
        mark_expiring(fixture.pool(), of, Some(later(20)), later(50))
            .await
            .unwrap()
    };
    // Its leader goes on with a timeline that came of one that came of it, as a promotion does.
    let begin = "insert into timelines (id, parent_id, created_at)
                 select $1, id, now() from timelines order by created_at desc limit 1";
    let (child, grandchild) = (TimelineId::new(), TimelineId::new());
    change(&fixture, begin, child).await;
    change(&fixture, begin, grandchild).await;
    change(
        &fixture,
        "update participants set timeline_id = $1",
        grandchild,
    )
    .await;
    assert_eq!(mark().await, Recorded::Overtaken, "it has no backup");
    let epoch = "insert into epochs
                 select (jsonb_populate_record(epochs, jsonb_build_object('timeline_id', $1))).*
                 from epochs
                 limit 1";
    change(&fixture, epoch, child).await;
    let own = "update backups set timeline_id = $1
               where id = (select id from backups order by started_at desc limit 1)";
    change(&fixture, own, child).await;
    let why = "one between has a backup, which may be from after the branch";
    assert_eq!(mark().await, Recorded::Overtaken, "{why}");
    change(&fixture, epoch, grandchild).await;
    let damaged = "update backups set timeline_id = $1, damaged_pages = 1
                   where id = (select id from backups order by started_at desc offset 1 limit 1)";
    change(&fixture, damaged, grandchild).await;
    assert_eq!(mark().await, Recorded::Overtaken, "its backup is damaged");
    let sound = "update backups set damaged_pages = 0 where timeline_id = $1";
    change(&fixture, sound, grandchild).await;
    assert_eq!(mark().await, Recorded::Yes);
}

/// A backup past a cut restores no moment of the living history: it takes nobody's place.
#[tokio::test]
async fn a_backup_past_a_cut_makes_no_other_one_superfluous() {
    let fixture = Fixture::archived(5_000).await;
    let kept = fixture.back_up(100, 10).await;
    let past = fixture.back_up(3_000, 20).await;
    let on_line = async || {
        let rows = kept_backups(fixture.pool(), fixture.timeline)
            .await
            .unwrap();
        let held = rows.iter().filter_map(|row| row.held);
        held.map(|held| (held.id, held.is_on_line))
            .collect::<Vec<_>>()
    };
    assert_eq!(on_line().await, [(kept, true), (past, true)]);
    let promote = async |number: u32, cut: u64| {
        let record = EpochRecord {
            number,
            tli: number,
            parent: Some(Parent {
                timeline: fixture.timeline,
                epoch: number - 1,
                cut: at(cut),
            }),
            ..fixture.epoch().await.record
        };
        let begun = begin_epoch(fixture.pool(), &record, RequestId::new(), later(25)).await;
        assert!(begun.unwrap(), "it is new");
    };
    let mark = async |backup| {
        let of = (fixture.timeline, backup);
        let marked = mark_expiring(fixture.pool(), of, Some(later(30)), later(30)).await;
        marked.unwrap() == Recorded::Yes
    };
    promote(2, 1_000).await;
    assert_eq!(on_line().await, [(kept, true), (past, false)]);
    assert!(!mark(kept).await, "nothing else restores what is kept");
    assert!(mark(past).await);
    // A later one may leave the history even before.
    promote(3, 150).await;
    assert_eq!(on_line().await, [(kept, false), (past, false)]);
}
