use std::collections::BTreeMap;

use shared::agent_api::wal::{Archived, Signed};
use shared::archive::layout::Run;
use shared::ids::{ParticipantId, TimelineId};
use shared::secret::Secret;
use shared::units::Lsn;

use super::*;

const MIB: u64 = 1024 * 1024;

fn signed() -> Signed {
    Signed {
        url: Secret::new("http://archive"),
        headers: BTreeMap::new(),
        look_first: None,
    }
}

fn archived(start: u64) -> Archived {
    Archived {
        start: Lsn::from_bytes(start),
        get: signed(),
    }
}

fn place(start: u64, end: u64) -> Place {
    let signed = signed();
    Place {
        start: Lsn::from_bytes(start),
        end: Lsn::from_bytes(end),
        put: signed.clone(),
        get: signed,
    }
}

fn push() -> WalPush {
    WalPush {
        participant: ParticipantId::new(),
        generation: 3,
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        system_identifier: 7,
        run: Run { epoch: 1, tli: 1 },
        seam: Some(Seam {
            end: Lsn::from_bytes(16 * MIB + 40),
            objects: vec![archived(16 * MIB)],
        }),
        chunks: vec![
            place(16 * MIB + 40, 17 * MIB),
            place(17 * MIB, 32 * MIB),
            place(32 * MIB, 48 * MIB),
        ],
        segments: vec![place(16 * MIB, 32 * MIB), place(0, 16 * MIB)],
        safe_lsn: Lsn::default(),
        answer_within_ms: 1000,
    }
}

#[test]
fn a_good_push_is_accepted() {
    assert_eq!(places(&push(), 16 * MIB), Ok(()));
}

#[track_caller]
fn check(field: &str, segment_bytes: u64, spoil: fn(&mut WalPush)) {
    let mut push = push();
    spoil(&mut push);
    let (code, message) = places(&push, segment_bytes).unwrap_err();
    assert_eq!(code, RefusalCode::Invalid);
    assert!(message.starts_with(&format!("{field}:")), "{message}");
}

#[test]
fn places_that_cannot_be_filled_are_refused() {
    let size = 16 * MIB;
    check("chunks", size, |push| push.chunks.swap(0, 1));
    check("chunks", size, |push| {
        push.chunks[2] = place(32 * MIB, 32 * MIB);
    });
    check("chunks", size, |push| {
        push.chunks[2] = place(32 * MIB, 30 * MIB);
    });
    check("chunks", size, |push| {
        push.chunks = vec![place(0, 16 * MIB + 1)];
    });
    check("chunks", 64 * MIB, |push| {
        push.chunks = vec![place(0, 16 * MIB + 1)];
        push.segments.clear();
    });
    check("chunks", size, |push| {
        push.chunks = (0..33).map(|n| place(n, n + 1)).collect();
    });
    check("segments", size, |push| push.segments = vec![place(0, MIB)]);
    check("segments", size, |push| {
        push.segments = vec![place(MIB, 17 * MIB)];
    });
    check("segments", size, |push| {
        push.segments = vec![place(0, u64::MAX)];
    });
    check("segments", size, |push| {
        push.segments = vec![place(0, 16 * MIB); 33];
    });
    check("segments", 128 * MIB, |push| {
        push.chunks.clear();
        push.segments = vec![place(0, 128 * MIB)];
    });
}

#[test]
fn a_seam_is_where_the_first_chunk_begins() {
    let size = 16 * MIB;
    let spoil = |change: fn(&mut Seam)| {
        let mut push = push();
        change(push.seam.as_mut().unwrap());
        places(&push, size).unwrap_err().1
    };
    let elsewhere = spoil(|seam| seam.end = Lsn::from_bytes(16 * MIB + 41));
    assert!(elsewhere.starts_with("seam:"), "{elsewhere}");
    assert!(spoil(|seam| seam.objects.clear()).starts_with("seam:"));
    let before = spoil(|seam| seam.objects.push(archived(16 * MIB - 1)));
    assert!(before.contains("one segment"), "{before}");
    let empty = spoil(|seam| seam.objects = vec![archived(16 * MIB + 40)]);
    assert!(empty.contains("one segment"), "{empty}");
}
