//! The address under which the peer sees us changes: between a check and the nomination, with every answer, or for good.

use std::collections::VecDeque;
use std::net::SocketAddr;

use nilas::sim::{Filtering, Link, Mapping, MessageBuilder, NatConfig, Pair, PairSetup, Pooling, PortAssignment};
use nilas::sim::{SideName, Wire};
use nilas::{
    Agent, CandidateKind, ComponentId, Config, ConnectionState, Credentials, Datagram, Instant, RemoteDescription,
    Renomination, Role, Seed, StreamId, Transport,
};

use crate::help::{at, ms, requests, secs};

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];
const DRAFTS: [Option<Renomination>; 3] = [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)];
const HERE: &str = "198.51.100.1:5000";
const THERE: &str = "203.0.113.1:6000";

/// What came of an agent whose peer shows it under another address each time.
#[derive(Debug)]
struct Seen {
    agent: Agent,
    stream: StreamId,
    checks: usize,
    /// Checks that nominate.
    nominations: usize,
}

/// An agent against a peer whose nth answer shows it under `mapped(n)`, for ten minutes.
fn run(config: Config, role: Role, draft: Option<Renomination>, rtt: u64, mapped: Pattern) -> Seen {
    let (here, there): (SocketAddr, SocketAddr) = (HERE.parse().unwrap(), THERE.parse().unwrap());
    let mut agent = Agent::new(config, role, Seed::from_name("mappings")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let ours = agent.local_credentials(stream).unwrap().clone();
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    let mut now = Instant::ZERO;
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, here).unwrap();
    let mut remote =
        RemoteDescription::new(theirs.clone()).with_ice2(true).with_trickle(false).with_renomination(draft);
    remote.candidates.push("candidate:1 1 udp 2130706431 203.0.113.1 6000 typ host".parse().unwrap());
    agent.set_remote_description(now, stream, &remote).unwrap();
    agent.end_of_local_candidates(now, stream).unwrap();
    let end = now + secs(600);
    let mut arriving = VecDeque::<(Instant, Vec<u8>)>::new();
    let (mut answers, mut checks, mut nominations, mut check_at) = (0, 0, 0, now + ms(200));
    while now < end {
        while agent.poll_event().is_some() {}
        let mut buffer = Vec::new();
        while agent.poll_transmit(now, &mut buffer).is_some() {
            if let Wire::Request(request) = Wire::decode(&buffer) {
                checks += 1;
                nominations += usize::from(request.use_candidate || request.nomination.is_some());
                let port = mapped(answers);
                answers += 1;
                let shown = if port == 0 { here } else { SocketAddr::from(([192, 0, 2, 1], port)) };
                let SocketAddr::V4(shown) = shown else { panic!("{shown}") };
                let answer = MessageBuilder::binding_success(request.id).mapped_v4(shown).integrity(&theirs.password);
                arriving.push_back((now + ms(rtt), answer.fingerprint().build()));
            }
            buffer.clear();
        }
        if role == Role::Controlled && check_at <= now {
            // The peer nominates again with each consent check.
            let mut id = [0; 12];
            id[..8].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
            let check =
                MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), "peer").priority(1_862_270_975);
            let check = if check_at > at(250) { check.use_candidate() } else { check };
            let check = match draft {
                Some(Renomination::Draft2026) if check_at > at(250) => check.attribute(0x0030, &1_u32.to_be_bytes()),
                _ => check,
            };
            arriving.push_back((now, check.controlling(7).integrity(&ours.password).fingerprint().build()));
            check_at = now + if check_at > at(250) { secs(5) } else { ms(200) };
        }
        let check = Some(check_at).filter(|_| role == Role::Controlled);
        let next = [agent.poll_timeout(), arriving.iter().map(|arrival| arrival.0).min(), check];
        now = now.max(next.into_iter().flatten().min().unwrap_or(end));
        while let Some(place) = arriving.iter().position(|(at, _)| *at <= now) {
            let (_, bytes) = arriving.remove(place).unwrap();
            let _ = agent.handle_datagram(now, &Datagram::new(there, here, &bytes));
        }
        agent.handle_timeout(now);
    }
    while agent.poll_event().is_some() {}
    Seen { agent, stream, checks, nominations }
}

/// Which port each answer shows; 0 is the own address.
type Pattern = fn(u32) -> u16;

const PATTERNS: [(&str, Pattern); 9] = [
    ("another one and the own in turn", |n| if n % 2 == 1 { 0 } else { 7000 }),
    ("the own and another one in turn", |n| if n % 2 == 0 { 0 } else { 7000 }),
    ("two others in turn", |n| 7000 + (n % 2) as u16),
    ("each twice", |n| 7000 + (n / 2 % 2) as u16),
    ("three in turn", |n| if n % 3 == 2 { 0 } else { 7000 + (n % 3) as u16 }),
    ("a new one each time", |n| 7000 + (n % 50_000) as u16),
    ("another one from the nomination on", |n| if n == 0 { 7000 } else { 7001 }),
    ("the own from the nomination on", |n| if n == 0 { 7000 } else { 0 }),
    ("not the own from the nomination on", |n| if n == 0 { 0 } else { 7000 }),
];

/// Req: 8445-7.2.5.3.4-a
/// Req: 8445-8.1.1-a
#[test]
fn whatever_address_the_answers_show_there_is_a_selected_pair_and_few_nominations() {
    for (name, pattern) in PATTERNS {
        for role in ROLES {
            for draft in DRAFTS {
                let what = format!("{name}, {role:?}, {draft:?}");
                let config = Config::default().with_repeated_use_candidate(false);
                let seen = run(config, role, draft, 50, pattern);
                let selected = seen.agent.selected_pair(seen.stream, ComponentId::RTP);
                assert!(selected.is_some_and(|pair| pair.is_valid && pair.is_nominated), "{what}");
                assert_eq!(seen.agent.state(), ConnectionState::Completed, "{what}");
                let pairs = seen.agent.pairs().count();
                assert!(pairs <= 2, "{what}: {pairs} pairs");
                assert_eq!(seen.agent.pairs().filter(|pair| pair.is_nominated).count(), 1, "{what}");
                let most = if draft.is_some() { 19 } else { 1 };
                println!("{what}: {pairs} pairs, {} nominations, {} checks", seen.nominations, seen.checks);
                assert!(seen.nominations <= most, "{what}: {} nominations", seen.nominations);
                assert!(seen.checks <= 160 + seen.nominations, "{what}: {} checks", seen.checks);
                let locals = seen.agent.local_candidates(seen.stream).count();
                assert!(locals <= 51, "{what}: {locals} local candidates");
            }
        }
    }
}

/// Req: 8445-8.1.1-a
#[test]
fn consent_checks_nominate_again_only_while_the_address_is_settled() {
    for (place, (name, pattern)) in PATTERNS.into_iter().enumerate() {
        for draft in [None, Some(Renomination::Draft2026)] {
            let seen = run(Config::default(), Role::Controlling, draft, 50, pattern);
            let what = format!("{name}, {draft:?}: {} of {} checks nominate", seen.nominations, seen.checks);
            let selected = seen.agent.selected_pair(seen.stream, ComponentId::RTP);
            assert!(selected.is_some() && seen.agent.pairs().count() <= 2, "{what}");
            match place {
                0..=5 => assert!(seen.nominations < 40, "{what}"),
                _ => assert!(seen.nominations > 100 && seen.nominations + 2 >= seen.checks, "{what}"),
            }
            println!("{what}");
        }
    }
}

/// Req: 8445-7.2.5.3.4-a
#[test]
fn a_round_trip_longer_than_the_time_to_the_next_check_changes_nothing() {
    for (name, pattern) in PATTERNS {
        for draft in DRAFTS {
            let config = Config::default().with_repeated_use_candidate(false);
            let seen = run(config, Role::Controlling, draft, 700, pattern);
            assert!(seen.agent.selected_pair(seen.stream, ComponentId::RTP).is_some(), "{name}, {draft:?}");
            assert!(seen.nominations <= 60, "{name}, {draft:?}: {}", seen.nominations);
            assert!(seen.agent.pairs().count() <= 2, "{name}, {draft:?}");
        }
    }
}

fn behind(nat: NatConfig, seed: u64, roles: (Role, Role), draft: Option<Renomination>) -> PairSetup {
    let link = Link { jitter: ms(10), ..Link::with_delay(ms(20)) };
    let mut setup = PairSetup::new(Seed::from_number(seed)).roles(roles.0, roles.1).link(link);
    (setup.l.renomination, setup.r.renomination) = (draft, draft);
    setup.left(|side| {
        side.addresses = vec!["10.0.0.2".parse().unwrap()];
        side.nats = vec![nat.clone()];
    })
}

fn assert_agreed(pair: &Pair, what: &str) {
    assert!(
        pair.l.is_selected() && pair.r.is_selected(),
        "{what}: {:?} and {:?}",
        pair.l.agent.state(),
        pair.r.agent.state()
    );
    assert!(pair.agrees(), "{what}");
    for side in [SideName::L, SideName::R] {
        let agent = &pair.peer(side).agent;
        assert_eq!(agent.pairs().filter(|one| one.is_nominated).count(), 1, "{what}, {side:?}");
        assert!(agent.pairs().count() <= 12, "{what}, {side:?}: {} pairs", agent.pairs().count());
        let sent = requests(&pair.peer(side).sent);
        let first = sent.iter().filter(|(time, request, _)| *time <= pair.now() && request.use_candidate).count();
        assert!(first <= 30, "{what}, {side:?}: {first} nominations");
    }
}

/// Req: 8445-7.2.5.3.4-a
#[test]
fn a_nat_that_forgets_between_the_check_and_the_nomination_costs_no_agreement() {
    for (seed, roles) in (0..3).flat_map(|seed| [(seed, (ROLES[0], ROLES[1])), (seed, (ROLES[1], ROLES[0]))]) {
        for draft in DRAFTS {
            for (mapping, ports) in [
                (Mapping::EndpointIndependent, PortAssignment::Sequential),
                (Mapping::AddressDependent, PortAssignment::Random),
                (Mapping::AddressAndPortDependent, PortAssignment::Random),
            ] {
                let nat = NatConfig::new(mapping, Filtering::AddressAndPortDependent, [[192, 0, 2, 1].into()]);
                let mut pair = behind(NatConfig { ports, ..nat }, seed, roles, draft).build();
                let what = format!("{mapping:?}, {roles:?}, {draft:?}, seed {seed}");
                let controlling = if roles.0 == Role::Controlling { SideName::L } else { SideName::R };
                let has_valid = |pair: &Pair| pair.peer(controlling).agent.pairs().any(|one| one.is_valid);
                assert!(pair.run_until(secs(2), has_valid), "{what}");
                let nat = pair.nats[&SideName::L][0];
                pair.network.rebind(nat).unwrap();
                assert!(pair.run_until_selected(secs(10)), "{what}");
                pair.run_for(secs(20));
                assert_agreed(&pair, &what);
            }
        }
    }
}

/// Req: 8445-8.1.1-a
#[test]
fn nats_of_all_mappings_beside_relays_bring_one_nomination_and_few_pairs() {
    for (seed, roles) in [(1, (ROLES[0], ROLES[1])), (2, (ROLES[1], ROLES[0]))] {
        for draft in DRAFTS {
            for mapping in [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent] {
                let public = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into);
                let nat = NatConfig::new(mapping, Filtering::AddressAndPortDependent, public);
                // Each mapping has another address, too.
                let nat = NatConfig { ports: PortAssignment::Random, pooling: Pooling::Arbitrary, ..nat };
                let mut pair = behind(nat, seed, roles, draft).with_turn([198, 18, 0, 1].into()).build();
                let what = format!("{mapping:?}, {roles:?}, {draft:?}");
                assert!(pair.run_until_selected(secs(10)), "{what}");
                pair.run_for(secs(30));
                assert_agreed(&pair, &what);
                let used = pair.r.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
                assert_ne!(used.remote.kind(), CandidateKind::Relayed, "{what}");
                assert_ne!(used.local.kind(), CandidateKind::Relayed, "{what}");
            }
        }
    }
}
