//! What holds for the tables alone.

use std::collections::HashSet;

use super::{Machine, Participant, Resource, Server, Word};

/// States that a life leads to from one state.
fn reachable<M: Machine>(from: M::State) -> HashSet<M::State> {
    let mut found = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(state) = open.pop() {
        for row in M::TABLE.iter().filter(|row| row.from == state) {
            if found.insert(row.to) {
                open.push(row.to);
            }
        }
    }
    found
}

/// Checks one table; `steady` are the states that may last for ever, `destroy` the event that a
/// request to go becomes, `leaving` the states in which it has become one already.
fn check<M: Machine>(steady: &[M::State], destroy: M::Event, leaving: &[M::State]) {
    let mut pairs = HashSet::new();
    for row in M::TABLE {
        assert!(
            pairs.insert((row.from, row.on)),
            "two rows for {} on {}",
            row.from,
            row.on
        );
        assert!(
            !row.why.is_empty() && !row.why.ends_with('.'),
            "{:?}",
            row.why
        );
    }
    let all = reachable::<M>(M::INITIAL);
    for state in M::State::ALL {
        assert!(all.contains(state), "{state} cannot be reached");
        if M::is_final(*state) {
            assert_eq!(M::deadline(*state), None, "{state} is final");
            assert!(
                !M::TABLE.iter().any(|row| row.from == *state),
                "{state} is final"
            );
            continue;
        }
        assert_eq!(
            M::deadline(*state).is_none(),
            steady.contains(state),
            "deadline of {state}"
        );
        let ends = reachable::<M>(*state);
        assert!(
            ends.iter().any(|state| M::is_final(*state)),
            "{state} has no end"
        );
        if !leaving.contains(state) {
            let row = M::next(*state, destroy);
            let to = row
                .unwrap_or_else(|| panic!("{state} cannot be destroyed"))
                .to;
            assert!(leaving.contains(&to), "{destroy} in {state} leads to {to}");
        }
    }
    for event in M::Event::ALL {
        assert!(
            M::TABLE.iter().any(|row| row.on == *event),
            "{event} is in no row"
        );
    }
    distinct::<M::State>();
    distinct::<M::Event>();
    distinct::<M::Step>();
}

fn distinct<W: Word>() {
    let mut words = HashSet::new();
    for word in W::ALL {
        let text = word.as_str();
        assert!(words.insert(text), "{text} twice");
        assert!(
            text.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{text}"
        );
    }
}

#[test]
fn each_state_is_reached_left_limited_in_time_and_can_be_destroyed() {
    use crate::domain::{ParticipantState, ResourceState, ServerState};
    use crate::machine::{participant, resource, server};

    check::<Resource>(
        &[ResourceState::Available],
        resource::Event::DestroyRequested,
        &[ResourceState::Deprovisioning],
    );
    check::<Participant>(
        &[ParticipantState::Serving],
        participant::Event::DestroyRequested,
        &[ParticipantState::Removing],
    );
    check::<Server>(
        &[ServerState::Ready],
        server::Event::DestroyRequested,
        &[ServerState::Terminating],
    );
}

#[test]
fn the_control_database_knows_the_same_states() {
    let sql = include_str!("../../../../migrations/20261122100100_create_fleet.sql");
    for (table, states) in [
        ("servers", words::<crate::domain::ServerState>()),
        ("participants", words::<crate::domain::ParticipantState>()),
        ("resources", words::<crate::domain::ResourceState>()),
    ] {
        let (_, definition) = sql.split_once(&format!("create table {table} (")).unwrap();
        let (_, check) = definition
            .split_once("constraint state_is_known check (")
            .unwrap();
        let (_, list) = check.split_once("state in (").unwrap();
        let (list, _) = list.split_once(')').unwrap();
        let known: Vec<_> = list
            .split(',')
            .map(|word| word.trim().trim_matches('\'').to_owned())
            .collect();
        assert_eq!(known, states, "states of {table}");
    }
}

fn words<W: Word>() -> Vec<String> {
    W::ALL.iter().map(|word| word.as_str().to_owned()).collect()
}
