use std::sync::Arc;

use chrono::DateTime;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::pki::{HotIdentity, client_config, server_config};

fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

#[test]
fn a_certificate_lives_for_a_day() {
    let clock = clock();
    let authority = CertificateAuthority::generate(&clock).unwrap();
    let identity = authority
        .issue_for_server(ServerId::new(), &["10.0.0.1".parse().unwrap()], &clock)
        .unwrap();
    let facts = CertificateFacts::read(&identity.certificate_pem).unwrap();
    assert_eq!(facts.not_after(), clock.now() + LIFETIME);
    assert!(facts.is_issued_by(authority.certificate_pem()).unwrap());
}

#[test]
fn an_authority_comes_back_from_its_pem() {
    let clock = clock();
    let first = CertificateAuthority::generate(&clock).unwrap();
    let again = CertificateAuthority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    let identity = again.issue_for_worker(WorkerId::new(), &clock).unwrap();
    let facts = CertificateFacts::read(&identity.certificate_pem).unwrap();
    assert!(facts.is_issued_by(first.certificate_pem()).unwrap());
    assert!(facts.uris()[0].starts_with(WORKER_URI_PREFIX));

    let other = CertificateAuthority::generate(&clock).unwrap();
    assert!(!facts.is_issued_by(other.certificate_pem()).unwrap());
    let mixed = CertificateAuthority::from_pem(first.certificate_pem(), &other.key_pem());
    assert!(matches!(mixed, Err(PkiError::KeyMismatch)), "{mixed:?}");
}

#[test]
fn a_renewed_certificate_is_for_the_same_key() {
    let clock = clock();
    let authority = CertificateAuthority::generate(&clock).unwrap();
    let server = ServerId::new();
    let identity = authority.issue_for_server(server, &[], &clock).unwrap();
    clock.advance(TimeDelta::hours(30));
    let current = CertificateFacts::read(&identity.certificate_pem).unwrap();
    let renewed = authority
        .renew_for_server(&current, server, &[], &clock)
        .unwrap();
    let facts = CertificateFacts::read(&renewed).unwrap();
    assert_eq!(facts.not_after(), clock.now() + LIFETIME);
    assert_eq!(facts.dns_names(), [server_name(server)]);
    let hot = HotIdentity::new(&identity).unwrap();
    let with = |certificate_pem: String| Identity {
        certificate_pem,
        ..identity.clone()
    };
    hot.replace(&with(renewed)).unwrap();

    let stranger = CertificateAuthority::generate(&clock).unwrap();
    let foreign = stranger.issue_for_server(server, &[], &clock).unwrap();
    let facts = CertificateFacts::read(&foreign.certificate_pem).unwrap();
    let refused = authority.renew_for_server(&facts, server, &[], &clock);
    assert!(matches!(refused, Err(PkiError::ForeignCertificate)));
    let refused = hot.replace(&with(foreign.certificate_pem));
    assert!(matches!(refused, Err(PkiError::KeyMismatch)), "{refused:?}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    for text in [
        "",
        "junk",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(CertificateFacts::read(text).is_err(), "{text:?}");
    }
}

/// Shakes hands in memory; the server's view of the outcome, or the client's error.
fn handshake(
    server: &Identity,
    client: &Identity,
    authority: &CertificateAuthority,
    name: &str,
) -> Result<(), String> {
    let authority = authority.certificate_pem();
    let server = server_config(authority, HotIdentity::new(server).unwrap()).unwrap();
    let client = client_config(authority, HotIdentity::new(client).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server
            .process_new_packets()
            .map_err(|error| format!("server: {error}"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client
            .process_new_packets()
            .map_err(|error| format!("client: {error}"))?;
    }
    Ok(())
}

#[test]
fn only_workers_may_call_and_only_the_named_server_may_answer() {
    let clock = SystemClock;
    let ours = CertificateAuthority::generate(&clock).unwrap();
    let theirs = CertificateAuthority::generate(&clock).unwrap();
    let id = ServerId::new();
    let agent = ours.issue_for_server(id, &[], &clock).unwrap();
    let worker = ours.issue_for_worker(WorkerId::new(), &clock).unwrap();
    let foreign = theirs.issue_for_worker(WorkerId::new(), &clock).unwrap();
    let name = server_name(id);
    assert_eq!(handshake(&agent, &worker, &ours, &name), Ok(()));
    let refused = |server, client, name: &str| handshake(server, client, &ours, name).unwrap_err();
    assert!(refused(&agent, &foreign, &name).starts_with("server:"));
    assert!(refused(&agent, &agent, &name).starts_with("server:"));
    assert!(refused(&worker, &worker, &name).starts_with("client:"));
    assert!(refused(&agent, &worker, &server_name(ServerId::new())).starts_with("client:"));
}
