//! A peer that has the credentials and no manners: whatever it sends, the agent stays within its limits.

use std::net::SocketAddr;

use nilas::sim::{MessageBuilder, Wire};
use nilas::{ComponentId, Config, DropReason, Payload, Renomination, Role};
use proptest::prelude::*;

use crate::help::{ms, secs};
use crate::solo::{Outcome, Solo, address, host};

/// One thing that the peer does.
#[derive(Clone, Debug)]
enum Deed {
    /// A check with these attributes, from this port.
    Check {
        port: u16,
        attributes: Vec<Attribute>,
        sha256: bool,
    },
    /// An answer to one of the agent's requests, or to none.
    Answer {
        which: usize,
        from: u16,
        code: Option<u16>,
        mapped: Option<u16>,
    },
    Indication,
    Candidate(u16),
    Wait(u64),
    /// What the application does meanwhile: on this pair, if it takes one.
    Call(Call, usize),
}

#[derive(Clone, Copy, Debug)]
enum Call {
    NetworkChanged,
    Idle(bool),
    Nominate,
    Remove,
    Send,
    /// A batch, on a route.
    Route,
    Withhold(bool),
    /// A second stream comes, or goes.
    Stream,
}

#[derive(Clone, Debug)]
enum Attribute {
    Priority(u32),
    Controlling(u64),
    Controlled(u64),
    UseCandidate,
    /// The value of a nomination, by the later draft or not.
    Value(bool, u32),
    Other(u16, Vec<u8>),
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let tiebreaker = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    prop_oneof![
        4 => prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()].prop_map(Attribute::Priority),
        3 => tiebreaker.clone().prop_map(Attribute::Controlling),
        3 => tiebreaker.prop_map(Attribute::Controlled),
        2 => Just(Attribute::UseCandidate),
        2 => (any::<bool>(), prop_oneof![0_u32..6, any::<u32>()]).prop_map(|(late, value)| Attribute::Value(late, value)),
        1 => (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..12)).prop_map(|(kind, value)| Attribute::Other(kind, value)),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let port = 6000_u16..6012;
    let attributes = proptest::collection::vec(attribute(), 0..4).prop_map(|mut list| {
        // Most checks have what they need.
        list.insert(0, Attribute::Priority(77));
        list
    });
    let call = prop_oneof![
        Just(Call::NetworkChanged),
        any::<bool>().prop_map(Call::Idle),
        Just(Call::Nominate),
        Just(Call::Remove),
        Just(Call::Send),
        Just(Call::Route),
        any::<bool>().prop_map(Call::Withhold),
        Just(Call::Stream),
    ];
    let code = prop_oneof![3 => Just(None), 3 => Just(Some(487)), 1 => (300_u16..700).prop_map(Some)];
    prop_oneof![
        5 => (port.clone(), attributes, any::<bool>()).prop_map(|(port, attributes, sha256)| Deed::Check { port, attributes, sha256 }),
        5 => (0_usize..6, port.clone(), code, prop::option::weighted(0.8, port.clone()))
            .prop_map(|(which, from, code, mapped)| Deed::Answer { which, from, code, mapped }),
        1 => Just(Deed::Indication),
        1 => port.prop_map(Deed::Candidate),
        3 => (0_u64..3000).prop_map(Deed::Wait),
        2 => (call, 0_usize..8).prop_map(|(call, which)| Deed::Call(call, which)),
    ]
}

fn perform(solo: &mut Solo, deed: &Deed) {
    let at = |port| SocketAddr::new(solo.remote.ip(), port);
    let ours = solo.ours();
    match deed {
        Deed::Check { port, attributes, sha256 } => {
            let source = at(*port);
            let id = solo.id();
            let mut builder = MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), "peer");
            for attribute in attributes {
                builder = match attribute {
                    Attribute::Priority(priority) => builder.priority(*priority),
                    Attribute::Controlling(tiebreaker) => builder.controlling(*tiebreaker),
                    Attribute::Controlled(tiebreaker) => builder.controlled(*tiebreaker),
                    Attribute::UseCandidate => builder.use_candidate(),
                    Attribute::Value(late, value) => {
                        builder.attribute(if *late { 0x0030 } else { 0xc001 }, &value.to_be_bytes())
                    }
                    Attribute::Other(kind, value) => builder.attribute(*kind, value),
                };
            }
            let builder =
                if *sha256 { builder.integrity_sha256(&ours.password) } else { builder.integrity(&ours.password) };
            solo.receive_from(source, &builder.fingerprint().build());
        }
        Deed::Answer { which, from, code, mapped } => {
            let requests: Vec<_> = solo.out.iter().filter(|out| out.wire().request().is_some()).collect();
            let Some(request) = requests.iter().rev().nth(*which) else { return };
            let id = request.request().id;
            // Mostly symmetric.
            let source = if *from % 3 == 0 { at(*from) } else { request.destination };
            let builder = match code {
                Some(code) => MessageBuilder::binding_error(id, *code),
                None => MessageBuilder::binding_success(id),
            };
            let builder = match mapped {
                Some(port) if port % 2 == 0 => builder.mapped_v4("198.51.100.1:5000".parse().unwrap()),
                Some(port) => builder.mapped_v4(format!("192.0.2.1:{port}").parse().unwrap()),
                None => builder,
            };
            let bytes = solo.seal_response(builder);
            solo.receive_from(source, &bytes);
        }
        Deed::Indication => {
            let bytes = solo.seal(MessageBuilder::new(0x0011, [1; 12]));
            assert_eq!(solo.receive(&bytes), Outcome::Handled);
        }
        Deed::Candidate(port) => {
            let candidate = host(&format!("203.0.113.1:{port}"));
            let _ = solo.agent.add_remote_candidate(solo.now, solo.stream, candidate);
            solo.drain();
        }
        Deed::Wait(time) => solo.run_for(ms(*time)),
        Deed::Call(call, which) => {
            let pair = solo.agent.pairs().nth(*which).map(|pair| pair.id);
            let now = solo.now;
            match (call, pair) {
                (Call::NetworkChanged, _) => solo.agent.network_changed(now),
                (Call::Idle(is_idle), _) => solo.agent.set_idle(now, *is_idle),
                (Call::Nominate, Some(pair)) => drop(solo.agent.nominate(now, pair)),
                (Call::Remove, Some(pair)) => solo.agent.remove_pair(now, pair).unwrap(),
                (Call::Send, _) => {
                    let mut buffer = Vec::new();
                    let _ = solo.agent.send(now, solo.stream, ComponentId::RTP, b"data", &mut buffer);
                }
                (Call::Route, _) => {
                    let payload = Payload::from(&[0x80; 250]).with_segment_size(100);
                    let sent = solo.agent.send(now, solo.stream, ComponentId::RTP, payload, &mut Vec::new());
                    let route = solo.agent.route(now, solo.stream, ComponentId::RTP);
                    assert_eq!(sent.is_ok(), route.is_ok());
                    if let Ok(route) = route {
                        assert!(solo.agent.is_current(now, &route));
                        solo.agent.record_sent(now, &route, 1, 100);
                    }
                }
                (Call::Withhold(is_held), _) => solo.agent.withhold_checks(now, *is_held),
                (Call::Stream, _) => turn_up_or_leave(solo),
                (Call::Nominate | Call::Remove, None) => {}
            }
            solo.drain();
        }
    }
}

/// Adds a second stream whose peer never answers, or removes it.
fn turn_up_or_leave(solo: &mut Solo) {
    let now = solo.now;
    let agent = &mut solo.agent;
    let other = agent.streams().find(|stream| *stream != solo.stream);
    if let Some(other) = other {
        agent.remove_stream(now, other).unwrap();
        return;
    }
    let other = agent.add_stream(2).unwrap();
    for (component, port) in [(ComponentId::RTP, 7000), (ComponentId::RTCP, 7001)] {
        let local = SocketAddr::new(solo.local.ip(), port);
        agent.add_socket(now, other, component, nilas::Transport::Udp, local).unwrap();
    }
    let remote = nilas::RemoteDescription::new(nilas::Credentials::new("else", "passwordOfNobody0123456").unwrap());
    agent.set_remote_description(now, other, &remote.with_candidates(vec![host("203.0.113.7:7000")])).unwrap();
    if is_even(now) {
        agent.keep_components(now, other, 1).unwrap();
    }
}

/// Every other time, more or less.
fn is_even(now: nilas::Instant) -> bool {
    now.saturating_duration_since(nilas::Instant::ZERO).as_millis() % 2 == 0
}

/// The agent's new transactions are Ta apart, and say one role each.
fn check_requests(solo: &Solo) {
    let mut ids = std::collections::BTreeSet::new();
    let mut last = None;
    for (place, out) in solo.out.iter().enumerate() {
        if let Wire::Request(request) = out.wire() {
            assert!(request.controlling.is_some() != request.controlled.is_some());
            assert!(!request.use_candidate || request.controlling.is_some());
            // Consent has a schedule of its own.
            if ids.insert(request.id) && !solo.consents.contains(&place) {
                assert!(last.is_none_or(|last| last + ms(50) <= out.at), "two checks within Ta");
                last = Some(out.at);
            }
        }
    }
}

/// The agent's tables are within their limits, and its selection is one of its valid pairs.
fn check_limits(solo: &Solo) {
    let agent = &solo.agent;
    let reflexive = |kind| kind == nilas::CandidateKind::PeerReflexive;
    let locals = agent.local_candidates(solo.stream).filter(|local| reflexive(local.candidate.kind())).count();
    let remotes = agent.remote_candidates(solo.stream).filter(|remote| !remote.is_signalled).count();
    assert!(locals <= 4 && remotes <= 4, "{locals} and {remotes} peer-reflexive candidates");
    let listed = agent.pairs().filter(|pair| !pair.is_valid).count();
    assert!(listed <= 6, "{listed} pairs");
    let selected: Vec<_> = agent.pairs().filter(|pair| pair.is_selected).collect();
    assert!(selected.len() <= 1);
    assert_eq!(
        selected.first().map(|pair| pair.id),
        agent.selected_pair(solo.stream, ComponentId::RTP).map(|pair| pair.id)
    );
    assert!(selected.iter().all(|pair| pair.is_valid && pair.is_nominated));
    assert_eq!(agent.usable_pair(solo.stream, ComponentId::RTP).is_some(), agent.pairs().any(|pair| pair.is_valid));
}

fn play(is_controlling: bool, draft: Option<Renomination>, deeds: &[Deed]) {
    let config = Config::default().with_max_pairs(6).with_max_peer_reflexive(4).with_pair_events(true);
    let role = if is_controlling { Role::Controlling } else { Role::Controlled };
    let mut solo = Solo::with_consent(role, config);
    solo.describe_as(draft, vec![host("203.0.113.1:6000")]);
    for deed in deeds {
        perform(&mut solo, deed);
        check_limits(&solo);
    }
    solo.run_for(secs(120));
    check_limits(&solo);
    check_requests(&solo);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Req: proj-flood-a
    /// Req: proj-unauth-c
    /// Req: 8445-7.1.2-a
    /// Req: 8445-7.1.3-a
    #[test]
    fn an_authenticated_peer_without_manners_moves_the_agent_within_its_limits(
        is_controlling in any::<bool>(),
        draft in prop_oneof![Just(None), Just(Some(Renomination::Draft2016)), Just(Some(Renomination::Draft2026))],
        deeds in proptest::collection::vec(deed(), 1..60),
    ) {
        play(is_controlling, draft, &deeds);
    }
}

/// Req: 7675-5.1-b
#[test]
fn a_path_without_consent_is_off_the_valid_list_under_every_address_that_the_nat_showed() {
    let answer = |which, mapped| Deed::Answer { which, from: 6000, code: None, mapped: Some(mapped) };
    let deeds = [Deed::Wait(500), answer(0, 6007), Deed::Wait(343), Deed::Wait(2407), answer(0, 6007), answer(1, 6002)];
    play(true, None, &deeds);
}

/// Req: proj-flood-a
#[test]
fn reflexive_addresses_that_a_peer_invents_are_bounded() {
    let mut solo = Solo::checking_with(Role::Controlled, Config::default().with_max_peer_reflexive(3));
    for port in 0..20 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(address(&format!("192.0.2.7:{}", 7000 + port)), &bytes);
    }
    assert_eq!(solo.agent.stats().peer_reflexive_refused, 17);
    for port in 0..20 {
        solo.run_for(ms(50));
        let request = solo.out.iter().rev().find(|out| out.wire().request().is_some()).unwrap().clone();
        let answer = solo.success(request.request().id, address(&format!("192.0.2.8:{}", 8000 + port)));
        solo.receive_from(request.destination, &answer);
    }
    let kinds = solo.agent.local_candidates(solo.stream).map(|local| local.candidate.kind());
    assert_eq!(kinds.filter(|kind| *kind == nilas::CandidateKind::PeerReflexive).count(), 3);
    // The path works all the same.
    assert_eq!(solo.agent.pairs().filter(|pair| pair.is_valid).count(), 4);
}

/// Req: proj-unauth-b
#[test]
fn answers_that_nobody_polls_are_bounded_and_a_check_without_answer_has_no_effect() {
    let mut solo = Solo::new(Role::Controlled);
    solo.describe(Vec::new());
    for port in 1000..1200_u16 {
        let check = solo.check();
        let bytes = solo.seal(check);
        let outcome = solo.hand_in(SocketAddr::new(solo.remote.ip(), port), solo.local, &bytes);
        let expected = if port < 1128 { Outcome::Handled } else { Outcome::Dropped(DropReason::TooManyReplies) };
        assert_eq!(outcome, expected, "{port}");
    }
    assert!(solo.agent.remote_candidates(solo.stream).all(|remote| remote.candidate.address().port() < 1128));
    solo.drain();
    assert_eq!(solo.out.iter().filter(|out| matches!(out.wire(), Wire::Success { .. })).count(), 128);
}
