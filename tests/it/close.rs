//! The end: whenever an agent is closed, its relays are given back, and then it wants nothing any more.

use std::net::IpAddr;
use std::time::Duration;

use bytes::BufMut;
use nilas::sim::{Pair, PairSetup};
use nilas::{
    Agent, ComponentId, Config, ConnectionState, Event, IceServer, Instant, RemoteDescription, Role, Seed, Transport,
};

use crate::help::{ms, secs};

const TURN: [u8; 4] = [192, 0, 2, 100];

/// A pair whose left side has a relay, which it reaches so.
fn relayed(name: &str, scheme: &str) -> PairSetup {
    let turn = IpAddr::from(TURN);
    let mut setup = PairSetup::new(Seed::from_name(name)).with_turn(turn).right(|r| r.servers.clear());
    if scheme != "udp" {
        let url = if scheme == "tls" {
            "turns:192.0.2.100:3478?transport=tcp"
        } else {
            "turn:192.0.2.100:3478?transport=tcp"
        };
        setup.l.servers = vec![url.parse::<IceServer>().unwrap().with_credentials("user", "pass")];
    }
    setup
}

/// How the application ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    CloseTwice,
    RemoveStream,
}

/// Ends the session of the left side, and runs until it wants nothing any more.
fn end(mut pair: Pair, ending: Ending) {
    let (now, stream) = (pair.now(), pair.stream());
    let told =
        |pair: &Pair| pair.l.events.iter().filter(|(_, event)| matches!(event, Event::RelayReleased { .. })).count();
    let had = pair.servers[0].allocations(now);
    let agent = &mut pair.l.agent;
    match ending {
        Ending::Close => agent.close(now),
        Ending::CloseTwice => {
            agent.close(now);
            agent.close(now);
        }
        Ending::RemoveStream => agent.remove_stream(now, stream).unwrap(),
    }
    let events = pair.l.events.len();
    pair.drain(nilas::sim::SideName::L);
    pair.run_until(secs(15), |pair| pair.l.agent.poll_timeout().is_none());
    let at = pair.since_start(now);
    assert_eq!(pair.l.agent.poll_timeout(), None, "{ending:?} at {at:?}");
    // What was under way arrives.
    pair.run_for(ms(200));
    assert_eq!(pair.servers[0].allocations(pair.now()), 0, "{ending:?} at {at:?}");
    let (told, most) = (told(&pair), pair.network.addresses(pair.l.host()).count());
    assert!((had..=most).contains(&told), "{ending:?} at {at:?}: the release of {had} relays is told {told} times");
    if ending != Ending::RemoveStream {
        let is_closed =
            |event: &Event| matches!(event, Event::ConnectionStateChanged { current: ConnectionState::Closed, .. });
        assert_eq!(pair.l.events.iter().skip(events).filter(|(_, event)| is_closed(event)).count(), 1);
    }
}

/// Closes the session at every so many milliseconds of a life with gathering, checks, nomination, rest and a restart.
fn sweep(mut pair: Pair, step: Duration, until: Duration) {
    let endings = [Ending::Close, Ending::RemoveStream, Ending::CloseTwice];
    for turn in 0.. {
        if pair.elapsed() >= until {
            break;
        }
        end(pair.clone(), endings[turn % endings.len()]);
        pair.run_for(step);
    }
}

/// Req: 8656-8-b
#[test]
fn at_every_millisecond_of_a_relayed_session_its_end_releases_the_relay_over_udp() {
    sweep(relayed("udp", "udp").build(), ms(1), ms(700));
}

#[test]
fn at_every_millisecond_of_a_relayed_session_its_end_releases_the_relay_over_tcp() {
    sweep(relayed("tcp", "tcp").build(), ms(1), ms(700));
}

#[test]
fn at_every_millisecond_of_a_relayed_session_its_end_releases_the_relay_over_tls() {
    sweep(relayed("tls", "tls").build(), ms(1), ms(700));
}

#[test]
fn a_session_ends_while_pairs_wait_that_nobody_answers() {
    for scheme in ["udp", "tcp"] {
        let mut pair = relayed("wait", scheme).addresses(2, 5).build();
        let (l, r) = (pair.l.host(), pair.r.host());
        pair.network.cut_both(l, r);
        pair.run_for(ms(150));
        sweep(pair, ms(37), secs(4));
    }
}

#[test]
fn a_session_ends_while_a_restart_waits_for_its_answer_or_begins() {
    for scheme in ["udp", "tls"] {
        let mut pair = relayed("restart", scheme).right(|r| r.description_delay = ms(150)).build();
        assert!(pair.run_until_selected(secs(5)));
        pair.run_for(secs(3));
        let stream = pair.stream();
        pair.restart(nilas::sim::SideName::L, stream);
        let until = pair.elapsed() + ms(900);
        sweep(pair, ms(7), until);
    }
}

#[test]
fn a_session_on_its_relay_ends_idle_or_suspected() {
    let mut pair = relayed("idle", "udp").build();
    let (l, r) = (pair.l.host(), pair.r.host());
    pair.network.cut_both(l, r);
    assert!(pair.run_until_selected(secs(10)));
    let now = pair.now();
    pair.l.agent.set_idle(now, true);
    pair.run_for(secs(70));
    let until = pair.elapsed() + secs(40);
    sweep(pair.clone(), ms(1111), until);
    let server = pair.servers[0].host();
    pair.network.cut_both(r, server);
    sweep(pair, ms(1717), until);
}

/// An agent with a relay whose release finds no room in the buffers of its caller.
#[test]
fn a_release_for_which_no_buffer_has_room_ends_by_itself() {
    let turn = IpAddr::from(TURN);
    let mut setup = PairSetup::new(Seed::from_name("room")).with_turn(turn).right(|r| r.servers.clear());
    setup.l.config = Config::default().with_software(&"\u{1f9ca}".repeat(128));
    let mut pair = setup.build();
    assert!(pair.run_until(secs(2), |pair| pair.servers[0].allocations(pair.now()) == 1));
    let mut now = pair.now();
    let began = now;
    let agent = &mut pair.l.agent;
    agent.close(now);
    let (mut is_told, mut turns) = (false, 0);
    while let Some(next) = agent.poll_timeout() {
        turns += 1;
        assert!(turns < 5_000, "it never ends");
        // A loop that is called at once again has spent some time all the same.
        now = next.max(now + ms(5));
        agent.handle_timeout(now);
        let mut buffer = Vec::new().limit(Agent::MAX_DATAGRAM);
        assert!(agent.poll_transmit(now, &mut buffer).is_none());
        while let Some(event) = agent.poll_event() {
            is_told |= matches!(event, Event::RelayReleased { .. });
        }
    }
    assert!(is_told && now <= began + secs(11));
}

#[test]
fn nothing_wakes_an_agent_after_its_end() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("end")).unwrap();
    let mut now = Instant::ZERO;
    let stream = agent.add_stream(1).unwrap();
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, "198.51.100.1:5000".parse().unwrap()).unwrap();
    let peer = RemoteDescription::new(nilas::Credentials::new("peer", "passwordOfThePeer012345").unwrap());
    let candidates = (1..9).map(|last| crate::solo::host(&format!("203.0.113.{last}:6000"))).collect();
    agent.set_remote_description(now, stream, &peer.with_candidates(candidates)).unwrap();
    let mut buffer = Vec::new();
    let mut quiet = |agent: &mut Agent, now| {
        while agent.poll_transmit(now, &mut buffer).is_some() || agent.poll_event().is_some() {
            buffer.clear();
        }
    };
    quiet(&mut agent, now);
    now += ms(1);
    agent.close(now);
    quiet(&mut agent, now);
    let before = agent.stats().datagrams_sent;
    let calls: [fn(&mut Agent, Instant, nilas::StreamId); 9] = [
        |agent, now, _| agent.withhold_checks(now, true),
        |agent, now, _| agent.withhold_checks(now, false),
        |agent, now, _| agent.network_changed(now),
        |agent, now, _| agent.set_idle(now, true),
        |agent, now, stream| {
            let _ = agent.prepare_restart(now, stream);
        },
        |agent, now, stream| agent.end_of_local_candidates(now, stream).unwrap(),
        |agent, now, stream| agent.end_of_remote_candidates(now, stream).unwrap(),
        |agent, now, stream| {
            let _ = agent.add_remote_candidate(now, stream, crate::solo::host("203.0.113.77:6000"));
        },
        |agent, now, stream| {
            let (base, mapped) = ("198.51.100.1:5000".parse().unwrap(), "192.0.2.1:5000".parse().unwrap());
            assert!(agent.add_server_reflexive(now, stream, base, mapped, None).is_err());
        },
    ];
    for (index, call) in calls.into_iter().enumerate() {
        call(&mut agent, now, stream);
        quiet(&mut agent, now);
        assert_eq!(agent.poll_timeout(), None, "call {index}");
        now += ms(700);
    }
    assert_eq!(agent.stats().datagrams_sent, before);
}
