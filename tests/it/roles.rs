//! Role conflicts, and what repairs them (RFC 8445 §7.3.1.1, §7.2.5.1).

use std::collections::BTreeMap;

use nilas::sim::{MessageBuilder, Pair, SideName, Verdict, Wire};
use nilas::{CandidatePairState as State, ComponentId, Event, PairPriority, Role, Role::*, Seed};

use crate::help::{ms, requests, secs, setup};
use crate::solo::{Outcome, Solo, address, host, is_protected};

/// The tiebreaker that the agent sends.
fn tiebreaker(solo: &Solo) -> u64 {
    let request = solo.out.iter().rev().find_map(|out| out.wire().request().cloned()).unwrap();
    request.controlling.or(request.controlled).unwrap()
}

/// Req: 8445-7.3.1.1-a
/// Req: 8445-7.3.1.1-b
#[test]
fn a_conflict_is_decided_by_the_tiebreakers_and_the_loser_is_told_or_yields() {
    for role in [Controlling, Controlled] {
        for (name, offset) in [("smaller", -1_i64), ("equal", 0), ("larger", 1)] {
            let mut solo = Solo::checking(role);
            let theirs = tiebreaker(&solo).wrapping_add_signed(offset);
            solo.take();
            let check = solo.check_as(role, theirs);
            let bytes = solo.seal(check);
            let digest = solo.digest();
            assert_eq!(solo.receive(&bytes), Outcome::Handled);
            let answer = solo.take().remove(0);
            assert!(is_protected(&answer.bytes, 0x0008, &solo.ours().password));
            // The one with the larger tiebreaker, or the one who is asked, is or becomes controlling.
            let should = if offset <= 0 { Controlling } else { Controlled };
            assert_eq!(solo.agent.role(), should, "{role} against {name}");
            let is_refused = matches!(answer.wire(), Wire::Error { code: Some(487), .. });
            assert_eq!(is_refused, should == role, "{role} against {name}");
            assert_eq!(is_refused, !matches!(answer.wire(), Wire::Success { .. }));
            assert_eq!(solo.roles_taken().len(), usize::from(should != role));
            if is_refused {
                assert_eq!(solo.digest(), digest, "a refused check has no other effect");
            }
        }
    }
}

/// Req: 8445-7.2.5.1-a
/// Req: 8445-16.1-a
#[test]
fn a_genuine_487_changes_role_and_tiebreaker_and_the_check_is_made_again() {
    for role in [Controlling, Controlled] {
        let mut solo = Solo::checking(role);
        let (before, first) = (tiebreaker(&solo), solo.last().request().id);
        let conflict = solo.error(first, 487);
        assert_eq!(solo.receive(&conflict), Outcome::Handled);
        assert_eq!((solo.agent.role(), solo.roles_taken()), (role.opposite(), vec![role.opposite()]));
        assert_eq!(solo.state(), Some(State::Waiting));
        solo.run_for(ms(50));
        let again = solo.last().request();
        assert_ne!(again.id, first);
        assert_eq!(again.controlling.is_some(), role.opposite() == Controlling);
        assert_eq!(again.controlled.is_some(), role.opposite() == Controlled);
        assert_ne!(tiebreaker(&solo), before);
        solo.answer();
        assert_eq!(solo.state(), Some(State::Succeeded));
    }
}

/// Two checks in flight, sent in the same role.
fn two_in_flight(role: Role) -> (Solo, [[u8; 12]; 2]) {
    let mut solo = Solo::new(role);
    solo.describe(vec![host("203.0.113.1:6000"), {
        let foundation = "2".parse().unwrap();
        let priority = nilas::Priority::new(1000).unwrap();
        nilas::Candidate::new(
            nilas::CandidateKind::Host,
            ComponentId::RTP,
            foundation,
            priority,
            address("203.0.113.2:6002"),
        )
    }]);
    solo.run_for(ms(50));
    let ids = [solo.out[0].request().id, solo.out[1].request().id];
    (solo, ids)
}

/// Req: 8445-7.2.5.1-a
#[test]
fn two_checks_that_both_get_487_change_the_role_once() {
    for role in [Controlling, Controlled] {
        let (mut solo, [first, second]) = two_in_flight(role);
        let conflict = solo.error(first, 487);
        solo.receive(&conflict);
        solo.run_for(ms(60));
        let after_first = tiebreaker(&solo);
        let conflict = solo.error(second, 487);
        assert_eq!(solo.receive_from(address("203.0.113.2:6002"), &conflict), Outcome::Handled);
        assert_eq!(solo.roles_taken(), [role.opposite()]);
        solo.take();
        solo.run_for(ms(200));
        let requests = solo.take_requests();
        assert!(!requests.is_empty());
        for (_, request) in requests {
            assert_eq!(request.controlling.is_some(), role.opposite() == Controlling);
            assert_eq!(request.controlling.or(request.controlled), Some(after_first));
        }
    }
}

/// Req: 8445-7.2.5.1-a
/// Req: 8489-6.3-b
#[test]
fn a_late_or_repeated_487_is_harmless() {
    let (mut solo, [first, second]) = two_in_flight(Controlling);
    // The peer's own check makes us yield; then both of ours are refused, for the role that we have left.
    let check = solo.check_as(Controlling, u64::MAX);
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.agent.role(), Controlled);
    for (id, source) in [(first, solo.remote), (second, address("203.0.113.2:6002"))] {
        let conflict = solo.error(id, 487);
        assert_eq!(solo.receive_from(source, &conflict), Outcome::Handled);
        let digest = solo.digest();
        assert!(matches!(solo.receive_from(source, &conflict), Outcome::Dropped(_)), "the copy is unknown");
        assert_eq!(solo.digest(), digest);
    }
    assert_eq!(solo.roles_taken(), [Controlled]);
    // One to a check whose pair has succeeded since changes nothing of it.
    let mut solo = Solo::checking(Controlled);
    let old = solo.last().request().id;
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.run_for(ms(50));
    solo.answer();
    let conflict = solo.error(old, 487);
    solo.receive(&conflict);
    assert_eq!(solo.state(), Some(State::Succeeded));
}

/// Req: 8445-7.3.1.1-c
#[test]
fn a_change_of_role_computes_the_priorities_of_all_pairs_again_and_checks_in_their_order() {
    let mut solo = Solo::new(Controlled);
    let candidates = [(1, 1_700_000_000), (2, 2_000_000_000), (3, 2_130_706_431)];
    solo.describe(
        candidates
            .iter()
            .map(|(number, priority)| {
                let foundation = format!("{number}").parse().unwrap();
                let to = address(&format!("203.0.113.{number}:6000"));
                let priority = nilas::Priority::new(*priority).unwrap();
                nilas::Candidate::new(nilas::CandidateKind::Host, ComponentId::RTP, foundation, priority, to)
            })
            .collect(),
    );
    let assert_priorities = |solo: &Solo, role| {
        for pair in solo.agent.pairs() {
            let expected = PairPriority::compute(role, pair.local.priority(), pair.remote.priority());
            assert_eq!(pair.priority, expected);
        }
    };
    assert_priorities(&solo, Controlled);
    let check = solo.check_as(Controlled, 0);
    let bytes = solo.seal(check);
    solo.receive_from(address("203.0.113.3:6000"), &bytes);
    assert_eq!(solo.agent.role(), Controlling);
    assert_priorities(&solo, Controlling);
    solo.take();
    solo.run_for(secs(1));
    let order: Vec<u8> = solo
        .take_requests()
        .iter()
        .map(|(out, _)| match out.destination.ip() {
            std::net::IpAddr::V4(v4) => v4.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        })
        .take(3)
        .collect();
    assert_eq!(order, [3, 2, 1]);
}

fn conflict(seed: u64, role: Role) -> nilas::sim::PairSetup {
    nilas::sim::PairSetup::new(Seed::from_number(seed)).roles(role, role).addresses(2, 2)
}

fn role_changes(pair: &Pair) -> usize {
    let is_change = |(_, event): &&(nilas::Instant, Event)| matches!(event, Event::RoleChanged { .. });
    pair.l.events.iter().filter(is_change).count() + pair.r.events.iter().filter(is_change).count()
}

/// S032
/// S033
/// Req: 8445-7.3.1.1-a
/// Req: 8445-7.3.1.1-b
/// Req: 8445-7.3.1.1-c
#[test]
fn both_sides_in_one_role_end_with_one_controlling_side_that_alone_nominates() {
    let mut winners = BTreeMap::new();
    for role in [Controlling, Controlled] {
        for seed in 0..30 {
            let mut pair = conflict(seed, role).build();
            assert!(pair.run_until_selected(secs(2)), "{role} {seed}");
            pair.run_for(secs(1));
            assert!(pair.agrees());
            let roles = [pair.l.agent.role(), pair.r.agent.role()];
            assert_ne!(roles[0], roles[1]);
            *winners.entry((role, roles[0])).or_insert(0) += 1;
            // The first tiebreakers decide, and there is one change.
            let first = |side: SideName| {
                let request = requests(&pair.peer(side).sent).remove(0).1;
                request.controlling.or(request.controlled).unwrap()
            };
            let should = if first(SideName::L) >= first(SideName::R) { Controlling } else { Controlled };
            assert_eq!((roles[0], role_changes(&pair)), (should, 1), "{role} {seed}");
            for side in [SideName::L, SideName::R] {
                let nominating =
                    requests(&pair.peer(side).sent).into_iter().filter(|(_, request, _)| request.use_candidate);
                let count = nominating.map(|(_, request, _)| assert!(request.controlling.is_some())).count();
                assert_eq!(count > 0, pair.peer(side).agent.role() == Controlling);
            }
            // Both sides give each pair the same priority.
            let priorities = |side: SideName| -> BTreeMap<_, _> {
                let ends = |pair: nilas::PairView<'_>| {
                    let mut ends = [pair.base, pair.remote.socket_address().unwrap()];
                    ends.sort_unstable();
                    (ends, pair.priority)
                };
                pair.peer(side).agent.pairs().map(ends).collect()
            };
            let (l, r) = (priorities(SideName::L), priorities(SideName::R));
            let common: Vec<_> = l.iter().filter_map(|(ends, priority)| Some((priority, r.get(ends)?))).collect();
            assert!(!common.is_empty() && common.iter().all(|(l, r)| l == r));
        }
    }
    assert_eq!(winners.len(), 4, "each side wins sometimes: {winners:?}");
}

/// S034
/// Req: 8445-7.3.1.1-d
#[test]
fn equal_tiebreakers_settle_within_a_few_checks() {
    for role in [Controlling, Controlled] {
        for seed in 0..20 {
            let mut pair = conflict(seed, role).build();
            let mut probe = pair.clone();
            probe.run_for(secs(1));
            let first = |peer: &nilas::sim::Peer| {
                let request = requests(&peer.sent).remove(0).1;
                request.controlling.or(request.controlled).unwrap()
            };
            let drawn = [first(&probe.l), first(&probe.r)];
            // Each side hears its own first tiebreaker where the other says its own.
            let credentials = [SideName::L, SideName::R]
                .map(|side| pair.peer(side).agent.local_credentials(pair.stream()).unwrap().clone());
            let from_l = pair.host(SideName::L);
            pair.network.set_hook(move |packet| {
                let Wire::Request(request) = Wire::decode(packet.payload) else { return Verdict::Pass };
                let (said, heard, them) =
                    if packet.from == from_l { (drawn[0], drawn[1], 1) } else { (drawn[1], drawn[0], 0) };
                if request.controlling.or(request.controlled) != Some(said) {
                    return Verdict::Pass;
                }
                let builder = MessageBuilder::binding_request(request.id)
                    .attribute(0x0006, &request.username.unwrap())
                    .priority(request.priority.unwrap());
                let builder = match request.controlling {
                    Some(_) => builder.controlling(heard),
                    None => builder.controlled(heard),
                };
                let builder = if request.use_candidate { builder.use_candidate() } else { builder };
                Verdict::Replace(builder.integrity(&credentials[them].password).fingerprint().build())
            });
            assert!(pair.run_until_selected(secs(2)), "{role} {seed}");
            pair.run_for(secs(1));
            assert_ne!(pair.l.agent.role(), pair.r.agent.role(), "{role} {seed}");
            assert!(pair.agrees());
            let changes = role_changes(&pair);
            assert!((1..=4).contains(&changes), "{role} {seed}: {changes} changes");
        }
    }
}

/// S038
/// Req: 8445-7.3.1.1-a
/// Req: 8445-7.2.5.1-a
#[test]
fn conflict_responses_that_are_lost_twice_only_delay() {
    for role in [Controlling, Controlled] {
        for seed in 0..20 {
            let mut pair = conflict(seed, role).build();
            let lost = std::sync::Arc::new(std::sync::Mutex::new(0));
            let count = lost.clone();
            pair.network.set_hook(move |packet| {
                let is_conflict = matches!(Wire::decode(packet.payload), Wire::Error { code: Some(487), .. });
                let mut count = count.lock().unwrap();
                if is_conflict && *count < 2 {
                    *count += 1;
                    return Verdict::Drop;
                }
                Verdict::Pass
            });
            assert!(pair.run_until_selected(secs(5)), "{role} {seed}");
            pair.run_for(secs(2));
            assert!(pair.agrees());
            assert_ne!(pair.l.agent.role(), pair.r.agent.role());
        }
    }
}

/// Req: 8445-7.3.1.1-a
/// Req: 8489-6.3.1-b
#[test]
fn a_conflict_is_repaired_whatever_the_network_does_to_the_packets() {
    for role in [Controlling, Controlled] {
        for seed in 0..60 {
            let link =
                nilas::sim::Link { loss: 0.2, duplicate: 0.3, jitter: ms(60), ..nilas::sim::Link::with_delay(ms(25)) };
            let mut pair = conflict(seed, role).link(link).build();
            assert!(pair.run_until_selected(secs(20)), "{role} {seed}");
            pair.run_for(secs(5));
            assert_ne!(pair.l.agent.role(), pair.r.agent.role(), "{role} {seed}");
            assert!(pair.agrees(), "{role} {seed}");
        }
    }
}

/// Req: 8445-7.3.1.1-c
#[test]
fn after_a_487_the_duty_to_nominate_goes_to_the_other_side() {
    let mut solo = Solo::checking(Controlling);
    solo.answer();
    // It nominates, and is refused: the peer is controlling.
    solo.run_for(ms(200));
    let request = solo.last().request();
    assert!(request.use_candidate);
    let conflict = solo.error(request.id, 487);
    solo.receive(&conflict);
    assert_eq!(solo.agent.role(), Controlled);
    solo.take();
    assert!(solo.future().iter().all(|out| out.wire().request().is_none_or(|request| !request.use_candidate)));
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert!(solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some());
}

/// Req: 8445-7.3.1.1-c
#[test]
fn a_nomination_that_is_answered_after_the_role_was_lost_selects_nothing_by_itself() {
    let mut solo = Solo::checking(Controlling);
    solo.answer();
    solo.run_for(ms(200));
    let nominating = solo.last().request();
    assert!(nominating.use_candidate);
    let check = solo.check_as(Controlling, u64::MAX);
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.agent.role(), Controlled);
    let answer = solo.success(nominating.id, solo.local);
    solo.receive(&answer);
    assert!(!solo.agent.pairs().any(|pair| pair.is_nominated));
}

/// Req: 8445-7.1.3-a
/// Req: 8445-7.1.2-a
#[test]
fn every_check_of_every_trace_has_one_role_and_only_the_controlling_nominate() {
    for seed in 0..20 {
        for role in [Controlling, Controlled] {
            let mut pair = conflict(seed, role).build();
            pair.run_for(secs(3));
            for sent in [&pair.l.sent, &pair.r.sent] {
                for (_, request, _) in requests(sent) {
                    assert!(request.controlling.is_some() != request.controlled.is_some());
                    assert!(!request.use_candidate || request.controlling.is_some());
                    assert_eq!(request.attributes.last(), Some(&0x8028));
                }
            }
        }
    }
    let mut pair = setup("no conflict").build();
    pair.run_for(secs(3));
    assert_eq!(role_changes(&pair), 0);
    let tiebreakers: std::collections::BTreeSet<_> =
        requests(&pair.l.sent).into_iter().map(|(_, request, _)| request.controlling).collect();
    assert_eq!(tiebreakers.len(), 1);
}

/// Req: 8445-7.3.1.1-c
#[test]
fn a_nomination_from_before_two_changes_of_role_is_forgotten() {
    let mut solo = Solo::checking(Controlled);
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    let yields = solo.check_as(Controlled, 0);
    let bytes = solo.seal(yields);
    solo.receive(&bytes);
    let insists = solo.check_as(Controlling, u64::MAX);
    let bytes = solo.seal(insists);
    solo.receive(&bytes);
    assert_eq!(solo.roles_taken(), [Controlling, Controlled]);
    solo.run_for(ms(50));
    solo.answer();
    assert_eq!(solo.state(), Some(State::Succeeded));
    assert!(!solo.agent.pairs().any(|pair| pair.is_nominated));
}
