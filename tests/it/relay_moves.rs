//! Sessions on a relay that move: to a direct pair when there is one, and to the relay of the other side.

use nilas::sim::{Link, Pair, PairSetup, SideName};
use nilas::{CandidateKind, ComponentId, ConnectionState, Renomination};

use crate::help::{ms, secs, setup, states};
use crate::nat::{public, shape};

const SERVER: &str = "192.0.2.100";

/// Both sides have a relay, and both drafts of renomination.
fn with_relays(name: &str, draft: Renomination) -> PairSetup {
    setup(name).with_turn(SERVER.parse().unwrap()).renomination(draft)
}

/// How many relays the selected pair of a side goes through.
fn relays(pair: &Pair, side: SideName) -> usize {
    let selected = pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).expect("a pair is selected");
    [selected.local.kind(), selected.remote.kind()].iter().filter(|kind| **kind == CandidateKind::Relayed).count()
}

/// Whether both sides have selected the two ends of one pair. No NAT is in between.
fn agrees(pair: &Pair) -> bool {
    let of = |side: SideName| {
        let agent = &pair.peer(side).agent;
        agent.selected_pair(pair.stream(), ComponentId::RTP).map(|one| (one.base, one.remote_address))
    };
    of(SideName::L)
        .zip(of(SideName::R))
        .is_some_and(|((from, to), (back_from, back_to))| (from, to) == (back_to, back_from))
}

fn is_direct(pair: &Pair) -> bool {
    relays(pair, SideName::L) == 0 && relays(pair, SideName::R) == 0
}

/// S110
#[test]
fn a_session_on_a_relay_moves_to_a_direct_pair_once_there_is_one() {
    for (draft, is_told) in
        [(Renomination::Draft2016, false), (Renomination::Draft2026, false), (Renomination::Draft2016, true)]
    {
        let mut setup = with_relays("upgrade from a relay", draft);
        setup.l.only_reaches = Some(SERVER.parse().unwrap());
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(5)));
        pair.run_for(secs(600));
        assert!(relays(&pair, SideName::L) > 0 && agrees(&pair), "{draft:?}");
        let host = pair.host(SideName::L);
        pair.network.unblock(host).unwrap();
        if is_told {
            let now = pair.now();
            pair.l.agent.network_changed(now);
            pair.drain(SideName::L);
        }
        // Rounds of retries are a minute apart by now, on either side.
        let within = if is_told { ms(600) } else { secs(62) };
        assert!(pair.run_until(within, is_direct), "{draft:?}, told: {is_told}");
        pair.run_for(secs(5));
        assert!(agrees(&pair));
        let moves = [pair.l.selections(), pair.r.selections()];
        pair.run_for(secs(600));
        assert!(is_direct(&pair) && agrees(&pair), "{draft:?}: and it stays there");
        assert_eq!([pair.l.selections(), pair.r.selections()], moves);
        for side in [SideName::L, SideName::R] {
            assert!(!states(&pair, side).contains(&ConnectionState::Disconnected));
        }
    }
}

/// S111
/// S107
#[test]
fn when_our_relay_is_taken_away_that_of_the_peer_carries_the_session() {
    let mut setup = with_relays("other relay", Renomination::Draft2016);
    for side in [&mut setup.l, &mut setup.r] {
        side.only_reaches = Some(SERVER.parse().unwrap());
    }
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(10));
    let stream = pair.stream();
    let ours: Vec<_> = pair
        .l
        .agent
        .local_candidates(stream)
        .filter(|local| local.candidate.kind() == CandidateKind::Relayed)
        .map(|local| local.id)
        .collect();
    assert_eq!(ours.len(), 1);
    let now = pair.now();
    pair.l.agent.remove_local_candidate(now, stream, ours[0]).unwrap();
    pair.drain(SideName::L);
    let uses_other = |pair: &Pair| {
        pair.l.agent.selected_pair(stream, ComponentId::RTP).is_some_and(|selected| {
            selected.local.kind() != CandidateKind::Relayed && selected.remote.kind() == CandidateKind::Relayed
        })
    };
    assert!(pair.run_until(secs(1), uses_other));
    pair.run_for(secs(5));
    assert!(agrees(&pair));
    for side in [SideName::L, SideName::R] {
        assert!(!states(&pair, side).contains(&ConnectionState::Disconnected), "{side:?}");
        pair.send(side, b"data").unwrap();
    }
    let before = [pair.l.received.len(), pair.r.received.len()];
    pair.run_for(ms(300));
    assert_eq!([pair.l.received.len(), pair.r.received.len()], before.map(|count| count + 1));
}

/// Behind whatever NATs, on a bad network that becomes a good one.
///
/// Req: renom1-3-b
/// Req: renom2-3-b
#[test]
fn with_relays_and_repeated_nominations_all_shapes_end_on_one_pair_and_stay_there() {
    for of_l in 0..5 {
        for of_r in 0..5 {
            let draft = if (of_l + of_r) % 2 == 0 { Renomination::Draft2016 } else { Renomination::Draft2026 };
            let name = format!("relay moves {of_l} x {of_r}");
            let mut setup = with_relays(&name, draft).link(Link { loss: 0.1, ..Link::with_delay(ms(25)) });
            shape(&mut setup.l, "10.0.0.2", public(SideName::L), of_l);
            shape(&mut setup.r, "10.0.1.2", public(SideName::R), of_r);
            (setup.l.reflexive_toward, setup.r.reflexive_toward) = (None, None);
            let mut pair = setup.build();
            assert!(pair.run_until_selected(secs(10)), "{name}");
            pair.run_for(secs(120));
            pair.network.set_default_link(Link::with_delay(ms(25)));
            pair.run_for(secs(120));
            let legs = [SideName::L, SideName::R].map(|side| relays(&pair, side));
            assert_eq!(legs[0], legs[1], "{name}");
            let moves = [pair.l.selections(), pair.r.selections()];
            pair.run_for(secs(300));
            assert_eq!([pair.l.selections(), pair.r.selections()], moves, "{name}");
            for side in [SideName::L, SideName::R] {
                assert!(!states(&pair, side).contains(&ConnectionState::Disconnected), "{name}: {side:?}");
                let before = pair.peer(side.other()).received.len();
                pair.send(side, b"data").unwrap();
                pair.run_for(secs(1));
                assert_eq!(pair.peer(side.other()).received.len(), before + 1, "{name}: {side:?}");
            }
        }
    }
}
