//! Keepalives: what a pair in use gets where there is no consent, and what keeps a NAT open.

use nilas::sim::{MessageBuilder, NatConfig, Pair, PairSetup, PortAssignment, Sent, SideName, SideSetup, Wire};
use nilas::{ComponentId, Config, ConnectionState, Datagram, Event, Instant, Received, Renomination, Role};

use crate::help::{ms, secs, setup, states};
use crate::solo::{Solo, host};

/// Two sides that ask for no consent, and have selected.
fn connected(name: &str, addresses: u8) -> Pair {
    let config = Config::default().with_consent(false);
    let mut pair = setup(name).addresses(addresses, addresses).config(config).build();
    assert!(pair.run_until_selected(secs(1)));
    pair
}

/// The seconds at which a side has sent after this instant.
fn times(sent: &[Sent], start: Instant) -> Vec<u64> {
    let after = sent.iter().filter(|sent| sent.at > start);
    after.map(|sent| u64::try_from(sent.at.saturating_duration_since(start).as_millis()).unwrap()).collect()
}

/// Req: 8445-11-b
#[test]
fn an_idle_pair_gets_a_keepalive_15_30_45_and_60_seconds_after_the_last_packet() {
    let mut pair = connected("idle", 1);
    pair.run_for(secs(1));
    let last = [&pair.l, &pair.r].map(|peer| peer.sent.last().unwrap().at);
    pair.run_for(secs(61));
    for (side, last) in [SideName::L, SideName::R].into_iter().zip(last) {
        assert_eq!(times(&pair.peer(side).sent, last), [15_000, 30_000, 45_000, 60_000], "{side:?}");
        assert_eq!(pair.peer(side).agent.state(), ConnectionState::Completed);
    }
}

/// Req: 8445-11-b
#[test]
fn data_on_the_pair_starts_the_wait_anew() {
    let mut pair = connected("reset", 1);
    pair.run_for(secs(1));
    // Data every 14 s: no keepalive is due. It is the sender's own that counts.
    for _ in 0..10 {
        pair.send(SideName::L, b"data").unwrap();
        pair.run_for(secs(14));
    }
    let keepalives = |sent: &[Sent]| {
        sent.iter().filter(|sent| matches!(Wire::decode(&sent.payload), Wire::Indication { .. })).count()
    };
    assert_eq!(keepalives(&pair.l.sent), 0);
    assert_eq!(keepalives(&pair.r.sent), 9);
    pair.send(SideName::L, b"the last").unwrap();
    let last = pair.now();
    pair.run_for(secs(31));
    assert_eq!(times(&pair.l.sent, last), [15_000, 30_000]);
}

/// Req: 8445-11-c
#[test]
fn a_keepalive_is_an_indication_of_28_bytes_with_nothing_but_a_fingerprint() {
    let mut pair = connected("golden", 1);
    let before = pair.l.sent.len();
    pair.run_for(secs(40));
    let keepalives = &pair.l.sent[before..];
    let mut ids = Vec::new();
    for sent in keepalives.iter().filter(|sent| matches!(Wire::decode(&sent.payload), Wire::Indication { .. })) {
        let bytes = &sent.payload;
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[..8], [0x00, 0x11, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(bytes[20..24], [0x80, 0x28, 0x00, 0x04]);
        let id: [u8; 12] = bytes[8..20].try_into().unwrap();
        assert_eq!(*bytes, MessageBuilder::new(0x0011, id).fingerprint().build());
        ids.push(id);
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

/// Req: 8445-11-d
#[test]
fn only_the_selected_pair_gets_keepalives_until_the_session_ends() {
    let mut pair = connected("selected only", 3);
    pair.run_for(secs(5));
    let before = [pair.l.sent.len(), pair.r.sent.len()];
    pair.run_for(secs(100));
    for (side, before) in [SideName::L, SideName::R].into_iter().zip(before) {
        let peer = pair.peer(side);
        let selected = peer.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
        let path = (selected.base, selected.remote.socket_address().unwrap());
        let sent = &peer.sent[before..];
        assert!(sent.len() >= 6 && sent.iter().all(|sent| (sent.source, sent.destination) == path), "{side:?}");
    }
    let now = pair.now();
    pair.l.agent.close(now);
    pair.drain(SideName::L);
    let before = pair.l.sent.len();
    pair.run_for(secs(100));
    assert_eq!(pair.l.sent.len(), before);
}

/// Req: 8445-11-e
#[test]
fn a_keepalive_of_the_peer_changes_nothing_and_gives_no_consent() {
    let mut pair = setup("indications").build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(ms(100));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    let (source, destination) = (pair.l.sockets()[0], pair.r.sockets()[0]);
    let (mut without, mut number) = (pair.clone(), 0_u8);
    while pair.elapsed() < secs(60) {
        number += 1;
        let payload = MessageBuilder::new(0x0011, [number; 12]).fingerprint().build();
        let datagram = Datagram::new(source, destination, &payload);
        let (now, before) = (pair.now(), pair.r.sent.len());
        assert_eq!(pair.r.agent.handle_datagram(now, &datagram), Received::Handled);
        pair.drain(SideName::R);
        assert_eq!(pair.r.sent.len(), before, "it is not answered");
        pair.run_for(ms(500));
    }
    let end = pair.now();
    without.run_to(end);
    // Everything goes as it goes without them.
    assert_eq!(pair.r.events, without.r.events);
    let log = |pair: &Pair| pair.r.sent.iter().map(|sent| (sent.at, sent.payload.clone())).collect::<Vec<_>>();
    assert_eq!(log(&pair), log(&without));
    assert_eq!(states(&pair, SideName::R).last(), Some(&ConnectionState::Failed));
}

/// Both sides behind NATs that forget a mapping after 30 s without a packet from inside.
fn forgetful(name: &str, config: Config) -> PairSetup {
    let hide = |side: &mut SideSetup, inside: &str, public: &str| {
        let nat = NatConfig::port_restricted([public.parse().unwrap()]);
        side.addresses = vec![inside.parse().unwrap()];
        side.nats = vec![NatConfig { lifetime: Some(secs(30)), ports: PortAssignment::Random, ..nat }];
        side.reflexive_toward = Some("192.0.2.53:3478".parse().unwrap());
    };
    let mut setup = setup(name).config(config);
    hide(&mut setup.l, "10.0.0.2", "198.51.100.100");
    hide(&mut setup.r, "10.0.1.2", "203.0.113.100");
    setup
}

/// What arrives on both sides when both send after 10 minutes of nothing.
fn arrives_after_ten_minutes(pair: &mut Pair) -> [usize; 2] {
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(600));
    for side in [SideName::L, SideName::R] {
        pair.send(side, b"after ten minutes").unwrap();
    }
    pair.run_for(ms(100));
    [pair.l.received.len(), pair.r.received.len()]
}

/// S049
/// Req: 8445-11-b
#[test]
fn a_nat_that_forgets_after_30_seconds_is_kept_open_by_consent_or_by_keepalives() {
    for config in [Config::default(), Config::default().with_consent(false)] {
        let mut pair = forgetful("S049", config).build();
        assert_eq!(arrives_after_ten_minutes(&mut pair), [1, 1]);
        for side in [SideName::L, SideName::R] {
            use ConnectionState::{Checking, Completed, Connected};
            assert_eq!(states(&pair, side), [Checking, Connected, Completed]);
            let is_doubt = |event: &Event| matches!(event, Event::PathHealthChanged { .. });
            assert!(!pair.peer(side).events.iter().any(|(_, event)| is_doubt(event)));
        }
        assert!(pair.agrees());
    }
    // Without either the NAT does forget.
    let rare = Config::default().with_consent(false).with_keepalive_interval(secs(3600));
    assert_eq!(arrives_after_ten_minutes(&mut forgetful("S049", rare).build()), [0, 0]);
}

/// Nobody asks the pair in use, so that it says nothing if nothing is heard of it; one that was heard later is not better.
#[test]
fn without_consent_silence_moves_nobody_to_a_pair_that_was_heard_later() {
    for draft in [Renomination::Draft2016, Renomination::Draft2026] {
        let mut solo = Solo::with(Role::Controlling, Config::default().with_detection(secs(8)));
        let hosts = ["203.0.113.1:6000", "203.0.113.1:6001"].map(host);
        solo.describe_as(Some(draft), hosts.to_vec());
        // The one in use has not been heard of for longer than the detection takes, the other one has.
        for _ in 0..500 {
            for (out, request) in solo.take_requests() {
                let is_late = out.destination.port() == 6001 && solo.now < crate::help::at(3000);
                if !is_late {
                    let answer = solo.success(request.id, out.source);
                    let _ = solo.receive_at(out.destination, out.source, &answer);
                }
            }
            solo.run_for(ms(20));
        }
        solo.end_of_candidates();
        let valid = solo.agent.pairs().filter(|pair| pair.is_valid).count();
        assert_eq!((valid, solo.agent.stats().nominations), (2, 1), "{draft:?}");
        let selected = solo.agent.selected_pair(solo.stream, ComponentId::RTP).unwrap();
        assert_eq!(selected.remote_address.port(), 6000);
    }
}
