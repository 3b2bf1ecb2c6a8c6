//! Which pairs go, and that whoever leaves is counted nowhere any more.

use super::*;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::candidate::Priority;
use crate::stun::TransactionId;
use crate::types::{Instant, Role, Tiebreaker, Transport};

pub(super) const SCHEDULE: Schedule = Schedule { rc: 7, rm: 16, rto: Duration::from_millis(500) };
const A: StreamId = StreamId(0);
const B: StreamId = StreamId(1);

/// A set with two lists that holds so many pairs.
fn set(limit: usize) -> ChecklistSet {
    let mut set = ChecklistSet::new(limit, SCHEDULE);
    set.add_list(A, 1);
    set.add_list(B, 1);
    set
}

/// A pair to a port of the peer that no other pair has; `priority` is that of the peer's candidate.
fn new(stream: StreamId, port: u16, priority: u32, foundation: u32) -> NewPair {
    let [local, remote] = [1_000_000, priority].map(|value| Priority::new(value).expect("it is in range"));
    NewPair {
        stream,
        component: ComponentId::RTP,
        generation: 0,
        local: CandidateId(0),
        remote: CandidateId(u64::from(port)),
        path: Path {
            transport: Transport::Udp,
            base: ([192, 0, 2, 1], 5000).into(),
            remote: ([203, 0, 113, 1], port).into(),
            flow: None,
        },
        priority: PairPriority::compute(Role::Controlling, local, remote),
        group: PairFoundation { local: 0, remote: foundation },
    }
}

fn insert(set: &mut ChecklistSet, new: &NewPair) -> PairId {
    set.insert(new, Insert::Formed, |_| false).expect("there is room").0
}

/// Req: 8445-6.1.2.5-a
#[test]
fn of_pairs_of_one_priority_those_that_are_there_stay() {
    let mut set = set(2);
    let known = [1, 2].map(|port| insert(&mut set, &new(A, port, 50, 0)));
    assert!(set.insert(&new(A, 3, 50, 0), Insert::Formed, |_| false).is_none());
    assert!(known.iter().all(|id| set.get(*id).is_some()));
    // One of a higher priority takes the place of one of them.
    assert!(set.insert(&new(A, 4, 51, 0), Insert::Formed, |_| false).is_some());
    assert_eq!(known.iter().filter(|id| set.get(**id).is_some()).count(), 1);
}

/// Req: 8445-6.1.2.5-a
#[test]
fn of_two_lists_of_one_length_neither_loses_a_pair_for_the_other() {
    for (newcomer, other) in [(A, B), (B, A)] {
        let mut set = set(4);
        let mut checked = None;
        for port in [1, 2] {
            checked = Some(insert(&mut set, &new(newcomer, port, 50, 0)));
            insert(&mut set, &new(other, 10 + port, 50, 1));
        }
        // One of the newcomer's is on its way, and cannot go.
        set.settle_fresh();
        let checked = checked.expect("there is one");
        set.trigger(checked);
        set.start(checked, TransactionKey::for_tests(0));
        assert!(set.insert(&new(newcomer, 3, 10, 0), Insert::Formed, |_| false).is_none(), "{newcomer:?}");
        assert_eq!(set.list(other).map(|list| list.listed), Some(2));
    }
}

#[test]
fn the_longer_list_loses_a_pair_for_the_shorter_one() {
    let mut set = set(3);
    for port in [1, 2, 3] {
        insert(&mut set, &new(A, port, 50, 0));
    }
    insert(&mut set, &new(B, 10, 10, 1));
    assert_eq!([A, B].map(|stream| set.list(stream).map(|list| list.listed)), [Some(2), Some(1)]);
}

#[test]
fn a_pair_that_fails_while_it_waits_for_its_nomination_is_not_checked() {
    let mut set = set(10);
    let [one, other] = [1, 2].map(|port| insert(&mut set, &new(A, port, 50, u32::from(port))));
    set.settle_fresh();
    set.start(one, TransactionKey::for_tests(0));
    set.succeed(one, false);
    set.trigger(one);
    let _ = set.drop(one, Why::Failed);
    assert_eq!(set.next(), Some(other));
    set.start(other, TransactionKey::for_tests(1));
    assert_eq!(set.next(), None);
}

/// A restart takes the pairs of before off the lists, whatever they were at.
#[test]
fn a_pair_that_a_restart_takes_off_its_list_holds_up_nobody() {
    for is_triggered in [false, true] {
        let mut set = set(10);
        let old = insert(&mut set, &new(A, 1, 50, 0));
        set.settle_fresh();
        assert_eq!(set.busy(), 1);
        if is_triggered {
            set.trigger(old);
        }
        set.delist(old);
        assert_eq!((set.busy(), set.len()), (0, 0), "triggered {is_triggered}");
        assert!(!set.has_work());
        assert_eq!(set.next(), None);
        assert!(set.list(A).is_some_and(Checklist::is_exhausted));
        // Nobody of its foundation is on its way: the topmost of the new ones begins.
        let [first, second] = [2, 3].map(|port| insert(&mut set, &new(A, port, 60 - u32::from(port), 0)));
        set.settle_fresh();
        let states = [first, second].map(|id| set.get(id).map(|pair| pair.state.get()));
        assert_eq!(states, [Some(CandidatePairState::Waiting), Some(CandidatePairState::Frozen)]);
    }
}

/// Req: 8445-7.2.1-a
#[test]
#[cfg(feature = "turn")]
fn a_pair_that_waits_for_its_permission_takes_no_turn_and_is_checked_once_it_may() {
    let mut set = set(10);
    let [held, other] = [1, 2].map(|port| insert(&mut set, &new(A, port, 50 - u32::from(port), u32::from(port))));
    let _ = set.drop(held, Why::AwaitsPermission);
    set.settle_fresh();
    assert_eq!(set.next(), Some(other));
    set.start(other, TransactionKey::for_tests(0));
    assert_eq!(set.next(), None);
    assert!(!set.has_work());
    assert!(!set.list(A).is_some_and(Checklist::is_exhausted), "its check is still to come");
    // The peer checks it meanwhile: then it comes before others, but not before its time.
    set.trigger(held);
    assert_eq!(set.next(), None);
    set.permit(held);
    assert_eq!(set.next(), Some(held));
}

/// A check of a pair; its ID is made of the pair's number.
fn check(id: PairId) -> Start {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&id.serial.to_be_bytes());
    Start {
        id: TransactionId(bytes),
        pair: id,
        purpose: Purpose::Check,
        role: Role::Controlling,
        tiebreaker: Tiebreaker::new(0),
        priority: 1,
        use_candidate: false,
        nomination: None,
        generation: 0,
        peer: 0,
        rto: SCHEDULE.rto,
        is_urgent: false,
        is_reliable: false,
    }
}

/// The states that a pair can be in when it is dropped: Frozen, Waiting, triggered, In-Progress, Succeeded, succeeded and to be
/// nominated, Failed, waiting for a permission and to be triggered then.
const STATES: [char; 8] = ['Z', 'W', 't', 'I', 'S', 'n', 'F', 'p'];

/// A set with a pair in such a state, and that pair.
fn in_state(state: char) -> (ChecklistSet, PairId) {
    let mut set = set(10);
    let id = insert(&mut set, &new(A, 1, 50, 0));
    if state == 'Z' {
        return (set, id);
    }
    set.settle_fresh();
    if matches!(state, 'I' | 'S' | 'n' | 'F') {
        let key = set.begin(Instant::ZERO, &check(id));
        // One that is answered, or was not in time, is over.
        let _ = (state != 'I').then(|| set.end(key));
    }
    match state {
        'S' | 'n' => set.succeed(id, false),
        'F' => assert!(set.drop(id, Why::Failed).is_none()),
        'p' => assert!(set.drop(id, Why::AwaitsPermission).is_none()),
        _ => {}
    }
    if matches!(state, 't' | 'n' | 'p') {
        set.trigger(id);
    }
    (set, id)
}

/// What there is of the pair: its state, a star if it waits in the queue of triggered checks, a bar without turns, an
/// exclamation mark if it is never checked again, and whether its check is repeated (`~`), only counts if it is answered (`?`),
/// or is not there.
fn outcome(set: &ChecklistSet, id: PairId) -> String {
    let mut text = String::new();
    let Some(pair) = set.get(id) else { return "gone".into() };
    text.push(match pair.state.get() {
        CandidatePairState::Frozen => 'Z',
        CandidatePairState::Waiting => 'W',
        CandidatePairState::InProgress => 'I',
        CandidatePairState::Succeeded => 'S',
        CandidatePairState::Failed => 'F',
    });
    let list = set.list(A).expect("there is a list");
    assert_eq!(list.triggered.contains(&id), pair.is_queued);
    let asked = set.asked(check(id).id).map(|(_, check)| if check.is_cancelled { '?' } else { '~' });
    let marks = [(pair.is_queued, '*'), (pair.is_held, '|'), (pair.is_barred, '!')];
    text.extend(marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark));
    text.extend(asked);
    text
}

/// Req: 8445-6.1.2.6-a
#[test]
fn a_pair_is_dropped_for_six_reasons_and_leaves_behind_what_the_table_says() {
    let table: [(Why, [&str; 8]); 6] = [
        // From:                   Z       W       t       I       S       n       F       p
        (Why::Failed, ["F", "F", "F", "F?", "F", "F", "F", "F"]),
        (Why::Postponed, ["F", "F", "F", "F?", "S", "S", "F", "F"]),
        (Why::AwaitsPermission, ["Z|", "W|", "W|", "I|~", "S|", "S|", "F|", "W|"]),
        (Why::ConsentLost, ["F!", "F!", "F!", "F!?", "F!", "F!", "F!", "F!"]),
        (Why::Superseded, ["gone", "gone", "gone", "I?", "S", "S", "F", "gone"]),
        (Why::Removed, ["gone"; 8]),
    ];
    for (why, expected) in table {
        let found = STATES.map(|state| {
            let (mut set, id) = in_state(state);
            let departed = set.drop(id, why);
            assert_eq!(
                departed.map(|gone| gone.pair.id),
                Some(id).filter(|_| set.get(id).is_none()),
                "{why:?} {state}"
            );
            // Whoever is gone has no check, and neither list nor foundation waits for one that is out of turn.
            assert!(set.get(id).is_some() || set.checks() == 0, "{why:?} {state}");
            let is_over = why != Why::AwaitsPermission;
            assert!(!is_over || set.list(A).is_some_and(Checklist::is_exhausted), "{why:?} {state}");
            let idle = set.groups.get(PairFoundation { local: 0, remote: 0 }).map_or(0, |group| group.busy);
            assert!(!is_over || idle == 0, "{why:?} {state}");
            #[cfg(feature = "sim")]
            assert_eq!(set.audit(), Ok(()), "{why:?} {state}");
            outcome(&set, id)
        });
        assert_eq!(found, expected, "{why:?}");
    }
}

#[test]
fn only_a_pair_that_has_lost_consent_is_never_triggered_again() {
    let table = [
        (Why::Failed, "W*?"),
        (Why::Postponed, "W*?"),
        (Why::AwaitsPermission, "W|?"),
        (Why::ConsentLost, "F!?"),
        (Why::Superseded, "W*?"),
        (Why::Removed, "gone"),
    ];
    for (why, expected) in table {
        let (mut set, id) = in_state('I');
        let _ = set.drop(id, why);
        set.trigger(id);
        assert_eq!(outcome(&set, id), expected, "{why:?}");
    }
}

#[test]
fn of_a_component_all_are_dropped_but_those_to_be_kept() {
    let mut set = set(10);
    let [kept, other, foreign] =
        [(A, 1), (A, 2), (B, 3)].map(|(stream, port)| insert(&mut set, &new(stream, port, 50, u32::from(port))));
    set.settle_fresh();
    let gone = set.drop_others((A, ComponentId::RTP), Why::Superseded, |pair| pair.id == kept);
    assert_eq!(gone.iter().map(|gone| gone.pair.id).collect::<Vec<_>>(), [other]);
    assert_eq!([kept, other, foreign].map(|id| set.get(id).is_some()), [true, false, true]);
}
