//! Accepting and refusing instructions.

use shared::agent_api::{InstanceRole, InstanceSpec, Refusal, RefusalCode};

use crate::spec_check::check_spec;
use crate::store::{Instruction, Standing, State};

/// Takes `spec` into `state`, or refuses it.
///
/// A repeated instruction is accepted again: it confirms the generation for this boot.
///
/// # Errors
/// [`Refusal`], and then `state` must not be kept.
pub(crate) fn accept(state: &mut State, spec: InstanceSpec, boot_id: &str) -> Result<(), Refusal> {
    let digest = spec.digest();
    let known = state.generation();
    let refuse = |code, message: String| Refusal {
        code,
        message,
        generation: known,
    };
    if let Some(instruction) = &state.instruction {
        let held = &instruction.spec;
        if held.participant != spec.participant {
            let message = format!("this server holds participant {}", held.participant);
            return Err(refuse(RefusalCode::OtherParticipant, message));
        }
        if spec.generation < known {
            let message = format!("generation {} is old: {known} was seen", spec.generation);
            return Err(refuse(RefusalCode::OldGeneration, message));
        }
        if spec.generation == known && instruction.digest != digest {
            let message = format!("generation {known} was seen with another spec");
            return Err(refuse(RefusalCode::GenerationReused, message));
        }
    }
    check_spec(&spec)
        .and_then(|()| check_succession(state, &spec))
        .map_err(|message| refuse(RefusalCode::Invalid, message))?;
    boot_id.clone_into(&mut state.confirmed_boot_id);
    if spec.generation > known {
        state.standing = match (spec.role, state.standing) {
            (InstanceRole::Follower, _) => Standing::Follows,
            (InstanceRole::Leader, Standing::Follows) => Standing::Promotes,
            (InstanceRole::Leader | InstanceRole::Stopped | InstanceRole::Removed, same) => same,
        };
        state.instruction = Some(Instruction { spec, digest });
    }
    Ok(())
}

/// What may not change from one spec of a participant to the next.
fn check_succession(state: &State, spec: &InstanceSpec) -> Result<(), String> {
    let Some(instruction) = &state.instruction else {
        return Ok(());
    };
    let held = &instruction.spec;
    if held.birth != spec.birth {
        let how = held.birth.restore().map_or("new", |_| "restored");
        let major = held.birth.postgres_major();
        return Err(format!(
            "birth: was a {how} PostgreSQL {major} and cannot change"
        ));
    }
    // One that was stopped before it began is none yet.
    let is_leader = held.role == InstanceRole::Leader || state.born;
    if spec.role == InstanceRole::Follower && is_leader && state.standing != Standing::Follows {
        return Err("role: what was a leader cannot follow".to_owned());
    }
    if spec.incarnation < held.incarnation {
        return Err(format!(
            "incarnation: was {} and cannot shrink",
            held.incarnation
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::agent_api::Birth;
    use shared::ids::{ParticipantId, RequestId, ServerId};

    use super::*;
    use crate::spec_check::tests::{source, spec};
    use crate::store::Store;

    fn state() -> State {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("state.json"), ServerId::new()).unwrap();
        State::clone(&store.get())
    }

    /// What becomes of `changed` after the good spec, which has generation 3.
    fn after_the_first(change: impl FnOnce(&mut InstanceSpec)) -> Result<(), RefusalCode> {
        let mut state = state();
        accept(&mut state, spec(), "boot 1").unwrap();
        let before = state.clone();
        let mut changed = spec();
        change(&mut changed);
        accept(&mut state, changed, "boot 1").map_err(|refusal| {
            assert_eq!(state, before, "a refusal changes nothing");
            assert_eq!(refusal.generation, 3);
            refusal.code
        })
    }

    #[test]
    fn only_a_newer_instruction_changes_what_is_held() {
        assert_eq!(after_the_first(|_| ()), Ok(()));
        assert_eq!(
            after_the_first(|spec| spec.request_id = RequestId::new()),
            Ok(())
        );
        assert_eq!(
            after_the_first(|spec| (spec.generation, spec.port) = (4, 20000)),
            Ok(())
        );
        let refused = |change: fn(&mut InstanceSpec)| after_the_first(change).unwrap_err();
        assert_eq!(
            refused(|spec| spec.generation = 2),
            RefusalCode::OldGeneration
        );
        assert_eq!(
            refused(|spec| spec.generation = 0),
            RefusalCode::OldGeneration
        );
        assert_eq!(
            refused(|spec| spec.port = 20000),
            RefusalCode::GenerationReused
        );
        let other = refused(|spec| {
            spec.participant = ParticipantId::new();
            spec.generation = 9;
        });
        assert_eq!(other, RefusalCode::OtherParticipant);
        let reborn = refused(|spec| {
            spec.birth = Birth::Initdb { postgres_major: 17 };
            spec.generation = 4;
        });
        assert_eq!(reborn, RefusalCode::Invalid);
    }

    #[test]
    fn a_repeated_instruction_confirms_it_for_this_boot() {
        let mut state = state();
        accept(&mut state, spec(), "boot 1").unwrap();
        accept(&mut state, spec(), "boot 2").unwrap();
        assert_eq!(state.confirmed_boot_id, "boot 2");
    }

    /// What becomes of the roles, one after the other, for an instance that is born or not; the
    /// last one's.
    fn in_roles(is_born: bool, roles: &[InstanceRole]) -> Result<Standing, RefusalCode> {
        let mut state = state();
        let mut outcome = Ok(());
        for (generation, role) in (1..).zip(roles) {
            let spec = InstanceSpec {
                generation,
                role: *role,
                birth: Birth::Restore(source()),
                ..spec()
            };
            outcome = accept(&mut state, spec, "boot 1").map_err(|refusal| refusal.code);
            state.born = is_born;
        }
        outcome.map(|()| state.standing)
    }

    #[test]
    fn a_follower_may_lead_and_a_leader_never_follows() {
        use InstanceRole::{Follower, Leader, Stopped};
        let invalid = Err(RefusalCode::Invalid);
        assert_eq!(in_roles(true, &[Follower]), Ok(Standing::Follows));
        assert_eq!(
            in_roles(true, &[Follower, Stopped, Follower]),
            Ok(Standing::Follows)
        );
        assert_eq!(
            in_roles(true, &[Follower, Stopped, Leader]),
            Ok(Standing::Promotes)
        );
        assert_eq!(
            in_roles(true, &[Follower, Leader, Stopped]),
            Ok(Standing::Promotes)
        );
        assert_eq!(in_roles(true, &[Follower, Leader, Follower]), invalid);
        assert_eq!(
            in_roles(true, &[Follower, Leader, Stopped, Follower]),
            invalid
        );
        assert_eq!(in_roles(true, &[Leader, Follower]), invalid);
        assert_eq!(in_roles(false, &[Leader, Follower]), invalid);
        assert_eq!(in_roles(true, &[Leader, Stopped, Follower]), invalid);
        assert_eq!(in_roles(true, &[Leader]), Ok(Standing::Independent));
        assert_eq!(in_roles(false, &[Stopped, Follower]), Ok(Standing::Follows));
    }
}
