//! Whether a call is about what is held here: the participant with its generation, and the history
//! that its PostgreSQL writes.

use shared::agent_api::{InstanceSpec, RefusalCode};
use shared::archive::layout::Run;
use shared::ids::ParticipantId;

use crate::live::Writer;

/// Why a call is refused.
pub(crate) type Refused = (RefusalCode, String);

/// Whether the participant and its generation are the ones held here.
pub(crate) fn is_held(
    (participant, told): (ParticipantId, u64),
    held: Option<&InstanceSpec>,
) -> Result<(), Refused> {
    let Some(held) = held else {
        let message = "this server holds no participant yet".to_owned();
        return Err((RefusalCode::OtherParticipant, message));
    };
    if held.participant != participant {
        let message = format!("this server holds participant {}", held.participant);
        return Err((RefusalCode::OtherParticipant, message));
    }
    let known = held.generation;
    if told < known {
        let message = format!("generation {told} is old: {known} was seen");
        return Err((RefusalCode::OldGeneration, message));
    }
    if told > known {
        let message = format!("generation {told} was not seen yet: {known} is held");
        return Err((RefusalCode::UnknownGeneration, message));
    }
    Ok(())
}

/// Whether the history here is of this cluster and run.
pub(crate) fn is_this_history(
    (system_identifier, run): (u64, Run),
    writer: &Writer,
) -> Result<(), Refused> {
    if writer.system_identifier != system_identifier {
        let message = format!(
            "system_identifier: this cluster has {}",
            writer.system_identifier
        );
        return Err((RefusalCode::OtherHistory, message));
    }
    if run.epoch == 0 {
        let message = "run.epoch: must be 1 or more".to_owned();
        return Err((RefusalCode::Invalid, message));
    }
    if writer.tli != run.tli {
        let message = format!("run.tli: PostgreSQL is on {}", writer.tli);
        return Err((RefusalCode::OtherHistory, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_check::tests::spec;

    #[test]
    fn a_call_about_somebody_else_is_refused() {
        let held = spec();
        let code = |participant, generation| {
            is_held((participant, generation), Some(&held)).map_err(|(code, _)| code)
        };
        assert_eq!(code(held.participant, 3), Ok(()));
        assert_eq!(
            code(ParticipantId::new(), 3),
            Err(RefusalCode::OtherParticipant)
        );
        assert_eq!(code(held.participant, 2), Err(RefusalCode::OldGeneration));
        assert_eq!(
            code(held.participant, 4),
            Err(RefusalCode::UnknownGeneration)
        );
        assert_eq!(
            is_held((held.participant, 3), None).unwrap_err().0,
            RefusalCode::OtherParticipant
        );
    }

    #[test]
    fn a_call_about_another_history_is_refused() {
        let writer = Writer {
            system_identifier: 7,
            tli: 1,
            started_at: chrono::DateTime::UNIX_EPOCH,
        };
        let code = |system_identifier, epoch, tli| {
            is_this_history((system_identifier, Run { epoch, tli }), &writer)
                .map_err(|(code, _)| code)
        };
        assert_eq!(code(7, 1, 1), Ok(()));
        assert_eq!(code(8, 1, 1), Err(RefusalCode::OtherHistory));
        assert_eq!(code(7, 1, 2), Err(RefusalCode::OtherHistory));
        assert_eq!(code(7, 0, 1), Err(RefusalCode::Invalid));
    }
}
