//! Errors of the host when it sends: what it knows by itself acts at once, what anybody can forge only brings probes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nilas::sim::{Pair, PairSetup, Passing, SideName, Verdict};
use nilas::{
    ApplicationNominates, CandidateKind, ComponentId, Config, ConnectionState, Event, Instant, PairId, PathHealth,
    Renomination, Role, Seed, SendFailure,
};

use crate::help::{ms, requests, secs, setup, states};

const RTP: ComponentId = ComponentId::RTP;
const SERVER: &str = "192.0.2.100";
const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];
const DRAFTS: [Option<Renomination>; 3] = [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)];

/// A session of 40 s.
fn connected(mut setup: PairSetup, role: Role, draft: Option<Renomination>) -> Pair {
    setup = setup.roles(role, role.opposite());
    (setup.l.renomination, setup.r.renomination) = (draft, draft);
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(40));
    pair
}

/// The same with several pairs that work: with a peer that takes one nomination, if that is late.
fn with_others(mut setup: PairSetup, role: Role, draft: Option<Renomination>) -> Pair {
    setup = setup.addresses(2, 2);
    if draft.is_some() {
        return connected(setup, role, draft);
    }
    let late = Config::default().with_nomination_policy(Arc::new(ApplicationNominates));
    let mut pair = setup.config(late).roles(role, role.opposite()).build();
    pair.run_for(secs(1));
    let (now, stream) = (pair.now(), pair.stream());
    let side = if role == Role::Controlling { SideName::L } else { SideName::R };
    let best = usable(&pair, side).0;
    match side {
        SideName::L => pair.l.agent.nominate(now, best).unwrap(),
        SideName::R => pair.r.agent.nominate(now, best).unwrap(),
    }
    pair.drain(side);
    pair.run_for(secs(40));
    assert!(pair.l.agent.selected_pair(stream, RTP).is_some() && pair.agrees());
    pair
}

/// The pair on which data of a side goes: its name, and its addresses.
fn usable(pair: &Pair, side: SideName) -> (PairId, SocketAddr, SocketAddr) {
    let used = pair.peer(side).agent.usable_pair(pair.stream(), RTP).expect("there is one");
    (used.id, used.base, used.remote_address)
}

fn selected(pair: &Pair, side: SideName) -> PairId {
    pair.peer(side).agent.selected_pair(pair.stream(), RTP).expect("there is one").id
}

/// Tells the left side that a datagram from one address to another could not be sent.
fn fail(pair: &mut Pair, (source, destination): (SocketAddr, SocketAddr), failure: SendFailure) {
    let now = pair.now();
    pair.l.agent.handle_send_failure(now, source, destination, failure);
    pair.drain(SideName::L);
}

fn healths(pair: &Pair, since: Instant) -> Vec<PathHealth> {
    let of = |event: &Event| match event {
        Event::PathHealthChanged { health, .. } => Some(*health),
        _ => None,
    };
    pair.l.events.iter().filter(|(at, _)| *at >= since).filter_map(|(_, event)| of(event)).collect()
}

/// The times, after `since`, at which the left side has sent checks to an address.
fn probes(pair: &Pair, since: Instant, to: SocketAddr) -> Vec<Duration> {
    let first = pair.l.sent.partition_point(|sent| sent.at < since);
    let checks = requests(&pair.l.sent[first..]);
    let of = checks.iter().filter(|(_, _, sent)| sent.destination == to);
    of.map(|(at, ..)| at.saturating_duration_since(since)).collect()
}

/// Req: 8445-7.2.5.2.2-a
#[test]
fn a_hundred_forged_errors_a_second_move_nothing_and_cost_one_check_a_second() {
    for role in ROLES {
        for draft in DRAFTS {
            for is_relay_at_hand in [false, true] {
                let setup = setup("forged errors").addresses(2, 2);
                let setup = if is_relay_at_hand { setup.with_turn(SERVER.parse().unwrap()) } else { setup };
                let mut pair = connected(setup, role, draft);
                let (before, base, remote) = usable(&pair, SideName::L);
                let (start, sent, moves) = (pair.now(), pair.l.sent.len(), pair.l.selections());
                for _ in 0..1000 {
                    fail(&mut pair, (base, remote), SendFailure::Unreachable);
                    pair.run_for(ms(10));
                    assert_eq!((usable(&pair, SideName::L).0, selected(&pair, SideName::L)), (before, before));
                }
                assert_eq!(healths(&pair, start), [], "{role:?} {draft:?}");
                let checks = requests(&pair.l.sent[sent..]).len();
                // One a second, those of the pairs in reserve beside.
                assert!((8..=18).contains(&checks), "{role:?} {draft:?}: {checks} checks in ten seconds");
                assert_eq!(pair.l.selections(), moves);
                let count = pair.l.sent.len();
                for stranger in ["192.0.2.7:9".parse().unwrap(), pair.r.sockets()[1]] {
                    fail(&mut pair, (base, stranger), SendFailure::Unreachable);
                    if stranger.ip() != remote.ip() {
                        continue;
                    }
                    assert_eq!(pair.l.sent.len(), count, "nobody sends there");
                }
            }
        }
    }
}

#[test]
fn an_error_about_what_nobody_uses_changes_nothing() {
    for failure in [SendFailure::Unreachable, SendFailure::Local] {
        let pair = connected(setup("unknown").addresses(2, 1), Role::Controlling, DRAFTS[1]);
        let (_, base, remote) = usable(&pair, SideName::L);
        let stranger: SocketAddr = "192.0.2.7:9".parse().unwrap();
        for ends in [(base, stranger), (stranger, remote), (remote, base), (stranger, stranger)] {
            let (mut told, mut plain) = (pair.clone(), pair.clone());
            fail(&mut told, ends, failure);
            for run in [&mut told, &mut plain] {
                run.run_for(secs(20));
            }
            assert_eq!(told.l.sent, plain.l.sent, "{ends:?}");
            assert_eq!(told.l.events, plain.l.events, "{ends:?}");
        }
    }
}

#[test]
fn a_path_that_is_unreachable_is_probed_at_0_and_one_rto_and_left_after_two() {
    for role in ROLES {
        for draft in DRAFTS {
            let mut pair = with_others(setup("unreachable"), role, draft);
            let (before, base, remote) = usable(&pair, SideName::L);
            let (host, start) = (pair.host(SideName::R), pair.now());
            pair.network.set_interface_up(host, remote.ip(), false).unwrap();
            for _ in 0..99 {
                // Each datagram brings an error.
                fail(&mut pair, (base, remote), SendFailure::Unreachable);
                pair.run_for(ms(10));
                assert_eq!((usable(&pair, SideName::L).0, selected(&pair, SideName::L)), (before, before));
            }
            let probes = probes(&pair, start, remote);
            // The peer may notice, too, and say so by its own checks.
            assert!(
                probes[0] == ms(0) && probes[1] > ms(350) && probes[1] <= ms(500),
                "{role:?} {draft:?}: {probes:?}"
            );
            pair.run_for(ms(200));
            assert_ne!(usable(&pair, SideName::L).2, remote, "{role:?} {draft:?}");
            pair.run_for(secs(3));
            assert_ne!(usable(&pair, SideName::L).2, remote, "{role:?} {draft:?}");
            if draft.is_some() && role == Role::Controlling {
                assert!(pair.agrees() && selected(&pair, SideName::L) != before);
            }
        }
    }
}

#[test]
fn a_long_round_trip_makes_the_rto_longer() {
    let link = nilas::sim::Link::with_delay(ms(800));
    let mut pair = connected(setup("long way").addresses(2, 2).link(link), Role::Controlling, DRAFTS[1]);
    let (before, base, remote) = usable(&pair, SideName::L);
    let (host, start) = (pair.host(SideName::R), pair.now());
    // What is on its way would be an answer.
    pair.network.set_interface_up(host, remote.ip(), false).unwrap();
    pair.run_for(secs(2));
    if healths(&pair, start).is_empty() {
        let start = pair.now();
        fail(&mut pair, (base, remote), SendFailure::Unreachable);
        pair.run_for(ms(4700));
        assert_eq!(usable(&pair, SideName::L).0, before, "two times 2.4 s are not over");
        assert!(probes(&pair, start, remote).contains(&ms(2400)) || probes(&pair, start, remote).len() > 2);
    }
}

#[test]
fn a_single_lost_answer_after_a_hint_means_nothing() {
    for draft in DRAFTS {
        let mut pair = connected(setup("one lost").addresses(2, 2), Role::Controlling, draft);
        pair.run_for(secs(1));
        let (before, base, remote) = usable(&pair, SideName::L);
        let start = pair.now();
        let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
        fail(&mut pair, (base, remote), SendFailure::Unreachable);
        pair.network.cut_both(l, r);
        pair.run_for(ms(400));
        pair.network.mend_both(l, r);
        pair.run_for(secs(10));
        assert_eq!(usable(&pair, SideName::L).0, before);
        assert_eq!(healths(&pair, start), [], "{draft:?}");
        assert_eq!(probes(&pair, start, remote)[..2], [ms(0), ms(500)]);
    }
}

#[test]
fn an_interface_that_is_gone_is_left_at_once() {
    for role in ROLES {
        for draft in DRAFTS {
            let mut pair = with_others(setup("interface gone"), role, draft);
            let (before, base, remote) = usable(&pair, SideName::L);
            let (host, start) = (pair.host(SideName::L), pair.now());
            pair.network.set_interface_up(host, base.ip(), false).unwrap();
            fail(&mut pair, (base, remote), SendFailure::Local);
            if draft.is_some() {
                assert_ne!(usable(&pair, SideName::L).1.ip(), base.ip(), "{role:?} {draft:?}: one in reserve at once");
            }
            // As long as nothing is in reserve, the others are asked first.
            pair.run_for(ms(250));
            assert_ne!(usable(&pair, SideName::L).1.ip(), base.ip(), "{role:?} {draft:?}");
            pair.send(SideName::L, b"on the other one").unwrap();
            pair.run_for(ms(50));
            assert_eq!(pair.r.received.len(), 1, "{role:?} {draft:?}");
            for _ in 0..100 {
                // What is sent there goes on failing, and nothing is made of it.
                fail(&mut pair, (base, remote), SendFailure::Local);
                pair.run_for(ms(10));
            }
            let tried = probes(&pair, start, remote).len();
            assert!(tried <= 8, "{role:?} {draft:?}: {tried} probes in 1.3 s");
            if draft.is_some() && role == Role::Controlling {
                assert!(pair.agrees() && selected(&pair, SideName::L) != before, "{role:?} {draft:?}");
            }
            pair.network.set_interface_up(host, base.ip(), true).unwrap();
            pair.run_for(secs(40));
            assert!(pair.l.agent.state().is_connected() && pair.r.agent.state().is_connected());
            pair.send(SideName::L, b"healed").unwrap();
            pair.run_for(ms(50));
            assert_eq!(pair.r.received.len(), 2, "{role:?} {draft:?}");
        }
    }
}

#[test]
fn without_another_path_a_local_failure_is_told_and_heals_with_the_next_answer() {
    for draft in DRAFTS {
        let mut pair = connected(setup("no other"), Role::Controlling, draft);
        let (before, base, remote) = usable(&pair, SideName::L);
        let start = pair.now();
        fail(&mut pair, (base, remote), SendFailure::Local);
        assert_eq!(healths(&pair, start), [PathHealth::Lost]);
        assert_eq!(states(&pair, SideName::L).last(), Some(&ConnectionState::Disconnected));
        pair.run_for(ms(100));
        assert_eq!(healths(&pair, start), [PathHealth::Lost, PathHealth::Healthy], "it was no more than an error");
        assert_eq!(states(&pair, SideName::L).last(), Some(&ConnectionState::Completed));
        assert_eq!(selected(&pair, SideName::L), before);
    }
}

/// The addresses of a relayed pair of the left side on its way to the server.
fn relayed(name: &str, role: Role, draft: Option<Renomination>) -> (Pair, SocketAddr, SocketAddr) {
    let mut setup = setup(name).with_turn(SERVER.parse().unwrap());
    setup.l.only_reaches = SERVER.parse().ok();
    setup.r.servers.clear();
    let pair = connected(setup, role, draft);
    let agent = &pair.l.agent;
    let used = agent.selected_pair(pair.stream(), RTP).unwrap();
    assert_eq!(used.local.kind(), CandidateKind::Relayed);
    let socket = pair.l.sockets()[0];
    (pair, socket, SocketAddr::new(SERVER.parse().unwrap(), 3478))
}

#[test]
fn a_server_that_seems_unreachable_brings_probes_through_it() {
    for role in ROLES {
        for draft in DRAFTS {
            let (mut pair, socket, server) = relayed("server unreachable", role, draft);
            let (before, asked) = (usable(&pair, SideName::L).0, pair.l.agent.pair(usable(&pair, SideName::L).0));
            let asked = asked.unwrap().stats.consent_requests_sent;
            let start = pair.now();
            for _ in 0..300 {
                fail(&mut pair, (socket, server), SendFailure::Unreachable);
                pair.run_for(ms(10));
                assert_eq!(usable(&pair, SideName::L).0, before);
            }
            let count = pair.l.agent.pair(before).unwrap().stats.consent_requests_sent - asked;
            assert!((3..=4).contains(&count), "{role:?} {draft:?}: {count} probes in 3 s");
            assert_eq!(healths(&pair, start), []);
            fail(&mut pair, (socket, server), SendFailure::Local);
            assert_eq!(healths(&pair, start), [PathHealth::Lost]);
            pair.run_for(secs(1));
            assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
        }
    }
}

#[test]
fn a_pair_in_check_and_a_server_that_is_asked_are_tried_on_as_planned() {
    for failure in [SendFailure::Unreachable, SendFailure::Local] {
        let setup = setup("in check").with_turn(SERVER.parse().unwrap()).addresses(2, 2);
        let mut plain = setup.build();
        plain.run_for(ms(10));
        let mut told = plain.clone();
        for _ in 0..20 {
            let sent: Vec<_> = told.l.sent.iter().map(|sent| (sent.source, sent.destination)).collect();
            for ends in sent.into_iter().take(8) {
                if !told.l.is_selected() {
                    let now = told.now();
                    told.l.agent.handle_send_failure(now, ends.0, ends.1, failure);
                }
            }
            told.run_for(ms(5));
        }
        assert!(told.run_until_selected(secs(5)) && plain.run_until_selected(secs(5)));
        told.run_for(secs(1));
        assert!(told.agrees());
        assert_eq!(told.l.agent.state(), ConnectionState::Completed);
    }
}

#[test]
fn a_lite_agent_takes_no_hint_and_believes_its_own_host() {
    let setup = setup("lite").left(|l| l.config = Config::default().with_lite(true));
    let mut pair = connected(setup, Role::Controlled, None);
    let (before, base, remote) = usable(&pair, SideName::L);
    let start = pair.now();
    fail(&mut pair, (base, remote), SendFailure::Unreachable);
    pair.run_for(secs(1));
    assert_eq!(healths(&pair, start), []);
    fail(&mut pair, (base, remote), SendFailure::Local);
    assert_eq!(healths(&pair, start), [PathHealth::Lost]);
    pair.run_for(secs(7));
    assert_eq!(healths(&pair, start), [PathHealth::Lost, PathHealth::Healthy], "it hears the next check");
    assert_eq!(usable(&pair, SideName::L).0, before);
    assert!(requests(&pair.l.sent).is_empty());
}

#[test]
fn both_ends_that_are_told_at_once_move_to_one_other_path() {
    for role in ROLES {
        for (seed, draft) in [(0, DRAFTS[1]), (2, DRAFTS[1]), (0, DRAFTS[2]), (2, DRAFTS[2])] {
            let setup = PairSetup::new(Seed::from_number(seed)).addresses(2, 2);
            let mut setup = setup.roles(role, role.opposite());
            (setup.l.renomination, setup.r.renomination) = (draft, draft);
            let mut pair = setup.build();
            assert!(pair.run_until_selected(secs(5)));
            pair.run_for(secs(10));
            let (_, base, remote) = usable(&pair, SideName::L);
            let ends = [base.ip(), remote.ip()];
            pair.network.set_hook(move |packet: &Passing<'_>| {
                let is_dead = ends.contains(&packet.source.ip()) && ends.contains(&packet.destination.ip());
                if is_dead { Verdict::Drop } else { Verdict::Pass }
            });
            let (start, mut moved) = (pair.now(), [None; 2]);
            for _ in 0..300 {
                let now = pair.now();
                pair.l.agent.handle_send_failure(now, base, remote, SendFailure::Unreachable);
                pair.r.agent.handle_send_failure(now, remote, base, SendFailure::Unreachable);
                pair.drain(SideName::L);
                pair.drain(SideName::R);
                pair.run_for(ms(10));
                for (side, moved) in [SideName::L, SideName::R].into_iter().zip(&mut moved) {
                    let (_, from, to) = usable(&pair, side);
                    if !(ends.contains(&from.ip()) && ends.contains(&to.ip())) {
                        moved.get_or_insert(pair.now().saturating_duration_since(start));
                    }
                }
            }
            println!("{role:?}, {draft:?}, seed {seed}: moved after {moved:?}");
            let in_time = |after: &Option<Duration>| after.is_some_and(|after| after <= ms(1600));
            assert!(moved.iter().all(in_time), "{role:?}, {draft:?}, seed {seed}: {moved:?}");
            pair.run_for(secs(10));
            assert!(pair.agrees(), "{role:?}, {draft:?}, seed {seed}");
        }
    }
}
