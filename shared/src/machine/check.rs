//! What holds for every machine: of its table alone, and of its decision under every class of
//! facts ([`spaces`]).

mod documents;
mod laws;
mod spaces;
mod tables;

use std::collections::HashSet;
use std::time::Duration;

use spaces::Space;

use super::participant::Participant;
use super::resource::Resource;
use super::server::Server;
use super::{Alert, Decision, Machine, Word};

/// Nothing rests longer than this, whatever the plan: the longest cadence in [`spaces`].
const LONGEST_REST: Duration = spaces::CADENCE;

/// What a machine was seen to do over all of its facts.
struct Seen<M: Machine> {
    rows: HashSet<(M::State, M::Event)>,
    steps: HashSet<M::Step>,
    alerts: HashSet<Alert>,
    cases: usize,
}

/// Decides over the whole space and holds each decision to the rules of all machines.
fn survey<M: Space>() -> Seen<M>
where
    M::Facts: std::fmt::Debug,
{
    let mut seen = Seen {
        rows: HashSet::new(),
        steps: HashSet::new(),
        alerts: HashSet::new(),
        cases: 0,
    };
    M::for_each(|facts| {
        let decision = M::decide(facts);
        hold_to_the_rules::<M>(facts, &decision);
        seen.rows
            .extend(decision.event.map(|event| (M::state(facts), event)));
        seen.steps.extend(decision.step);
        seen.alerts.extend(decision.alert);
        seen.cases += 1;
    });
    seen
}

fn hold_to_the_rules<M: Space>(facts: &M::Facts, decision: &Decision<M::Event, M::Step>)
where
    M::Facts: std::fmt::Debug,
{
    let state = M::state(facts);
    if let Some(event) = decision.event {
        assert!(
            M::next(state, event).is_some(),
            "{event} is refused in {state}: {facts:?}"
        );
        assert_eq!(
            decision.step, None,
            "an event and a step at once: {facts:?}"
        );
        assert!(
            !decision.done,
            "done before the event is recorded: {facts:?}"
        );
    }
    assert!(
        decision.event.is_some()
            || decision.step.is_some()
            || decision.done
            || !decision.come_back.is_zero(),
        "it spins: {facts:?}"
    );
    assert!(
        decision.come_back <= LONGEST_REST,
        "it sleeps too long: {facts:?} {decision:?}"
    );
    if M::waits(facts) && M::deadline_passed(facts) && decision.rests() && !decision.done {
        assert!(
            decision.alert.is_some(),
            "nobody is told that it is late: {facts:?}"
        );
    }
}

/// Every row, every step and every alert must come out of some facts; alerts are collected.
fn nothing_is_dead<M: Space>(alerts: &mut HashSet<Alert>)
where
    M::Facts: std::fmt::Debug,
{
    let seen = survey::<M>();
    assert!(
        seen.cases > 10_000,
        "{} has only {} cases",
        M::KIND,
        seen.cases
    );
    for row in M::TABLE {
        assert!(
            seen.rows.contains(&(row.from, row.on)),
            "no facts lead to {} in {} of the {} machine",
            row.on,
            row.from,
            M::KIND
        );
    }
    for step in M::Step::ALL {
        assert!(
            seen.steps.contains(step),
            "no facts lead to {step} of the {} machine",
            M::KIND
        );
    }
    alerts.extend(seen.alerts);
}

#[test]
fn every_decision_keeps_the_rules_and_nothing_is_dead() {
    let mut alerts = HashSet::new();
    nothing_is_dead::<Server>(&mut alerts);
    nothing_is_dead::<Participant>(&mut alerts);
    nothing_is_dead::<Resource>(&mut alerts);
    for alert in Alert::ALL {
        assert!(alerts.contains(alert), "no facts raise {alert}");
    }
}

#[test]
fn a_refused_event_names_machine_state_and_event() {
    use super::server::Event;
    use crate::domain::ServerState;

    let refused = Server::transition(ServerState::Terminated, Event::AgentAnswered).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the server machine refuses event agent_answered in state terminated"
    );
}
