//! What the peer has nominated (RFC 8445 §7.3.1.5): which pairs, by which requests, and which of them counts.

use alloc::vec::Vec;

use crate::checklist::PairPriority;
use crate::config::limits;
use crate::stun::TransactionId;
use crate::types::{PairId, Recent};

/// Which nomination counts when the peer nominates several pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NominationChoice {
    /// The last one of a peer that nominates after checking; the highest one of a peer that puts the flag into its first
    /// checks, as RFC 5245 allowed.
    #[default]
    Auto,
    /// The pair of the highest priority (RFC 5245 §8.1.1.2).
    Highest,
    /// The pair that was nominated last.
    Last,
}

/// What the controlling peer has asked for a pair (RFC 8445 §7.3.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    /// The peer picks one pair after having checked it, so that the last nomination is the one that counts. Otherwise
    /// it may put the flag into every check as RFC 5245 allowed, and the highest pair counts.
    pub(crate) is_deliberate: bool,
    /// Counts up with each nomination of the agent's peer.
    pub(crate) order: u64,
    /// Its value, where that was negotiated.
    pub(crate) value: Option<u32>,
}

impl Asked {
    /// Whether it takes the place of another one; each stands with the priority of its pair.
    pub(crate) fn supersedes(
        self,
        choice: NominationChoice,
        priority: PairPriority,
        (held, held_priority): (Self, PairPriority),
    ) -> bool {
        if self.is_by_order(choice) { self.order > held.order } else { priority > held_priority }
    }

    /// Whether it takes the place of all before it, and not only of those of lower pairs.
    pub(crate) const fn is_by_order(self, choice: NominationChoice) -> bool {
        match choice {
            NominationChoice::Auto => self.is_deliberate,
            NominationChoice::Highest => false,
            NominationChoice::Last => true,
        }
    }
}

/// A check of the peer that nominates, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The transaction that nominates, and its value; `None` if it does not nominate, or is not to be followed.
    pub(crate) nominating: Option<(TransactionId, Option<u32>)>,
    /// The peer, while controlling, did not nominate.
    pub(crate) is_plain: bool,
    /// The peer is known to pick one pair after having checked it.
    pub(crate) is_deliberate: bool,
}

/// What a request has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It nominates nothing that was not known.
    Nothing,
    /// It nominates the pair.
    Nominated,
    /// It nominates the pair once more which was left for another one since. Nothing tells whether it was sent before or after
    /// that.
    NominatedAgain,
}

/// What is known of one pair.
#[derive(Clone, Debug)]
struct Entry {
    pair: PairId,
    /// What the peer has asked for, unless it has left the pair for another one.
    asked: Option<Asked>,
    /// Transactions with which the peer nominated it, the latest last: a copy of one is no new nomination.
    transactions: Recent<TransactionId, { limits::PAIR_NOMINATIONS }>,
    /// The peer, while controlling, checked it without nominating it.
    has_plain_check: bool,
}

/// The pairs of a component that the peer has nominated, or checked without doing so, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedPairs(Vec<Entry>);

impl AskedPairs {
    fn place(&self, pair: PairId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&pair, |entry| entry.pair)
    }

    fn get(&self, pair: PairId) -> Option<&Entry> {
        self.0.get(self.place(pair).ok()?)
    }

    fn entry(&mut self, pair: PairId) -> Option<&mut Entry> {
        let place = self.place(pair).unwrap_or_else(|place| {
            let entry = Entry { pair, asked: None, transactions: Recent::default(), has_plain_check: false };
            self.0.insert(place, entry);
            place
        });
        self.0.get_mut(place)
    }

    /// What the peer has asked for a pair, unless it has left it.
    pub(crate) fn of(&self, pair: PairId) -> Option<Asked> {
        self.get(pair)?.asked
    }

    /// Notes a request of the peer on a pair; `order` is that of its nomination, if it is one.
    pub(crate) fn note(&mut self, pair: PairId, request: Request, order: u64) -> Heard {
        if !request.is_plain && request.nominating.is_none() {
            return Heard::Nothing;
        }
        let Some(entry) = self.entry(pair) else { return Heard::Nothing };
        entry.has_plain_check |= request.is_plain;
        let Some((transaction, value)) = request.nominating else { return Heard::Nothing };
        if entry.transactions.contains(&transaction) {
            return Heard::Nothing;
        }
        let was_left = entry.asked.is_none() && !entry.transactions.is_empty();
        entry.transactions.push(transaction);
        let is_deliberate = request.is_deliberate || entry.has_plain_check;
        entry.asked = Some(Asked { is_deliberate, order, value });
        if was_left { Heard::NominatedAgain } else { Heard::Nominated }
    }

    /// Sets what the peer has asked for a pair.
    pub(crate) fn set(&mut self, pair: PairId, asked: Option<Asked>) {
        if asked.is_none() && self.place(pair).is_err() {
            return;
        }
        if let Some(entry) = self.entry(pair) {
            entry.asked = asked;
        }
    }

    /// Forgets a pair that is gone.
    pub(crate) fn forget(&mut self, pair: PairId) {
        if let Ok(place) = self.place(pair) {
            self.0.remove(place);
        }
    }

    /// Forgets what was asked for all pairs but those that `keep` holds for: the roles have changed.
    pub(crate) fn forget_asked(&mut self, keep: impl Fn(PairId) -> bool) {
        for entry in self.0.iter_mut().filter(|entry| !keep(entry.pair)) {
            entry.asked = None;
        }
    }

    /// The transactions that are remembered.
    #[cfg(feature = "sim")]
    pub(crate) fn transactions(&self) -> impl Iterator<Item = TransactionId> + '_ {
        self.0.iter().flat_map(|entry| entry.transactions.iter().copied())
    }

    /// How many pairs there are.
    #[cfg(feature = "sim")]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Priority;
    use crate::types::Role;

    const PAIR: PairId = PairId { serial: 7, slot: 0 };

    fn request(number: u8, value: Option<u32>) -> Request {
        Request { nominating: Some((TransactionId([number; 12]), value)), is_plain: false, is_deliberate: false }
    }

    #[test]
    fn sixteen_nominating_transactions_of_a_pair_are_remembered() {
        let mut asked = AskedPairs::default();
        let mut heard = |number| asked.note(PAIR, request(number, None), 1) != Heard::Nothing;
        assert!((0..17).all(&mut heard));
        assert!(!(1..17).any(&mut heard), "those that are repeated are not new");
        assert!(heard(0), "the oldest was forgotten");
    }

    #[test]
    fn a_copy_of_a_nomination_is_none_and_one_of_a_pair_that_was_left_is_told_apart() {
        let mut asked = AskedPairs::default();
        assert_eq!(asked.note(PAIR, request(1, Some(5)), 3), Heard::Nominated);
        assert_eq!(asked.of(PAIR), Some(Asked { is_deliberate: false, order: 3, value: Some(5) }));
        assert_eq!(asked.note(PAIR, request(1, Some(6)), 4), Heard::Nothing);
        assert_eq!(asked.note(PAIR, request(2, None), 4), Heard::Nominated);
        asked.set(PAIR, None);
        assert_eq!(asked.note(PAIR, request(2, None), 5), Heard::Nothing);
        assert_eq!(asked.of(PAIR), None);
        assert_eq!(asked.note(PAIR, request(3, None), 5), Heard::NominatedAgain);
        asked.forget(PAIR);
        assert_eq!(asked.note(PAIR, request(3, None), 6), Heard::Nominated);
    }

    /// A peer that has checked a pair without nominating it picks pairs, and does not put the flag into all checks.
    #[test]
    fn a_plain_check_makes_the_nominations_of_its_pair_deliberate_and_no_others() {
        let other = PairId { serial: 3, slot: 1 };
        let mut asked = AskedPairs::default();
        let plain = Request { nominating: None, is_plain: true, is_deliberate: false };
        assert_eq!(asked.note(PAIR, plain, 1), Heard::Nothing);
        for pair in [PAIR, other] {
            assert_eq!(asked.note(pair, request(1, None), 1), Heard::Nominated);
        }
        let is_deliberate = |pair| asked.of(pair).map(|asked| asked.is_deliberate);
        assert_eq!((is_deliberate(PAIR), is_deliberate(other)), (Some(true), Some(false)));
        let known = Request { is_deliberate: true, ..request(2, None) };
        assert_eq!(asked.note(other, known, 2), Heard::Nominated);
        assert_eq!(asked.of(other).map(|asked| asked.is_deliberate), Some(true));
    }

    #[test]
    fn a_check_that_neither_nominates_nor_is_plain_leaves_nothing() {
        let mut asked = AskedPairs::default();
        let neither = Request { nominating: None, is_plain: false, is_deliberate: true };
        assert_eq!(asked.note(PAIR, neither, 1), Heard::Nothing);
        asked.set(PAIR, None);
        assert!(asked.0.is_empty());
    }

    #[test]
    fn after_a_change_of_roles_only_what_is_kept_is_asked_for() {
        let others = [PairId { serial: 1, slot: 1 }, PairId { serial: 9, slot: 2 }];
        let mut asked = AskedPairs::default();
        for (number, pair) in (0..).zip([PAIR, others[0], others[1]]) {
            assert_eq!(asked.note(pair, request(number, None), 1), Heard::Nominated);
        }
        asked.forget_asked(|pair| pair == PAIR);
        assert!(asked.of(PAIR).is_some() && others.iter().all(|pair| asked.of(*pair).is_none()));
        // What was asked by then is known still.
        assert_eq!(asked.note(others[0], request(1, None), 2), Heard::Nothing);
    }

    /// Req: 8445-7.3.1.5-a
    #[test]
    fn the_last_or_the_highest_nomination_counts_as_the_peer_is_known_to_nominate() {
        let rank = |local| {
            PairPriority::compute(Role::Controlled, Priority::new(local).unwrap(), Priority::new(1000).unwrap())
        };
        let (low, high) = (rank(1), rank(2));
        let asked = |is_deliberate, order| Asked { is_deliberate, order, value: None };
        use NominationChoice::{Auto, Highest, Last};
        // The new one is: deliberate or not; later or earlier; of a higher or a lower pair.
        let table = [
            (Auto, true, [true, true, false, false]),
            (Auto, false, [true, false, true, false]),
            (Highest, true, [true, false, true, false]),
            (Highest, false, [true, false, true, false]),
            (Last, true, [true, true, false, false]),
            (Last, false, [true, true, false, false]),
        ];
        for (choice, is_deliberate, expected) in table {
            let found = [(2, high), (2, low), (0, high), (0, low)].map(|(order, priority)| {
                let held = (asked(true, 1), if priority == high { low } else { high });
                asked(is_deliberate, order).supersedes(choice, priority, held)
            });
            assert_eq!(found, expected, "{choice:?} {is_deliberate}");
        }
    }
}
