//! A NAT that changes its mind about the mapping of a side, more than once.

use std::time::Duration;

use nilas::sim::{NatConfig, Pair, PairSetup, PortAssignment, Sent, SideName, Wire};
use nilas::{ComponentId, Config, ConnectionState, Event, Instant, Renomination, Role};

use crate::help::{ms, secs, setup, states};

const RTP: ComponentId = ComponentId::RTP;
const SIDES: [SideName; 2] = [SideName::L, SideName::R];
const ROUND_TRIP: Duration = ms(50);

/// What the mapping becomes each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// Another public address.
    Address,
    /// Another port of the same address.
    Port,
    /// One of two addresses, in turn.
    BackAndForth,
}

/// Which candidates the sides signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Hosts,
    Reflexive,
    /// Hosts and relays, of which none is needed.
    Relays,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// The roles of the left side, which is behind the NAT.
    role: Role,
    draft: Option<Renomination>,
    to: To,
    with: With,
    /// The right side is lite.
    lite: bool,
    /// The right side is behind a NAT, too, and its mapping changes in turn with the other.
    both: bool,
    told: bool,
    spacing: Duration,
    times: u32,
    /// How many addresses of the peer each side remembers.
    room: usize,
}

const CASE: Case = Case {
    role: Role::Controlling,
    draft: None,
    to: To::Address,
    with: With::Hosts,
    lite: false,
    both: false,
    told: true,
    spacing: secs(100),
    times: 3,
    room: 50,
};

/// What was sent each way, and when it arrived.
#[derive(Default)]
struct Meter {
    /// When datagrams were sent, and whether they have arrived, of each side.
    sent: [Vec<(Instant, bool)>; 2],
    seen: [usize; 2],
}

impl Meter {
    /// Sends a numbered datagram each way every 20 ms.
    fn run(&mut self, pair: &mut Pair, time: Duration) {
        let end = pair.now() + time;
        while pair.now() < end {
            self.send(pair);
            let step = ms(20).min(end.saturating_duration_since(pair.now()));
            pair.run_for(step);
            self.collect(pair);
        }
    }

    /// The same once a second.
    fn run_slowly(&mut self, pair: &mut Pair, time: Duration) {
        let end = pair.now() + time;
        while pair.now() < end {
            self.send(pair);
            let step = secs(1).min(end.saturating_duration_since(pair.now()));
            pair.run_for(step);
            self.collect(pair);
        }
    }

    fn send(&mut self, pair: &mut Pair) {
        for (index, side) in SIDES.into_iter().enumerate() {
            // Its first bit keeps it apart from STUN.
            let number = 1 << 31 | u32::try_from(self.sent[index].len()).unwrap();
            let _ = pair.send(side, &number.to_be_bytes());
            self.sent[index].push((pair.now(), false));
        }
    }

    fn collect(&mut self, pair: &Pair) {
        for (index, side) in SIDES.into_iter().enumerate() {
            let received = &pair.peer(side.other()).received;
            for data in &received[self.seen[index]..] {
                let number = u32::from_be_bytes(data.payload.as_slice().try_into().unwrap());
                self.sent[index][(number & !(1 << 31)) as usize].1 = true;
            }
            self.seen[index] = received.len();
        }
    }

    /// The first datagram of these two instants that did not arrive.
    fn first_lost(&self, from: Instant, to: Instant) -> Option<(SideName, Instant)> {
        SIDES.into_iter().zip(&self.sent).find_map(|(side, sent)| {
            let first = sent.partition_point(|(at, _)| *at < from);
            let rest = sent[first..].iter().take_while(|(at, _)| *at < to);
            rest.into_iter().find(|(_, has_arrived)| !has_arrived).map(|(at, _)| (side, *at))
        })
    }
}

fn nat(case: &Case, base: &str) -> NatConfig {
    let public = [base.parse().unwrap()];
    // Two ends whose filters both let in only whom they know lose each other for good.
    let config = if case.both { NatConfig::full_cone(public) } else { NatConfig::port_restricted(public) };
    let ports = if case.to == To::Port { PortAssignment::Sequential } else { PortAssignment::Preserving };
    NatConfig { ports, ..config }
}

fn build(case: &Case) -> Pair {
    let mut setup: PairSetup = setup("rebinding").roles(case.role, case.role.opposite());
    let with_nat = |side: &mut nilas::sim::SideSetup, inside: &str, outside: &str| {
        side.addresses = vec![inside.parse().unwrap()];
        side.nats = vec![nat(case, outside)];
    };
    setup = setup.left(|side| with_nat(side, "10.0.0.2", "192.0.2.1"));
    if case.both {
        setup = setup.right(|side| with_nat(side, "10.1.0.2", "192.0.3.1"));
    }
    match case.with {
        With::Hosts if !case.both => {}
        With::Hosts | With::Reflexive => {
            let server = "198.18.0.1:3478".parse().ok();
            (setup.l.reflexive_toward, setup.r.reflexive_toward) = (server, server);
        }
        With::Relays => setup = setup.with_turn("192.0.2.100".parse().unwrap()),
    }
    (setup.l.renomination, setup.r.renomination) = (case.draft, case.draft);
    let config = Config::default().with_max_peer_reflexive(case.room);
    (setup.l.config, setup.r.config) = (config.clone(), config);
    if case.lite {
        setup.r.config = setup.r.config.with_lite(true);
        setup.r.servers.clear();
    }
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(5)), "{case:?}");
    pair.run_for(secs(3));
    pair
}

/// Changes the mapping of a side.
fn rebind(pair: &mut Pair, case: &Case, round: u32) {
    let side = if case.both && round % 2 == 1 { SideName::R } else { SideName::L };
    let nat = pair.nats[&side][0];
    let network = if side == SideName::L { 2 } else { 3 };
    let last = match case.to {
        To::Address => 10 + round,
        To::BackAndForth if case.both => 1 + (round / 2 + 1) % 2,
        To::BackAndForth => 1 + (round + 1) % 2,
        To::Port => 1,
    };
    match case.to {
        To::Port => pair.network.rebind(nat).unwrap(),
        To::Address | To::BackAndForth => {
            pair.network.rebind_to(nat, [format!("192.0.{network}.{last}").parse().unwrap()]).unwrap();
        }
    }
    if case.told {
        let now = pair.now();
        match side {
            SideName::L => pair.l.agent.network_changed(now),
            SideName::R => pair.r.agent.network_changed(now),
        }
        pair.drain(side);
    }
}

/// When the side behind the NAT sent its next check after some instant.
fn next_check(pair: &Pair, side: SideName, after: Instant) -> Instant {
    let sent = &pair.peer(side).sent;
    let first = sent.partition_point(|sent| sent.at < after);
    let selected = pair.peer(side).agent.selected_pair(pair.stream(), RTP).unwrap();
    let is_check = |sent: &&Sent| {
        let is_data = sent.payload.first().is_some_and(|first| first & 0x80 != 0);
        sent.destination == selected.remote_address && !is_data && Wire::decode(&sent.payload).request().is_some()
    };
    let check = sent[first..].iter().find(is_check);
    check.unwrap_or_else(|| panic!("{side:?} sends checks after {after:?}")).at
}

/// What both sides say while data flows and nothing has happened for some seconds.
#[track_caller]
fn assert_true_views(pair: &Pair, case: &Case, round: u32) {
    let stream = pair.stream();
    for side in SIDES {
        let peer = pair.peer(side);
        let agent = &peer.agent;
        let what = format!("{case:?}, round {round}, {side:?}");
        let selected = agent.selected_pair(stream, RTP).unwrap_or_else(|| panic!("{what}: no pair is selected"));
        assert_eq!(agent.usable_pair(stream, RTP).map(|pair| pair.id), Some(selected.id), "{what}");
        assert!(selected.is_valid && selected.is_selected && selected.is_nominated, "{what}");
        let others =
            agent.pairs().filter(|other| other.id != selected.id && other.remote_address == selected.remote_address);
        assert!(others.into_iter().all(|other| !other.is_selected), "{what}");
        let told = peer.events.iter().rev().find_map(|(_, event)| match event {
            Event::SelectedPairChanged { pair, .. } => Some(*pair),
            _ => None,
        });
        assert_eq!(told, Some(Some(selected.id)), "{what}");
        let unselected =
            peer.events.iter().any(|(_, event)| matches!(event, Event::SelectedPairChanged { pair: None, .. }));
        assert!(!unselected, "{what}: the selection was taken back");
        let gone = [ConnectionState::Disconnected, ConnectionState::Failed];
        assert!(!states(pair, side).iter().any(|state| gone.contains(state)), "{what}: {:?}", states(pair, side));
        assert!(agent.pairs().count() <= 60, "{what}: {} pairs", agent.pairs().count());
    }
    // It looks at a copy of all that has happened.
    let is_rest = round == case.times;
    assert!(!is_rest || pair.agrees(), "{case:?}, round {round}: the ends use different pairs");
}

/// Lets a NAT change the mapping again and again, and sees that data flows after the next check and one and a half round
/// trips each time, and is lost at no other time.
fn run(case: Case) {
    let mut pair = build(&case);
    let mut meter = Meter::default();
    meter.run(&mut pair, ms(100));
    for round in 0..case.times {
        let at = pair.now();
        rebind(&mut pair, &case, round);
        let end = at + case.spacing;
        let soon = if case.told { ms(600) } else { ms(7000) };
        meter.run(&mut pair, soon.min(case.spacing));
        let left = end.saturating_duration_since(pair.now());
        meter.run_slowly(&mut pair, left);
        if case.spacing < soon {
            // The next change may come before the check.
            continue;
        }
        let side = if case.both && round % 2 == 1 { SideName::R } else { SideName::L };
        // The answer is on its way when data may be sent; another round has its turn within Ta.
        let back = next_check(&pair, side, at) + ROUND_TRIP + ROUND_TRIP / 2 + ms(55);
        let lost = meter.first_lost(back, end - ms(40));
        let lost = lost.map(|(side, when)| (side, when.saturating_duration_since(at)));
        assert_eq!(lost, None, "{case:?}, round {round}: data is lost {:?} later", back.saturating_duration_since(at));
        if case.spacing >= secs(3) {
            assert_true_views(&pair, &case, round);
        }
    }
    meter.run(&mut pair, secs(7));
    meter.run_slowly(&mut pair, secs(60));
    let quiet = pair.now() - secs(60);
    assert_eq!(meter.first_lost(quiet, pair.now() - ms(40)), None, "{case:?}: afterwards");
    assert_true_views(&pair, &case, case.times);
}

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];
const DRAFTS: [Option<Renomination>; 3] = [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)];

/// S017
/// Req: 8445-12.2-b
#[test]
fn a_mapping_that_changes_at_any_spacing_costs_a_check_and_one_and_a_half_round_trips_each_time() {
    for role in ROLES {
        for draft in DRAFTS {
            for (spacing, times) in [(1, 10), (5, 4), (20, 3), (29, 3), (31, 3), (100, 3), (600, 2)] {
                for told in [true, false] {
                    run(Case { role, draft, told, spacing: secs(spacing), times, ..CASE });
                }
            }
        }
    }
}

#[test]
fn a_mapping_that_comes_back_or_only_changes_its_port_is_followed_as_well() {
    for role in ROLES {
        for draft in DRAFTS {
            for to in [To::BackAndForth, To::Port] {
                for with in [With::Hosts, With::Reflexive] {
                    for (spacing, times) in [(1, 7), (5, 4), (31, 3)] {
                        for told in [true, false] {
                            run(Case { role, draft, to, with, told, spacing: secs(spacing), times, ..CASE });
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_mappings_of_both_ends_may_change_in_turn() {
    for role in ROLES {
        for draft in DRAFTS {
            for to in [To::Address, To::BackAndForth, To::Port] {
                for (spacing, times) in [(7, 6), (31, 4)] {
                    for told in [true, false] {
                        run(Case { role, draft, to, both: true, told, spacing: secs(spacing), times, ..CASE });
                    }
                }
            }
        }
    }
}

#[test]
fn a_session_with_relays_in_reserve_stays_direct_when_the_mapping_changes() {
    for role in ROLES {
        for draft in DRAFTS {
            for told in [true, false] {
                run(Case { role, draft, with: With::Relays, told, spacing: secs(31), times: 4, ..CASE });
            }
        }
    }
}

#[test]
fn more_mappings_than_there_is_room_for_are_followed_as_well() {
    for role in ROLES {
        for draft in DRAFTS {
            run(Case { role, draft, spacing: secs(30), times: 10, room: 5, ..CASE });
        }
    }
}

#[test]
fn a_lite_peer_follows_every_change_of_the_mapping() {
    for draft in DRAFTS {
        for to in [To::Address, To::BackAndForth, To::Port] {
            for (spacing, times) in [(1, 7), (5, 6), (31, 4), (100, 3)] {
                for told in [true, false] {
                    run(Case { draft, to, lite: true, told, spacing: secs(spacing), times, ..CASE });
                }
            }
        }
    }
}

#[test]
fn a_lite_peer_follows_more_mappings_than_it_has_room_for() {
    for draft in DRAFTS {
        for (to, spacing) in [(To::Address, 30), (To::Port, 30), (To::Address, 1)] {
            for told in [true, false] {
                run(Case { draft, to, lite: true, told, spacing: secs(spacing), times: 14, room: 3, ..CASE });
            }
        }
    }
}
