//! Relayed candidates where it matters: behind NATs that nothing else gets through, on bad networks, and against servers
//! that send nonsense.

use nilas::sim::{Direction, FirewallRule, Pair, PairSetup, PeerMatch, SideName, Verdict};
use nilas::{CandidateKind, ComponentId, IceServer, Role, Seed};

use crate::help::{ms, secs, setup};
use crate::nat::{FILTERINGS, MAPPINGS, public, shape, vary};

const SERVER: &str = "192.0.2.100";

fn with_relay(name: &str) -> PairSetup {
    setup(name).with_turn(SERVER.parse().unwrap())
}

/// The kinds of the candidates in use: of L's pair the local one and the remote one, then those of R's.
fn kinds(pair: &Pair) -> [CandidateKind; 4] {
    let of = |side| {
        let selected =
            pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).expect("a pair is selected");
        [selected.local.kind(), selected.remote.kind()]
    };
    let ([a, b], [c, d]) = (of(SideName::L), of(SideName::R));
    [a, b, c, d]
}

/// Whether data goes both ways.
fn carries_data(pair: &mut Pair) -> bool {
    [SideName::L, SideName::R].into_iter().all(|side| {
        let before = pair.peer(side.other()).received.len();
        pair.send(side, b"\x80data").is_ok() && {
            pair.run_for(secs(1));
            pair.peer(side.other()).received.len() == before + 1
        }
    })
}

/// Scenario: S041
/// Scenario: S042
/// Scenario: S043
#[test]
fn with_a_relay_all_shapes_connect_and_directly_where_that_is_possible() {
    const EXPECTED: [&str; 5] = ["ddddd", "ddddd", "ddddd", "ddddr", "dddrr"];
    for (of_l, row) in EXPECTED.iter().enumerate() {
        for (of_r, cell) in row.chars().enumerate() {
            let name = format!("relay {of_l} x {of_r}");
            let mut setup = with_relay(&name);
            shape(&mut setup.l, "10.0.0.2", public(SideName::L), of_l);
            shape(&mut setup.r, "10.0.1.2", public(SideName::R), of_r);
            (setup.l.reflexive_toward, setup.r.reflexive_toward) = (None, None);
            let mut pair = setup.build();
            assert!(pair.run_until_selected(secs(5)), "{name}");
            pair.run_for(secs(2));
            let kinds = kinds(&pair);
            let legs = [kinds[0], kinds[1]].iter().filter(|kind| **kind == CandidateKind::Relayed).count();
            assert_eq!(legs, usize::from(cell == 'r'), "{name}: {kinds:?}");
            assert!(carries_data(&mut pair), "{name}");
        }
    }
}

/// Req: 8656-7.4-h
#[test]
fn where_no_udp_gets_out_a_relay_over_tcp_connects() {
    let uris = ["turn:192.0.2.100:3478?transport=udp", "turn:192.0.2.100:3478?transport=tcp"];
    let servers: Vec<IceServer> =
        uris.map(|uri| uri.parse::<IceServer>().unwrap().with_credentials("user", "pass")).into();
    let mut pair = with_relay("no udp").left(|l| (l.servers, l.start) = (servers.clone(), ms(1))).build();
    let host = pair.l.host();
    for direction in [Direction::In, Direction::Out] {
        pair.network.block(host, FirewallRule { direction, peer: PeerMatch::Any }).unwrap();
    }
    assert!(pair.run_until_selected(secs(5)), "{:?}", pair.l.agent.state());
    assert_eq!(kinds(&pair)[0], CandidateKind::Relayed);
    assert!(carries_data(&mut pair));
}

/// Scenario: S036
#[test]
fn a_conflict_of_roles_that_is_found_through_a_relay_first_spoils_no_pair() {
    let mut pair = with_relay("conflict").roles(Role::Controlling, Role::Controlling).build();
    let ends = [pair.l.host(), pair.r.host()];
    // Nothing gets through directly at first.
    pair.network.set_hook(move |passing| {
        let is_direct = ends.contains(&passing.from) && passing.to.is_some_and(|to| ends.contains(&to));
        let is_early = passing.now.saturating_duration_since(nilas::Instant::ZERO) < ms(400);
        if is_direct && is_early { Verdict::Drop } else { Verdict::Pass }
    });
    assert!(pair.run_until_selected(secs(5)));
    assert_ne!(pair.l.agent.role(), pair.r.agent.role());
    assert_eq!(kinds(&pair), [CandidateKind::Host; 4]);
}

/// A server, or somebody who sees its packets, spoils every third of them: nothing worse happens than a loss.
#[test]
fn what_a_server_sends_may_be_nonsense() {
    for seed in 0..60_u8 {
        let mut setup = with_relay("nonsense");
        setup.seed = Seed::from_name(&format!("nonsense {seed}"));
        for (side, inside) in [(SideName::L, "10.0.0.2"), (SideName::R, "10.0.1.2")] {
            let side_setup = if side == SideName::L { &mut setup.l } else { &mut setup.r };
            shape(side_setup, inside, public(side), 4);
            side_setup.reflexive_toward = None;
        }
        let mut pair = setup.build();
        let server = SERVER.parse::<std::net::IpAddr>().unwrap();
        pair.network.set_hook(move |passing| {
            let hash =
                passing.payload.iter().fold(usize::from(seed), |hash, byte| hash * 31 % 9973 + usize::from(*byte));
            if passing.source.ip() != server || hash % 3 != 0 {
                return Verdict::Pass;
            }
            let mut payload = passing.payload.to_vec();
            match hash % 4 {
                0 => payload.truncate(hash % (payload.len() + 1)),
                1 => payload.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7)),
                _ => {
                    let place = hash % payload.len().max(1);
                    if let Some(byte) = payload.get_mut(place) {
                        *byte ^= 1 << (hash % 8);
                    }
                }
            }
            Verdict::Replace(payload)
        });
        pair.run_for(secs(60));
        pair.network.clear_hook();
        if pair.l.is_selected() && pair.r.is_selected() {
            pair.run_for(secs(1));
            assert!(carries_data(&mut pair), "seed {seed}");
        }
    }
}

/// Req: 8445-7.2.1-a
#[test]
fn lost_packets_put_relayed_candidates_off_and_do_not_prevent_them() {
    let mut connected = 0;
    for seed in 0..20_u8 {
        let mut setup = with_relay("losses");
        setup.seed = Seed::from_name(&format!("losses {seed}"));
        setup.link.loss = 0.2;
        shape(&mut setup.l, "10.0.0.2", public(SideName::L), 4);
        shape(&mut setup.r, "10.0.1.2", public(SideName::R), 4);
        (setup.l.reflexive_toward, setup.r.reflexive_toward) = (None, None);
        let mut pair = setup.build();
        connected += u32::from(pair.run_until_selected(secs(20)));
    }
    // Now and then a request is lost five times in a row.
    assert!(connected >= 17, "{connected}");
}

/// Every mapping and filtering on either side: nine by nine.
///
/// Scenario: S041
/// Scenario: S042
#[test]
fn with_a_relay_every_cell_of_the_matrix_connects() {
    let mut relayed = 0;
    for cell in 0..81_u64 {
        let at = |index: u64| (MAPPINGS[(index / 3 % 3) as usize], FILTERINGS[(index % 3) as usize]);
        let ((map_l, filter_l), (map_r, filter_r)) = (at(cell / 9), at(cell % 9));
        let name = format!("{map_l:?}/{filter_l:?} x {map_r:?}/{filter_r:?}");
        let mut setup = with_relay(&name);
        setup.l.addresses = vec!["10.0.0.2".parse().unwrap()];
        setup.l.nats = vec![vary(cell, map_l, filter_l, SideName::L)];
        setup.r.addresses = vec!["10.0.1.2".parse().unwrap()];
        setup.r.nats = vec![vary(cell, map_r, filter_r, SideName::R)];
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(40)), "{name}");
        relayed += usize::from(kinds(&pair)[..2].contains(&CandidateKind::Relayed));
        pair.run_for(secs(2));
        assert!(carries_data(&mut pair), "{name}");
    }
    println!("all 81 cells connected, {relayed} of them through a relay");
    assert!((1..81).contains(&relayed), "{relayed}");
}
