//! Whether a push asks for something that can be done.

use shared::agent_api::RefusalCode;
use shared::agent_api::wal::{CHUNK_BYTES_MAX, PLACES_MAX, Place, Seam, WalPush};
use shared::archive::frame::CONTENT_BYTES_MAX;
use shared::units::Lsn;

use crate::held::Refused;

/// Whether the places are good ones for segments of `segment_bytes`.
pub(super) fn places(push: &WalPush, segment_bytes: u64) -> Result<(), Refused> {
    let invalid = |message| (RefusalCode::Invalid, message);
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
    let next = push.chunks.first().map(|place| place.start);
    let seam = push.seam.as_ref();
    seam.map_or(Ok(()), |seam| is_good_seam(seam, next, segment_bytes))
        .map_err(invalid)
}

/// Whether a seam is where the first chunk begins, and its objects may end there.
fn is_good_seam(seam: &Seam, next: Option<Lsn>, segment_bytes: u64) -> Result<(), String> {
    let end = seam.end;
    if seam.objects.is_empty() || next.is_some_and(|next| next != end) {
        return Err(format!("seam: it ends at {end}, which is no seam"));
    }
    let is_good = |start: Lsn| {
        let last = end.bytes().saturating_sub(1);
        start < end && start.bytes() / segment_bytes == last / segment_bytes
    };
    match seam.objects.iter().find(|object| !is_good(object.start)) {
        None => Ok(()),
        Some(object) => Err(format!(
            "seam: no object from {} to {end} is in one segment",
            object.start
        )),
    }
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
