//! Lite agents: they answer, and take what the peer nominates.

use std::net::IpAddr;

use nilas::sim::{MessageBuilder, PairSetup, SideName, Verdict, Wire};
use nilas::{
    AddLocalCandidateError, Agent, ComponentId, Config, ConnectionState, Datagram, Instant, NominationChoice, Received,
    Role, Seed, SendError, StateReason, Transport,
};

use crate::help::{ms, requests, secs, setup, states};
use crate::script::{BEST, OTHER, Script, socket};

fn with_lite_r(name: &str) -> PairSetup {
    setup(name).right(|r| r.config = Config::default().with_lite(true))
}

/// S129
/// Req: 8445-6.2-a
/// Req: 8445-7.3.2-a
/// Req: 8445-8.2-a
/// Req: 8445-6.1.1-a
/// Req: 7675-1-a
#[test]
fn a_lite_agent_takes_the_pair_that_its_full_peer_nominates_and_sends_no_request() {
    for roles in [[Role::Controlling, Role::Controlled], [Role::Controlled, Role::Controlling]] {
        let mut pair = with_lite_r("full to lite").addresses(3, 2).roles(roles[0], roles[1]).build();
        assert!(pair.run_until_selected(secs(2)));
        assert_eq!((pair.l.agent.role(), pair.r.agent.role()), (Role::Controlling, Role::Controlled));
        assert!(pair.agrees());
        pair.run_for(secs(300));
        assert!(requests(&pair.r.sent).is_empty());
        assert_eq!(pair.r.agent.state(), ConnectionState::Completed);
        assert_eq!((pair.l.selections(), pair.r.selections()), (1, 1));
        pair.send(SideName::R, b"from lite").unwrap();
        pair.run_for(ms(50));
        assert_eq!(pair.l.received.len(), 1);
    }
}

/// S130
#[test]
fn a_lite_agent_ignores_wrong_credentials() {
    let mut pair = with_lite_r("wrong").right(|r| r.description_delay = ms(10)).build();
    pair.network.set_hook(|packet| match Wire::decode(packet.payload) {
        Wire::Request(_) => {
            let mut bytes = packet.payload.to_vec();
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
            Verdict::Replace(bytes)
        }
        _ => Verdict::Pass,
    });
    pair.run_for(secs(5));
    assert_eq!(pair.r.agent.pairs().count(), 0);
    assert!(!pair.r.agent.state().is_connected());
}

/// S131
#[test]
fn a_nomination_that_a_lite_peer_never_got_is_repeated() {
    let mut pair = with_lite_r("lost nomination").build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.lose_nth(l, r, 0);
    assert!(pair.run_until_selected(secs(2)));
    assert!(pair.elapsed() >= ms(550));
    assert!(pair.agrees());
}

/// S091
/// S094
#[test]
fn a_lite_agent_notices_that_its_peer_is_gone_and_that_it_is_back() {
    let mut pair = with_lite_r("gone").build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(secs(20));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(23));
    assert!(pair.r.agent.state().is_connected());
    pair.run_for(secs(8));
    assert_eq!(pair.r.agent.stream_state(pair.stream()), Some((ConnectionState::Disconnected, StateReason::PathLost)));
    pair.network.mend_both(l, r);
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(3), |pair| pair.r.agent.state() == ConnectionState::Completed));
    pair.run_for(ms(100));
    assert!(pair.agrees());
}

/// S092
#[test]
fn a_peer_that_checks_every_25_seconds_keeps_a_lite_agent_up() {
    let mut pair = with_lite_r("throttled").build();
    assert!(pair.run_until_selected(secs(1)));
    let mut agent = pair.l.agent.clone();
    let mut now = pair.now();
    let stream = pair.stream();
    let mut buffer = Vec::new();
    // The only requests that come are the ones of L's clock at this pace.
    for _ in 0..20 {
        now += secs(25);
        buffer.clear();
        agent.handle_timeout(now);
        let sent = agent.poll_transmit(now, &mut buffer);
        let Some(sent) = sent else { break };
        let datagram = Datagram::new(sent.source, sent.destination, &buffer);
        let _ = pair.r.agent.handle_datagram(now, &datagram);
        let mut answer = Vec::new();
        while let Some(back) = pair.r.agent.poll_transmit(now, &mut answer) {
            let datagram = Datagram::new(back.source, back.destination, &answer);
            let _ = agent.handle_datagram(now, &datagram);
            answer.clear();
        }
        while pair.r.agent.poll_event().is_some() || agent.poll_event().is_some() {}
        assert_eq!(pair.r.agent.stream_state(stream).map(|(state, _)| state), Some(ConnectionState::Completed));
    }
}

/// S093
#[test]
fn a_lite_agent_that_is_first_polled_long_after_its_construction_is_not_disconnected() {
    let mut pair = with_lite_r("late").right(|r| r.start = secs(100)).build();
    pair.run_for(secs(99));
    assert!(!states(&pair, SideName::R).contains(&ConnectionState::Disconnected));
    assert!(pair.run_until(secs(3), |pair| pair.r.agent.state().is_connected()));
}

/// S132
/// Req: 8445-8.2-b
#[test]
fn two_lite_agents_pair_without_checks() {
    let lite = || Config::default().with_lite(true);
    let mut setup = setup("both lite").config(lite());
    for (side, extra) in [(&mut setup.l, "2001:db8::1"), (&mut setup.r, "2001:db8::2")] {
        side.addresses.push(extra.parse::<IpAddr>().unwrap());
    }
    let mut pair = setup.build();
    pair.run_for(secs(60));
    assert!(pair.l.is_selected() && pair.r.is_selected());
    assert!(pair.agrees());
    assert!(requests(&pair.l.sent).is_empty() && requests(&pair.r.sent).is_empty());
    assert_eq!((pair.l.agent.role(), pair.r.agent.role()), (Role::Controlling, Role::Controlled));
}

/// Req: 8445-12.1.1-a
#[test]
fn a_lite_agent_sends_nothing_before_every_component_has_its_pair() {
    let mut setup = with_lite_r("two components");
    (setup.l.components, setup.r.components) = (2, 2);
    let mut pair = setup.build();
    let second: u16 = 5001;
    pair.network.set_hook(
        move |packet| {
            if packet.destination.port() == second { Verdict::Drop } else { Verdict::Pass }
        },
    );
    pair.run_for(secs(5));
    assert_eq!(pair.send(SideName::R, b"too early"), Err(SendError::NoPair));
    pair.network.clear_hook();
    assert!(pair.run_until_selected(secs(20)));
    assert_eq!(pair.send(SideName::R, b"now"), Ok(()));
}

/// S134
#[test]
fn a_lite_agent_has_no_reflexive_candidates() {
    let mut agent = Agent::new(Config::default().with_lite(true), Role::Controlled, Seed::from_number(1)).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let base = "192.0.2.1:5000".parse().unwrap();
    agent.add_socket(Instant::ZERO, stream, ComponentId::RTP, Transport::Udp, base).unwrap();
    let mapped = "203.0.113.1:5000".parse().unwrap();
    let refused = agent.add_server_reflexive(Instant::ZERO, stream, base, mapped, None);
    assert_eq!(refused, Err(AddLocalCandidateError::Lite));
}

#[test]
fn a_restart_with_a_lite_peer_goes_on_without_loss() {
    let mut pair = with_lite_r("lite restart").build();
    assert!(pair.run_until_selected(secs(1)));
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    let done = |pair: &nilas::sim::Pair| {
        [&pair.l, &pair.r].iter().all(|peer| {
            peer.agent.generation(stream) == Some(1)
                && peer.agent.stream_state(stream).is_some_and(|(_, reason)| reason == StateReason::PairSelected)
        })
    };
    for _ in 0..100 {
        if done(&pair) {
            break;
        }
        pair.send(SideName::R, b"throughout").unwrap();
        pair.send(SideName::L, b"throughout").unwrap();
        pair.run_for(ms(10));
    }
    assert!(done(&pair) && pair.agrees());
}

/// Req: 8445-7.3.1.1-e
#[test]
fn a_lite_agent_answers_a_peer_in_whatever_role_and_keeps_its_own() {
    let mut pair = with_lite_r("role").build();
    assert!(pair.run_until_selected(secs(1)));
    let stream = pair.stream();
    let ours = pair.r.agent.local_credentials(stream).unwrap().clone();
    let theirs = pair.l.agent.local_credentials(stream).unwrap().clone();
    for tiebreaker in [0, u64::MAX] {
        let request = MessageBuilder::binding_request([tiebreaker as u8; 12])
            .username(ours.ufrag.as_str(), theirs.ufrag.as_str())
            .priority(1)
            .controlled(tiebreaker)
            .integrity(&ours.password)
            .fingerprint()
            .build();
        let (source, destination) = (pair.l.sockets()[0], pair.r.sockets()[0]);
        let datagram = Datagram::new(source, destination, &request);
        let now = pair.now();
        assert_eq!(pair.r.agent.handle_datagram(now, &datagram), Received::Handled);
        let mut answer = Vec::new();
        assert!(pair.r.agent.poll_transmit(now, &mut answer).is_some());
        assert!(matches!(Wire::decode(&answer), Wire::Success { .. }));
        assert_eq!(pair.r.agent.role(), Role::Controlled);
    }
}

/// S133
/// Req: 8445-8.2-a
#[test]
fn of_conflicting_nominations_a_lite_agent_takes_the_last_or_by_choice_the_highest() {
    // Two nominations of the better pair and two of the other, which arrive in these orders; copies are none of their own.
    let arrivals: [&[usize]; 8] = [
        &[0, 1],
        &[1, 0],
        &[0, 1, 0],
        &[1, 0, 1],
        &[0, 0, 1, 1, 0, 0],
        &[0, 1, 2, 1, 0],
        &[1, 2, 3, 2, 1, 0, 2, 0],
        &[3, 2, 1, 0, 0, 1, 2, 3, 3],
    ];
    let senders = [BEST, OTHER, BEST, OTHER];
    for choice in [NominationChoice::Auto, NominationChoice::Last, NominationChoice::Highest] {
        for arrival in arrivals {
            let config = Config::default().with_lite(true).with_nomination_choice(choice);
            let mut script = Script::new(Role::Controlled, config, |remote| remote);
            let nominations = senders.map(|_| script.write_check(Role::Controlling, true));
            let mut firsts: Vec<usize> = Vec::new();
            for &number in arrival {
                assert!(script.hear(senders[number], &nominations[number]));
                if !firsts.contains(&number) {
                    firsts.push(number);
                }
                script.run_for(ms(20));
                let wanted = match choice {
                    NominationChoice::Highest if firsts.iter().any(|first| senders[*first] == BEST) => BEST,
                    _ => senders[*firsts.last().unwrap()],
                };
                assert_eq!(script.selected(), Some(socket(wanted)), "{choice:?}, {arrival:?} at {number}");
            }
            assert!(script.selections() <= firsts.len(), "{choice:?}, {arrival:?}");
            assert_eq!(script.agent.pairs().count(), 2);
        }
    }
}

/// Req: 8445-5.2-b
#[test]
fn a_lite_agent_with_ipv6_takes_its_preferences_from_the_policy_table_of_the_host() {
    let priorities = |addresses: &[&str]| {
        let mut agent =
            Agent::new(Config::default().with_lite(true), Role::Controlled, Seed::from_name("lite")).unwrap();
        let stream = agent.add_stream(1).unwrap();
        for address in addresses {
            let address = address.parse().unwrap();
            agent.add_socket(Instant::ZERO, stream, ComponentId::RTP, Transport::Udp, address).unwrap();
        }
        let of = |one: nilas::LocalCandidateView<'_>| (one.candidate.priority().get(), one.candidate.foundation());
        agent.local_candidates(stream).map(of).collect::<Vec<_>>()
    };
    let [v6, v4] = priorities(&["[2001:db8::1]:5000", "192.0.2.1:5000"])[..] else { panic!("two candidates") };
    assert_eq!((v6.0, v4.0), (2_113_939_711, 2_113_938_431));
    assert_ne!(v6.1, v4.1);
    assert_eq!(priorities(&["192.0.2.1:5000"])[0].0, 2_130_706_431);
    // Addresses of one precedence have priorities of their own.
    let two = priorities(&["[2001:db8::1]:5000", "[2001:db8::2]:5000", "[fd00::1]:5000"]);
    assert_eq!(two.iter().map(|(priority, _)| (priority >> 8) & 0xffff).collect::<Vec<_>>(), [40, 39, 3]);
}
