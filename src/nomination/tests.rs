//! What is decided about a nomination, without agents: from pairs on a checklist, and what has come.

use core::time::Duration;

use super::*;
use crate::candidate::Priority;
use crate::checklist::{Insert, NewPair, PairFoundation, PairPriority, Purpose, Start, Why};
use crate::types::{
    CandidateId, ComponentId, Path, Renomination, Role, Schedule, StreamId, Tiebreaker, Transport, after,
};

const STREAM: StreamId = StreamId(0);
const T0: Instant = Instant::ZERO;

fn at(ms: u64) -> Instant {
    after(T0, Duration::from_millis(ms))
}

/// A checklist with so many valid pairs, the first of which has the highest priority.
fn valid_pairs<const N: usize>() -> (ChecklistSet, [PairId; N]) {
    let mut checks = ChecklistSet::new(100, Schedule { rc: 7, rm: 16, rto: Duration::from_millis(500) });
    checks.add_list(STREAM, 1);
    let pairs = core::array::from_fn(|n| {
        let n = u16::try_from(n).unwrap();
        let [local, remote] = [1_000_000 - u32::from(n), 1000].map(|value| Priority::new(value).unwrap());
        let new = NewPair {
            stream: STREAM,
            component: ComponentId::RTP,
            generation: 0,
            local: CandidateId(0),
            remote: CandidateId(n.into()),
            path: Path::new(Transport::Udp, ([192, 0, 2, 1], 5000).into(), ([203, 0, 113, 1], 1000 + n).into()),
            priority: PairPriority::compute(Role::Controlling, local, remote),
            group: PairFoundation { local: 0, remote: n.into() },
        };
        let (id, _) = checks.insert(&new, Insert::Formed, |_| false).unwrap();
        checks.validate(T0, id, id);
        id
    });
    (checks, pairs)
}

/// A check of a pair that nominates, with a value or without one, as it leaves.
fn nominating(checks: &mut ChecklistSet, pair: PairId, value: Option<u32>, now: Instant) -> Transaction {
    let start = Start {
        id: TransactionId([u8::try_from(pair.serial).unwrap(); 12]),
        pair,
        purpose: Purpose::Nomination,
        role: Role::Controlling,
        tiebreaker: Tiebreaker::new(0),
        priority: 1,
        use_candidate: true,
        nomination: value.map(|value| (Renomination::Draft2016, value)),
        generation: 0,
        peer: 0,
        rto: Duration::from_millis(500),
        is_urgent: false,
        is_reliable: false,
    };
    let key = checks.begin(now, &start);
    checks.end(key).unwrap()
}

/// Begins to nominate a pair, and lets its check leave if `is_sent`.
fn begin(nomination: &mut Nomination, checks: &mut ChecklistSet, pair: PairId, is_sent: bool) -> Transaction {
    let _ = nomination.begin(T0, checks, (pair, pair), false, None);
    let value = nomination.attempt().unwrap().value;
    let check = nominating(checks, pair, Some(value), T0);
    if is_sent {
        let key = checks.begin(T0, &check.start);
        nomination.sent(key);
        checks.end(key);
    }
    check
}

fn held(pair: PairId) -> (ChecklistSet, [PairId; 3], Nomination) {
    let (mut checks, pairs) = valid_pairs::<3>();
    let pair = pairs[usize::try_from(pair.serial).unwrap()];
    let mut nomination = Nomination::default();
    let check = begin(&mut nomination, &mut checks, pair, true);
    assert_eq!(nomination.answered(T0, &checks, &check, pair, false), Answered::Nominated { before: None });
    (checks, pairs, nomination)
}

fn held_first() -> (ChecklistSet, [PairId; 3], Nomination) {
    held(PairId { serial: 0, slot: 0 })
}

/// Req: 8445-8.1.1-a
#[test]
fn an_answer_nominates_the_pair_and_ends_the_attempt() {
    let (mut checks, [a, b]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    assert_eq!((nomination.pair(), nomination.was_made()), (None, false));
    let check = begin(&mut nomination, &mut checks, b, true);
    assert!(nomination.is_nominating(b) && !nomination.is_nominating(a) && nomination.is_wanted(b));
    assert!(!nomination.shows(b));
    assert_eq!(nomination.answered(at(5), &checks, &check, b, false), Answered::Nominated { before: None });
    assert_eq!((nomination.pair(), nomination.since(), nomination.attempt()), (Some(b), Some(at(5)), None));
    assert!(nomination.shows(b) && !nomination.shows(a) && !nomination.is_unconfirmed());
    // Once more changes nothing.
    assert_eq!(nomination.answered(at(9), &checks, &check, b, false), Answered::Nothing);
    assert_eq!(nomination.since(), Some(at(5)));
}

#[test]
fn without_values_an_answer_about_another_pair_has_the_one_that_counts_told_again() {
    // It is the nominated one that counts, and before there is one, that of the attempt that has left.
    let (mut checks, [a, b, _], mut nomination) = held_first();
    let late = nominating(&mut checks, b, None, T0);
    assert_eq!(nomination.answered(at(1), &checks, &late, b, false), Answered::TellAgain(a));
    assert_eq!(nomination.pair(), Some(a));

    let (mut checks, [a, b]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    let _ = begin(&mut nomination, &mut checks, a, true);
    let late = nominating(&mut checks, b, None, T0);
    assert_eq!(nomination.answered(at(1), &checks, &late, b, false), Answered::TellAgain(a));
    assert_eq!((nomination.pair(), nomination.is_nominating(a)), (None, true));
    // One that has not left yet cannot be what the peer prefers.
    let mut nomination = Nomination::default();
    let _ = begin(&mut nomination, &mut checks, a, false);
    assert_eq!(nomination.answered(at(1), &checks, &late, b, false), Answered::Nominated { before: None });
    assert_eq!(nomination.pair(), Some(b));
}

#[test]
fn without_values_an_answer_from_before_the_attempt_says_nothing_about_it() {
    let (mut checks, [a]) = valid_pairs::<1>();
    let mut nomination = Nomination::default();
    let early = nominating(&mut checks, a, None, T0);
    let _ = nomination.begin(at(10), &checks, (a, a), false, None);
    assert_eq!(nomination.answered(at(11), &checks, &early, a, false), Answered::Nothing);
    assert!(nomination.pair().is_none() && nomination.is_nominating(a));
    let timely = nominating(&mut checks, a, None, at(10));
    assert_eq!(nomination.answered(at(11), &checks, &timely, a, false), Answered::Nominated { before: None });
}

#[test]
fn with_values_only_an_answer_to_the_highest_one_that_has_left_counts() {
    let (mut checks, [a, b, c], mut nomination) = held_first();
    let first = begin(&mut nomination, &mut checks, b, true);
    let second = begin(&mut nomination, &mut checks, c, true);
    assert_eq!((first.start.nomination.unwrap().1, second.start.nomination.unwrap().1), (2, 3));
    assert!(nomination.is_unconfirmed());
    assert_eq!(nomination.answered(at(1), &checks, &first, b, true), Answered::Nothing);
    let none = nominating(&mut checks, c, None, T0);
    assert_eq!(nomination.answered(at(1), &checks, &none, c, true), Answered::Nothing);
    assert_eq!((nomination.pair(), nomination.is_nominating(c)), (Some(a), true));
    assert_eq!(nomination.answered(at(2), &checks, &second, c, true), Answered::Nominated { before: Some(a) });
    assert!(nomination.shows(c) && !nomination.shows(a) && !nomination.is_unconfirmed());
    assert_eq!(nomination.agreed(), Some(3));
}

#[test]
fn an_answer_ends_another_attempt_unless_that_is_forced_or_only_repeats_what_is_so() {
    // Whether the attempt of another pair is forced, and whether the answer repeats what is so: whether the attempt goes on.
    for (is_forced, is_repeated, goes_on) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
    {
        let (mut checks, [a, b, c], mut nomination) = held_first();
        let answered = if is_repeated { a } else { b };
        let check = begin(&mut nomination, &mut checks, answered, true);
        let _ = nomination.begin(T0, &checks, (c, c), is_forced, None);
        let found = nomination.answered(at(1), &checks, &check, answered, true);
        let expected = if is_repeated { Answered::Nothing } else { Answered::Nominated { before: Some(a) } };
        assert_eq!(found, expected);
        assert_eq!(nomination.is_nominating(c), goes_on, "forced {is_forced}, repeated {is_repeated}");
    }
}

#[test]
fn what_was_agreed_and_is_lost_is_replaced_only_where_pairs_may_be_nominated_again() {
    for can_renominate in [false, true] {
        let (mut checks, [a, b, _], mut nomination) = held_first();
        assert_eq!(nomination.lose(a), None);
        assert_eq!((nomination.pair(), nomination.was_made(), nomination.shows(a)), (None, true, false));
        assert_eq!(nomination.is_open(can_renominate, true), can_renominate);
        let check = begin(&mut nomination, &mut checks, b, true);
        let expected = if can_renominate { Answered::Nominated { before: None } } else { Answered::Nothing };
        assert_eq!(nomination.answered(at(1), &checks, &check, b, can_renominate), expected);
    }
}

#[test]
fn the_policy_may_think_over_what_has_not_left_and_was_not_forced() {
    // Tries so far, forced, first time: whether the policy is asked.
    let table = [
        (0, false, true, true),
        (0, false, false, false),
        (0, true, true, false),
        (1, false, true, false),
        (1, true, false, false),
    ];
    for (tries, is_forced, may_reconsider, expected) in table {
        let (mut checks, [a]) = valid_pairs::<1>();
        let mut nomination = Nomination::default();
        assert!(nomination.is_open(false, may_reconsider));
        let _ = nomination.begin(T0, &checks, (a, a), is_forced, None);
        let check = nominating(&mut checks, a, None, T0);
        for _ in 0..tries {
            let key = checks.begin(T0, &check.start);
            nomination.sent(key);
            checks.end(key);
        }
        assert_eq!(nomination.is_open(false, may_reconsider), expected, "{tries} {is_forced} {may_reconsider}");
    }
}

#[test]
fn an_attempt_that_begins_again_keeps_its_value_and_what_it_took_and_another_one_has_a_higher_value() {
    let (mut checks, [a, b]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    assert_eq!(nomination.begin(T0, &checks, (a, a), false, None), (None, true));
    let check = nominating(&mut checks, a, Some(1), T0);
    let key = checks.begin(T0, &check.start);
    assert_eq!(nomination.sent(key), 1);
    assert_eq!(nomination.begin(at(1), &checks, (a, a), true, None), (Some(a), false));
    let attempt = nomination.attempt().unwrap();
    assert_eq!((attempt.value, attempt.tries, attempt.since, attempt.is_forced), (1, 1, at(1), true));
    assert_eq!(nomination.begin(at(2), &checks, (b, b), false, None), (Some(a), true));
    let attempt = nomination.attempt().unwrap();
    assert_eq!((attempt.value, attempt.tries, attempt.is_affirming), (2, 0, false));
    assert_eq!(nomination.give_up(), Some(b));
    assert_eq!(nomination.give_up(), None);
}

#[test]
fn a_nomination_of_the_pair_that_is_kept_affirms_and_a_refusal_of_it_is_an_answer() {
    let (mut checks, [a, b, _], mut nomination) = held_first();
    let _ = begin(&mut nomination, &mut checks, b, true);
    assert!(!nomination.attempt().unwrap().is_affirming && nomination.is_unconfirmed());
    nomination.refused();
    assert!(nomination.is_unconfirmed(), "the peer may follow one that it has refused before");
    let _ = begin(&mut nomination, &mut checks, a, true);
    assert!(nomination.attempt().unwrap().is_affirming);
    nomination.refused();
    assert!(!nomination.is_unconfirmed());
}

#[test]
fn whoever_is_lost_takes_the_attempt_along_and_what_the_application_wanted() {
    let (mut checks, [a, b, c], mut nomination) = held_first();
    let _ = begin(&mut nomination, &mut checks, b, true);
    nomination.pin(Some(b));
    assert_eq!(nomination.lose(c), None);
    assert_eq!(nomination.lose(b), Some(b));
    assert_eq!((nomination.attempt(), nomination.pinned(), nomination.pair()), (None, None, Some(a)));
}

fn asked(order: u64, is_deliberate: bool, value: Option<u32>) -> (Request, u64) {
    let id = TransactionId([u8::try_from(order).unwrap(); 12]);
    (Request { nominating: Some((id, value)), is_plain: false, is_deliberate }, order)
}

/// Lets the peer nominate a pair, and follows.
fn follow(
    nomination: &mut Nomination,
    checks: &ChecklistSet,
    pair: PairId,
    (request, order): (Request, u64),
    choice: NominationChoice,
) -> Followed {
    let _ = nomination.heard(pair, request, order);
    nomination.follow(at(order), checks, pair, choice)
}

/// Req: 8445-7.3.1.5-a
#[test]
fn of_a_peer_that_picks_pairs_the_last_nomination_counts_and_of_one_that_does_not_the_highest() {
    let (checks, [high, low]) = valid_pairs::<2>();
    for (is_deliberate, order, expected) in
        [(true, [high, low], low), (true, [low, high], high), (false, [high, low], high), (false, [low, high], high)]
    {
        let mut nomination = Nomination::default();
        for (n, pair) in (1..).zip(order) {
            let _ = follow(&mut nomination, &checks, pair, asked(n, is_deliberate, None), NominationChoice::Auto);
        }
        assert_eq!(nomination.pair(), Some(expected), "deliberate {is_deliberate}, {order:?}");
        // Only a peer that may nominate them all leaves both nominated.
        let both = !is_deliberate && order == [high, low];
        assert_eq!(nomination.shows(high) && nomination.shows(low), both, "deliberate {is_deliberate}, {order:?}");
    }
}

#[test]
fn a_nomination_is_followed_once_the_check_of_its_pair_has_succeeded_and_not_after_a_later_one() {
    let (mut checks, [a, b]) = valid_pairs::<2>();
    checks.forget_valid_pair(a);
    let mut nomination = Nomination::default();
    let last = NominationChoice::Last;
    assert_eq!(nomination.follow(T0, &checks, b, last), Followed::Nothing, "nobody has asked");
    assert_eq!(follow(&mut nomination, &checks, a, asked(1, true, None), last), Followed::Nothing);
    let found = follow(&mut nomination, &checks, b, asked(2, true, None), last);
    let by = Asked { is_deliberate: true, order: 2, value: None };
    assert_eq!(found, Followed::Nominated { pair: b, by });
    checks.validate(T0, a, a);
    assert_eq!(nomination.follow(at(9), &checks, a, last), Followed::Outdated);
    assert_eq!((nomination.asked(a), nomination.pair()), (None, Some(b)));
}

#[test]
fn a_lower_pair_of_a_peer_that_nominates_all_is_noted_and_shown() {
    let (checks, [high, low]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    let highest = NominationChoice::Highest;
    let _ = follow(&mut nomination, &checks, high, asked(1, false, None), highest);
    assert_eq!(follow(&mut nomination, &checks, low, asked(2, false, None), highest), Followed::Noted(low));
    assert_eq!((nomination.pair(), nomination.shows(low), nomination.since()), (Some(high), true, Some(at(1))));
    // The same again changes nothing.
    assert_eq!(nomination.follow(at(9), &checks, high, highest), Followed::Noted(high));
    assert_eq!(nomination.since(), Some(at(1)));
}

#[test]
fn values_are_outranked_by_higher_ones_and_by_the_same_of_another_pair() {
    let (_, [a, b]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    assert!(!nomination.is_outdated(a, None) && !nomination.is_outdated(a, Some(0)));
    let (request, order) = asked(1, true, Some(5));
    assert_eq!(nomination.heard(a, request, order), Heard::Nominated);
    let outdated = |pair, value| nomination.is_outdated(pair, value);
    assert_eq!([None, Some(4), Some(5), Some(6)].map(|value| outdated(a, value)), [true, true, false, false]);
    assert_eq!([None, Some(4), Some(5), Some(6)].map(|value| outdated(b, value)), [true, true, true, false]);
}

#[test]
fn a_change_of_roles_forgets_what_was_not_agreed() {
    let (mut checks, [a, b, c], mut nomination) = held_first();
    let _ = begin(&mut nomination, &mut checks, b, true);
    assert_eq!(nomination.take_role(true), Some(b));
    assert_eq!((nomination.pair(), nomination.agreed(), nomination.attempt()), (Some(a), None, None));
    // Our value 2 was not confirmed, so that the peer may nominate by it; 1 was.
    assert!(nomination.is_outdated(c, Some(1)) && !nomination.is_outdated(c, Some(2)));
    let (request, order) = asked(1, true, Some(7));
    let _ = nomination.heard(c, request, order);
    assert_eq!(nomination.take_role(false), None);
    assert_eq!(nomination.asked(c), None);
    // As the controlling side again, its next value is above all that was seen.
    let _ = nomination.begin(T0, &checks, (b, b), false, None);
    assert_eq!(nomination.attempt().unwrap().value, 8);
}

/// Req: 8445-9-a
#[test]
fn a_restart_forgets_all_but_that_the_pair_in_use_was_nominated() {
    let (mut checks, [a, b, _], mut nomination) = held_first();
    let _ = begin(&mut nomination, &mut checks, b, true);
    nomination.pin(Some(a));
    nomination.wait_until(Some(at(7)));
    nomination.restart(Some(a));
    assert_eq!((nomination.pair(), nomination.attempt(), nomination.pinned()), (None, None, None));
    assert!(nomination.shows(a) && !nomination.shows(b) && !nomination.was_made());
    assert_eq!((nomination.deadline(), nomination.agreed(), nomination.first_valid_at()), (None, None, None));
    assert!(!nomination.is_outdated(a, None));
    // A second restart in the meantime keeps it, and its end forgets it.
    nomination.restart(Some(a));
    assert!(nomination.shows(a));
    assert_eq!(nomination.lose(a), None);
    assert!(!nomination.shows(a));
}

#[test]
fn a_pair_seen_under_another_address_takes_the_place_of_the_one_that_was_nominated() {
    for was_asked in [false, true] {
        let (mut checks, [old, new, _], mut nomination) = held_first();
        nomination.pin(Some(old));
        if was_asked {
            let (request, order) = asked(1, true, None);
            let _ = nomination.heard(old, request, order);
        }
        let attempt = begin(&mut nomination, &mut checks, old, true);
        let found = nomination.readdress(at(4), &checks, old, new);
        assert_eq!(found.map(|attempt| attempt.valid), Some(old));
        assert_eq!((nomination.pair(), nomination.since(), nomination.pinned()), (Some(new), Some(at(4)), Some(new)));
        assert_eq!((nomination.asked(new).is_some(), nomination.asked(old)), (was_asked, None));
        assert_eq!(attempt.start.pair, old);
    }
}

#[test]
fn a_lite_agent_follows_the_last_nomination_and_no_replay_from_elsewhere() {
    let (checks, [a, b]) = valid_pairs::<2>();
    let mut nomination = Nomination::default();
    let ask = |order| Asked { is_deliberate: true, order, value: None };
    nomination.ask(a, ask(1));
    assert_eq!(nomination.follow_unchecked(T0, &checks, a, NominationChoice::Auto), None);
    nomination.ask(b, ask(2));
    assert_eq!(nomination.follow_unchecked(at(1), &checks, b, NominationChoice::Auto), Some(a));
    assert_eq!((nomination.pair(), nomination.shows(a), nomination.shows(b)), (Some(b), false, true));
    // An older one, such as of a check that has waited for the peer's description, is shown and not followed.
    assert_eq!(nomination.follow_unchecked(at(2), &checks, a, NominationChoice::Auto), None);
    assert_eq!((nomination.pair(), nomination.shows(a)), (Some(b), true));

    let random = Random::new(&crate::types::Seed::from_name("replays"));
    let id = TransactionId([7; 12]);
    assert!(nomination.is_fresh(id, false, &random), "it is new");
    assert!(!nomination.is_fresh(id, false, &random), "it is a replay");
    assert!(nomination.is_fresh(id, true, &random), "where it counts it does no harm");
}

#[test]
fn a_pair_made_after_the_nomination_is_told_from_one_made_before() {
    let (mut checks, [a, b, _], nomination) = held_first();
    assert!(!nomination.is_older_than(a) && !nomination.is_older_than(b));
    let later = PairId { serial: checks.next_serial(), slot: 9 };
    assert!(nomination.is_older_than(later));
    assert!(Nomination::default().is_older_than(a), "nothing was nominated before it");
    assert!(checks.drop(a, Why::Removed).is_some());
}

#[test]
fn the_address_of_the_nominated_path_is_watched_until_the_path_is_gone() {
    let (mut checks, [a, b]) = valid_pairs::<2>();
    let address = |port| SocketAddr::from(([198, 51, 100, 1], port));
    let mut nomination = Nomination::default();
    assert!(nomination.is_mapping_settled());
    let _ = nomination.begin(T0, &checks, (a, a), false, Some(address(1)));
    assert!(nomination.is_mapping_settled());
    assert!(!nomination.observe(T0, a, address(1), false));
    assert!(nomination.observe(T0, a, address(2), false), "the peer sees another pair now");
    assert!(!nomination.observe(T0, b, address(3), false), "that is another path");
    // Nominating the same path again, as another address or not, forgets nothing of it; another path begins anew.
    let _ = nomination.begin(T0, &checks, (a, a), false, Some(address(9)));
    assert!(!nomination.observe(T0, a, address(2), false));
    let _ = nomination.lose(a);
    assert!(!nomination.observe(T0, a, address(5), false));
    let check = nominating(&mut checks, b, None, T0);
    assert_eq!(check.start.pair, b);
}

#[test]
fn the_policy_is_asked_again_when_it_wanted_to_be() {
    let mut nomination = Nomination::default();
    assert!(!nomination.expire(at(100)));
    nomination.wait_until(Some(at(50)));
    assert_eq!((nomination.deadline(), nomination.expire(at(49))), (Some(at(50)), false));
    assert_eq!((nomination.expire(at(50)), nomination.deadline()), (true, None));
}

#[test]
fn the_first_valid_pair_is_remembered_and_no_later_one() {
    let mut nomination = Nomination::default();
    nomination.pair_valid(at(3));
    nomination.pair_valid(at(8));
    assert_eq!(nomination.first_valid_at(), Some(at(3)));
}
