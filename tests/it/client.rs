//! What responses mean for the checks that asked (RFC 8445 §7.2.5).

use std::net::SocketAddr;

use nilas::sim::MessageBuilder;
use nilas::{
    CandidateKind, CandidatePairState as State, ComponentId, Config, Credentials, DropReason, PairPriority, Priority,
    Role,
};

use crate::help::{at, ms, secs};
use crate::solo::{CHECK_PRIORITY, HOST_PRIORITY, Outcome, Solo, address, host, is_protected, value};

fn dropped(reason: DropReason) -> Outcome {
    Outcome::Dropped(reason)
}

/// Req: 8445-7.1.1-a
/// Req: 8445-7.1.3-a
/// Req: 8445-7.2.2-a
/// Req: 8489-9.1.2-a
#[test]
fn a_check_says_who_asks_whom_in_which_role_and_with_the_priority_of_a_peer_reflexive_candidate() {
    for role in [Role::Controlling, Role::Controlled] {
        let solo = Solo::checking(role);
        let check = solo.last();
        let request = check.request();
        assert_eq!(request.username.unwrap(), format!("peer:{}", solo.ours().ufrag).as_bytes());
        assert_eq!(request.priority, Some(CHECK_PRIORITY));
        assert_eq!(request.controlling.is_some(), role == Role::Controlling);
        assert_eq!(request.controlled.is_some(), role == Role::Controlled);
        assert!(!request.use_candidate);
        assert!(is_protected(&check.bytes, 0x0008, &solo.theirs.password));
        assert_eq!(solo.agent.local_candidates(solo.stream).next().unwrap().candidate.priority().get(), HOST_PRIORITY);
    }
}

/// Req: 8445-16.1-a
#[test]
fn all_streams_share_one_tiebreaker() {
    let mut solo = Solo::checking(Role::Controlling);
    let other = solo.agent.add_stream(1).unwrap();
    let socket = address("198.51.100.1:5001");
    let rtp = ComponentId::RTP;
    solo.agent.add_socket(solo.now, other, rtp, nilas::Transport::Udp, socket).unwrap();
    let mut credentials = solo.theirs.clone();
    credentials.ufrag = "peer2".parse().unwrap();
    let description = nilas::RemoteDescription::new(credentials).with_candidates(vec![host("203.0.113.1:6001")]);
    solo.agent.set_remote_description(solo.now, other, &description).unwrap();
    solo.drain();
    solo.run_for(ms(100));
    let answer = solo.success(solo.out[0].request().id, solo.local);
    solo.receive(&answer);
    solo.run_for(secs(3));
    let requests = solo.take_requests();
    let mut sources: Vec<SocketAddr> = requests.iter().map(|(out, _)| out.source).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 2);
    assert!(requests.iter().all(|(_, request)| request.controlling == requests[0].1.controlling));
}

/// Req: 8489-5-c
/// Req: 8489-6.2.1-a
#[test]
fn a_check_is_repeated_byte_by_byte_and_a_new_one_has_a_new_id() {
    let mut solo = Solo::checking(Role::Controlling);
    let first = solo.last().bytes;
    solo.run_for(ms(39_499));
    let sent = solo.take();
    assert_eq!(sent.len(), 21);
    assert!(sent.iter().all(|out| out.bytes == first));
    let mut ids = std::collections::BTreeSet::from([Solo::checking(Role::Controlling).last().request().id]);
    for _ in 0..500 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive(&bytes);
        solo.run_for(ms(50));
        for (_, request) in solo.take_requests() {
            assert!(ids.insert(request.id));
        }
    }
    assert_eq!(ids.len(), 501);
}

/// Req: 8445-7.2.5.3.2-a
#[test]
fn without_a_nat_the_checked_pair_becomes_valid() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.answer();
    let pairs: Vec<_> = solo.agent.pairs().collect();
    let [pair] = pairs.as_slice() else { panic!("{pairs:?}") };
    assert_eq!((pair.state, pair.is_valid, pair.is_nominated), (State::Succeeded, true, false));
    assert_eq!(solo.agent.local_candidates(solo.stream).count(), 1);
}

/// Req: 8445-7.2.5.3.1-a
/// Req: 8445-7.2.5.3.2-a
/// Req: 8445-7.2.5.3.2-b
#[test]
fn behind_a_nat_the_mapped_address_becomes_a_candidate_with_a_valid_pair_of_its_own() {
    let mut solo = Solo::checking(Role::Controlled);
    let mapped = address("192.0.2.9:4321");
    let answer = solo.success(solo.last().request().id, mapped);
    solo.take();
    assert_eq!(solo.receive(&answer), Outcome::Handled);
    let locals: Vec<_> = solo.agent.local_candidates(solo.stream).collect();
    let [base, reflexive] = locals.as_slice() else { panic!("{locals:?}") };
    assert_eq!(reflexive.candidate.kind(), CandidateKind::PeerReflexive);
    assert_eq!(reflexive.candidate.socket_address(), Some(mapped));
    assert_eq!((reflexive.base, reflexive.candidate.priority().get()), (solo.local, CHECK_PRIORITY));
    assert_ne!(reflexive.candidate.foundation(), base.candidate.foundation());
    let valid: Vec<_> = solo.agent.pairs().filter(|pair| pair.is_valid).collect();
    let [valid] = valid.as_slice() else { panic!("{valid:?}") };
    assert_eq!((valid.local_id, valid.remote.socket_address()), (reflexive.id, Some(solo.remote)));
    assert_eq!((valid.base, valid.state, valid.is_nominated), (solo.local, State::Succeeded, false));
    let priority = |value| Priority::new(value).unwrap();
    let expected = PairPriority::compute(Role::Controlled, priority(CHECK_PRIORITY), priority(HOST_PRIORITY));
    assert_eq!(valid.priority, expected);
    let checked = solo.agent.pairs().find(|pair| pair.local_id == base.id).unwrap();
    assert_eq!((checked.state, checked.is_valid), (State::Succeeded, false));

    // It is not paired with other remote candidates, and further checks do not come of it.
    let before = solo.agent.pairs().count();
    let added = solo.agent.add_remote_candidate(solo.now, solo.stream, host("203.0.113.2:6002")).unwrap();
    assert!(matches!(added, nilas::RemoteCandidateOutcome::Added(_)));
    solo.drain();
    assert_eq!(solo.agent.pairs().count(), before + 1);
    solo.run_for(secs(1));
    assert!(solo.take_requests().iter().all(|(out, _)| out.destination == address("203.0.113.2:6002")));
}

/// Req: 8445-7.2.5.3.1-a
/// Req: 8445-7.2.5.3.2-a
#[test]
fn a_known_reflexive_address_is_no_new_candidate_and_its_valid_pair_has_the_signalled_priority() {
    let mut solo = Solo::new(Role::Controlling);
    let mapped = address("192.0.2.9:4321");
    solo.agent.add_server_reflexive(solo.now, solo.stream, solo.local, mapped, None).unwrap();
    solo.drain();
    solo.describe(vec![host("203.0.113.1:6000")]);
    assert_eq!(solo.agent.pairs().count(), 1, "the reflexive candidate is pruned");
    let answer = solo.success(solo.last().request().id, mapped);
    solo.receive(&answer);
    let locals: Vec<_> = solo.agent.local_candidates(solo.stream).collect();
    assert_eq!(locals.len(), 2);
    let valid = solo.agent.pairs().find(|pair| pair.is_valid).unwrap();
    assert_eq!((valid.local_id, valid.local.kind()), (locals[1].id, CandidateKind::ServerReflexive));
    let remote = Priority::new(HOST_PRIORITY).unwrap();
    assert_eq!(valid.priority, PairPriority::compute(Role::Controlling, locals[1].candidate.priority(), remote));
}

/// Req: 8445-7.2.5.3.2-a
#[test]
fn a_mapped_address_that_is_another_of_our_hosts_makes_the_pair_of_that_one_valid() {
    let mut solo = Solo::new(Role::Controlled);
    let other = address("198.51.100.9:5009");
    solo.add_socket("198.51.100.9:5009");
    solo.describe(vec![host("203.0.113.1:6000")]);
    let check = solo.last();
    assert_eq!(check.source, solo.local);
    let answer = solo.success(check.request().id, other);
    solo.receive(&answer);
    assert_eq!(solo.agent.local_candidates(solo.stream).count(), 2);
    let by_base = |base| solo.agent.pairs().find(|pair| pair.base == base).unwrap();
    assert_eq!((by_base(solo.local).state, by_base(solo.local).is_valid), (State::Succeeded, false));
    assert_eq!((by_base(other).state, by_base(other).is_valid), (State::Succeeded, true));
    assert_eq!(solo.agent.pairs().count(), 2);
}

/// Req: 8445-7.2.5.3.2-a
#[test]
fn an_address_that_the_nat_has_given_from_one_socket_to_another_makes_the_pair_valid_that_was_checked() {
    for role in [Role::Controlling, Role::Controlled] {
        let mut solo = Solo::new(role);
        let (other, mapped) = (address("198.51.100.9:5009"), address("192.0.2.9:4321"));
        solo.add_socket("198.51.100.9:5009");
        solo.agent.add_server_reflexive(solo.now, solo.stream, other, mapped, None).unwrap();
        solo.drain();
        solo.describe(vec![host("203.0.113.1:6000")]);
        let check = solo.last();
        assert_eq!(check.source, solo.local);
        let answer = solo.success(check.request().id, mapped);
        solo.receive(&answer);
        let valid: Vec<_> = solo.agent.pairs().filter(|pair| pair.is_valid).collect();
        let [valid] = valid.as_slice() else { panic!("{valid:?}") };
        assert_eq!((valid.base, valid.local.socket_address()), (solo.local, Some(mapped)), "{role:?}");
        assert_eq!(valid.local.kind(), CandidateKind::PeerReflexive);
    }
}

/// Req: 8445-7.2.5.3.2-b
#[test]
fn the_valid_pair_of_a_peer_reflexive_remote_candidate_has_the_priority_of_its_check() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(Vec::new());
    let id = solo.id();
    let ufrag = solo.ours().ufrag;
    let check = MessageBuilder::binding_request(id).username(ufrag.as_str(), "peer").priority(12345).controlled(1);
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.answer();
    let valid = solo.agent.pairs().find(|pair| pair.is_valid).unwrap();
    let priority = |value| Priority::new(value).unwrap();
    let expected = PairPriority::compute(Role::Controlling, priority(HOST_PRIORITY), priority(12345));
    assert_eq!((valid.priority, valid.is_nominated), (expected, false));
}

/// Req: 8445-7.2.5.2.1-a
/// Req: 8445-19.2-a
#[test]
fn an_answer_from_another_address_or_to_another_base_fails_the_pair_once_it_is_authenticated() {
    for (source, base) in [
        ("203.0.113.1:6001", "198.51.100.1:5000"),
        ("203.0.113.2:6000", "198.51.100.1:5000"),
        ("203.0.113.1:6000", "198.51.100.9:5009"),
    ] {
        let mut solo = Solo::checking(Role::Controlled);
        solo.add_socket("198.51.100.9:5009");
        let id = solo.out[0].request().id;
        let (source, base) = (address(source), address(base));
        let forged = MessageBuilder::binding_success(id).integrity(&solo.ours().password).fingerprint().build();
        assert_eq!(solo.receive_at(source, base, &forged), dropped(DropReason::BadIntegrity));
        let first = solo.agent.pairs().find(|pair| pair.base == solo.local).unwrap().id;
        assert_eq!(solo.agent.pair(first).unwrap().state, State::InProgress);
        for code in [None, Some(500)] {
            let mut solo = solo.clone();
            let answer = match code {
                None => solo.success(id, solo.local),
                Some(code) => solo.error(id, code),
            };
            assert_eq!(solo.receive_at(source, base, &answer), Outcome::Handled);
            let pair = solo.agent.pair(first).unwrap();
            assert_eq!((pair.state, pair.is_valid), (State::Failed, false), "{source} {base} {code:?}");
            assert!(solo.future().iter().all(|out| out.source != solo.local), "a failed pair is not checked");
        }
    }
}

/// Req: 8445-7.2.5.2.1-a
#[test]
fn the_scope_of_a_link_local_address_makes_no_answer_asymmetric_and_no_candidate() {
    let solo = Solo::new(Role::Controlled);
    let scoped = |text: &str, scope| match address(text) {
        SocketAddr::V6(mut v6) => {
            v6.set_scope_id(scope);
            SocketAddr::V6(v6)
        }
        SocketAddr::V4(_) => unreachable!(),
    };
    for ours in [0, 3] {
        for theirs in [0, 3] {
            let mut solo = solo.clone();
            let base = scoped("[fe80::1]:5000", ours);
            let remote = scoped("[fe80::2]:6000", theirs);
            let rtp = ComponentId::RTP;
            solo.agent.add_socket(solo.now, solo.stream, rtp, nilas::Transport::Udp, base).unwrap();
            solo.drain();
            solo.describe(vec![host("[fe80::2]:6000")]);
            let check = solo.last();
            assert_eq!(check.source, base);
            let id = check.request().id;
            let SocketAddr::V6(seen) = base else { unreachable!() };
            let mask = [&[0x21, 0x12, 0xa4, 0x42], id.as_slice()].concat();
            let xored: Vec<u8> = seen.ip().octets().iter().zip(mask).map(|(a, b)| a ^ b).collect();
            let port = (seen.port() ^ 0x2112).to_be_bytes();
            let mapped = [&[0, 2], port.as_slice(), &xored].concat();
            let answer = solo.seal_response(MessageBuilder::binding_success(id).attribute(0x0020, &mapped));
            assert_eq!(solo.receive_at(remote, base, &answer), Outcome::Handled);
            let pairs: Vec<_> = solo.agent.pairs().map(|pair| (pair.state, pair.is_valid)).collect();
            assert_eq!(pairs, [(State::Succeeded, true)], "scopes {ours} and {theirs}");
            assert_eq!(solo.agent.local_candidates(solo.stream).count(), 2);
        }
    }
}

/// S024
/// Req: 8445-7.2.4-c
/// Req: 8489-14.2-a
#[test]
fn a_success_without_a_readable_mapped_address_is_dropped_and_the_check_goes_on() {
    let mut solo = Solo::checking(Role::Controlled);
    let id = solo.last().request().id;
    let success = || MessageBuilder::binding_success(id);
    let plain = [&[0, 1, 0, 80], [192, 0, 2, 1].as_slice()].concat();
    let cases = [
        ("none", success()),
        ("only MAPPED-ADDRESS", success().attribute(0x0001, &plain)),
        ("family 3", success().attribute(0x0020, &[0, 3, 0, 80, 192, 0, 2, 1])),
        ("IPv6 with the length of IPv4", success().attribute(0x0020, &[0, 2, 0, 80, 192, 0, 2, 1])),
        ("too long", success().attribute(0x0020, &[0, 1, 0, 80, 192, 0, 2, 1, 0])),
        ("empty", success().attribute(0x0020, &[])),
        ("the first of two is broken", success().attribute(0x0020, &[0, 9]).attribute(0x0020, &plain)),
        ("behind the integrity", success()),
    ];
    for (count, (name, builder)) in (1..).zip(cases) {
        let before = (solo.digest(), solo.future());
        let mut sealed = builder.integrity(&solo.theirs.password);
        if name == "behind the integrity" {
            sealed = sealed.attribute(0x0020, &plain);
        }
        assert_eq!(solo.receive(&sealed.fingerprint().build()), dropped(DropReason::UnusableResponse), "{name}");
        assert_eq!(solo.dropped(DropReason::UnusableResponse), count);
        assert_eq!((solo.digest(), solo.future()), before, "{name}");
    }
    solo.answer();
    assert_eq!(solo.state(), Some(State::Succeeded));
}

/// Req: 8489-9.1.4-a
/// Req: 8489-14.8-a
#[test]
fn forged_answers_change_nothing_and_a_genuine_one_afterwards_wins() {
    let mut solo = Solo::checking(Role::Controlled);
    let id = solo.last().request().id;
    let wrong = solo.ours().password;
    let before = (solo.digest(), solo.future());
    for code in [300, 400, 401, 420, 487, 500] {
        let error = || MessageBuilder::binding_error(id, code);
        assert_eq!(solo.receive(&error().fingerprint().build()), dropped(DropReason::BadIntegrity));
        assert_eq!(solo.receive(&error().integrity(&wrong).fingerprint().build()), dropped(DropReason::BadIntegrity));
    }
    let SocketAddr::V4(mapped) = solo.local else { panic!() };
    let success = MessageBuilder::binding_success(id).mapped_v4(mapped);
    assert_eq!(solo.receive(&success.clone().fingerprint().build()), dropped(DropReason::BadIntegrity));
    assert_eq!(solo.receive(&success.integrity(&wrong).fingerprint().build()), dropped(DropReason::BadIntegrity));
    assert_eq!((solo.digest(), solo.future()), before);
    solo.run_for(ms(500));
    assert_eq!(solo.last().request().id, id, "it is repeated");
    solo.answer();
    assert_eq!(solo.state(), Some(State::Succeeded));
}

/// S022
#[test]
fn answers_to_nothing_that_was_asked_are_dropped() {
    let mut solo = Solo::checking(Role::Controlled);
    let id = solo.last().request().id;
    let before = solo.digest();
    let mut other = id;
    for byte in 0..12 {
        other[byte] ^= 1;
        for bytes in [solo.success(other, solo.local), solo.error(other, 487)] {
            assert_eq!(solo.receive(&bytes), dropped(DropReason::UnknownTransaction));
        }
    }
    assert_eq!(solo.digest(), before);
    let answer = solo.success(id, solo.local);
    assert_eq!(solo.receive(&answer), Outcome::Handled);
    let after = solo.digest();
    for replay in [&answer, &solo.error(id, 487), &solo.error(id, 400)] {
        assert_eq!(solo.receive(replay), dropped(DropReason::UnknownTransaction));
    }
    assert_eq!(solo.digest(), after);
    assert_eq!(solo.agent.pairs().map(|pair| pair.stats.responses_received).sum::<u64>(), 1);
}

/// Req: 8489-6.3.3-a
#[test]
fn a_response_that_is_not_understood_fails_its_check_at_once() {
    let cases: [fn([u8; 12]) -> MessageBuilder; 4] = [
        |id| MessageBuilder::binding_success(id).attribute(0x7fff, &[]).mapped_v4("198.51.100.1:5000".parse().unwrap()),
        |id| MessageBuilder::binding_error(id, 487).attribute(0x7fff, &[]),
        |id| MessageBuilder::new(0x0111, id),
        |id| MessageBuilder::new(0x0111, id).attribute(0x0009, &[0, 0, 9, 9]),
    ];
    for case in cases {
        let mut solo = Solo::checking(Role::Controlled);
        let bytes = solo.seal_response(case(solo.last().request().id));
        assert_eq!(solo.receive(&bytes), Outcome::Handled);
        assert_eq!((solo.state(), solo.agent.role()), (Some(State::Failed), Role::Controlled));
        assert_eq!(solo.future(), []);
    }
}

/// Req: 8489-6.3-a
#[test]
fn optional_and_unexpected_attributes_of_a_response_are_ignored() {
    for (kind, text) in
        [(0x8022, b"software".as_slice()), (0xffff, b""), (0x0024, b"x"), (0x0009, b"?"), (0x8023, b"other")]
    {
        let mut solo = Solo::checking(Role::Controlled);
        let builder = MessageBuilder::binding_success(solo.last().request().id).attribute(kind, text);
        let bytes = solo.seal_response(builder.mapped_v4("198.51.100.1:5000".parse().unwrap()));
        assert_eq!(solo.receive(&bytes), Outcome::Handled);
        assert_eq!(solo.state(), Some(State::Succeeded), "{kind:#x}");
    }
}

/// Req: 8445-7.2.5.2.4-a
#[test]
fn an_error_that_asking_again_does_not_cure_fails_the_pair() {
    for code in [300, 400, 401, 403, 420, 438, 486, 488, 600, 699] {
        let mut solo = Solo::checking(Role::Controlled);
        let refusal = solo.error(solo.last().request().id, code);
        assert_eq!(solo.receive(&refusal), Outcome::Handled);
        assert_eq!(solo.state(), Some(State::Failed), "{code}");
        assert_eq!(solo.future(), [], "{code}");
    }
}

/// Req: 8445-7.2.5.2.4-a
#[test]
fn a_server_error_is_asked_again_four_times() {
    for code in [500, 599] {
        let mut solo = Solo::checking(Role::Controlled);
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(solo.last().request().id);
            let refusal = solo.error(solo.last().request().id, code);
            solo.receive(&refusal);
            assert_ne!(solo.state(), Some(State::Failed));
            solo.run_for(ms(50));
            assert!(!ids.contains(&solo.last().request().id), "a new request each time");
        }
        let mut cured = solo.clone();
        cured.answer();
        assert_eq!(cured.state(), Some(State::Succeeded));
        let refusal = solo.error(solo.last().request().id, code);
        solo.receive(&refusal);
        assert_eq!(solo.state(), Some(State::Failed));
        assert_eq!(solo.future(), []);
    }
}

/// Req: 8445-7.2.5.2.3-a
#[test]
fn silence_fails_the_pair_when_its_time_is_over_and_not_before() {
    let mut solo = Solo::checking_with(Role::Controlled, Config::default().with_rc(3).with_rm(4));
    solo.end_of_candidates();
    solo.run_for(ms(3499));
    assert_eq!(solo.state(), Some(State::InProgress));
    solo.run_for(ms(1));
    assert_eq!(solo.state(), Some(State::Failed));
    let sent: Vec<_> = solo.take().iter().map(|out| out.at).collect();
    assert_eq!(sent, [0, 500, 1500].map(at));
}

/// Req: 8489-6.2.1-b
#[test]
fn the_round_trip_time_ignores_checks_that_were_repeated() {
    let mut solo = Solo::checking(Role::Controlled);
    let mut repeated = solo.clone();
    solo.run_for(ms(30));
    solo.answer();
    let stats = |solo: &Solo| solo.agent.pairs().next().unwrap().stats;
    assert_eq!(stats(&solo).current_round_trip_time, Some(ms(30)));
    repeated.run_for(ms(530));
    assert_eq!(stats(&repeated).retransmissions_sent, 1);
    repeated.answer();
    assert_eq!((repeated.state(), stats(&repeated).responses_received), (Some(State::Succeeded), 1));
    assert_eq!(stats(&repeated).current_round_trip_time, None);
}

/// Req: 8445-7.1.2-a
#[test]
fn the_nomination_repeats_the_check_with_use_candidate_and_an_empty_value() {
    let mut solo = Solo::checking(Role::Controlling);
    solo.take();
    solo.run_for(ms(20));
    let mut controlled = Solo::checking(Role::Controlled);
    controlled.answer();
    assert_eq!(controlled.future(), [], "the controlled side nominates nothing");
    let id = Solo::checking(Role::Controlling).last().request().id;
    let answer = solo.success(id, solo.local);
    solo.receive(&answer);
    solo.run_for(ms(200));
    let requests = solo.take_requests();
    let (out, request) = &requests[0];
    assert!(request.use_candidate && request.controlling.is_some());
    assert_eq!(value(&out.bytes, 0x0025).unwrap(), b"");
}

/// S013
/// Req: 8489-6.1-a
#[test]
fn a_peer_with_the_longest_credentials_is_checked_in_datagrams_of_at_most_548_bytes() {
    for role in [Role::Controlling, Role::Controlled] {
        let mut solo = Solo::with_consent(role, Config::default());
        solo.theirs = Credentials::new(&"u".repeat(256), &"p".repeat(256)).unwrap();
        solo.describe(vec![host("203.0.113.1:6000")]);
        solo.answer();
        let check = solo.check();
        let check = if role == Role::Controlled { check.use_candidate() } else { check };
        let check = solo.seal(check);
        assert_eq!(solo.receive(&check), Outcome::Handled);
        let mut seen = solo.out.len();
        for _ in 0..400 {
            solo.run_for(ms(25));
            if solo.out[seen..].iter().any(|out| out.wire().request().is_some()) {
                seen = solo.out.len();
                solo.answer();
            }
        }
        assert!(solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some(), "{role:?}");
        let requests = solo.out.iter().filter(|out| out.wire().request().is_some());
        assert!(requests.clone().count() >= 2 && requests.clone().all(|out| out.bytes.len() > 256));
        assert!(solo.out.iter().all(|out| out.bytes.len() <= 548));
    }
}

/// S064
/// Req: 8489-6.2.1-a
#[test]
fn other_settings_give_other_schedules_to_the_millisecond() {
    // The interval doubles from one transmission to the next, Rc times in all, and the last one is waited for Rm times the
    // first. Where it would get longer than the cap, the rest of the time has one transmission in each cap.
    let default: Vec<u64> = [0, 500].into_iter().chain((1500..39_500).step_by(2000)).collect();
    type Case<'a> = (u64, u64, u8, u32, &'a [u64], u64);
    let cases: [Case<'_>; 11] = [
        (500, 60_000, 7, 16, &[0, 500, 1500, 3500, 7500, 15_500, 31_500], 39_500),
        (500, 60_000, 1, 16, &[0], 8000),
        (500, 60_000, 1, 1, &[0], 500),
        (600, 60_000, 3, 4, &[0, 600, 1800], 4200),
        (1000, 60_000, 4, 1, &[0, 1000, 3000, 7000], 8000),
        (750, 60_000, 5, 64, &[0, 750, 2250, 5250, 11_250], 59_250),
        (500, 2000, 7, 16, &default, 39_500),
        (500, 2000, 1, 16, &[0], 8000),
        (500, 500, 3, 4, &[0, 500, 1000, 1500, 2000, 2500, 3000], 3500),
        (1000, 2000, 4, 1, &[0, 1000, 3000, 5000, 7000], 8000),
        // Another one would leave 0.4 s before the end.
        (500, 1600, 3, 4, &[0, 500, 1500], 3500),
    ];
    for (rto, max_rto, rc, rm, schedule, end) in cases {
        let config = Config::default().with_rto(ms(rto)).with_max_rto(ms(max_rto)).with_rc(rc).with_rm(rm);
        let mut solo = Solo::checking_with(Role::Controlling, config);
        solo.end_of_candidates();
        solo.run_for(ms(end - 1));
        assert_eq!(solo.state(), Some(State::InProgress), "{rto}, {rc}, {rm}");
        solo.run_for(ms(1));
        assert_eq!(solo.state(), Some(State::Failed), "{rto}, {rc}, {rm}");
        solo.run_for(ms(120_000));
        let sent: Vec<_> = solo.take_requests().into_iter().map(|(out, _)| out.at).collect();
        assert_eq!(sent, schedule.iter().map(|sent| at(*sent)).collect::<Vec<_>>(), "{rto}, {rc}, {rm}");
    }
}

#[test]
fn what_belongs_into_requests_alone_says_nothing_in_an_answer_whatever_its_length() {
    for kind in [0x0024, 0x0025, 0x0030, 0xc001, 0x8029, 0x802a] {
        for length in [0, 1, 3, 4, 8, 9] {
            let mut solo = Solo::checking(Role::Controlling);
            let answer = MessageBuilder::binding_success(solo.last().request().id).attribute(kind, &vec![7; length]);
            let SocketAddr::V4(seen) = solo.local else { unreachable!() };
            let answer = solo.seal_response(answer.mapped_v4(seen));
            assert_eq!(solo.receive(&answer), Outcome::Handled, "{kind:#x}, {length} bytes");
            assert_eq!(solo.state(), Some(State::Succeeded), "{kind:#x}, {length} bytes");
        }
    }
}

#[test]
fn the_number_of_an_error_code_goes_up_to_99() {
    let state = |class: u8, number: u8| {
        let mut solo = Solo::checking(Role::Controlling);
        let id = solo.last().request().id;
        let answer = solo.seal_response(MessageBuilder::new(0x0111, id).attribute(0x0009, &[0, 0, class, number]));
        solo.receive(&answer);
        solo.state()
    };
    // A server error may pass, and the check is made again; all others are final.
    assert_ne!(state(5, 0), Some(State::Failed));
    assert_ne!(state(5, 99), Some(State::Failed));
    for (class, number) in [(4, 99), (4, 100), (5, 100), (4, 255)] {
        assert_eq!(state(class, number), Some(State::Failed), "{class}, {number}");
    }
}
