//! Application data: where it goes, when it may, and from whom it is taken.

use nilas::sim::{Link, PairSetup, SideName, Wire};
use nilas::{
    ComponentId, Config, ConnectionState, DataFilter, Datagram, DropReason, Event, PathHealth, Received, Role, Seed,
    SendError, StreamId, TrafficClass,
};

use crate::help::{at, ms, secs, setup};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

fn receive(script: &mut Script, from: &str, payload: &[u8]) -> Result<Vec<u8>, DropReason> {
    let (source, destination) = (socket(from), socket(LOCAL));
    let datagram = Datagram::new(source, destination, payload);
    match script.agent.handle_datagram(script.now, &datagram) {
        Received::Data { payload, .. } => Ok(payload.to_vec()),
        Received::Dropped(reason) => Err(reason),
        other => panic!("{other:?}"),
    }
}

fn send(script: &mut Script, payload: &[u8]) -> Result<nilas::Transmit, SendError> {
    script.agent.send(script.now, script.stream, ComponentId::RTP, payload, &mut Vec::new())
}

/// S030
/// Req: proj-demux-a
/// Req: proj-rx-a
#[test]
fn data_is_taken_only_from_addresses_that_were_part_of_an_authenticated_check() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    for from in [BEST, OTHER, "192.0.2.66:666"] {
        assert_eq!(receive(&mut script, from, b"spoofed"), Err(DropReason::UnvalidatedSource), "{from}");
    }
    script.answer(BEST);
    assert_eq!(receive(&mut script, BEST, b"our check was answered").unwrap(), b"our check was answered");
    assert_eq!(receive(&mut script, OTHER, b"spoofed"), Err(DropReason::UnvalidatedSource));
    script.check(OTHER, false);
    assert_eq!(receive(&mut script, OTHER, b"its check arrived").unwrap(), b"its check arrived");
    script.check("192.0.2.77:777", false);
    assert_eq!(receive(&mut script, "192.0.2.77:777", b"a new address").unwrap(), b"a new address");
    assert_eq!(receive(&mut script, "192.0.2.77:778", b"spoofed"), Err(DropReason::UnvalidatedSource));
    assert_eq!(script.agent.stats().dropped(DropReason::UnvalidatedSource), 5);
}

/// S030
/// Req: proj-demux-a
#[test]
fn a_check_that_is_not_genuine_opens_no_way_for_data() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    let mut forged = script.write_check(Role::Controlling, true);
    // Any bit of the transaction ID is under the integrity attribute.
    forged[10] ^= 1;
    assert!(!script.hear(OTHER, &forged));
    assert_eq!(receive(&mut script, OTHER, b"spoofed"), Err(DropReason::UnvalidatedSource));
}

/// Req: proj-data-a
#[test]
fn data_without_a_usable_pair_is_refused_with_the_reason() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    assert_eq!(send(&mut script, b"x"), Err(SendError::NoPair));
    let (now, stream) = (script.now, script.stream);
    let component = ComponentId::RTCP;
    assert_eq!(
        script.agent.send(now, stream, component, b"x", &mut Vec::new()),
        Err(SendError::UnknownComponent(component))
    );
    let mut other = Script::new(Role::Controlled, Config::default(), |remote| remote).agent;
    let unknown: StreamId = other.add_stream(1).unwrap();
    assert_eq!(
        script.agent.send(now, unknown, ComponentId::RTP, b"x", &mut Vec::new()),
        Err(SendError::UnknownStream(unknown))
    );
    script.check(BEST, false);
    assert_eq!(send(&mut script, b"x"), Err(SendError::NoPair), "the peer's check alone validates nothing");
    script.answer_next(BEST);
    let mut short = [0; 3];
    assert_eq!(
        script.agent.send(now, stream, ComponentId::RTP, b"four", &mut &mut short[..]),
        Err(SendError::NoRoom(4))
    );
    assert_eq!(send(&mut script, b"x").unwrap().destination, socket(BEST));
    script.agent.close(now);
    assert_eq!(send(&mut script, b"x"), Err(SendError::Closed));
    assert_eq!(script.agent.stats().datagrams_sent, script.sent.len() as u64 + 1, "what is refused is not counted");
}

/// Req: proj-data-a
#[test]
fn data_of_a_failed_stream_is_refused() {
    let mut pair = setup("failed").build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(60));
    assert_eq!(pair.send(SideName::L, b"x"), Err(SendError::Failed));
}

/// S082
/// Req: 8445-12.1-a
/// Req: 8445-12.1-b
#[test]
fn data_leaves_from_the_base_on_the_best_valid_pair_and_then_on_the_selected_one() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true));
    script.run_for(ms(60));
    script.answer(OTHER);
    let transmit = send(&mut script, b"x").unwrap();
    assert_eq!((transmit.source, transmit.destination), (socket(LOCAL), socket(OTHER)));
    let id = script.requests_to(BEST)[0].1.id;
    assert!(script.answer_as(BEST, id, "192.0.2.77:1024"));
    let transmit = send(&mut script, b"x").unwrap();
    assert_eq!(
        (transmit.source, transmit.destination),
        (socket(LOCAL), socket(OTHER)),
        "a peer-reflexive one is below"
    );
    script.check(BEST, true);
    let transmit = send(&mut script, b"x").unwrap();
    assert_eq!((transmit.source, transmit.destination), (socket(LOCAL), socket(BEST)), "from the base");
}

/// Req: 8445-12.1-b
#[test]
fn once_a_pair_is_selected_all_data_goes_on_it() {
    for seed in 0..30 {
        let link = Link { loss: 0.15, jitter: ms(30), ..Link::with_delay(ms(20)) };
        let mut pair = PairSetup::new(Seed::from_number(seed)).addresses(2, 3).link(link).build();
        for _ in 0..300 {
            pair.run_for(ms(10));
            for side in [SideName::L, SideName::R] {
                let _ = pair.send(side, b"payload");
            }
        }
        for side in [SideName::L, SideName::R] {
            let peer = pair.peer(side);
            let selected = peer.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
            let ends = (selected.base, selected.remote.socket_address().unwrap());
            let since = peer.selected_at().unwrap();
            let data = peer.sent.iter().filter(|sent| sent.at > since && Wire::decode(&sent.payload) == Wire::Data(7));
            let mut count = 0;
            for sent in data {
                assert_eq!((sent.source, sent.destination), ends, "seed {seed} {side:?}");
                count += 1;
            }
            assert!(count > 100, "seed {seed} {side:?}: {count}");
        }
    }
}

/// Req: 8445-12.2-a
#[test]
fn data_on_a_valid_pair_that_was_not_selected_is_delivered() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true));
    script.answer(BEST);
    script.answer_next(OTHER);
    script.check(BEST, true);
    assert_eq!(script.selected(), Some(socket(BEST)));
    let (source, destination) = (socket(OTHER), socket(LOCAL));
    let other = script.pair_to(OTHER).id;
    let datagram = Datagram::new(source, destination, b"elsewhere");
    let received = script.agent.handle_datagram(script.now, &datagram);
    let (stream, component) = (script.stream, ComponentId::RTP);
    assert_eq!(
        received,
        Received::Data {
            stream,
            component,
            pair: Some(other),
            traffic_class: TrafficClass::DEFAULT,
            payload: b"elsewhere"
        }
    );
}

/// Req: 8489-6.3-c
/// Req: 7983-7-a
/// Req: 9443-3-a
#[test]
fn the_first_byte_decides_what_is_data_unless_all_but_stun_is() {
    type Takes = fn(u8) -> bool;
    let of_7983: Takes = |first| matches!(first, 16..=63 | 128..=191);
    let of_9443: Takes = |first| first >= 16;
    let all: Takes = |_| true;
    let filters = [(DataFilter::Rfc9443, of_9443), (DataFilter::Rfc7983, of_7983), (DataFilter::AllButStun, all)];
    assert_eq!(DataFilter::default(), DataFilter::Rfc9443);
    for (filter, takes) in filters {
        let mut script = Script::new(Role::Controlled, Config::default().with_data_filter(filter), |remote| remote);
        script.answer(BEST);
        for first in 0..=u8::MAX {
            let expected = if takes(first) { Ok(vec![first, 1, 2]) } else { Err(DropReason::Unclassified) };
            assert_eq!(receive(&mut script, BEST, &[first, 1, 2]), expected, "{filter:?} {first}");
        }
    }
}

/// Req: 8489-6.3-c
#[test]
fn what_looks_like_stun_and_is_not_well_formed_is_never_data() {
    for filter in [DataFilter::Rfc9443, DataFilter::Rfc7983, DataFilter::AllButStun] {
        let mut script = Script::new(Role::Controlled, Config::default().with_data_filter(filter), |remote| remote);
        script.answer(BEST);
        let mut broken = script.write_check(Role::Controlling, false);
        broken.truncate(40);
        let dropped = receive(&mut script, BEST, &broken);
        assert!(dropped.is_err(), "{filter:?}: {dropped:?}");
    }
}

/// S171
#[test]
fn an_hour_of_duplicates_and_reordering_changes_nothing() {
    let link = Link { duplicate: 0.2, reorder: 0.2, reorder_delay: ms(500), ..Link::with_delay(ms(20)) };
    let mut pair = setup("an hour").addresses(2, 2).link(link).build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(60));
    let counts = |pair: &nilas::sim::Pair| (pair.l.agent.pairs().count(), pair.r.agent.pairs().count());
    let (before, events) = (counts(&pair), (pair.l.events.len(), pair.r.events.len()));
    for _ in 0..354 {
        pair.send(SideName::L, b"there").unwrap();
        pair.send(SideName::R, b"back").unwrap();
        pair.run_for(secs(10));
    }
    assert!(pair.now() >= at(3_600_000));
    assert_eq!(counts(&pair), before);
    let is_doubt =
        |event: &Event| matches!(event, Event::PathHealthChanged { health, .. } if *health != PathHealth::Lost);
    let later: Vec<_> = pair.l.events[events.0..].iter().chain(&pair.r.events[events.1..]).collect();
    assert!(later.iter().all(|(_, event)| is_doubt(event)), "an answer that comes late may raise a doubt, and no more");
    assert_eq!((pair.l.selections(), pair.r.selections()), (1, 1));
    assert_eq!((pair.l.agent.state(), pair.r.agent.state()), (ConnectionState::Completed, ConnectionState::Completed));
    assert!(pair.l.received.len() >= 354 && pair.r.received.len() >= 354);
}

/// S083
#[test]
fn media_on_another_valid_pair_is_taken_and_the_nomination_outranks_it() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true));
    script.answer(BEST);
    script.answer_next(OTHER);
    script.check(BEST, true);
    let (nominated, other) = (script.pair_to(BEST).id, script.pair_to(OTHER).id);
    for _ in 0..50 {
        let datagram = Datagram::new(socket(OTHER), socket(LOCAL), b"\x80media");
        let taken = script.agent.handle_datagram(script.now, &datagram);
        assert!(matches!(taken, Received::Data { pair: Some(pair), .. } if pair == other), "{taken:?}");
        script.run_for(ms(20));
        let mut buffer = Vec::new();
        let sent = script.agent.send(script.now, script.stream, ComponentId::RTP, b"data", &mut buffer).unwrap();
        assert_eq!(sent.destination, socket(BEST));
        assert_eq!(script.agent.selected_pair(script.stream, ComponentId::RTP).unwrap().id, nominated);
    }
}
