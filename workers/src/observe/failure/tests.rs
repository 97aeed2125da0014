use super::*;

#[test]
fn a_server_that_says_no_is_told_from_one_that_is_not_reached() {
    let check = |kind: io::ErrorKind, expected| {
        assert_eq!(Failure::Connect(kind.into()).outage(), expected, "{kind:?}");
    };
    check(io::ErrorKind::ConnectionRefused, Outage::Refused);
    check(io::ErrorKind::ConnectionReset, Outage::Refused);
    check(io::ErrorKind::UnexpectedEof, Outage::Refused);
    check(io::ErrorKind::HostUnreachable, Outage::TimedOut);
    check(io::ErrorKind::NetworkUnreachable, Outage::TimedOut);
    check(io::ErrorKind::TimedOut, Outage::TimedOut);
    check(io::ErrorKind::InvalidData, Outage::Broken);
}

#[test]
fn codes_of_postgres_say_what_is_wrong() {
    let check = |code: &str, expected| {
        assert_eq!(
            outage_of_code(&SqlState::from_code(code)),
            expected,
            "{code}"
        );
    };
    check("57P01", Outage::Refused);
    check("57P02", Outage::Refused);
    check("57P03", Outage::Refused);
    check("53300", Outage::Refused);
    check("57014", Outage::TimedOut);
    check("55P03", Outage::TimedOut);
    check("28P01", Outage::Broken);
    check("28000", Outage::Broken);
    check("3D000", Outage::Broken);
    check("53100", Outage::Broken);
    check("XX000", Outage::Broken);
}

#[test]
fn a_missing_database_says_nothing_about_the_server() {
    for failure in [
        Failure::DatabaseMissing,
        Failure::DatabaseClosed,
        Failure::RoleMissing,
    ] {
        assert_eq!(failure.outage(), Outage::Broken);
        assert!(failure.is_of_database());
        assert!(failure.leaves_session_usable());
        assert!(!failure.is_of_connection());
    }
    assert!(!Failure::Deadline.leaves_session_usable());
}
