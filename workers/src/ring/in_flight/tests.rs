use shared::queue::{MemberKind, Ring};
use uuid::Uuid;

use super::*;

fn claim(counter: u64) -> Claim {
    Claim {
        member: Member {
            kind: MemberKind::Resource,
            id: Uuid::from_u128(7),
        },
        token: Token { epoch: 1, counter },
        shard: Shard {
            ring: Ring::Ring,
            index: 0,
        },
        overdue_ms: 0,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn ended(admitted: &Admitted) -> Ended {
    Ended {
        member: admitted.claim.member,
        serial: admitted.serial,
        outcome: Outcome::Again(Duration::from_secs(5)),
    }
}

#[tokio::test]
async fn a_member_leaves_when_its_settlement_was_answered() {
    let held = InFlight::with_room_for(2);
    let admitted = held.admit(vec![claim(1)], soon());
    assert_eq!((admitted.len(), held.room()), (1, 1));
    let (due, superseded) = held.end([ended(&admitted[0])]);
    assert_eq!((due.len(), superseded, held.room()), (1, 0, 1));
    assert_eq!(
        due[0].settlement.outcome,
        Outcome::Again(Duration::from_secs(5))
    );
    held.release(&due);
    assert_eq!(held.room(), 2);
}

#[tokio::test]
async fn a_member_claimed_again_during_its_turn_waits_and_is_handed_back() {
    let held = InFlight::with_room_for(2);
    let first = held.admit(vec![claim(1)], soon());
    // The same token twice is what Redis gives after it went back to an older copy.
    for counter in [1, 2] {
        assert!(held.admit(vec![claim(counter)], soon()).is_empty());
        assert!(!first[0].lease.still_mine());
    }
    let (due, superseded) = held.end([ended(&first[0])]);
    assert_eq!(superseded, 1);
    assert_eq!(due[0].settlement.token.counter, 2);
    assert_eq!(due[0].settlement.outcome, Outcome::Again(Duration::ZERO));
    held.release(&due);
    assert_eq!(held.len(), 0);
}

#[tokio::test]
async fn a_member_claimed_again_while_its_settlement_is_under_way_is_turned() {
    let held = InFlight::with_room_for(2);
    let first = held.admit(vec![claim(1)], soon());
    let (due, _) = held.end([ended(&first[0])]);
    let second = held.admit(vec![claim(2)], soon());
    assert_eq!(second.len(), 1);
    // The answer to the first settlement comes late, and must not release the second holding.
    held.release(&due);
    assert_eq!(held.len(), 1);
    assert!(held.end([ended(&first[0])]).0.is_empty());
    assert_eq!(held.end([ended(&second[0])]).0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_near_its_end_is_listed_and_one_past_it_is_lost() {
    let held = InFlight::with_room_for(2);
    let admitted = held.admit(vec![claim(1)], soon());
    let now = Instant::now();
    assert!(
        held.leases_ending_before(now + Duration::from_secs(5))
            .is_empty()
    );
    assert_eq!(
        held.leases_ending_before(now + Duration::from_secs(11))
            .len(),
        1
    );
    assert_eq!(held.lose_expired(now + Duration::from_secs(9)), 0);
    assert_eq!(held.lose_expired(now + Duration::from_secs(10)), 1);
    assert!(!admitted[0].lease.still_mine());
    assert!(
        held.leases_ending_before(now + Duration::from_secs(11))
            .is_empty()
    );
}
