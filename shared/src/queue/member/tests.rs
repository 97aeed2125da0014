use proptest::prelude::*;

use super::*;

fn check_round_trip<T: fmt::Display + FromStr<Err = InvalidText> + PartialEq + fmt::Debug>(
    value: T,
    text: &str,
) {
    assert_eq!(value.to_string(), text);
    assert_eq!(text.parse::<T>(), Ok(value));
}

#[test]
fn every_word_has_one_text_form() {
    check_round_trip(Ring::Urgent, "urgent");
    check_round_trip(Ring::Ring, "ring");
    check_round_trip(Ring::Jobs, "jobs");
    check_round_trip(Ring::Archive, "archive");
    check_round_trip(MemberKind::Resource, "resource");
    check_round_trip(MemberKind::Server, "server");
    check_round_trip(MemberKind::Provision, "provision");
    check_round_trip(MemberKind::Deprovision, "deprovision");
    check_round_trip(MemberKind::Recover, "recover");
    check_round_trip(MemberKind::WalPush, "wal_push");
    check_round_trip(MemberKind::BaseBackup, "base_backup");
    check_round_trip(MemberKind::Expire, "expire");
    check_round_trip(MemberKind::Verify, "verify");
    check_round_trip(
        Member::new(MemberKind::Recover, Uuid::from_u128(7)),
        "recover:00000000-0000-0000-0000-000000000007",
    );
    check_round_trip(
        Token {
            epoch: 3,
            counter: 1_763_807_800_000_000,
        },
        "3.1763807800000000",
    );
    check_round_trip(
        Shard {
            ring: Ring::Jobs,
            index: 15,
        },
        "jobs:15",
    );
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        ":",
        "resource",
        "resource:",
        "resource:7",
        "Resource:x",
        "disk:0",
        "é",
    ] {
        assert!(text.parse::<Member>().is_err(), "{text}");
    }
    for text in [
        "",
        ".",
        "1",
        "1.",
        ".1",
        "-1.2",
        "1.2.3",
        "99999999999999999999.1",
    ] {
        assert!(text.parse::<Token>().is_err(), "{text}");
    }
    for text in ["", "ring", "ring:", "ring:-1", "ring:65536", "rings:1"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn a_later_lease_has_a_greater_token() {
    let early = Token {
        epoch: 1,
        counter: 9,
    };
    let late = Token {
        epoch: 1,
        counter: 10,
    };
    let after_flush = Token {
        epoch: 2,
        counter: 0,
    };
    assert!(early < late && late < after_flush);
}

#[test]
fn the_stable_hash_is_the_same_in_every_release() {
    let hash = |id| Member::new(MemberKind::Resource, Uuid::from_u128(id)).stable_hash();
    assert_eq!(hash(0), 1_452_855_702_877_492_840);
    assert_eq!(hash(1), 18_132_653_669_634_440_882);
    assert_ne!(
        hash(1),
        Member::new(MemberKind::Server, Uuid::from_u128(1)).stable_hash()
    );
}

#[test]
fn members_spread_evenly_over_shards() {
    let mut sizes = [0_u32; 16];
    for id in 0..16_000_u128 {
        let member = Member::new(MemberKind::Resource, Uuid::from_u128(id));
        sizes[usize::try_from(member.stable_hash() % 16).unwrap()] += 1;
    }
    assert!(
        sizes.iter().all(|size| (850..1150).contains(size)),
        "{sizes:?}"
    );
}

proptest! {
    #[test]
    fn every_member_is_read_back(kind in 0..5_usize, id: u128) {
        let member = Member::new(MemberKind::ALL[kind], Uuid::from_u128(id));
        prop_assert_eq!(member.to_string().parse::<Member>(), Ok(member));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text: String) {
        drop(text.parse::<Member>());
        drop(text.parse::<Token>());
        drop(text.parse::<Shard>());
    }
}
