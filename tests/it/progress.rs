//! The loop always makes progress: what leaves a list leaves every queue, and nothing waits for a call that has nothing to
//! do with it. That the latter holds after every step of every simulated run is among the invariants of the simulator.

use std::net::SocketAddr;

use nilas::sim::{Invariants, MessageBuilder, PairSetup, SideName};
use nilas::{
    Agent, CandidatePairState, ComponentId, Config, ConnectionEvent, ConnectionRequest, ConnectionState, Credentials,
    Datagram, Event, IceServer, Instant, NominateError, PairId, RemoteDescription, Renomination, Role, Seed,
    SocketOptions, TcpType, Transport,
};

use crate::help::{ms, secs};
use crate::solo::{Solo, host};

const RTP: ComponentId = ComponentId::RTP;
const DRAFTS: [Option<Renomination>; 3] = [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)];

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Polls until the agent is quiet, which has to be soon, and checks what holds then.
fn settle(agent: &mut Agent, now: Instant) {
    let mut buffer = Vec::new();
    let mut outputs = 0;
    while agent.poll_transmit(now, &mut buffer).is_some()
        || agent.poll_connection().is_some()
        || agent.poll_event().is_some()
    {
        buffer.clear();
        outputs += 1;
        assert!(outputs < 1000, "it is never quiet");
    }
    Invariants::new().check(now, agent);
}

/// What an application may do to the pair from before a restart.
const TO_A_PAIR: [fn(&mut Agent, Instant, PairId); 5] = [
    |agent, now, pair| agent.remove_pair(now, pair).unwrap(),
    |agent, now, pair| {
        let view = agent.pair(pair).unwrap();
        let (stream, local) = (view.stream, view.local_id);
        agent.remove_local_candidate(now, stream, local).unwrap();
    },
    |agent, now, pair| {
        let stream = agent.pair(pair).unwrap().stream;
        agent.remove_stream(now, stream).unwrap();
    },
    |agent, now, pair| {
        let stream = agent.pair(pair).unwrap().stream;
        let next = Credentials::new("later", "passwordOfThePeer543210").unwrap();
        agent.prepare_restart(now, stream).unwrap();
        agent.set_remote_description(now, stream, &RemoteDescription::new(next)).unwrap();
    },
    |agent, now, _| agent.close(now),
];

/// Req: 8445-9-a
#[test]
fn the_pair_from_before_a_restart_cannot_be_nominated_and_leaves_every_queue() {
    for draft in DRAFTS {
        let setup = PairSetup::new(Seed::from_name("before")).addresses(2, 2);
        let mut pair = match draft {
            Some(draft) => setup.renomination(draft).build(),
            None => setup.build(),
        };
        assert!(pair.run_until_selected(secs(5)));
        let (stream, now) = (pair.stream(), pair.now());
        let agent = &mut pair.l.agent;
        agent.prepare_restart(now, stream).unwrap();
        let next = Credentials::new("next", "passwordOfThePeer012345").unwrap();
        agent.set_remote_description(now, stream, &RemoteDescription::new(next).with_renomination(draft)).unwrap();
        let old = agent.usable_pair(stream, RTP).unwrap().id;
        for of_others in agent.pairs().map(|pair| pair.id).collect::<Vec<_>>() {
            assert_eq!(agent.nominate(now, of_others), Err(NominateError::NotValid(of_others)), "{draft:?}");
        }
        for act in TO_A_PAIR {
            let mut agent = agent.clone();
            act(&mut agent, now, old);
            settle(&mut agent, now);
            agent.handle_timeout(now + secs(1));
            settle(&mut agent, now + secs(1));
        }
    }
}

/// Req: 8445-6.1.2-a
#[test]
fn a_pair_that_goes_while_it_is_queued_checked_nominated_or_asked_leaves_every_queue() {
    for draft in DRAFTS {
        for streams in [1, 2] {
            let mut setup = PairSetup::new(Seed::from_name("leave")).addresses(2, 3);
            setup.streams = streams;
            let mut pair = match draft {
                Some(draft) => setup.renomination(draft).build(),
                None => setup.build(),
            };
            for step in 0..45 {
                for side in [SideName::L, SideName::R] {
                    let agent = &pair.peer(side).agent;
                    let now = pair.now();
                    let pairs: Vec<PairId> = agent.pairs().map(|pair| pair.id).collect();
                    let act = TO_A_PAIR[step % TO_A_PAIR.len()];
                    for id in pairs.into_iter().skip(step % 3).step_by(3) {
                        let mut agent = agent.clone();
                        let _ = agent.nominate(now, id);
                        act(&mut agent, now, id);
                        settle(&mut agent, now);
                        agent.handle_timeout(now + ms(777));
                        settle(&mut agent, now + ms(777));
                    }
                }
                pair.run_for(ms(11));
            }
        }
    }
}

/// An agent that gathers over UDP from a server that answers, and over TCP from one that does not: gives when the connection to
/// it was given up, and when the end of the candidates was told.
fn gathering_ends(descriptions_at: u64) -> (Option<Instant>, Option<Instant>) {
    let server = address("198.51.100.9:3478");
    let start = Instant::ZERO;
    let mut now = start;
    let new = |role, name| Agent::new(Config::default(), role, Seed::from_name(name)).unwrap();
    let (mut l, mut r) = (new(Role::Controlling, "l"), new(Role::Controlled, "r"));
    let s = l.add_stream(1).unwrap();
    r.add_stream(1).unwrap();
    l.add_socket(now, s, RTP, Transport::Udp, address("192.0.2.1:5000")).unwrap();
    let options = SocketOptions::default().with_tcp_type(TcpType::SimultaneousOpen);
    l.add_socket_with(now, s, RTP, Transport::Tcp, address("192.0.2.1:5001"), options).unwrap();
    r.add_socket(now, s, RTP, Transport::Udp, address("203.0.113.1:6000")).unwrap();
    r.end_of_local_candidates(now, s).unwrap();
    l.gather(now, &[IceServer::stun(server)]).unwrap();
    let (mut is_described, mut given_up, mut ended) = (false, None, None);
    while now < start + secs(60) && ended.is_none() {
        if !is_described && now >= start + ms(descriptions_at) {
            is_described = true;
            let of =
                |agent: &Agent| RemoteDescription::new(agent.local_credentials(s).unwrap().clone()).with_ice2(true);
            let (of_l, of_r) = (of(&l), of(&r));
            l.set_remote_description(now, s, &of_r).unwrap();
            r.set_remote_description(now, s, &of_l).unwrap();
        }
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for is_l in [true, false] {
                let (from, to) = if is_l { (&mut l, &mut r) } else { (&mut r, &mut l) };
                let mut bytes = Vec::new();
                while let Some(transmit) = from.poll_transmit(now, &mut bytes) {
                    is_quiet = false;
                    let sent = std::mem::take(&mut bytes);
                    if transmit.destination != server {
                        let _ = to.handle_datagram(now, &Datagram::new(transmit.source, transmit.destination, &sent));
                    } else if transmit.transport == Transport::Udp {
                        let answer = MessageBuilder::binding_success(sent[8..20].try_into().unwrap());
                        let answer = answer.mapped_v4("192.0.2.1:5000".parse().unwrap()).fingerprint().build();
                        let _ = from.handle_datagram(now, &Datagram::new(server, transmit.source, &answer));
                    }
                }
                while let Some(event) = from.poll_event() {
                    is_quiet = false;
                    match event {
                        Event::LocalCandidate { candidate, .. } => drop(to.add_remote_candidate(now, s, *candidate)),
                        Event::EndOfCandidates { .. } if is_l => ended = ended.or(Some(now)),
                        Event::EndOfCandidates { .. } => to.end_of_remote_candidates(now, s).unwrap(),
                        _ => {}
                    }
                }
                while let Some(request) = from.poll_connection() {
                    is_quiet = false;
                    match request {
                        ConnectionRequest::Open { id, local, .. } => {
                            from.handle_connection(now, ConnectionEvent::Opened { id, local });
                        }
                        ConnectionRequest::Close { .. } => given_up = given_up.or(Some(now)),
                        _ => {}
                    }
                }
            }
        }
        Invariants::new().check(now, &l);
        let described_at = (!is_described).then_some(start + ms(descriptions_at));
        let next = [l.poll_timeout(), r.poll_timeout(), described_at].into_iter().flatten().min();
        now = now.max(next.unwrap_or(start + secs(60)));
        l.handle_timeout(now);
        r.handle_timeout(now);
    }
    (given_up, ended)
}

/// Req: 8838-13-a
#[test]
fn the_end_of_the_candidates_is_told_when_the_last_server_is_given_up() {
    for descriptions_at in [60, 300, 2_345] {
        let (given_up, ended) = gathering_ends(descriptions_at);
        assert!(given_up.is_some());
        assert_eq!(ended, given_up);
    }
}

/// Req: 7675-5.1-b
#[test]
fn a_phone_that_sleeps_through_the_end_of_consent_wakes_up_to_the_truth() {
    for draft in DRAFTS {
        for side in [SideName::L, SideName::R] {
            for components in [1, 2] {
                let setup = PairSetup::new(Seed::from_name("sleep")).left(|l| l.components = components);
                let setup = setup.right(|r| r.components = components);
                let mut pair = match draft {
                    Some(draft) => setup.renomination(draft).build(),
                    None => setup.build(),
                };
                assert!(pair.run_until_selected(secs(5)));
                pair.run_for(secs(2));
                let (stream, mut now) = (pair.stream(), pair.now());
                let agent = match side {
                    SideName::L => &mut pair.l.agent,
                    SideName::R => &mut pair.r.agent,
                };
                agent.set_idle(now, true);
                settle(agent, now);
                for _ in 0..2 {
                    now += secs(31);
                    agent.handle_timeout(now);
                    settle(agent, now);
                }
                let (state, _) = agent.stream_state(stream).unwrap();
                assert!(
                    matches!(state, ConnectionState::Failed | ConnectionState::Disconnected),
                    "{draft:?} {side:?} {components}: {state}"
                );
                assert!(agent.selected_pair(stream, RTP).is_none());
            }
        }
    }
}

/// Req: 8445-7.2.5.3.4-a
#[test]
fn a_nomination_that_fails_for_another_name_of_the_path_in_use_leaves_that_in_use() {
    for draft in [Renomination::Draft2016, Renomination::Draft2026] {
        // 403 says more: it ends consent on the whole path.
        for code in [400, 500] {
            let mut solo = Solo::with_consent(Role::Controlling, Config::default());
            solo.describe_as(Some(draft), vec![host("203.0.113.1:6000")]);
            solo.answer();
            solo.run_for(ms(500));
            solo.answer();
            let used = solo.agent.selected_pair(solo.stream, RTP).unwrap().id;
            solo.take();
            solo.run_for(secs(6));
            // The answer to a consent check shows another address of ours, which is nominated, and refused.
            let asked = solo.out.iter().find(|out| out.wire().request().is_some()).unwrap().clone();
            let answer = solo.success(asked.request().id, address("192.0.2.77:7777"));
            solo.receive(&answer);
            for _ in 0..20 {
                solo.take();
                solo.run_for(ms(100));
                for (out, request) in solo.take_requests() {
                    let answer = match request.use_candidate {
                        true => solo.error(request.id, code),
                        false => solo.success(request.id, out.source),
                    };
                    solo.receive(&answer);
                }
                let selected = solo.agent.selected_pair(solo.stream, RTP).expect("it works all the while");
                assert_eq!((selected.id, selected.state), (used, CandidatePairState::Succeeded), "{draft:?} {code}");
            }
        }
    }
}
