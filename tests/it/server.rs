//! What the agent answers to requests, and what follows from them (RFC 8445 §7.3).

use nilas::sim::{MessageBuilder, Wire};
use nilas::{Agent, Config, Credentials, DropReason, RemoteDescription, Role};

use crate::help::secs;
use crate::solo::{CHECK_PRIORITY, Outcome, Solo, address, host, is_protected, kinds, value};

const SHA1: u16 = 0x0008;
const SHA256: u16 = 0x001c;

/// The only datagram sent since the last call, which has to be an error response without protection.
fn unprotected_error(solo: &mut Solo, id: [u8; 12], code: u16) {
    let out = solo.take();
    let [out] = out.as_slice() else { panic!("{} answers", out.len()) };
    assert_eq!(out.wire(), Wire::Error { id, code: Some(code), attributes: vec![0x0009, 0x8028] });
    assert_eq!((out.source, out.destination), (solo.local, solo.remote));
}

fn id_of(bytes: &[u8]) -> [u8; 12] {
    bytes[8..20].try_into().unwrap()
}

/// Req: 8489-9.1.3-b
/// Req: 8489-7-a
#[test]
fn requests_that_cannot_be_authenticated_get_400_or_401_without_protection() {
    let mut solo = Solo::new(Role::Controlled);
    let (ours, theirs) = (solo.ours(), solo.theirs.clone());
    let id = [9; 12];
    let request = || MessageBuilder::binding_request(id);
    let to_us = || request().username(ours.ufrag.as_str(), "peer").priority(1).controlling(1);
    let cases = [
        ("no username", request().priority(1).controlling(1).integrity(&ours.password), 400),
        ("no integrity", to_us(), 400),
        ("neither", request(), 400),
        ("unknown username", request().username("nobody", "peer").priority(1).integrity(&ours.password), 401),
        ("username without colon", request().attribute(0x0006, b"nobody").integrity(&ours.password), 401),
        ("empty username", request().attribute(0x0006, b"").integrity(&ours.password), 401),
        ("wrong password", to_us().integrity(&theirs.password), 401),
        ("wrong password, SHA-256", to_us().integrity_sha256(&theirs.password), 401),
        ("integrity of the wrong size", to_us().attribute(SHA1, &[0; 24]), 401),
    ];
    for (name, builder, code) in cases {
        let before = solo.digest();
        let outcome = solo.receive(&builder.fingerprint().build());
        assert!(matches!(outcome, Outcome::Dropped(_)), "{name}: {outcome:?}");
        let sent = solo.out.len();
        assert_eq!(sent, 1, "{name}");
        unprotected_error(&mut solo, id, code);
        assert_eq!(solo.digest(), before, "{name}");
        // One second for each: they are limited.
        solo.run_for(secs(1));
    }
}

/// Req: proj-unauth-b
#[test]
fn answers_to_unauthenticated_requests_are_few_small_and_can_be_switched_off() {
    for (limit, seconds) in [(10, 3), (0, 3), (3, 2)] {
        let config = Config::default().with_unauthenticated_replies(limit);
        let mut solo = Solo::with(Role::Controlled, config);
        let wrong = solo.theirs.password.clone();
        let forged = solo.check().integrity(&wrong).fingerprint().build();
        for _ in 0..seconds {
            for _ in 0..10_000 {
                let _ = solo.receive(&forged);
            }
            let sent = solo.take();
            assert_eq!(sent.len(), limit as usize);
            assert!(sent.iter().all(|out| out.bytes.len() <= forged.len()));
            solo.now += secs(1);
        }
        assert_eq!(solo.dropped(DropReason::BadIntegrity), 10_000 * seconds);
    }
}

/// Req: 8489-9.1.4-b
#[test]
fn guessing_usernames_costs_no_integrity_computation() {
    let mut solo = Solo::checking(Role::Controlled);
    let before = solo.agent.stats().integrity_checks;
    for guess in 0..1000 {
        let id = solo.id();
        let password = solo.ours().password;
        let bytes = MessageBuilder::binding_request(id).username(&format!("guess{guess}"), "peer").priority(1);
        assert_eq!(
            solo.receive(&bytes.integrity(&password).fingerprint().build()),
            Outcome::Dropped(DropReason::UnknownUfrag)
        );
    }
    assert_eq!(solo.agent.stats().integrity_checks, before);
    let wrong = solo.theirs.password.clone();
    let bytes = solo.check().integrity(&wrong).fingerprint().build();
    assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::BadIntegrity));
    assert_eq!(solo.agent.stats().integrity_checks, before + 1);
}

/// Req: 8445-7.3.1.2-a
/// Req: 8445-7.2.2-a
/// Req: 8489-5-c
#[test]
fn a_check_is_answered_along_its_path_with_the_address_that_it_came_from() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.add_socket("198.51.100.9:5009");
    solo.take();
    for (source, base) in [
        ("203.0.113.1:6000", "198.51.100.1:5000"),
        ("203.0.113.1:6000", "198.51.100.9:5009"),
        ("192.0.2.77:1", "198.51.100.9:5009"),
    ] {
        let (source, base) = (address(source), address(base));
        let check = solo.check();
        let bytes = solo.seal(check);
        assert_eq!(solo.receive_at(source, base, &bytes), Outcome::Handled);
        let answer = solo.take().remove(0);
        assert_eq!((answer.source, answer.destination), (base, source));
        assert_eq!(answer.wire(), Wire::Success { id: id_of(&bytes), mapped: Some(source) });
        assert_eq!(kinds(&answer.bytes), [0x0020, SHA1, 0x8028]);
        assert!(is_protected(&answer.bytes, SHA1, &solo.ours().password));
    }
}

/// Req: 8489-9.1.2-a
#[test]
fn a_check_with_sha256_is_verified_and_answered_with_it_alone() {
    let mut solo = Solo::checking(Role::Controlled);
    let password = solo.ours().password;
    let wrong = solo.theirs.password.clone();
    for both in [false, true] {
        solo.take();
        let mut check = solo.check();
        if both {
            check = check.integrity(&password);
        }
        let bytes = check.integrity_sha256(&password).fingerprint().build();
        assert_eq!(solo.receive(&bytes), Outcome::Handled);
        let answer = solo.take().remove(0);
        assert_eq!(answer.wire(), Wire::Success { id: id_of(&bytes), mapped: Some(solo.remote) });
        assert!(is_protected(&answer.bytes, SHA256, &password));
    }
    let bytes = solo.check().attribute(0x7fff, &[]).integrity_sha256(&password).fingerprint().build();
    assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::BadRequest));
    assert!(is_protected(&solo.last().bytes, SHA256, &password));
    // The stronger one decides, whatever the other says.
    let bytes = solo.check().integrity(&password).integrity_sha256(&wrong).fingerprint().build();
    assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::BadIntegrity));
}

/// S019
/// Req: 8489-6.3.1-a
#[test]
fn attributes_that_have_to_be_understood_are_listed_in_a_protected_420_and_nothing_else_happens() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.take();
    let source = address("192.0.2.77:1");
    let before = solo.digest();
    let check = solo.check().attribute(0x7fff, b"?").attribute(0x0033, b"").attribute(0x7fff, b"again").use_candidate();
    let bytes = solo.seal(check);
    assert_eq!(solo.receive_from(source, &bytes), Outcome::Dropped(DropReason::BadRequest));
    let [answer] = &*solo.take() else { panic!("one answer") };
    assert_eq!(
        answer.wire(),
        Wire::Error { id: id_of(&bytes), code: Some(420), attributes: vec![0x0009, 0x000a, SHA1, 0x8028] }
    );
    assert_eq!(value(&answer.bytes, 0x000a).unwrap(), [0x7f, 0xff, 0x00, 0x33]);
    assert!(is_protected(&answer.bytes, SHA1, &solo.ours().password));
    assert_eq!(solo.digest(), before);
    // Without authentication nobody learns what is understood.
    let wrong = solo.theirs.password.clone();
    let bytes = solo.check().attribute(0x7fff, b"?").integrity(&wrong).fingerprint().build();
    solo.receive(&bytes);
    assert!(matches!(solo.last().wire(), Wire::Error { code: Some(401), .. }));
}

/// Req: 8489-6.3-a
#[test]
fn optional_and_unexpected_attributes_are_ignored() {
    let mut solo = Solo::checking(Role::Controlled);
    let cases: [(u16, &[u8]); 9] = [
        (0xc057, &[0, 1, 0, 10]),
        (0xc059, &[0; 8]),
        (0x8022, b"somebody's software"),
        (0xffff, b""),
        // Known, of no use in a check, and with values that they cannot have in a response.
        (0x0020, &[0, 9, 1]),
        (0x0001, &[0; 3]),
        (0x0009, &[0, 0, 9, 9]),
        (0x000a, &[1]),
        (0x0014, b"realm"),
    ];
    for (kind, text) in cases {
        let check = solo.check().attribute(kind, text);
        let bytes = solo.seal(check);
        assert_eq!(solo.receive(&bytes), Outcome::Handled, "{kind:#x}");
        let is_answer =
            |out: &crate::solo::Out| out.wire() == Wire::Success { id: id_of(&bytes), mapped: Some(solo.remote) };
        assert!(solo.out.iter().any(is_answer), "{kind:#x}");
    }
}

/// S026
/// Req: proj-prio-a
#[test]
fn a_check_that_lacks_what_ice_needs_gets_a_protected_400_and_has_no_effect() {
    let mut solo = Solo::new(Role::Controlled);
    solo.describe(Vec::new());
    let ours = solo.ours();
    let request = || MessageBuilder::binding_request([9; 12]).username(ours.ufrag.as_str(), "peer");
    let cases = [
        ("no priority", request().controlling(1)),
        ("no role", request().priority(1)),
        ("both roles", request().priority(1).controlling(1).controlled(1)),
        ("priority 0", request().priority(0).controlling(1)),
        ("short priority", request().attribute(0x0024, &[1; 3]).controlling(1)),
        ("short tiebreaker", request().priority(1).attribute(0x802a, &[1; 4])),
        ("nomination with a value", request().priority(1).controlling(1).attribute(0x0025, &[1])),
    ];
    for (name, builder) in cases {
        let before = solo.digest();
        let bytes = solo.seal(builder);
        assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::BadRequest), "{name}");
        let [answer] = &*solo.take() else { panic!("one answer") };
        let attributes = vec![0x0009, SHA1, 0x8028];
        assert_eq!(answer.wire(), Wire::Error { id: [9; 12], code: Some(400), attributes }, "{name}");
        assert!(is_protected(&answer.bytes, SHA1, &ours.password));
        assert_eq!(solo.digest(), before, "{name}");
    }
}

/// Req: 8489-14-a
#[test]
fn of_repeated_attributes_only_the_first_counts_whatever_the_others_are() {
    let mut solo = Solo::new(Role::Controlled);
    solo.describe(Vec::new());
    let ours = solo.ours();
    let check =
        solo.check().attribute(0x0006, b"nobody:peer").priority(5).attribute(0x0024, &[1, 2]).controlling(u64::MAX);
    let bytes = solo.seal(check);
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
    let learnt = solo.agent.remote_candidates(solo.stream).next().unwrap();
    assert_eq!(learnt.candidate.priority().get(), CHECK_PRIORITY);
    let reversed = MessageBuilder::binding_request([9; 12])
        .attribute(0x0006, b"nobody:peer")
        .username(ours.ufrag.as_str(), "peer")
        .priority(1)
        .controlling(1);
    let bytes = solo.seal(reversed);
    assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::UnknownUfrag));
}

/// Req: 8489-6.1-a
#[test]
fn the_longest_username_is_understood_and_the_check_back_is_smaller_than_548_bytes() {
    let mut solo = Solo::new(Role::Controlled);
    let long = "u".repeat(256);
    solo.theirs = Credentials::new(&long, &"p".repeat(256)).unwrap();
    solo.describe(Vec::new());
    let check = solo.check();
    let bytes = solo.seal(check);
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
    let check = solo.last();
    assert_eq!(check.request().username.unwrap().len(), 256 + 1 + solo.ours().ufrag.as_str().len());
    assert!(check.bytes.len() < Agent::MAX_DATAGRAM);
    // Nobody has a username this long, but it is well formed.
    let id = solo.id();
    let password = solo.ours().password;
    let bytes = MessageBuilder::binding_request(id).attribute(0x0006, &[b'x'; 763]).integrity(&password).fingerprint();
    assert_eq!(solo.receive(&bytes.build()), Outcome::Dropped(DropReason::UnknownUfrag));
}

/// Req: 8445-7.3-b
/// Req: 8827-9.3-a
#[test]
fn the_second_half_of_the_username_matters_once_the_peer_is_known() {
    let mut solo = Solo::new(Role::Controlled);
    let (ours, password) = (solo.ours(), solo.ours().password);
    let from = |ufrag: &str, id: u8| {
        let request = MessageBuilder::binding_request([id; 12]).username(ours.ufrag.as_str(), ufrag);
        request.priority(1).controlling(1)
    };
    let bytes = solo.seal(from("anybody", 1));
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
    assert_eq!(solo.take().len(), 1);
    solo.describe(Vec::new());
    let before = solo.digest();
    let bytes = solo.seal(from("anybody", 2));
    assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::UnknownPeer));
    let forged = from("anybody", 3).integrity(&solo.theirs.password).fingerprint().build();
    assert_eq!(solo.receive(&forged), Outcome::Dropped(DropReason::UnknownPeer));
    assert_eq!((solo.take().len(), solo.digest()), (0, before));
    // Two forks are answered, a third is not.
    let fork = Credentials::new("fork", password.expose()).unwrap();
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    for (ufrag, answers) in [("peer", 1), ("fork", 1), ("third", 0)] {
        let bytes = solo.seal(from(ufrag, 4));
        solo.receive(&bytes);
        let is_answer = |out: &&crate::solo::Out| matches!(out.wire(), Wire::Success { .. });
        assert_eq!(solo.take().iter().filter(is_answer).count(), answers, "{ufrag}");
        solo.run_for(secs(1));
    }
}

/// Req: 8445-7.3-a
#[test]
fn checks_are_answered_on_every_base_before_during_and_after() {
    let mut solo = Solo::new(Role::Controlled);
    solo.add_socket("198.51.100.9:5009");
    let probe = |solo: &mut Solo, phase: &str| {
        for base in ["198.51.100.1:5000", "198.51.100.9:5009"] {
            solo.take();
            let check = solo.check();
            let bytes = solo.seal(check);
            assert_eq!(solo.receive_at(solo.remote, address(base), &bytes), Outcome::Handled, "{phase}");
            assert_eq!(solo.out[0].wire(), Wire::Success { id: id_of(&bytes), mapped: Some(solo.remote) }, "{phase}");
        }
    };
    probe(&mut solo, "before the description");
    solo.describe(vec![host("203.0.113.1:6000")]);
    solo.answer();
    probe(&mut solo, "while checking");
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.drain();
    assert!(solo.agent.selected_pair(solo.stream, nilas::ComponentId::RTP).is_some());
    probe(&mut solo, "after completion");
}

/// S027
#[test]
fn what_arrives_at_no_socket_is_dropped_without_an_answer() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.take();
    let before = solo.digest();
    let check = solo.check();
    let bytes = solo.seal(check);
    let outcome = solo.receive_at(solo.remote, address("198.51.100.1:5001"), &bytes);
    assert_eq!(outcome, Outcome::Dropped(DropReason::UnknownDestination));
    assert_eq!((solo.out.len(), solo.digest()), (0, before));
}

/// S016
#[test]
fn a_wrong_username_of_one_stream_leaves_the_other_alone() {
    let mut solo = Solo::checking(Role::Controlled);
    let other = solo.agent.add_stream(1).unwrap();
    let there = address("198.51.100.1:5001");
    solo.agent.add_socket(solo.now, other, nilas::ComponentId::RTP, nilas::Transport::Udp, there).unwrap();
    let description = RemoteDescription::new(Credentials::new("peer2", "passwordOfThePeer543210").unwrap());
    solo.agent.set_remote_description(solo.now, other, &description).unwrap();
    solo.drain();
    let before = solo.digest();
    // Credentials of the first stream do not open the second.
    let check = solo.check();
    let bytes = solo.seal(check);
    assert_eq!(solo.receive_at(solo.remote, there, &bytes), Outcome::Dropped(DropReason::UnknownUfrag));
    assert_eq!(solo.digest(), before);
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
}
