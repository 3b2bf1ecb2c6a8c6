//! Which pairs go, and that whoever leaves is counted nowhere any more.

use super::*;
use crate::candidate::Priority;
use crate::types::{Role, Transport};

const A: StreamId = StreamId(0);
const B: StreamId = StreamId(1);

/// A set with two lists that holds so many pairs.
fn set(limit: usize) -> ChecklistSet {
    let mut set = ChecklistSet::new(limit);
    set.add_list(A);
    set.add_list(B);
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
        group: GroupKey { local: 0, remote: foundation },
    }
}

fn insert(set: &mut ChecklistSet, new: &NewPair) -> PairId {
    set.insert(new, Insert::Formed).expect("there is room").0
}

/// Req: 8445-6.1.2.5-a
#[test]
fn of_pairs_of_one_priority_those_that_are_there_stay() {
    let mut set = set(2);
    let known = [1, 2].map(|port| insert(&mut set, &new(A, port, 50, 0)));
    assert!(set.insert(&new(A, 3, 50, 0), Insert::Formed).is_none());
    assert!(known.iter().all(|id| set.get(*id).is_some()));
    // One of a higher priority takes the place of one of them.
    assert!(set.insert(&new(A, 4, 51, 0), Insert::Formed).is_some());
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
        assert!(set.insert(&new(newcomer, 3, 10, 0), Insert::Formed).is_none(), "{newcomer:?}");
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
    set.succeed(one);
    set.trigger(one);
    set.fail(one);
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
    set.hold(held);
    set.settle_fresh();
    assert_eq!(set.next(), Some(other));
    set.start(other, TransactionKey::for_tests(0));
    assert_eq!(set.next(), None);
    assert!(!set.has_work());
    assert!(!set.list(A).is_some_and(Checklist::is_exhausted), "its check is still to come");
    // The peer checks it meanwhile: then it comes before others, but not before its time.
    set.trigger(held);
    assert_eq!(set.next(), None);
    set.release(held);
    assert_eq!(set.next(), Some(held));
}

#[test]
fn sixteen_nominating_transactions_of_a_pair_are_remembered() {
    let mut set = set(1);
    let id = insert(&mut set, &new(A, 1, 50, 0));
    let pair = set.get_mut(id).expect("it is there");
    let number = |n: u8| crate::stun::TransactionId([n; 12]);
    assert!((0..17).all(|n| pair.is_new_nomination(number(n))));
    assert!((1..17).all(|n| !pair.is_new_nomination(number(n))), "those that are repeated are not new");
    assert!(pair.is_new_nomination(number(0)), "the oldest was forgotten");
    assert_eq!(pair.nominating_transactions.len(), 16);
}
