//! Transfers in the control database: what is brought over counts only where it was brought to.

use shared::agent_api::restore::RestoreSource;
use shared::archive::layout::Run;
use shared::archive::plan::{Leg, Target};
use shared::db::archive::NewRestore;
use shared::db::fleet::{
    DatabaseWish, NewPlacement, Recorded, begin_transfer, databases_wanted, dismiss_donors,
    fail_transfer, load_fork, load_transfer, note_transferred, place,
};
use shared::db::resources::create::{Copying, NewFork, NewResource, create};
use shared::ids::{
    OperationId, ParticipantId, RequestId, ResourceId, RestoreId, ServerId, TimelineId,
};
use shared::units::Lsn;

use super::archive::{Fixture, later};
use super::world::now;

fn new_placement() -> NewPlacement {
    NewPlacement {
        provider: "local".to_owned(),
        server: ServerId::new(),
        participant: ParticipantId::new(),
        timeline: TimelineId::new(),
        postgres_major: 15,
        prober_password: Vec::new(),
        prober_verifier: Vec::new(),
        request_id: RequestId::new(),
        at: now(),
        deadline_at: later(600),
    }
}

/// A copy that is to be brought to a shared server.
struct Story {
    fixture: Fixture,
    source: RestoreSource,
    copy: ResourceId,
}

impl Story {
    async fn begin() -> Self {
        let fixture = Fixture::archived(500).await;
        let source = RestoreSource {
            postgres_major: 15,
            system_identifier: 7,
            timeline: fixture.timeline,
            backup: fixture.back_up(100, 10).await,
            path: vec![Leg {
                timeline: fixture.timeline,
                run: Run { epoch: 1, tli: 1 },
                end: Lsn::from_bytes(500),
            }],
            target: Target::End,
            complete_until: later(20),
            renames: Vec::new(),
        };
        let copy = ResourceId::new();
        let new = NewResource {
            id: copy,
            operation_id: OperationId::new(),
            name: &"staging".parse().unwrap(),
            plan: "hobby",
            fork: Some(NewFork {
                parent: fixture.resource,
                copying: Copying::Once(Target::End),
            }),
            deadline_at: later(600),
            token_id: fixture.world.token_id,
            key: None,
            request_id: RequestId::new(),
            now: now(),
        };
        create(fixture.pool(), &new).await.unwrap();
        sqlx::query("update resources set password = '', verifier = '' where id = $1")
            .bind(copy)
            .execute(fixture.pool())
            .await
            .unwrap();
        Self {
            fixture,
            source,
            copy,
        }
    }

    async fn give(&self, donor: &NewPlacement) -> Recorded {
        let restore = NewRestore {
            id: RestoreId::new(),
            source: &self.source,
            segment_bytes: 16 << 20,
            request_id: RequestId::new(),
            now: later(30),
        };
        let mut transaction = self.fixture.pool().begin().await.unwrap();
        let of = (self.copy, "standard");
        let begun = begin_transfer(&mut transaction, of, &restore, donor)
            .await
            .unwrap();
        if begun == Recorded::Yes {
            transaction.commit().await.unwrap();
        }
        begun
    }

    /// Places it on a new server: those that it was on before are lost.
    async fn place(&self) -> NewPlacement {
        let new = new_placement();
        sqlx::query(
            "update servers set state = 'terminating'
             where id in (select server_id from participants where role = 'leader')",
        )
        .execute(self.fixture.pool())
        .await
        .unwrap();
        let version = sqlx::query_scalar("select version from resources where id = $1")
            .bind(self.copy)
            .fetch_one(self.fixture.pool())
            .await
            .unwrap();
        let mut transaction = self.fixture.pool().begin().await.unwrap();
        let placed = place(&mut transaction, (self.copy, version), &new)
            .await
            .unwrap();
        assert_eq!(placed.recorded, Recorded::Yes);
        transaction.commit().await.unwrap();
        new
    }

    async fn note(&self, at: ParticipantId) -> Recorded {
        note_transferred(self.fixture.pool(), (self.copy, at), later(60))
            .await
            .unwrap()
    }

    async fn wish(&self, of: ParticipantId) -> DatabaseWish {
        let wishes = databases_wanted(self.fixture.pool(), &[of]).await.unwrap();
        let own = wishes.into_iter().find(|wish| wish.resource == self.copy);
        own.expect("the copy needs something of it")
    }

    async fn destroy_original(&self) {
        sqlx::query("update resources set state = 'deprovisioning' where id = $1")
            .bind(self.fixture.resource)
            .execute(self.fixture.pool())
            .await
            .unwrap();
    }

    /// Whether the original is to be dropped where it is.
    async fn original_goes(&self) -> bool {
        let query = "select participant_id from resources where id = $1";
        let home: ParticipantId = sqlx::query_scalar(query)
            .bind(self.fixture.resource)
            .fetch_one(self.fixture.pool())
            .await
            .unwrap();
        let wishes = databases_wanted(self.fixture.pool(), &[home]).await;
        let mut wishes = wishes.unwrap().into_iter();
        wishes.any(|wish| wish.resource == self.fixture.resource && !wish.wanted)
    }

    /// The name of what forbids a write.
    async fn forbidden(&self, assignment: &str, value: Option<ParticipantId>) -> Option<String> {
        let text = format!(
            "update resources set {assignment} where id = $1 and $2::uuid is distinct from id"
        );
        let error = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(self.copy)
            .bind(value.unwrap_or_else(ParticipantId::new))
            .execute(self.fixture.pool())
            .await
            .expect_err("it is forbidden");
        let error = error.as_database_error()?;
        error.constraint().map(ToOwned::to_owned)
    }
}

#[tokio::test]
async fn what_was_brought_over_counts_only_where_the_copy_is() {
    let story = Story::begin().await;
    let fork = load_fork(story.fixture.pool(), story.copy).await.unwrap();
    let plan = fork.and_then(|fork| fork.donor_plan);
    assert_eq!(plan.as_deref(), Some("standard"));
    let donor = new_placement();
    assert_eq!(story.give(&donor).await, Recorded::Yes);
    assert_eq!(story.give(&new_placement()).await, Recorded::Overtaken);
    let first = story.place().await;
    assert_ne!(first.participant, donor.participant);

    let wish = story.wish(donor.participant).await;
    assert!(
        wish.is_donor && wish.has_database && wish.covered,
        "{wish:?}"
    );
    let wish = story.wish(first.participant).await;
    assert!(!wish.is_donor && !wish.has_database, "{wish:?}");

    // It is placed anew while the database is on its way: what came before is not there.
    let second = story.place().await;
    assert_eq!(story.note(first.participant).await, Recorded::Overtaken);
    assert_eq!(story.note(second.participant).await, Recorded::Yes);
    assert!(story.wish(second.participant).await.has_database);
    let transfer = load_transfer(story.fixture.pool(), story.copy).await;
    assert!(transfer.unwrap().is_none(), "there is nothing left to do");

    // Also after that: and its donor goes, so that nobody takes an empty database for it.
    let third = story.place().await;
    assert!(!story.wish(third.participant).await.has_database);
    let transfer = load_transfer(story.fixture.pool(), story.copy)
        .await
        .unwrap();
    assert!(transfer.expect("it is to be brought over").donor.is_going);
}

#[tokio::test]
async fn an_original_stays_until_it_is_known_what_its_copy_is_restored_from() {
    let story = Story::begin().await;
    story.destroy_original().await;
    assert!(!story.original_goes().await);
    assert_eq!(story.give(&new_placement()).await, Recorded::Yes);
    assert!(story.original_goes().await);

    let story = Story::begin().await;
    story.destroy_original().await;
    assert!(!story.original_goes().await);
    let failed = fail_transfer(story.fixture.pool(), story.copy, "no way").await;
    assert_eq!(failed.unwrap(), Recorded::Yes);
    assert!(story.original_goes().await);
}

#[tokio::test]
async fn a_worker_of_before_can_neither_open_a_copy_nor_place_it_among_neighbours() {
    let story = Story::begin().await;
    let donor = new_placement();
    assert_eq!(story.give(&donor).await, Recorded::Yes);
    let place_there = "participant_id = $2";
    let forbidden = story.forbidden(place_there, Some(donor.participant)).await;
    let by = ["nobody_is_on_a_proof", "a_copy_is_on_what_was_restored"];
    assert!(
        forbidden.as_deref().is_some_and(|name| by.contains(&name)),
        "{forbidden:?}"
    );
    story.place().await;
    let forbidden = story.forbidden("state = 'available'", None).await;
    assert_eq!(forbidden.as_deref(), Some("a_transferred_copy_is_whole"));
}

#[tokio::test]
async fn a_donor_goes_once_its_copy_is_not_made_any_more() {
    let story = Story::begin().await;
    let (pool, donor) = (story.fixture.pool(), new_placement());
    assert_eq!(story.give(&donor).await, Recorded::Yes);
    assert_eq!(dismiss_donors(pool, later(60)).await.unwrap(), []);
    let failed = fail_transfer(pool, story.copy, "no").await.unwrap();
    assert_eq!(failed, Recorded::Yes);
    let again = fail_transfer(pool, story.copy, "never").await.unwrap();
    assert_eq!(again, Recorded::Overtaken);
    sqlx::query("update resources set state = 'deprovisioning' where id = $1")
        .bind(story.copy)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(
        dismiss_donors(pool, later(60)).await.unwrap(),
        [donor.server]
    );
    assert_eq!(dismiss_donors(pool, later(61)).await.unwrap(), []);
}
