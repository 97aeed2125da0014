//! Whether a push is about what is here, and asks for something that can be done.

use shared::agent_api::wal::{CHUNK_BYTES_MAX, PLACES_MAX, Place, WalPush};
use shared::agent_api::{InstanceSpec, RefusalCode};
use shared::archive::frame::CONTENT_BYTES_MAX;

use crate::live::WalState;

/// Why a push is refused.
pub(super) type Refused = (RefusalCode, String);

/// Whether the participant and its generation are the ones held here.
pub(super) fn is_held(push: &WalPush, held: Option<&InstanceSpec>) -> Result<(), Refused> {
    let Some(held) = held else {
        let message = "this server holds no participant yet".to_owned();
        return Err((RefusalCode::OtherParticipant, message));
    };
    if held.participant != push.participant {
        let message = format!("this server holds participant {}", held.participant);
        return Err((RefusalCode::OtherParticipant, message));
    }
    let (known, told) = (held.generation, push.generation);
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

/// Whether the WAL here is the one that is asked for.
pub(super) fn is_this_history(push: &WalPush, wal: &WalState) -> Result<(), Refused> {
    if wal.system_identifier != push.system_identifier {
        let message = format!(
            "system_identifier: this cluster has {}",
            wal.system_identifier
        );
        return Err((RefusalCode::OtherHistory, message));
    }
    if wal.tli != push.run.tli {
        let message = format!("run.tli: PostgreSQL is on {}", wal.tli);
        return Err((RefusalCode::OtherHistory, message));
    }
    Ok(())
}

/// Whether the places are good ones for segments of `segment_bytes`.
pub(super) fn places(push: &WalPush, segment_bytes: u64) -> Result<(), Refused> {
    let invalid = |message| (RefusalCode::Invalid, message);
    if push.run.epoch == 0 {
        return Err(invalid("run.epoch: must be 1 or more".to_owned()));
    }
    for (field, places) in [("chunks", &push.chunks), ("segments", &push.segments)] {
        if places.len() > PLACES_MAX {
            return Err(invalid(format!("{field}: more than {PLACES_MAX} places")));
        }
    }
    for pair in push.chunks.windows(2) {
        if let [one, next] = pair
            && one.end != next.start
        {
            let (end, start) = (one.end, next.start);
            let message = format!("chunks: one ends at {end} and the next begins at {start}");
            return Err(invalid(message));
        }
    }
    let is_long = |place: &Place| length(place) > CHUNK_BYTES_MAX;
    for place in &push.chunks {
        if !lies_in_one_segment(place, segment_bytes) || is_long(place) {
            return Err(invalid(format!(
                "chunks: {} to {} is empty, longer than {CHUNK_BYTES_MAX} bytes, or beyond the \
                 end of a segment of {segment_bytes} bytes",
                place.start, place.end
            )));
        }
    }
    let largest = u64::try_from(CONTENT_BYTES_MAX).unwrap_or(u64::MAX);
    if !push.segments.is_empty() && segment_bytes > largest {
        return Err(invalid(format!(
            "segments: one of {segment_bytes} bytes does not fit into an object"
        )));
    }
    for place in &push.segments {
        if !lies_in_one_segment(place, segment_bytes) || length(place) != segment_bytes {
            return Err(invalid(format!(
                "segments: {} to {} is not one segment of {segment_bytes} bytes",
                place.start, place.end
            )));
        }
    }
    Ok(())
}

fn length(place: &Place) -> u64 {
    place.end.bytes().saturating_sub(place.start.bytes())
}

/// Whether a place has a byte, and the first and the last are in the same segment.
fn lies_in_one_segment(place: &Place, segment_bytes: u64) -> bool {
    let segment = |byte: u64| byte / segment_bytes;
    place.start < place.end
        && segment(place.start.bytes()) == segment(place.end.bytes().saturating_sub(1))
}

#[cfg(test)]
mod tests;
