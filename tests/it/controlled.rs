//! The controlled side follows the nominations of its peer, and only those.

use nilas::sim::Wire;
use nilas::{CandidateKind, Config, ConnectionState, NominationChoice, RemoteDescription, Role};

use crate::help::{ms, secs};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

fn controlled() -> Script {
    Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true))
}

/// Both pairs valid, none nominated.
fn both_valid(config: Config, describe: impl FnOnce(RemoteDescription) -> RemoteDescription) -> Script {
    let mut script = Script::new(Role::Controlled, config, describe);
    script.answer(BEST);
    script.answer_next(OTHER);
    assert!(script.pair_to(BEST).is_valid && script.pair_to(OTHER).is_valid);
    script
}

/// S077
/// Req: 8445-7.3.1.5-b
#[test]
fn a_nominated_pair_is_not_selected_before_its_own_check_has_succeeded() {
    let mut script = controlled();
    script.check(BEST, true);
    let replies = script.take();
    assert!(replies.iter().any(|out| matches!(out.wire, Wire::Success { .. })), "the request is answered");
    script.run_for(secs(30));
    assert!(!script.pair_to(BEST).is_valid && !script.pair_to(BEST).is_nominated);
    assert_eq!((script.selected(), script.selections()), (None, 0));
    assert_eq!(script.agent.state(), ConnectionState::Checking);
    script.answer(BEST);
    assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 1));
    assert!(script.pair_to(BEST).is_nominated);
}

/// S077
/// Req: 8445-7.3.1.5-b
#[test]
fn the_answer_to_a_check_that_was_superseded_by_the_nomination_counts() {
    let mut script = controlled();
    let first = script.requests_to(BEST)[0].1.id;
    script.check(BEST, true);
    script.run_for(ms(60));
    assert_eq!(script.requests_to(BEST).len(), 2, "the nomination triggers a check of its own");
    assert!(script.answer_as(BEST, first, LOCAL));
    assert_eq!(script.selected(), Some(socket(BEST)));
}

/// Req: 8445-7.3.1.5-a
#[test]
fn a_nomination_of_a_pair_that_has_succeeded_selects_at_once() {
    let mut script = both_valid(Config::default(), |remote| remote.with_ice2(true));
    assert_eq!(script.selected(), None);
    script.check(BEST, true);
    assert_eq!(script.selected(), Some(socket(BEST)));
    let before = script.requests_to(BEST).len();
    script.run_for(secs(5));
    assert_eq!(script.requests_to(BEST).len(), before, "a pair that has succeeded is not checked again");
}

/// Req: 8445-7.3.1.5-a
#[test]
fn the_nominated_pair_is_the_valid_one_that_the_check_produced() {
    let mut script = controlled();
    let id = script.requests_to(BEST)[0].1.id;
    assert!(script.answer_as(BEST, id, "192.0.2.77:1024"));
    script.check(BEST, true);
    let selected = script.agent.selected_pair(script.stream, nilas::ComponentId::RTP).unwrap();
    assert_eq!(selected.local.kind(), CandidateKind::PeerReflexive);
    assert_eq!(selected.local.socket_address(), Some(socket("192.0.2.77:1024")));
    assert_eq!((selected.base, selected.is_nominated), (socket(LOCAL), true));
}

/// S078
#[test]
fn the_pair_in_use_gives_way_to_the_one_that_the_peer_nominates() {
    let mut script = both_valid(Config::default(), |remote| remote.with_ice2(true));
    let used = script.agent.usable_pair(script.stream, nilas::ComponentId::RTP).unwrap();
    assert_eq!(used.remote.socket_address(), Some(socket(BEST)));
    script.check(OTHER, true);
    assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 1));
}

/// S079
#[test]
fn the_later_nomination_wins_and_a_late_copy_of_the_earlier_changes_nothing() {
    let mut script = both_valid(Config::default(), |remote| remote.with_ice2(true));
    let first = script.check(BEST, true);
    assert_eq!(script.selected(), Some(socket(BEST)));
    script.check(OTHER, true);
    assert_eq!(script.selected(), Some(socket(OTHER)));
    for _ in 0..3 {
        script.hear(BEST, &first);
        script.run_for(secs(1));
        assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 2));
    }
}

/// S079
#[test]
fn a_late_copy_of_any_of_many_repeated_nominations_changes_nothing() {
    let mut script = both_valid(Config::default(), |remote| remote.with_ice2(true));
    let first: Vec<_> = (0..12).map(|_| script.check(BEST, true)).collect();
    script.check(OTHER, true);
    for copy in &first {
        script.hear(BEST, copy);
        assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 2));
    }
}

/// S079
#[test]
fn of_two_nominations_before_the_checks_have_succeeded_the_later_wins_in_either_order() {
    for order in [[BEST, OTHER], [OTHER, BEST]] {
        let mut script = controlled();
        let first = script.check(BEST, true);
        script.check(OTHER, true);
        script.hear(BEST, &first);
        script.run_for(secs(1));
        for to in order {
            script.answer(to);
        }
        script.run_for(secs(1));
        assert_eq!(script.selected(), Some(socket(OTHER)), "answered in the order {order:?}");
    }
}

/// Req: 5245-8.1.1-a
#[test]
fn a_peer_that_puts_the_flag_into_first_checks_moves_the_selection_only_upward() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    script.check(OTHER, true);
    script.answer_next(OTHER);
    assert_eq!(script.selected(), Some(socket(OTHER)));
    script.check(BEST, true);
    script.answer_next(BEST);
    assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 2));
    for _ in 0..3 {
        script.check(OTHER, true);
        script.run_for(secs(1));
    }
    assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 2));
}

/// Req: 5245-8.1.2-a
#[test]
fn a_better_check_in_progress_goes_on_after_an_aggressive_nomination_and_a_worse_one_stops() {
    for (nominated, is_kept) in [(OTHER, true), (BEST, false)] {
        let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
        let in_progress = if is_kept { BEST } else { OTHER };
        script.run_for(ms(60));
        script.check(nominated, true);
        script.answer_next(nominated);
        assert_eq!(script.selected(), Some(socket(nominated)));
        let before = script.requests_to(in_progress).len();
        assert!(before >= 1, "it is in progress");
        script.run_for(secs(4));
        let more = script.requests_to(in_progress).len() - before;
        assert_eq!(more > 0, is_kept, "{more} repetitions to {in_progress}");
        if is_kept {
            script.answer(BEST);
            assert_eq!(script.selected(), Some(socket(OTHER)), "it is not nominated");
            script.check(BEST, true);
            assert_eq!(script.selected(), Some(socket(BEST)));
        }
    }
}

/// Req: 5245-8.1.1-a
#[test]
fn which_of_several_nominations_counts_can_be_configured() {
    for (choice, expected) in [(NominationChoice::Highest, BEST), (NominationChoice::Last, OTHER)] {
        for is_ice2 in [false, true] {
            let config = Config::default().with_nomination_choice(choice);
            let mut script = both_valid(config, |remote| remote.with_ice2(is_ice2));
            script.check(BEST, true);
            script.check(OTHER, true);
            assert_eq!(script.selected(), Some(socket(expected)), "{choice:?}, ice2 {is_ice2}");
        }
    }
}

/// S025
/// Req: 8445-7.3.1.5-c
#[test]
fn the_flag_of_a_controlled_peer_has_no_effect() {
    let config = Config::default().with_nomination_policy(std::sync::Arc::new(nilas::ApplicationNominates));
    let mut script = Script::new(Role::Controlling, config, |remote| remote);
    script.answer(BEST);
    let before = script.sent.len();
    script.check(BEST, true);
    assert!(script.sent[before..].iter().any(|out| matches!(out.wire, Wire::Success { .. })), "it is answered");
    script.run_for(secs(60));
    assert!(!script.pair_to(BEST).is_nominated);
    assert_eq!((script.selected(), script.selections(), script.agent.role()), (None, 0, Role::Controlling));
}

/// Req: 8445-7.3.1.5-c
#[test]
fn a_flag_that_came_while_controlling_does_not_count_after_a_change_of_role() {
    let config = Config::default().with_nomination_policy(std::sync::Arc::new(nilas::ApplicationNominates));
    let mut script = Script::new(Role::Controlling, config, |remote| remote);
    script.check(BEST, true);
    // The peer insists on controlling: its tiebreaker is below ours or not, a 487 to one of our checks settles it.
    script.run_for(ms(60));
    let id = script.requests_to(BEST).last().unwrap().1.id;
    assert!(script.refuse(BEST, id, 487));
    assert_eq!(script.agent.role(), Role::Controlled);
    script.answer_next(BEST);
    script.run_for(secs(5));
    assert!(script.pair_to(BEST).is_valid);
    assert_eq!(script.selected(), None);
}

/// Req: 8445-7.2.5.3.4-b
#[test]
fn a_nominated_pair_whose_own_check_is_refused_is_never_selected() {
    let mut script = controlled();
    script.check(BEST, true);
    script.run_for(ms(60));
    let id = script.requests_to(BEST).last().unwrap().1.id;
    assert!(script.refuse(BEST, id, 400));
    assert_eq!(script.pair_to(BEST).state, nilas::CandidatePairState::Failed);
    script.run_for(secs(39));
    assert_ne!(script.agent.state(), ConnectionState::Failed, "patience holds the failure back");
    assert_eq!((script.selected(), script.selections()), (None, 0));
}

/// Req: 8445-8.1.2-c
#[test]
fn late_checks_of_pairs_that_were_not_selected_are_answered() {
    let mut script = both_valid(Config::default(), |remote| remote.with_ice2(true));
    script.check(BEST, true);
    assert_eq!(script.selected(), Some(socket(BEST)));
    script.run_for(secs(1));
    script.take();
    script.check(OTHER, false);
    script.check(BEST, false);
    script.run_for(secs(1));
    let sent = script.take();
    let answers: Vec<_> =
        sent.iter().filter(|out| matches!(out.wire, Wire::Success { .. })).map(|out| out.destination).collect();
    assert_eq!(answers, [socket(OTHER), socket(BEST)]);
    assert_eq!(sent.len(), 2, "pairs that have succeeded are not checked again");
    assert_eq!(script.selections(), 1);
}

/// S078
#[test]
fn a_check_without_the_flag_nominates_nothing_even_on_a_pair_that_was_nominated_before() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    script.check(BEST, true);
    script.answer(BEST);
    script.check(OTHER, false);
    script.answer_next(OTHER);
    assert_eq!(script.selected(), Some(socket(BEST)));
    script.check(OTHER, true);
    assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 2));
    for _ in 0..3 {
        script.run_for(secs(2));
        script.check(BEST, false);
        assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 2));
    }
}
