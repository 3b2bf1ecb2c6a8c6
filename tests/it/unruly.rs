//! A peer that has the credentials and no manners: whatever it sends, the agent stays within its limits.

use std::net::SocketAddr;

use nilas::sim::{Op, Saying, SideName, Wire};
use nilas::{ComponentId, Config, DropReason, Renomination, Role};
use proptest::prelude::*;

use crate::help::{ms, secs};
use crate::ops::{Stage, op};
use crate::script::Script;
use crate::solo::{Outcome, Solo, address, host};

/// The agent's new transactions are Ta apart, and say one role each.
fn check_requests(solo: &Solo) {
    let mut ids = std::collections::BTreeSet::new();
    let mut last = None;
    for (place, out) in solo.out.iter().enumerate() {
        if let Wire::Request(request) = out.wire() {
            assert!(request.controlling.is_some() != request.controlled.is_some());
            assert!(!request.use_candidate || request.controlling.is_some());
            // Consent has a schedule of its own.
            if ids.insert(request.id) && !solo.consents.contains(&place) {
                assert!(last.is_none_or(|last| last + ms(50) <= out.at), "two checks within Ta");
                last = Some(out.at);
            }
        }
    }
}

/// The agent's tables are within their limits, and its selection is one of its valid pairs.
fn check_limits(solo: &Solo) {
    let agent = &solo.agent;
    let reflexive = |kind| kind == nilas::CandidateKind::PeerReflexive;
    let locals = agent.local_candidates(solo.stream).filter(|local| reflexive(local.candidate.kind())).count();
    let remotes = agent.remote_candidates(solo.stream).filter(|remote| !remote.is_signalled).count();
    assert!(locals <= 4 && remotes <= 4, "{locals} and {remotes} peer-reflexive candidates");
    assert_eq!(nilas::sim::audit(agent), Ok(()));
    let listed = agent.pairs().filter(|pair| !pair.is_valid).count();
    assert!(listed <= 6, "{listed} pairs");
    let selected: Vec<_> = agent.pairs().filter(|pair| pair.is_selected).collect();
    assert!(selected.len() <= 1);
    assert_eq!(
        selected.first().map(|pair| pair.id),
        agent.selected_pair(solo.stream, ComponentId::RTP).map(|pair| pair.id)
    );
    assert!(selected.iter().all(|pair| pair.is_valid && pair.is_nominated));
    assert_eq!(agent.usable_pair(solo.stream, ComponentId::RTP).is_some(), agent.pairs().any(|pair| pair.is_valid));
}

fn play(is_controlling: bool, draft: Option<Renomination>, ops: &[Op]) {
    let config = Config::default().with_max_pairs(6).with_max_peer_reflexive(4).with_pair_events(true);
    let role = if is_controlling { Role::Controlling } else { Role::Controlled };
    let mut solo = Solo::with_consent(role, config);
    solo.describe_as(draft, vec![host("203.0.113.1:6000")]);
    for op in ops {
        solo.perform(op);
        check_limits(&solo);
    }
    solo.run_for(secs(120));
    check_limits(&solo);
    check_requests(&solo);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Req: proj-flood-a
    /// Req: proj-unauth-c
    /// Req: 8445-7.1.2-a
    /// Req: 8445-7.1.3-a
    #[test]
    fn an_authenticated_peer_without_manners_moves_the_agent_within_its_limits(
        is_controlling in any::<bool>(),
        draft in prop_oneof![Just(None), Just(Some(Renomination::Draft2016)), Just(Some(Renomination::Draft2026))],
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        play(is_controlling, draft, &ops);
    }
}

/// Req: 7675-5.1-b
#[test]
fn a_path_without_consent_is_off_the_valid_list_under_every_address_that_the_nat_showed() {
    let answer =
        |which, mapped| Op::Say(SideName::L, Saying::Answer { which, port: 0, code: None, mapped: Some(mapped) });
    let ops =
        [Op::Advance(500), answer(0, 6007), Op::Advance(343), Op::Advance(2407), answer(0, 6007), answer(1, 6002)];
    play(true, None, &ops);
}

/// Req: proj-flood-a
/// Req: proj-unauth-c
#[test]
fn whatever_bytes_a_fuzzer_finds_are_a_scenario_that_one_agent_survives() {
    for seed in 0..120_u64 {
        let bytes: Vec<u8> =
            (0..300_u64).map(|place| (seed * 7919 + place * place * 31 + place * seed) as u8).collect();
        let role = if seed % 2 == 0 { Role::Controlling } else { Role::Controlled };
        let mut script =
            Script::new(role, Config::default().with_max_pairs(6), |remote| remote.with_ice2(seed % 3 == 0));
        let mut input = bytes.as_slice();
        while let Some(op) = Op::decode(&mut input) {
            script.perform(&op);
            let problem = nilas::sim::audit(&script.agent);
            assert_eq!(problem, Ok(()), "seed {seed}, {op:?}");
            assert!(script.agent.pairs().filter(|pair| !pair.is_valid).count() <= 6, "seed {seed}, {op:?}");
        }
    }
}

/// Req: proj-flood-a
#[test]
fn reflexive_addresses_that_a_peer_invents_are_bounded() {
    let mut solo = Solo::checking_with(Role::Controlled, Config::default().with_max_peer_reflexive(3));
    for port in 0..20 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(address(&format!("192.0.2.7:{}", 7000 + port)), &bytes);
    }
    assert_eq!(solo.agent.stats().peer_reflexive_refused, 17);
    for port in 0..20 {
        solo.run_for(ms(50));
        let request = solo.out.iter().rev().find(|out| out.wire().request().is_some()).unwrap().clone();
        let answer = solo.success(request.request().id, address(&format!("192.0.2.8:{}", 8000 + port)));
        solo.receive_from(request.destination, &answer);
    }
    let kinds = solo.agent.local_candidates(solo.stream).map(|local| local.candidate.kind());
    assert_eq!(kinds.filter(|kind| *kind == nilas::CandidateKind::PeerReflexive).count(), 3);
    // The path works all the same.
    assert_eq!(solo.agent.pairs().filter(|pair| pair.is_valid).count(), 4);
}

/// Req: proj-unauth-b
#[test]
fn answers_that_nobody_polls_are_bounded_and_a_check_without_answer_has_no_effect() {
    let mut solo = Solo::new(Role::Controlled);
    solo.describe(Vec::new());
    for port in 1000..1200_u16 {
        let check = solo.check();
        let bytes = solo.seal(check);
        let outcome = solo.hand_in(SocketAddr::new(solo.remote.ip(), port), solo.local, &bytes);
        let expected = if port < 1128 { Outcome::Handled } else { Outcome::Dropped(DropReason::TooManyReplies) };
        assert_eq!(outcome, expected, "{port}");
    }
    assert!(solo.agent.remote_candidates(solo.stream).all(|remote| remote.candidate.address().port() < 1128));
    solo.drain();
    assert_eq!(solo.out.iter().filter(|out| matches!(out.wire(), Wire::Success { .. })).count(), 128);
}
