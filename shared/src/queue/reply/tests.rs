use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::queue::{MemberKind, Ring};

const SHARD: Shard = Shard {
    ring: Ring::Jobs,
    index: 2,
};
const ONE: &str = "provision:00000000-0000-0000-0000-000000000001";
const TWO: &str = "resource:00000000-0000-0000-0000-000000000002";

/// A text is a text, a number a number, as the scripts return them.
fn list(words: &[&str]) -> Value {
    let value = |word: &&str| match word.parse() {
        Ok(number) if !word.starts_with('\'') => Value::Int(number),
        _ => Value::BulkString(word.trim_start_matches('\'').as_bytes().to_vec()),
    };
    Value::Array(words.iter().map(value).collect())
}

#[track_caller]
fn check_bad<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains(expected),
        "{error:?} does not contain {expected:?}"
    );
}

#[test]
fn claims_are_read_with_their_tokens() {
    let reply = claim(
        list(&["claims", "'7", "'100", "250", ONE, "5", TWO, "0"]),
        SHARD,
    )
    .unwrap();
    let one = Claim {
        member: Member::new(MemberKind::Provision, Uuid::from_u128(1)),
        token: Token {
            epoch: 7,
            counter: 101,
        },
        shard: SHARD,
        overdue_ms: 5,
    };
    let two = Claim {
        member: Member::new(MemberKind::Resource, Uuid::from_u128(2)),
        token: Token {
            epoch: 7,
            counter: 102,
        },
        shard: SHARD,
        overdue_ms: 0,
    };
    let next_due = Some(Duration::from_millis(250));
    assert_eq!(
        reply,
        ClaimReply::Claims {
            claims: vec![one, two],
            next_due
        }
    );
}

#[test]
fn a_missing_ring_and_an_empty_one_are_told_apart() {
    assert_eq!(
        claim(list(&["no_ring"]), SHARD).unwrap(),
        ClaimReply::NoRing
    );
    assert_eq!(
        claim(list(&["claims", "'7", "'100", "-1"]), SHARD).unwrap(),
        ClaimReply::Claims {
            claims: vec![],
            next_due: None
        }
    );
}

#[test]
fn a_claim_of_a_later_release_is_left_out() {
    let reply = claim(
        list(&["claims", "'7", "'1", "0", "disk:1", "5", TWO, "0"]),
        SHARD,
    )
    .unwrap();
    let ClaimReply::Claims { claims, next_due } = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(claims.len(), 1);
    assert_eq!(
        claims[0].token,
        Token {
            epoch: 7,
            counter: 3
        }
    );
    assert_eq!(next_due, Some(Duration::ZERO));
}

#[test]
fn claims_of_another_shape_are_errors() {
    check_bad(claim(Value::Nil, SHARD), "nil in place of a list");
    check_bad(claim(list(&[]), SHARD), "the end in place of a text");
    check_bad(claim(list(&["lost"]), SHARD), "unexpected \"lost\"");
    check_bad(
        claim(list(&["claims", "'x", "'1", "0"]), SHARD),
        "unexpected \"x\"",
    );
    check_bad(
        claim(list(&["claims", "'1", "'1", "-2"]), SHARD),
        "unexpected \"-2\"",
    );
    check_bad(
        claim(list(&["claims", "'1", "'1", "0", ONE]), SHARD),
        "the end in place of a number",
    );
    check_bad(
        claim(list(&["claims", "'1", "'1", "0", ONE, "-1"]), SHARD),
        "unexpected \"-1\"",
    );
    let no_text = Value::Array(vec![Value::BulkString(vec![0xff])]);
    check_bad(claim(no_text, SHARD), "bytes that are no text");
}

#[test]
fn settlements_and_extensions_have_an_answer_each() {
    assert_eq!(
        settle(list(&["settled", "woken", "lost"]), 3).unwrap(),
        [SettleReply::Settled, SettleReply::Woken, SettleReply::Lost]
    );
    assert_eq!(extend(list(&["held", "lost"]), 2).unwrap(), [true, false]);
    check_bad(settle(list(&["settled"]), 2), "1 answers in place of 2");
    check_bad(settle(list(&["held"]), 1), "unexpected \"held\"");
    check_bad(extend(list(&["settled"]), 1), "unexpected \"settled\"");
    check_bad(extend(list(&["1"]), 1), "a number in place of a text");
}

#[test]
fn the_short_answers_are_read() {
    assert_eq!(enter(list(&["entered", "3"])).unwrap(), 3);
    check_bad(enter(list(&["entered", "-3"])), "unexpected \"-3\"");
    check_bad(enter(list(&["left", "3"])), "unexpected \"left\"");
    assert_eq!(wake(list(&["entered"])).unwrap(), WakeReply::Entered);
    assert_eq!(wake(list(&["advanced"])).unwrap(), WakeReply::Advanced);
    assert_eq!(wake(list(&["due"])).unwrap(), WakeReply::Due);
    assert_eq!(wake(list(&["marked"])).unwrap(), WakeReply::Marked);
    check_bad(wake(list(&["woken"])), "unexpected \"woken\"");
    assert_eq!(leave(list(&["left"])).unwrap(), LeaveReply::Left);
    assert_eq!(leave(list(&["absent"])).unwrap(), LeaveReply::Absent);
    check_bad(leave(list(&["gone"])), "unexpected \"gone\"");
    assert_eq!(begin(list(&["begun", "'4"])).unwrap(), BeginReply::Begun);
    assert_eq!(
        begin(list(&["refused", "'9"])).unwrap(),
        BeginReply::Refused { present: 9 }
    );
    check_bad(begin(list(&["begun"])), "the end in place of a text");
    check_bad(begin(list(&["ended", "'9"])), "unexpected \"ended\"");
    heartbeat(list(&["noted"])).unwrap();
    heartbeat(list(&["left"])).unwrap();
    check_bad(heartbeat(list(&["dead"])), "unexpected \"dead\"");
}

#[test]
fn statistics_and_lists_are_read() {
    let stats_of = |epoch| stats(list(&[epoch, "10", "4", "3", "1", "1500"])).unwrap();
    let expected = ShardStats {
        epoch: Some(3),
        size: 13,
        due: 4,
        leased: 3,
        expired: 1,
        oldest_due_age: Duration::from_millis(1500),
    };
    assert_eq!(stats_of("'3"), expected);
    assert_eq!(
        stats_of("'"),
        ShardStats {
            epoch: None,
            ..expected
        }
    );
    check_bad(stats(list(&["'", "1"])), "the end in place of a number");

    let (page, cursor) = members(list(&["'17", ONE, "disk:1", TWO])).unwrap();
    assert_eq!((page.len(), cursor), (2, 17));
    check_bad(members(list(&["'x"])), "unexpected \"x\"");

    let id = "00000000-0000-0000-0000-000000000009";
    let worker = WorkerId::from_uuid(Uuid::from_u128(9));
    assert_eq!(live_workers(list(&[id])).unwrap(), [worker]);
    assert_eq!(live_workers(list(&[])).unwrap(), []);
    check_bad(live_workers(list(&["me"])), "unexpected \"me\"");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        Just(Value::Okay),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        any::<Vec<u8>>().prop_map(Value::BulkString),
        "claims|settled|held|entered|begun|noted|1|2|-1".prop_map(Value::SimpleString),
    ];
    leaf.prop_recursive(2, 24, 8, |inner| {
        proptest::collection::vec(inner, 0..8).prop_map(Value::Array)
    })
}

proptest! {
    #[test]
    fn no_value_makes_a_decoder_panic(value in any_value(), expected in 0..4_usize) {
        drop(claim(value.clone(), SHARD));
        drop(settle(value.clone(), expected));
        drop(extend(value.clone(), expected));
        drop(enter(value.clone()));
        drop(wake(value.clone()));
        drop(leave(value.clone()));
        drop(begin(value.clone()));
        drop(stats(value.clone()));
        drop(members(value.clone()));
        drop(heartbeat(value.clone()));
        drop(live_workers(value));
    }
}
