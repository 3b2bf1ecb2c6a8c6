//! Consent checks of the pair that was nominated nominate it again.

use std::sync::Arc;

use nilas::sim::{NatConfig, Pair, PairSetup, Passing, Sent, SideName, Verdict};
use nilas::{ApplicationSelects, ComponentId, Config, Renomination, Role, Seed};

use crate::help::{ms, requests, secs, setup};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

const DRAFTS: [Option<Renomination>; 3] = [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)];
const NOMINATION: u16 = 0x0030;

fn connected(mut setup: PairSetup, drafts: [Option<Renomination>; 2]) -> Pair {
    [setup.l.renomination, setup.r.renomination] = drafts;
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(4));
    pair
}

fn used(pair: &Pair, side: SideName) -> (std::net::SocketAddr, std::net::SocketAddr) {
    let used = pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
    (used.base, used.remote_address)
}

/// What each of these requests nominates by, and whether it went along the path.
fn flags(sent: &[Sent], path: (std::net::SocketAddr, std::net::SocketAddr)) -> Vec<(bool, bool, Option<u32>)> {
    let requests = requests(sent).into_iter();
    requests
        .map(|(_, one, sent)| ((sent.source, sent.destination) == path, one.use_candidate, one.nomination))
        .collect()
}

/// Req: renom1-3-b
/// Req: renom2-3-a
#[test]
fn consent_checks_of_the_pair_in_use_carry_the_flag_or_the_value_and_no_others_do() {
    for wanted in [true, false] {
        for draft in DRAFTS {
            let config = Config::default().with_repeated_use_candidate(wanted);
            let setup = setup("repeated").addresses(3, 1).config(config);
            let mut pair = connected(setup, [draft; 2]);
            let before = [pair.l.sent.len(), pair.r.sent.len()];
            pair.run_for(secs(120));
            let expected = match draft {
                _ if !wanted => (true, false, None),
                None => (true, true, None),
                Some(Renomination::Draft2026) => (true, true, Some(1)),
                Some(_) => (true, false, None),
            };
            let ours = flags(&pair.l.sent[before[0]..], used(&pair, SideName::L));
            let [selected, others] = [true, false].map(|is| ours.iter().filter(|one| one.0 == is).collect::<Vec<_>>());
            assert!(selected.len() >= 20 && selected.iter().all(|one| **one == expected), "{draft:?}: {selected:?}");
            assert!(others.iter().all(|one| **one == (false, false, None)), "{draft:?}: pairs in reserve: {others:?}");
            assert_eq!(others.is_empty(), draft.is_none(), "{draft:?}");
            let theirs = flags(&pair.r.sent[before[1]..], used(&pair, SideName::R));
            assert!(theirs.iter().all(|one| !one.1 && one.2.is_none()), "{draft:?}: the controlled side");
            assert_eq!((pair.l.selections(), pair.r.selections()), (1, 1));
        }
    }
}

/// Req: renom2-3-a
/// Req: renom2-3-b
#[test]
fn after_a_move_only_the_pair_that_is_used_is_nominated_again() {
    for draft in [Renomination::Draft2016, Renomination::Draft2026] {
        let config = Config::default().with_selection_policy(Arc::new(ApplicationSelects));
        let mut pair = connected(setup("moved").addresses(2, 1).config(config), [Some(draft); 2]);
        let (stream, now, left) = (pair.stream(), pair.now(), used(&pair, SideName::L));
        let other = pair.l.agent.pairs().find(|one| one.is_valid && one.base != left.0).unwrap().id;
        pair.l.agent.nominate(now, other).unwrap();
        pair.drain(SideName::L);
        pair.run_for(secs(2));
        assert_eq!(pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id, other);
        assert_eq!(pair.l.agent.pairs().filter(|one| one.is_nominated).map(|one| one.id).collect::<Vec<_>>(), [other]);
        let before = pair.l.sent.len();
        pair.run_for(secs(120));
        let sent = pair.l.sent[before..].to_vec();
        assert!(flags(&sent, left).iter().all(|one| !one.0 || !one.1 && one.2.is_none()), "{draft:?}");
        let value = Some(2).filter(|_| draft == Renomination::Draft2026);
        assert!(
            flags(&sent, used(&pair, SideName::L)).iter().all(|one| !one.0 || *one == (true, value.is_some(), value))
        );
    }
}

/// The old path takes 300 ms and the new one 20 ms.
///
/// Req: renom1-3-b
/// Req: renom2-3-b
#[test]
fn a_consent_check_that_is_delayed_does_not_move_a_full_peer_back() {
    let cases = [
        [Some(Renomination::Draft2016); 2],
        [Some(Renomination::Draft2026); 2],
        // The controlled side does not know values.
        [None, Some(Renomination::Draft2016)],
    ];
    for drafts in cases {
        for lead in [1, 10, 40, 150, 299] {
            let config = Config::default().with_selection_policy(Arc::new(ApplicationSelects));
            let mut pair = connected(setup("delayed").addresses(2, 1).config(config), drafts);
            let old = used(&pair, SideName::L);
            pair.network.set_hook(move |packet: &Passing<'_>| {
                let is_old = [packet.source, packet.destination].contains(&old.0);
                Verdict::Delay(if is_old { ms(275) } else { ms(0) })
            });
            pair.run_for(secs(10));
            let before = pair.l.sent.len();
            let has_asked = |pair: &Pair| flags(&pair.l.sent[before..], old).iter().any(|one| one.0);
            assert!(pair.run_until(secs(7), has_asked), "a consent check");
            pair.run_for(ms(lead) / 4);
            let (now, selections) = (pair.now(), pair.r.selections());
            let other = pair.l.agent.pairs().find(|one| one.is_valid && one.base != old.0).unwrap().id;
            pair.l.agent.nominate(now, other).unwrap();
            pair.drain(SideName::L);
            pair.run_for(secs(3));
            assert_ne!(used(&pair, SideName::R).1, old.0, "{drafts:?}, {lead}");
            assert_eq!(pair.r.selections(), selections + 1, "{drafts:?}, {lead}: it moves once");
            pair.run_for(secs(60));
            assert_eq!(pair.r.selections(), selections + 1, "{drafts:?}, {lead}");
            assert!(pair.agrees());
        }
    }
}

/// A controlled agent with two valid pairs.
fn both_valid(draft: Option<Renomination>) -> Script {
    let mut script =
        Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true).with_renomination(draft));
    script.answer(BEST);
    script.answer_next(OTHER);
    script.check(BEST, false);
    script.check(OTHER, false);
    script.take();
    script
}

fn nominate(script: &mut Script, from: &str, value: Option<u32>) {
    let bytes = script.write_check_with(Role::Controlling, |message| {
        let message = message.use_candidate();
        value.map_or(message.clone(), |value| message.attribute(NOMINATION, &value.to_be_bytes()))
    });
    assert!(script.hear(from, &bytes));
}

/// Req: 8445-7.3.1.5-a
#[test]
fn without_values_a_pair_that_was_left_is_taken_again_only_if_it_still_answers() {
    let mut script = both_valid(None);
    nominate(&mut script, BEST, None);
    nominate(&mut script, OTHER, None);
    assert_eq!(script.selected(), Some(socket(OTHER)));
    // It was sent before the nomination of the other one, or the NAT behind it has forgotten the address.
    let before = script.requests_to(BEST).len();
    nominate(&mut script, BEST, None);
    script.run_for(secs(2));
    assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 2));
    let asked = script.requests_to(BEST);
    assert_eq!(asked.len(), before + 1, "it is asked once");
    nominate(&mut script, OTHER, None);
    script.answer_as(BEST, asked[before].1.id, LOCAL);
    assert_eq!(script.selected(), Some(socket(OTHER)), "that one was nominated since");
    nominate(&mut script, BEST, None);
    script.run_for(ms(100));
    script.answer(BEST);
    assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 3));
    assert_eq!(script.agent.pairs().filter(|one| one.is_nominated).count(), 1);
}

/// Req: 8445-7.3.1.5-a
/// Req: renom2-3-b
#[test]
fn a_full_peer_that_has_missed_the_nomination_recovers_by_the_next_consent_check() {
    for (draft, value) in [(None, None), (Some(Renomination::Draft2026), Some(4))] {
        let mut script = both_valid(draft);
        nominate(&mut script, OTHER, value.map(|_| 3));
        for _ in 0..3 {
            // What is missed is the nomination of the better pair.
            nominate(&mut script, BEST, value);
            script.run_for(secs(5));
            assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 2), "{draft:?}");
        }
    }
}

/// Req: 8445-7.3.2-a
/// Req: 8445-8.2-a
#[test]
fn a_lite_peer_follows_a_nat_that_forgets_by_the_next_consent_check() {
    for draft in DRAFTS {
        for seed in 0..4 {
            let setup = PairSetup::new(Seed::from_number(seed)).left(|side| {
                side.addresses = vec!["10.0.0.2".parse().unwrap()];
                side.nats = vec![NatConfig::port_restricted([[192, 0, 2, 1].into()])];
            });
            let setup = setup.right(|side| side.config = Config::default().with_lite(true));
            let mut pair = connected(setup, [draft; 2]);
            for round in 0..4 {
                let nat = pair.nats[&SideName::L][0];
                pair.network.rebind_to(nat, [[192, 0, 2, 10 + round].into()]).unwrap();
                pair.run_for(secs(7));
                let what = format!("{draft:?}, seed {seed}, round {round}");
                assert_eq!(used(&pair, SideName::R).1.ip(), std::net::IpAddr::from([192, 0, 2, 10 + round]), "{what}");
                assert!(pair.agrees(), "{what}");
                assert_eq!(pair.r.agent.pairs().filter(|one| one.is_nominated).count(), 1, "{what}");
                pair.run_for(secs(23));
            }
        }
    }
}

/// Req: 8445-7.3.2-a
/// Req: renom2-3-b
#[test]
fn the_same_value_from_another_address_moves_a_lite_agent_only_if_nobody_signalled_that_address() {
    const REBOUND: &str = "198.51.100.1:7777";
    let config = Config::default().with_lite(true);
    let mut script =
        Script::new(Role::Controlled, config, |remote| remote.with_renomination(Some(Renomination::Draft2026)));
    nominate(&mut script, BEST, Some(3));
    assert_eq!(script.selected(), Some(socket(BEST)));
    nominate(&mut script, OTHER, Some(3));
    assert_eq!(script.selected(), Some(socket(BEST)), "that is another pair of the peer's");
    nominate(&mut script, REBOUND, Some(3));
    assert_eq!(script.selected(), Some(socket(REBOUND)));
    nominate(&mut script, OTHER, Some(2));
    assert_eq!(script.selected(), Some(socket(REBOUND)));
    assert_eq!(script.agent.pairs().filter(|one| one.is_nominated).count(), 1);
}

/// Req: 8445-8.1.1-c
#[test]
fn after_a_change_of_roles_whoever_did_not_nominate_repeats_nothing() {
    let mut script = both_valid(None);
    nominate(&mut script, OTHER, None);
    // The peer takes the other role.
    let bytes = script.write_check_with(Role::Controlled, |message| message);
    script.hear(OTHER, &bytes);
    script.run_for(secs(60));
    let mut sent = script.sent.iter().filter_map(|out| out.wire.request());
    assert!(sent.all(|request| !request.use_candidate), "it has nominated nothing");
}
