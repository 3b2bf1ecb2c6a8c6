//! Nominating again: only where both sides have agreed on it, and so that both take the same one.

use nilas::sim::{SideName, Wire};
use nilas::{
    ApplicationSelects, ComponentId, Config, Credentials, IceOptions, NominateError, RemoteDescription, Renomination,
    Role,
};
use std::sync::Arc;

use crate::help::{ms, requests, secs, setup, silent};
use crate::script::{BEST, OTHER, Script, socket};

const DRAFTS: [Renomination; 2] = [Renomination::Draft2016, Renomination::Draft2026];
const GOOG: u16 = 0xc001;
const NOMINATION: u16 = 0x0030;

/// A controlled agent with two valid pairs and no nominated one.
fn both_valid(draft: Option<Renomination>) -> Script {
    let describe = |remote: RemoteDescription| remote.with_ice2(true).with_renomination(draft);
    let mut script = Script::new(Role::Controlled, Config::default(), describe);
    script.answer(BEST);
    script.answer_next(OTHER);
    script.take();
    script
}

/// A check of the peer with these attributes besides; gives the bytes.
fn nominate(script: &mut Script, from: &str, use_candidate: bool, value: Option<(u16, &[u8])>) -> Vec<u8> {
    let bytes = script.write_check_with(Role::Controlling, |message| {
        let message = if use_candidate { message.use_candidate() } else { message };
        value.map_or(message.clone(), |(kind, value)| message.attribute(kind, value))
    });
    script.hear(from, &bytes);
    bytes
}

fn value(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

/// S080
/// Req: renom1-3-b
#[test]
fn of_nominations_with_values_the_largest_wins_in_whatever_order_they_come() {
    for (draft, kind) in [(Renomination::Draft2016, GOOG), (Renomination::Draft2026, NOMINATION)] {
        let mut script = both_valid(Some(draft));
        let first = nominate(&mut script, OTHER, true, Some((kind, &value(1))));
        assert_eq!(script.selected(), Some(socket(OTHER)), "{draft:?}");
        let third = nominate(&mut script, BEST, true, Some((kind, &value(3))));
        assert_eq!(script.selected(), Some(socket(BEST)), "{draft:?}");
        nominate(&mut script, OTHER, true, Some((kind, &value(2))));
        assert_eq!(script.selected(), Some(socket(BEST)), "{draft:?}: 2 comes behind 3");
        // Copies, and a nomination without a value, change nothing.
        script.hear(OTHER, &first);
        script.hear(BEST, &third);
        nominate(&mut script, OTHER, true, None);
        nominate(&mut script, OTHER, true, Some((kind, &value(3))));
        assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 2), "{draft:?}");
        nominate(&mut script, OTHER, true, Some((kind, &value(4))));
        assert_eq!(script.selected(), Some(socket(OTHER)), "{draft:?}");
    }
}

/// S080
/// Req: renom1-3-b
#[test]
fn libwebrtc_nominates_by_the_value_alone_and_a_malformed_one_leaves_the_flag() {
    let mut script = both_valid(Some(Renomination::Draft2016));
    nominate(&mut script, OTHER, false, Some((GOOG, &value(7))));
    assert_eq!(script.selected(), Some(socket(OTHER)));
    let mut script = both_valid(Some(Renomination::Draft2016));
    nominate(&mut script, OTHER, true, Some((GOOG, &[1, 2, 3])));
    assert_eq!(script.selected(), Some(socket(OTHER)));
    // Only the low 24 bits count.
    nominate(&mut script, BEST, true, Some((GOOG, &value(0xff00_0002))));
    nominate(&mut script, OTHER, true, Some((GOOG, &value(3))));
    assert_eq!(script.selected(), Some(socket(OTHER)));
}

/// Req: renom1-3-a
#[test]
fn without_the_option_a_value_means_nothing_and_the_attribute_of_the_later_draft_is_refused() {
    let mut script = both_valid(None);
    nominate(&mut script, OTHER, false, Some((GOOG, &value(7))));
    assert_eq!(script.selected(), None, "libwebrtc's number belongs to somebody else");
    script.take();
    nominate(&mut script, OTHER, true, Some((NOMINATION, &value(7))));
    let refused = script.take().iter().any(|out| matches!(out.wire, Wire::Error { code: Some(420), .. }));
    assert!(refused && script.selected().is_none());
    // An agent that does not want it does not take it, whatever the peer lists.
    let options: IceOptions = "ice2 trickle renomination renomination2".parse().unwrap();
    let script = Script::new(Role::Controlled, Config::default().with_renomination(false), |remote| {
        remote.with_options(&options)
    });
    assert_eq!(script.agent.renomination(script.stream), None);
    assert!(!script.agent.ice_options().renomination());
}

/// Req: renom1-3-a
#[test]
fn the_options_of_both_sides_decide() {
    let ours = Script::new(Role::Controlled, Config::default(), |remote| remote).agent.ice_options();
    assert_eq!(ours.to_string(), "ice2 trickle renomination renomination2");
    let cases = [
        ("ice2", None),
        ("renomination", Some(Renomination::Draft2016)),
        ("renomination2", Some(Renomination::Draft2026)),
        ("renomination2 renomination", Some(Renomination::Draft2026)),
    ];
    for (theirs, expected) in cases {
        let theirs: IceOptions = theirs.parse().unwrap();
        assert_eq!(Renomination::of(&theirs), expected);
        let script = Script::new(Role::Controlled, Config::default(), |remote| remote.with_options(&theirs));
        assert_eq!(script.agent.renomination(script.stream), expected, "{theirs}");
        let remote = RemoteDescription::new(Credentials::new("peer", "password/of/the/peer/0123").unwrap());
        assert_eq!(remote.with_options(&theirs).ice2, theirs.ice2());
    }
}

/// Req: renom2-3-a
/// Req: renom2-3-b
/// Req: 8445-8.2-a
#[test]
fn an_application_moves_both_ends_back_and_forth_with_growing_values() {
    for draft in DRAFTS {
        let policy = Arc::new(ApplicationSelects);
        let config = silent(Config::default()).with_selection_policy(policy);
        let mut pair = setup("back and forth").addresses(2, 1).config(config).renomination(draft).build();
        assert!(pair.run_until_selected(secs(2)));
        pair.run_for(secs(3));
        let (stream, mut used) = (pair.stream(), Vec::new());
        for _ in 0..4 {
            let current = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id;
            let other = pair.l.agent.pairs().find(|one| one.is_valid && one.id != current).unwrap().id;
            pair.l.agent.nominate(pair.now(), other).unwrap();
            pair.drain(SideName::L);
            pair.run_for(secs(3));
            assert_eq!(pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id, other);
            assert!(pair.agrees(), "{draft:?}");
            used.push(other);
        }
        assert_eq!(used[0], used[2]);
        let values: Vec<_> =
            requests(&pair.l.sent).into_iter().filter_map(|(_, request, _)| request.nomination).collect();
        let mut distinct = values.clone();
        distinct.dedup();
        assert_eq!(distinct, [1, 2, 3, 4, 5], "{draft:?}");
        let flags = requests(&pair.l.sent).into_iter().all(|(_, one, _)| one.use_candidate == one.nomination.is_some());
        assert!(flags, "{draft:?}: every nomination has its value");
    }
}

/// Req: 8445-8.1.1-c
/// Req: renom1-3-a
#[test]
fn a_peer_of_rfc_8445_never_sees_a_second_nomination() {
    let mut pair = setup("one nomination").addresses(2, 1).config(silent(Config::default())).build();
    assert!(pair.run_until_selected(secs(2)));
    let stream = pair.stream();
    let current = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id;
    let other = pair.l.agent.pairs().find(|one| one.is_valid && one.id != current);
    if let Some(other) = other {
        assert_eq!(pair.l.agent.clone().nominate(pair.now(), other.id), Err(NominateError::AlreadyNominated));
    }
    pair.run_for(secs(600));
    let nominated: std::collections::BTreeSet<_> = requests(&pair.l.sent)
        .into_iter()
        .filter(|(_, request, _)| request.use_candidate)
        .map(|(.., sent)| (sent.source, sent.destination))
        .collect();
    assert_eq!(nominated.len(), 1);
}

/// Req: renom2-3-a
#[test]
fn a_lost_renomination_is_repeated_with_the_same_value() {
    let policy = Arc::new(ApplicationSelects);
    let config = silent(Config::default()).with_selection_policy(policy);
    let mut pair = setup("lost").addresses(2, 1).config(config).renomination(Renomination::Draft2026).build();
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(3));
    let stream = pair.stream();
    let current = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id;
    let other = pair.l.agent.pairs().find(|one| one.is_valid && one.id != current).unwrap().id;
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut(r, l);
    pair.l.agent.nominate(pair.now(), other).unwrap();
    pair.drain(SideName::L);
    pair.run_for(ms(1800));
    pair.network.mend(r, l);
    assert_eq!(pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id, current, "nothing was answered");
    pair.run_for(secs(2));
    assert_eq!(pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id, other);
    assert!(pair.agrees());
    let values: Vec<_> = requests(&pair.l.sent).into_iter().filter_map(|(_, request, _)| request.nomination).collect();
    assert!(values.len() > 3 && values.iter().all(|value| *value <= 2), "{values:?}");
}

/// Req: renom2-3-b
#[test]
fn a_malformed_value_of_the_later_draft_is_a_bad_request() {
    let mut script = both_valid(Some(Renomination::Draft2026));
    nominate(&mut script, BEST, true, Some((NOMINATION, &[1, 2])));
    assert!(script.take().iter().any(|out| matches!(out.wire, Wire::Error { code: Some(400), .. })));
    assert_eq!(script.selected(), None);
}
