//! The words of the domain are those that the control database accepts.

use std::collections::BTreeSet;

use shared::domain::{
    BackupReason, BackupState, JobKind, JobState, MachineKind, OperationKind, OperationState,
    ParticipantRole, ParticipantState, ProofReason, ProofState, ResourceState, ServerState,
    TokenScope, Traffic,
};
use tests::control_database::ControlDatabase;

macro_rules! words {
    ($set:ident) => {
        $set::ALL
            .iter()
            .map(|word| word.as_str().to_owned())
            .collect::<BTreeSet<_>>()
    };
}

/// The words in the CHECK of a table.
async fn accepted(database: &ControlDatabase, table: &str, check: &str) -> BTreeSet<String> {
    let definition: String = sqlx::query_scalar(
        "select pg_get_constraintdef(oid)
         from pg_constraint
         where conrelid = $1::regclass and conname = $2",
    )
    .bind(table)
    .bind(check)
    .fetch_one(&database.pool)
    .await
    .unwrap();
    // check ((state = any (array['pending'::text, …])))
    definition
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_set_of_words_is_what_its_check_accepts() {
    let database = ControlDatabase::start().await.unwrap();
    let sets = [
        ("resources", "state_is_known", words!(ResourceState)),
        ("participants", "state_is_known", words!(ParticipantState)),
        ("participants", "role_is_known", words!(ParticipantRole)),
        ("servers", "state_is_known", words!(ServerState)),
        ("jobs", "kind_is_known", words!(JobKind)),
        ("jobs", "state_is_known", words!(JobState)),
        ("backups", "state_is_known", words!(BackupState)),
        ("backups", "reason_is_known", words!(BackupReason)),
        ("proofs", "state_is_known", words!(ProofState)),
        ("proofs", "reason_is_known", words!(ProofReason)),
        ("operations", "kind_is_known", words!(OperationKind)),
        ("operations", "state_is_known", words!(OperationState)),
        ("transitions", "machine_is_known", words!(MachineKind)),
        ("tokens", "scope_is_known", words!(TokenScope)),
        ("routes", "traffic_is_known", words!(Traffic)),
    ];
    for (table, check, words) in &sets {
        assert_eq!(
            accepted(&database, table, check).await,
            *words,
            "{table}.{check}"
        );
    }
    let checks: i64 = sqlx::query_scalar(
        "select count(*) from pg_constraint where contype = 'c' and conname like '%\\_is\\_known'",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert_eq!(
        usize::try_from(checks).unwrap(),
        sets.len(),
        "a CHECK is not compared here"
    );
}
