//! What the agent answers to requests, and what follows from them (RFC 8445 §7.3).

use std::net::SocketAddr;

use nilas::sim::{MessageBuilder, Wire};
use nilas::{
    Agent, CandidateKind, CandidatePairState, Config, Credentials, DropReason, RemoteDescription, Role, SendError,
};

use crate::help::{ms, secs};
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
            solo.now = solo.now + secs(1);
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

/// Req: 8445-7.3.1.3-a
/// Req: 8445-7.3.1.4-a
#[test]
fn an_unknown_source_becomes_a_peer_reflexive_candidate_with_exactly_one_pair() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.add_socket("198.51.100.9:5009");
    solo.run_for(secs(1));
    solo.take();
    let pairs = solo.agent.pairs().count();
    let source = address("192.0.2.77:777");
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive_from(source, &bytes);
    let views: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    let learnt = views.iter().find(|view| view.candidate.socket_address() == Some(source)).unwrap();
    assert_eq!(learnt.candidate.kind(), CandidateKind::PeerReflexive);
    assert_eq!((learnt.candidate.priority().get(), learnt.is_signalled), (CHECK_PRIORITY, false));
    assert!(
        views
            .iter()
            .filter(|other| other.id != learnt.id)
            .all(|o| o.candidate.foundation() != learnt.candidate.foundation())
    );
    assert_eq!(solo.agent.pairs().count(), pairs + 1);
    let pair = solo.agent.pair(solo.pair_to(source).unwrap()).unwrap();
    assert_eq!((pair.base, pair.local.kind()), (solo.local, CandidateKind::Host));
    solo.run_for(ms(50));
    let requests = solo.take_requests();
    let to: Vec<SocketAddr> = requests.iter().map(|(out, _)| out.destination).filter(|to| *to == source).collect();
    assert_eq!(to, [source]);
}

/// Req: 8445-7.3.1.4-a
#[test]
fn a_triggered_check_leaves_from_the_base_even_if_a_reflexive_candidate_is_better() {
    let mut solo = Solo::new(Role::Controlled);
    let mapped = address("192.0.2.1:5000");
    solo.agent.add_server_reflexive(solo.now, solo.stream, solo.local, mapped, None).unwrap();
    solo.drain();
    solo.describe(Vec::new());
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    let pair = solo.agent.pair(solo.pair_to(solo.remote).unwrap()).unwrap();
    assert_eq!((pair.local.kind(), pair.base), (CandidateKind::Host, solo.local));
    assert_eq!(solo.last().source, solo.local);
    assert_eq!(solo.agent.pairs().count(), 1);
}

/// Three more remote candidates keep the pacer busy, so that states can be seen.
fn busy(role: Role) -> Solo {
    let mut solo = Solo::new(role);
    let mut candidates: Vec<_> = ["203.0.113.1:6000", "203.0.113.1:6001", "203.0.113.1:6002"].map(host).into();
    candidates.push(host("203.0.113.1:6003"));
    solo.describe(candidates);
    solo
}

/// Req: 8445-7.3.1.4-b
#[test]
fn a_check_triggers_one_in_turn_by_the_state_of_its_pair() {
    let trigger = |solo: &mut Solo, source: SocketAddr| {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(source, &bytes);
        solo.run_for(ms(50));
    };
    // All of one foundation: the first is checked, the others are frozen.
    let mut solo = busy(Role::Controlled);
    let to = |port: u16| SocketAddr::new(solo.remote.ip(), port);
    let [first, frozen, other] = [to(6000), to(6001), to(6002)];
    assert_eq!(solo.state_of(first), Some(CandidatePairState::InProgress));
    assert_eq!(solo.state_of(other), Some(CandidatePairState::Frozen));
    solo.take();
    trigger(&mut solo, other);
    assert_eq!(solo.take_requests()[0].0.destination, other, "a frozen pair is checked");
    assert_eq!(solo.state_of(frozen), Some(CandidatePairState::Frozen));
    solo.take();

    // Succeeded: nothing.
    let mut solo = Solo::checking(Role::Controlled);
    solo.answer();
    assert_eq!(solo.state(), Some(CandidatePairState::Succeeded));
    solo.take();
    trigger(&mut solo, first);
    solo.run_for(ms(500));
    assert_eq!(solo.take_requests().len(), 0, "a pair that has succeeded is not checked again");

    // Failed: it is revived.
    let mut solo = Solo::checking(Role::Controlled);
    let id = solo.last().request().id;
    let refusal = solo.error(id, 400);
    solo.receive(&refusal);
    assert_eq!(solo.state(), Some(CandidatePairState::Failed));
    solo.run_for(secs(60));
    solo.take();
    trigger(&mut solo, first);
    assert_eq!(solo.take_requests().len(), 1, "a failed pair is checked again");
    assert_eq!(solo.state(), Some(CandidatePairState::InProgress));
    solo.run_for(secs(1));
    trigger(&mut solo, first);
    solo.answer();
    assert_eq!(solo.state(), Some(CandidatePairState::Succeeded));
}

/// Req: 8445-7.3.1.4-b
#[test]
fn a_waiting_pair_is_moved_to_the_front_and_checked_once() {
    let mut solo = Solo::new(Role::Controlled);
    let candidates = (0..4_u16).map(|n| {
        let foundation = format!("{}", n + 1).parse().unwrap();
        let priority = nilas::Priority::new(1000 - u32::from(n)).unwrap();
        let to = SocketAddr::new(solo.remote.ip(), 6000 + n);
        nilas::Candidate::new(CandidateKind::Host, nilas::ComponentId::RTP, foundation, priority, to)
    });
    solo.describe(candidates.collect());
    let last = SocketAddr::new(solo.remote.ip(), 6003);
    assert_eq!(solo.state_of(last), Some(CandidatePairState::Waiting));
    for _ in 0..3 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(last, &bytes);
    }
    solo.take();
    solo.run_for(ms(200));
    let ports: Vec<u16> = solo.take_requests().iter().map(|(out, _)| out.destination.port()).collect();
    assert_eq!(ports, [6003, 6001, 6002]);
}

/// Req: 8445-7.3.1.4-c
#[test]
fn a_check_on_a_pair_in_progress_stops_the_repetition_and_asks_anew_while_the_old_answer_still_counts() {
    let mut solo = Solo::checking(Role::Controlled);
    let old = solo.last().request().id;
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.run_for(ms(20));
    solo.receive(&bytes);
    assert_eq!(solo.state(), Some(CandidatePairState::Waiting));
    solo.take();
    solo.run_for(ms(30));
    let requests = solo.take_requests();
    let [(out, new)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(out.at, nilas::Instant::ZERO + ms(50), "at the next slot, not after the RTO");
    assert_ne!(new.id, old);
    let mut patient = solo.clone();
    patient.run_for(secs(38));
    assert!(patient.take_requests().iter().all(|(_, request)| request.id == new.id), "the old one is not repeated");
    let answer = patient.success(old, patient.local);
    assert_eq!(patient.receive(&answer), Outcome::Handled);
    assert_eq!(patient.state(), Some(CandidatePairState::Succeeded));
    // Nor does its silence count: its time is over at 39.5 s, that of the new one at 39.55 s.
    solo.now = nilas::Instant::ZERO;
    solo.run_for(ms(39_549));
    assert_eq!(solo.state(), Some(CandidatePairState::InProgress));
    solo.run_for(ms(1));
    assert_eq!(solo.state(), Some(CandidatePairState::Failed));
}

/// Req: 8445-7.3.1.4-f
#[test]
fn a_triggered_check_uses_the_password_of_the_fork_that_asked() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![host("203.0.113.1:6000")]);
    let fork = Credentials::new("fork", "passwordOfTheFork012345").unwrap();
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    solo.answer();
    let ours = solo.ours();
    // From a new address, from one that was signalled without saying whose it is, and from that of the first peer.
    solo.agent.add_remote_candidate(solo.now, solo.stream, host("203.0.113.2:6002")).map(drop).unwrap();
    for (ufrag, source) in [
        ("fork", "192.0.2.77:1"),
        ("peer", "192.0.2.78:1"),
        ("fork", "203.0.113.2:6002"),
        ("peer", "203.0.113.3:6003"),
        ("fork", "203.0.113.3:6003"),
    ] {
        let password = if ufrag == "fork" { &fork.password } else { &solo.theirs.password }.clone();
        let id = solo.id();
        let check = MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), ufrag).priority(1).controlled(1);
        let bytes = solo.seal(check);
        solo.run_for(ms(200));
        solo.take();
        solo.receive_from(address(source), &bytes);
        solo.run_for(ms(50));
        let requests = solo.take_requests();
        let (out, request) = requests.iter().find(|(out, _)| out.destination == address(source)).unwrap();
        let username = format!("{ufrag}:{}", ours.ufrag);
        assert_eq!(request.username.as_deref(), Some(username.as_bytes()), "{source}");
        assert!(is_protected(&out.bytes, SHA1, &password), "{source}");
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

/// Req: 8445-19.2-b
#[test]
fn a_check_replayed_from_elsewhere_is_checked_in_turn_and_never_gets_data() {
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check().use_candidate();
    let captured = solo.seal(check);
    solo.receive(&captured);
    let attacker = address("192.0.2.66:666");
    solo.receive_from(attacker, &captured);
    let mut buffer = Vec::new();
    let rtp = nilas::ComponentId::RTP;
    assert_eq!(solo.agent.send(solo.now, solo.stream, rtp, b"data", &mut buffer).unwrap_err(), SendError::NoPair);
    solo.run_for(ms(100));
    let to_attacker: Vec<_> = solo.take_requests().into_iter().filter(|(out, _)| out.destination == attacker).collect();
    assert_eq!(to_attacker.len(), 1);
    // The peer answers, the attacker cannot: data goes to the peer.
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.run_for(ms(50));
    solo.answer();
    let transmit = solo.agent.send(solo.now, solo.stream, rtp, b"data", &mut buffer).unwrap();
    assert_eq!(transmit.destination, solo.remote);
}

/// Req: proj-flood-a
#[test]
fn a_peer_that_checks_from_5000_ports_is_bounded() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.take();
    for port in 1000..6000 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(SocketAddr::new(solo.remote.ip(), port), &bytes);
    }
    let learnt = solo.agent.remote_candidates(solo.stream).filter(|remote| !remote.is_signalled).count();
    assert_eq!(learnt, 50);
    assert!(solo.agent.pairs().count() <= 100);
    assert_eq!(solo.agent.stats().peer_reflexive_refused, 5000 - 50);
    solo.take();
    solo.run_for(secs(60));
    let requests = solo.take_requests();
    assert!(requests.len() <= 7 * 51, "{}", requests.len());
}

/// Req: proj-priv-a
#[test]
fn a_check_from_an_address_that_nobody_can_have_teaches_nothing() {
    let mut solo = Solo::checking(Role::Controlled);
    let known = solo.agent.remote_candidates(solo.stream).count();
    for source in ["203.0.113.1:0", "224.0.0.1:5000", "255.255.255.255:5000", "0.0.0.0:5000"] {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(address(source), &bytes);
        assert_eq!(solo.agent.remote_candidates(solo.stream).count(), known, "{source}");
        solo.run_for(ms(200));
        assert!(solo.out.iter().all(|out| out.wire().request().is_none() || out.destination == solo.remote));
    }
}

/// Req: 8489-6.3.1-b
#[test]
fn a_request_that_comes_again_and_again_means_what_it_meant_once() {
    let run = |copies: usize| {
        let mut solo = Solo::checking(Role::Controlled);
        let check = solo.check().use_candidate();
        let bytes = solo.seal(check);
        for _ in 0..copies {
            solo.receive(&bytes);
        }
        solo.take();
        solo.run_for(ms(50));
        solo.answer();
        for _ in 1..copies {
            solo.receive(&bytes);
        }
        solo.take();
        let selected = solo.agent.selected_pair(solo.stream, nilas::ComponentId::RTP).map(|pair| pair.id);
        let remotes = solo.agent.remote_candidates(solo.stream).count();
        (selected, remotes, solo.agent.pairs().count(), solo.events.clone(), solo.future())
    };
    let once = run(1);
    assert!(once.0.is_some());
    assert_eq!(run(2), once);
    assert_eq!(run(9), once);
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
