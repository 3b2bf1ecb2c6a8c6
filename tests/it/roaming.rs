//! A peer that moves: to another interface, or behind a NAT that forgot it.

use std::net::IpAddr;
use std::time::Duration;

use nilas::sim::{NatConfig, Pair, PairSetup, SideName};
use nilas::{ComponentId, ConnectionState, Event, Renomination, Role, Transport};

use crate::help::{ms, secs, setup, states};

fn connected(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(2));
    pair
}

/// Sends data from both sides each 10 ms, until that of each has arrived; gives when, or `None` if it takes longer.
fn until_data_flows(pair: &mut Pair, limit: Duration) -> Option<Duration> {
    let start = pair.now();
    let seen = [pair.l.received.len(), pair.r.received.len()];
    while pair.now().saturating_duration_since(start) < limit {
        let _ = pair.send(SideName::L, b"from l");
        let _ = pair.send(SideName::R, b"from r");
        pair.run_for(ms(10));
        if pair.l.received.len() > seen[0] && pair.r.received.len() > seen[1] {
            return Some(pair.now().saturating_duration_since(start));
        }
    }
    None
}

/// Moves the left side to another interface, in one step.
fn switch(pair: &mut Pair, to: &str) {
    let (stream, now, host) = (pair.stream(), pair.now(), pair.host(SideName::L));
    let ip: IpAddr = to.parse().unwrap();
    let old: Vec<_> = pair.l.agent.local_candidates(stream).map(|local| (local.id, local.base.ip())).collect();
    pair.network.add_interface(host, ip).unwrap();
    for (id, ip) in old {
        let _ = pair.l.agent.remove_local_candidate(now, stream, id);
        let _ = pair.network.set_interface_up(host, ip, false);
    }
    pair.l.add_socket(now, stream, ComponentId::RTP, (ip, 6000).into()).unwrap();
    pair.l.agent.end_of_local_candidates(now, stream).unwrap();
    pair.l.agent.network_changed(now);
    pair.drain(SideName::L);
}

/// S100
/// S107
#[test]
fn a_side_moves_to_another_interface_in_one_step_and_data_flows_again_at_once() {
    for roles in [(Role::Controlling, Role::Controlled), (Role::Controlled, Role::Controlling)] {
        for draft in [Renomination::Draft2016, Renomination::Draft2026] {
            let mut pair = connected(setup("switch").roles(roles.0, roles.1).renomination(draft));
            let before = states(&pair, SideName::R).len();
            for round in 0..3 {
                switch(&mut pair, &format!("198.51.100.{}", 20 + round));
                let time = until_data_flows(&mut pair, secs(2));
                assert!(time.is_some_and(|time| time <= ms(300)), "{roles:?} {draft:?} round {round}: {time:?}");
                pair.run_for(secs(5));
                assert!(pair.agrees(), "{roles:?} {draft:?} round {round}");
            }
            for side in [SideName::L, SideName::R] {
                assert!(!states(&pair, side).contains(&ConnectionState::Disconnected), "{roles:?} {draft:?}");
            }
            assert_eq!(states(&pair, SideName::R).len(), before, "the other side stays connected");
            assert_eq!(pair.l.agent.generation(pair.stream()), Some(0));
        }
    }
}

/// S107
#[test]
fn both_sides_move_at_once() {
    let mut pair = connected(setup("both move").renomination(Renomination::Draft2016));
    switch(&mut pair, "198.51.100.20");
    let (stream, now, host) = (pair.stream(), pair.now(), pair.host(SideName::R));
    let ip: IpAddr = "203.0.113.20".parse().unwrap();
    let old: Vec<_> = pair.r.agent.local_candidates(stream).map(|local| local.id).collect();
    pair.network.add_interface(host, ip).unwrap();
    pair.network.set_interface_up(host, "203.0.113.1".parse().unwrap(), false).unwrap();
    pair.r.add_socket(now, stream, ComponentId::RTP, (ip, 6000).into()).unwrap();
    for id in old {
        pair.r.agent.remove_local_candidate(now, stream, id).unwrap();
    }
    pair.drain(SideName::R);
    let time = until_data_flows(&mut pair, secs(5));
    assert!(time.is_some_and(|time| time <= secs(1)), "{time:?}");
    pair.run_for(secs(5));
    assert!(pair.agrees());
}

/// The left side behind a NAT.
fn behind_nat(name: &str, roles: (Role, Role)) -> PairSetup {
    setup(name).roles(roles.0, roles.1).left(|side| {
        side.addresses = vec!["10.0.0.2".parse().unwrap()];
        side.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
    })
}

/// Lets the NAT forget everything and give out other addresses.
fn rebind(pair: &mut Pair, to: &str) {
    let nat = pair.nats[&SideName::L][0];
    pair.network.rebind_to(nat, [to.parse().unwrap()]).unwrap();
}

/// S017
/// Req: 8445-12.2-b
#[test]
fn a_nat_that_forgets_costs_a_round_trip_and_no_restart() {
    for roles in [(Role::Controlling, Role::Controlled), (Role::Controlled, Role::Controlling)] {
        for draft in [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)] {
            let mut setup = behind_nat("rebinding", roles);
            (setup.l.renomination, setup.r.renomination) = (draft, draft);
            let mut pair = connected(setup);
            for round in 0..3 {
                rebind(&mut pair, &format!("192.0.2.{}", 10 + round));
                let now = pair.now();
                pair.l.agent.network_changed(now);
                pair.drain(SideName::L);
                let time = until_data_flows(&mut pair, secs(2));
                assert!(time.is_some_and(|time| time <= ms(300)), "{roles:?} {draft:?} round {round}: {time:?}");
                pair.run_for(secs(10));
                for side in [SideName::L, SideName::R] {
                    let is_lost = states(&pair, side).contains(&ConnectionState::Disconnected);
                    assert!(!is_lost, "{roles:?} {draft:?} round {round}");
                }
                if draft.is_some() {
                    assert!(pair.agrees(), "{roles:?} {draft:?} round {round}");
                }
            }
            assert_eq!(pair.l.agent.generation(pair.stream()), Some(0));
            // Data still flows long after the consent on the first address is over.
            pair.run_for(secs(120));
            assert!(until_data_flows(&mut pair, ms(200)).is_some(), "{roles:?} {draft:?}");
            assert_eq!(pair.r.reached(ConnectionState::Failed), None);
        }
    }
}

/// S017
#[test]
fn a_nat_that_forgets_unnoticed_costs_no_more_than_the_time_to_the_next_check() {
    for roles in [(Role::Controlling, Role::Controlled), (Role::Controlled, Role::Controlling)] {
        let mut pair = connected(behind_nat("unnoticed", roles).renomination(Renomination::Draft2016));
        rebind(&mut pair, "192.0.2.10");
        let time = until_data_flows(&mut pair, secs(10));
        assert!(time.is_some_and(|time| time <= secs(6) + ms(300)), "{roles:?}: {time:?}");
        pair.run_for(secs(10));
        assert!(pair.agrees());
    }
}

/// S102
/// S103
/// S105
#[test]
fn an_address_that_was_removed_may_come_back() {
    let mut pair = connected(setup("come back").addresses(2, 1).renomination(Renomination::Draft2016));
    let stream = pair.stream();
    for _ in 0..3 {
        let now = pair.now();
        let used = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().base;
        let id = pair.l.agent.local_candidates(stream).find(|local| local.base == used).unwrap().id;
        pair.l.agent.remove_local_candidate(now, stream, id).unwrap();
        pair.drain(SideName::L);
        assert!(until_data_flows(&mut pair, ms(400)).is_some());
        pair.run_for(secs(2));
        let now = pair.now();
        pair.l.agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, used).unwrap();
        pair.drain(SideName::L);
        pair.run_for(secs(2));
        let is_valid = pair.l.agent.pairs().any(|pair| pair.base == used && pair.is_valid);
        assert!(is_valid && pair.agrees());
    }
    let is_end = |event: &Event| matches!(event, Event::EndOfCandidates { .. });
    assert!(pair.l.events.iter().any(|(_, event)| is_end(event)));
}

/// The controlled side moves while data flows, and tells nobody.
///
/// S107
#[test]
fn a_controlling_side_nominates_the_pair_to_which_its_peer_has_moved_as_soon_as_the_old_one_is_silent() {
    for seed in 0..20 {
        let setup = PairSetup::new(nilas::Seed::from_number(seed)).renomination(Renomination::Draft2016);
        let mut pair = connected(setup.roles(Role::Controlled, Role::Controlling));
        pair.run_for(ms(1000 + 37 * seed));
        let (stream, now, host) = (pair.stream(), pair.now(), pair.host(SideName::L));
        let ip: IpAddr = "198.51.100.99".parse().unwrap();
        let old: Vec<_> = pair.l.agent.local_candidates(stream).map(|local| (local.id, local.base.ip())).collect();
        pair.network.add_interface(host, ip).unwrap();
        for (id, ip) in old {
            pair.l.agent.remove_local_candidate(now, stream, id).unwrap();
            pair.network.set_interface_up(host, ip, false).unwrap();
        }
        pair.l.add_socket(now, stream, ComponentId::RTP, (ip, 6000).into()).unwrap();
        pair.drain(SideName::L);
        let time = until_data_flows(&mut pair, secs(2));
        assert!(time.is_some_and(|time| time <= ms(300)), "seed {seed}: {time:?}");
        pair.run_for(secs(1));
        assert!(pair.agrees(), "seed {seed}");
    }
}

/// Req: proj-restart-b
#[test]
fn while_a_prepared_restart_waits_for_its_answer_sockets_come_and_go() {
    for draft in [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)] {
        for is_offer_late in [true, false] {
            let mut setup = setup("sockets");
            setup.l.renomination = draft;
            setup.r.renomination = draft;
            let late = if is_offer_late { &mut setup.l } else { &mut setup.r };
            late.description_delay = secs(2);
            let mut pair = setup.build();
            assert!(pair.run_until_selected(secs(5)));
            pair.run_for(secs(2));
            let stream = pair.stream();
            pair.restart(SideName::L, stream);
            for round in 0..3 {
                pair.run_for(ms(150));
                switch(&mut pair, &format!("198.51.100.{}", 20 + round));
                assert!(pair.l.agent.is_restarting(stream));
                if draft.is_some() && is_offer_late {
                    // The generation that both are in still goes from pair to pair.
                    let time = until_data_flows(&mut pair, secs(1));
                    assert!(time.is_some_and(|time| time <= ms(400)), "{draft:?} round {round}: {time:?}");
                }
            }
            let newest: IpAddr = "198.51.100.22".parse().unwrap();
            let is_told = pair.l.events.iter().any(|(_, event)| {
                matches!(event, Event::LocalCandidate { candidate, generation: 1, .. }
                    if candidate.socket_address().is_some_and(|address| address.ip() == newest))
            });
            assert_eq!(is_told, draft.is_some(), "after the end, only a peer that takes it is told");
            pair.run_for(secs(4));
            assert_eq!(pair.l.agent.generation(stream), Some(1));
            let selected = pair.l.agent.selected_pair(stream, ComponentId::RTP).map(|pair| pair.base.ip());
            assert_eq!(selected, Some(newest), "{draft:?}, offer late: {is_offer_late}");
            assert!(pair.agrees());
            assert!(until_data_flows(&mut pair, ms(200)).is_some());
        }
    }
}

/// Req: proj-restart-b
#[test]
fn a_socket_that_came_while_a_restart_was_prepared_stays_when_that_is_rolled_back() {
    for has_ended in [false, true] {
        let mut pair = connected(setup("rolled back"));
        let (stream, now) = (pair.stream(), pair.now());
        let agent = &mut pair.l.agent;
        agent.prepare_restart(now, stream).unwrap();
        if has_ended {
            agent.end_of_local_candidates(now, stream).unwrap();
        }
        let address = "198.51.100.77:6000".parse().unwrap();
        let id = agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address).unwrap();
        assert_eq!(agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address), Ok(id));
        agent.rollback_restart(now, stream).unwrap();
        assert!(agent.local_candidates(stream).any(|local| local.id == id));
        agent.remove_local_candidate(now, stream, id).unwrap();
        pair.drain(SideName::L);
        pair.run_for(secs(10));
        assert_eq!(states(&pair, SideName::L).last(), Some(&ConnectionState::Completed));
    }
}
