//! What neither a peer nor a careless caller can do to an agent: slow it down, know its secrets, make it spin.

use std::time::Duration;

use nilas::sim::{ServerMethod, SideName};
use nilas::{
    Agent, CandidatePairState, ComponentId, Config, ConnectionState, Credentials, Event, Instant, RemoteDescription,
    Role, Seed, StreamId, Transport,
};

use crate::help::{ms, secs, setup};
use crate::lone;
use crate::solo::{Outcome, Solo, address, host};

const RTP: ComponentId = ComponentId::RTP;

fn limited(events: &[Event]) -> Vec<(Duration, Duration)> {
    let of = |event: &Event| match event {
        Event::PacingLimited { proposed, used, .. } => Some((*proposed, *used)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// A deviation from RFC 8445 §14.2, which has no limit.
#[test]
fn a_peer_that_wants_days_between_two_checks_gets_a_second() {
    let days = ms(u64::from(u32::MAX));
    let cases =
        [(secs(1), secs(1), false), (ms(1001), secs(1), true), (days, secs(1), true), (Duration::MAX, secs(1), true)];
    for (proposed, expected, is_told) in cases {
        for role in [Role::Controlling, Role::Controlled] {
            let mut solo = Solo::new(role);
            let hosts = (0..5).map(|n| lone::remote(&format!("{n}"), 1, 100, &format!("203.0.113.{n}:6000"))).collect();
            let description = RemoteDescription::new(solo.theirs.clone()).with_pacing(proposed).with_candidates(hosts);
            solo.agent.set_remote_description(solo.now, solo.stream, &description).unwrap();
            solo.drain();
            solo.run_for(secs(10));
            let told = if is_told { vec![(proposed, expected)] } else { Vec::new() };
            assert_eq!(limited(&solo.events), told);
            let mut firsts = Vec::new();
            for (out, request) in solo.take_requests() {
                if !firsts.iter().any(|(id, _)| *id == request.id) {
                    firsts.push((request.id, out.at));
                }
            }
            assert!(firsts.windows(2).all(|two| two[1].1 - two[0].1 >= expected) && firsts.len() >= 5, "{firsts:?}");
            assert!(firsts[4].1 <= Instant::ZERO + secs(5));
            // The same description again is no news; that of a restart is.
            solo.agent.set_remote_description(solo.now, solo.stream, &description).unwrap();
            solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
            let next = Credentials::new("next", "passwordOfTheNext012345").unwrap();
            let description = RemoteDescription::new(next).with_pacing(proposed);
            solo.agent.set_remote_description(solo.now, solo.stream, &description).unwrap();
            solo.drain();
            assert_eq!(limited(&solo.events).len(), 2 * told.len());
        }
    }
}

/// Ta is the larger of both sides' values, and the peer must not let what a server holds run out.
#[test]
fn what_a_server_holds_is_refreshed_and_released_without_waiting_for_ta() {
    let server = "192.0.2.100".parse().unwrap();
    let nowhere: Vec<_> =
        (1..=90).map(|n| lone::remote(&format!("{n}"), 1, 100, &format!("192.0.2.{n}:7000"))).collect();
    for ours in [ms(50), secs(2)] {
        let mut pair = setup("refresh")
            .with_turn(server)
            .addresses(2, 1)
            .left(|l| l.config = Config::default().with_ta(ours).with_gathering_timeout(secs(60)).with_max_pairs(300))
            .right(|r| {
                r.config = Config::default().with_ta(secs(10));
                r.servers.clear();
                r.only_reaches = Some("192.0.2.1".parse().unwrap());
                r.extra_candidates = nowhere.clone();
                r.signals_end = false;
            })
            .build();
        pair.servers[0] = pair.servers[0].clone().with_lifetime(secs(120));
        pair.run_for(secs(130));
        let times = |method| {
            let served = pair.servers[0].served().iter().filter(|one| one.method == method && one.error.is_none());
            served.map(|served| pair.since_start(served.at)).collect::<Vec<_>>()
        };
        let (allocated, refreshed) = (times(ServerMethod::Allocate), times(ServerMethod::Refresh));
        assert!(!allocated.is_empty(), "{ours:?}");
        for allocated in allocated.iter().copied() {
            let is_punctual = |at: &Duration| *at >= allocated + secs(60) && *at <= allocated + ms(60_100);
            assert!(refreshed.iter().any(is_punctual), "{ours:?}: {allocated:?}, {refreshed:?}");
        }
        let waiting = pair.l.agent.pairs().filter(|pair| pair.state == CandidatePairState::Waiting).count();
        assert!(waiting > 20, "checks go on: {waiting}");
        let (now, before) = (pair.now(), pair.l.sent.len());
        pair.l.agent.close(now);
        pair.drain(SideName::L);
        let releases = pair.l.sent[before..].iter().filter(|sent| sent.payload.starts_with(&[0, 4]));
        assert_eq!(releases.count(), allocated.len(), "all at once");
        pair.run_for(secs(1));
        assert_eq!((pair.servers[0].allocations(pair.now()), pair.l.agent.poll_timeout()), (0, None));
    }
}

fn template() -> (Agent, StreamId) {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("template")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let at = address("198.51.100.1:5000");
    agent.add_socket(Instant::ZERO, stream, RTP, Transport::Udp, at).unwrap();
    agent.end_of_local_candidates(Instant::ZERO, stream).unwrap();
    (agent, stream)
}

/// What an agent that was made from the template signals and sends.
fn secrets(mut agent: Agent, stream: StreamId) -> (Credentials, Vec<String>, Vec<u8>) {
    let ours = agent.local_credentials(stream).unwrap().clone();
    let mut ufrags = Vec::new();
    while let Some(event) = agent.poll_event() {
        match event {
            Event::LocalCandidate { candidate, .. } => ufrags.push(candidate.extension("ufrag").unwrap().to_owned()),
            Event::EndOfCandidates { ufrag, .. } => ufrags.push(ufrag.as_str().to_owned()),
            _ => {}
        }
    }
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    let description = RemoteDescription::new(theirs).with_candidates(vec![host("203.0.113.1:6000")]);
    agent.set_remote_description(Instant::ZERO, stream, &description).unwrap();
    let mut bytes = Vec::new();
    assert!(agent.poll_transmit(Instant::ZERO, &mut bytes).is_some());
    (ours, ufrags, bytes)
}

#[test]
fn clones_share_their_secrets_until_they_are_seeded_anew() {
    let (agent, stream) = template();
    let seeded = |number| {
        let mut clone = agent.clone();
        clone.reseed(Seed::from_number(number));
        secrets(clone, stream)
    };
    let original = secrets(agent.clone(), stream);
    assert_eq!(secrets(agent.clone(), stream), original);
    assert_eq!(seeded(1), seeded(1));
    let all = [original, seeded(1), seeded(2)];
    for (place, (ours, ufrags, sent)) in all.iter().enumerate() {
        // What is signalled is what the checks of the peer have to name.
        assert!(ufrags.len() == 2 && ufrags.iter().all(|ufrag| ufrag == ours.ufrag.as_str()), "{ufrags:?}");
        for (other, _, others) in &all[..place] {
            assert!(ours.ufrag != other.ufrag && ours.password != other.password);
            let tiebreaker = |bytes: &[u8]| crate::solo::value(bytes, 0x802a).unwrap();
            assert!(sent[8..20] != others[8..20] && tiebreaker(sent) != tiebreaker(others));
        }
    }
}

#[test]
fn a_session_that_is_seeded_anew_goes_on() {
    let mut pair = setup("seeded anew").build();
    assert!(pair.run_until_selected(secs(5)));
    let stream = pair.stream();
    let before = pair.l.agent.local_credentials(stream).unwrap().clone();
    let unseeded = pair.l.agent.clone();
    pair.l.agent.reseed(Seed::from_name("new"));
    assert_eq!(pair.l.agent.local_credentials(stream), Some(&before));
    pair.run_for(secs(60));
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
    let restarted = |mut agent: Agent| agent.prepare_restart(pair.now(), stream).unwrap();
    assert_ne!(restarted(pair.l.agent.clone()).password, restarted(unseeded).password);
}

/// It is believed, and ends what is due until then; but nothing panics, spins, or is said without end.
#[test]
fn an_instant_in_the_far_future_ends_the_session_and_nothing_else() {
    let server = "192.0.2.100".parse().unwrap();
    let setups = [
        setup("udp"),
        setup("relay").with_turn(server).left(|l| l.only_reaches = Some(server)),
        setup("tcp")
            .left(|l| (l.udp, l.tcp) = (false, vec![nilas::TcpType::Active]))
            .right(|r| (r.udp, r.tcp) = (false, vec![nilas::TcpType::Passive])),
    ];
    let future = [Instant::ZERO + secs(365 * 86_400 * 50), Instant::from_nanos(i64::MAX)];
    for setup in setups {
        let mut pair = setup.build();
        for moment in [ms(10), ms(60), ms(300), secs(8)] {
            pair.run_to(Instant::ZERO + moment);
            for peer in [&pair.l, &pair.r] {
                for far in future {
                    let mut agent = peer.agent.clone();
                    agent.handle_timeout(far);
                    let mut calls = 0;
                    let mut drain = |agent: &mut Agent, now: Instant| {
                        let mut bytes = Vec::new();
                        loop {
                            bytes.clear();
                            let is_quiet = agent.poll_transmit(now, &mut bytes).is_none()
                                && agent.poll_event().is_none()
                                && agent.poll_connection().is_none();
                            calls += 1;
                            assert!(calls < 10_000, "{moment:?}, {far:?}");
                            if is_quiet {
                                break;
                            }
                        }
                    };
                    drain(&mut agent, far);
                    // Real time goes on, and the caller does what the timer says.
                    for step in 0..100 {
                        let now = pair.now() + ms(100 * step);
                        agent.handle_timeout(now);
                        drain(&mut agent, now);
                    }
                    agent.close(pair.now());
                    drain(&mut agent, pair.now());
                    assert_eq!(agent.state(), ConnectionState::Closed);
                }
            }
        }
    }
}

/// The peer is answered whatever the clock says.
#[test]
fn an_agent_from_the_future_still_answers() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.now = Instant::ZERO + secs(365 * 86_400);
    solo.agent.handle_timeout(solo.now);
    solo.drain();
    solo.now = Instant::ZERO + secs(1);
    let check = solo.check();
    let check = solo.seal(check);
    let outcome = solo.hand_in(solo.remote, solo.local, &check);
    assert_eq!(outcome, Outcome::Handled);
    let mut bytes = Vec::new();
    assert!(solo.agent.poll_transmit(solo.now, &mut bytes).is_some());
    assert_eq!(bytes[..2], [1, 1]);
}
