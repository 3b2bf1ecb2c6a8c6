//! The nomination of one component (RFC 8445 §8.1): which pair both sides have agreed on, what is on its way, and what the peer
//! has asked for.
//!
//! ```text
//!                begin                        sent                         answered
//!   valid pairs ------> an attempt of ours ---------> the highest value ------------> nominated
//!                            |    ^                                                     ^
//!                            +----+ not answered: again                                 | followed
//!                                                                                       |
//!   checks of the peer ------------------------------> asked for, by pair ---------------
//! ```
//!
//! A controlling agent nominates by an [`Attempt`]; what was agreed once stays until the answer to another one comes. A controlled
//! one keeps what the peer has asked for each pair, and follows once its own check has shown that the pair works. Where both
//! sides take several nominations, each has a value, and the highest one counts; without values, a second nomination of ours is
//! never followed for certain, and so is told again when both may have been seen.
//!
//! What is decided is decided here, from what the [`ChecklistSet`] knows of pairs; what follows for other pairs, and what is sent,
//! is for whoever asks.

mod asked;
mod attempt;
mod mapping;
mod policy;
mod replay;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::net::SocketAddr;

use smallvec::SmallVec;

use asked::AskedPairs;
pub use asked::NominationChoice;
pub(crate) use asked::{Asked, Heard, Request};
pub(crate) use attempt::Attempt;
use mapping::Mapping;
pub use policy::{
    ApplicationNominates, BetterPairs, NominationDecision, NominationPolicy, NominationView, SettleWindow, ValidPair,
};
use replay::ReplayMemory;

use crate::checklist::{ChecklistSet, Transaction, TransactionKey};
use crate::stun::TransactionId;
use crate::types::{Instant, PairId, Random};

/// The pair that is nominated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// `None` after it was lost.
    pair: Option<PairId>,
    at: Instant,
    /// The first pair that was made after the nomination has at least this number.
    first_later_pair: u64,
}

/// A pair of the generation before that is used until there is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Former {
    pair: PairId,
    is_nominated: bool,
}

/// What became of an answer to a nomination of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It changes nothing, or confirms what is so.
    Nothing,
    /// The peer may have seen it after the one that counts: that one is told again.
    TellAgain(PairId),
    /// The pair is nominated, in the place of another one or of none.
    Nominated { before: Option<PairId> },
}

/// What became of a nomination of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// There is none, or our own check has not shown yet that the pair works.
    Nothing,
    /// The peer has nominated another pair since: this one is left.
    Outdated,
    /// The pair is among those that are nominated, and another one of them counts.
    Noted(PairId),
    /// The pair is nominated, by this request.
    Nominated { pair: PairId, by: Asked },
}

/// The nomination of a component.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nomination {
    held: Option<Held>,
    /// The pairs that are shown as nominated: the one that is, others of a peer that nominates them all, and checked pairs beside
    /// the valid ones that they have made.
    shown: SmallVec<[PairId; 2]>,
    former: Option<Former>,
    first_valid_at: Option<Instant>,
    attempt: Option<Attempt>,
    /// The highest value of a nomination of ours that has left, or of the peer.
    highest: Option<u32>,
    /// The value with which the peer has confirmed our nomination of the nominated pair; `None` if the peer nominated it.
    agreed: Option<u32>,
    /// Under which address the peer sees the path that we have nominated.
    mapping: Option<Box<Mapping>>,
    asked: AskedPairs,
    /// The nominations that a lite agent has taken: one that comes again from elsewhere is a replay.
    replays: ReplayMemory,
    /// When the nomination policy wants to be asked again.
    decide_at: Option<Instant>,
    /// The application has nominated this pair itself.
    pinned: Option<PairId>,
}

impl Nomination {
    // What is so.

    /// The nominated pair.
    pub(crate) fn pair(&self) -> Option<PairId> {
        self.held?.pair
    }

    /// When a pair was nominated last, be it nominated still or not.
    pub(crate) fn since(&self) -> Option<Instant> {
        Some(self.held?.at)
    }

    /// Whether a pair was nominated: a peer that follows RFC 8445 expects no other (§8.1.1).
    pub(crate) const fn was_made(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a pair was made after the nominated one was nominated.
    pub(crate) fn is_older_than(&self, pair: PairId) -> bool {
        pair.serial >= self.held.map_or(0, |held| held.first_later_pair)
    }

    /// Whether a pair is shown as nominated.
    pub(crate) fn shows(&self, pair: PairId) -> bool {
        self.shown.contains(&pair) || self.former.is_some_and(|former| former.pair == pair && former.is_nominated)
    }

    /// When the first pair was valid.
    pub(crate) const fn first_valid_at(&self) -> Option<Instant> {
        self.first_valid_at
    }

    /// The nomination of ours that is on its way.
    pub(crate) const fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }

    /// Whether the checks of a pair carry a nomination.
    pub(crate) fn is_nominating(&self, pair: PairId) -> bool {
        self.attempt.is_some_and(|attempt| attempt.checked == pair)
    }

    /// What the peer has asked for a pair.
    pub(crate) fn asked(&self, pair: PairId) -> Option<Asked> {
        self.asked.of(pair)
    }

    /// Whether somebody wants to nominate a pair: it does not make room for another.
    pub(crate) fn is_wanted(&self, pair: PairId) -> bool {
        self.is_nominating(pair) || self.asked.of(pair).is_some()
    }

    /// The value that the peer has confirmed.
    pub(crate) const fn agreed(&self) -> Option<u32> {
        self.agreed
    }

    /// Whether a nomination has left that the peer has not confirmed.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.highest > self.agreed
    }

    /// The pair that the application has nominated.
    pub(crate) const fn pinned(&self) -> Option<PairId> {
        self.pinned
    }

    /// Whether the peer sees the nominated path under the address that it was told, as far as that is known.
    pub(crate) fn is_mapping_settled(&self) -> bool {
        self.mapping.as_ref().is_none_or(|mapping| mapping.is_settled())
    }

    /// Whether the policy is asked which pair to nominate. As long as no nomination has left, it may be thought over.
    pub(crate) fn is_open(&self, can_renominate: bool, may_reconsider: bool) -> bool {
        let is_free = |attempt: Attempt| may_reconsider && attempt.tries == 0 && !attempt.is_forced;
        self.pair().is_none() && (!self.was_made() || can_renominate) && self.attempt.is_none_or(is_free)
    }

    /// Whether a nomination with this value comes behind one that outranks it: with a higher value, or the same for another
    /// pair, or with a value at all (draft-thatcher-ice-renomination §3, draft-thatcher-tsvwg-renomination).
    pub(crate) fn is_outdated(&self, pair: PairId, value: Option<u32>) -> bool {
        let known = self.asked.of(pair).and_then(|asked| asked.value);
        match (value, self.highest) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(value), Some(highest)) => value < highest || value == highest && known != Some(value),
        }
    }

    // What happens.

    /// A pair of the component is valid.
    pub(crate) fn pair_valid(&mut self, now: Instant) {
        self.first_valid_at.get_or_insert(now);
    }

    /// A pair works no more, or is gone; gives the pair whose checks carry the nomination that ends with it.
    pub(crate) fn lose(&mut self, pair: PairId) -> Option<PairId> {
        self.shown.retain(|shown| *shown != pair);
        self.former.take_if(|former| former.pair == pair);
        self.mapping.take_if(|mapping| mapping.path == pair);
        self.pinned.take_if(|pinned| *pinned == pair);
        if let Some(held) = self.held.as_mut() {
            held.pair.take_if(|held| *held == pair);
        }
        let is_of = |attempt: &mut Attempt| attempt.valid == pair || attempt.checked == pair;
        self.attempt.take_if(is_of).map(|attempt| attempt.checked)
    }

    /// A pair is gone.
    pub(crate) fn forget(&mut self, pair: PairId) {
        self.asked.forget(pair);
    }

    /// A generation begins, in which this pair of the one before is used for the time being.
    pub(crate) fn restart(&mut self, in_use: Option<PairId>) {
        let former = in_use.map(|pair| Former { pair, is_nominated: self.shows(pair) });
        // What is replayed from the old generation is still authentic for a while.
        let replays = core::mem::take(&mut self.replays);
        *self = Self { former, replays, ..Self::default() };
    }

    /// A check of the peer has come on a pair; `order` is that of its nomination, if it is one.
    pub(crate) fn heard(&mut self, pair: PairId, request: Request, order: u64) -> Heard {
        let heard = self.asked.note(pair, request, order);
        if heard != Heard::Nothing {
            self.highest = self.highest.max(request.nominating.and_then(|(_, value)| value));
        }
        heard
    }

    /// Records what the peer of a lite agent nominates, whatever came before.
    pub(crate) fn ask(&mut self, pair: PairId, asked: Asked) {
        self.asked.set(pair, Some(asked));
        self.highest = self.highest.max(asked.value);
    }

    /// Whether a lite agent follows a nomination on this path, which is remembered. Whoever replays one from another address
    /// gains nothing; on the path that is nominated it changes nothing, and needs no memory.
    pub(crate) fn is_fresh(&mut self, id: TransactionId, is_nominated_path: bool, random: &Random) -> bool {
        let is_fresh = is_nominated_path || !self.replays.knows(id);
        if is_fresh {
            // A replay takes no room: it must not make the memory forget others.
            self.replays.record(id, random);
        }
        is_fresh
    }

    /// Begins to nominate a valid pair by the check of another one, or of itself; `shown` is the address of ours that the peer
    /// sees. Gives the pair that carried the nomination before, and whether this one is new.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        (checked, valid): (PairId, PairId),
        is_forced: bool,
        shown: Option<SocketAddr>,
    ) -> (Option<PairId>, bool) {
        // One that begins again may have reached the peer all the same.
        let begun = self.attempt.filter(|attempt| attempt.valid == valid);
        let tries = begun.map_or(0, |attempt| attempt.tries);
        let next = self.highest.map_or(1, |value| value.saturating_add(1));
        let value = begun.map_or(next, |attempt| attempt.value);
        let is_affirming = self.pair().is_some_and(|held| checks.checked_by(held) == Some(checked));
        let before = self.attempt.take().map(|attempt| attempt.checked);
        let attempt = Attempt { checked, valid, tries, since: now, latest: None, value, is_forced, is_affirming };
        self.attempt = Some(attempt);
        if self.mapping.as_ref().is_none_or(|mapping| mapping.path != checked) {
            self.mapping = shown.map(|shown| Box::new(Mapping::new(checked, shown, now)));
        }
        self.decide_at = None;
        (before, begun.is_none())
    }

    /// Stops to nominate; gives the pair whose checks carried it.
    pub(crate) fn give_up(&mut self) -> Option<PairId> {
        Some(self.attempt.take()?.checked)
    }

    /// A check that nominates has left; gives how many there were of this attempt.
    pub(crate) fn sent(&mut self, key: TransactionKey) -> u32 {
        let Some(attempt) = self.attempt.as_mut() else { return 0 };
        attempt.tries = attempt.tries.saturating_add(1);
        attempt.latest = Some(key);
        self.highest = self.highest.max(Some(attempt.value));
        attempt.tries
    }

    /// A check of another kind that carries this value has left.
    pub(crate) fn sent_value(&mut self, value: u32) {
        self.highest = self.highest.max(Some(value));
    }

    /// The peer refuses the nomination in progress, which answers one of the pair that it has.
    pub(crate) fn refused(&mut self) {
        if self.attempt.is_some_and(|attempt| attempt.is_affirming) {
            self.agreed = self.highest;
        }
    }

    /// A nomination of ours was answered by a check that has made this pair valid (RFC 8445 §7.2.5.3.4).
    ///
    /// Whatever address the answer shows, it is about the path that was nominated. With values, only an answer to the highest
    /// one that has left counts: the peer follows it and no other. Without, an answer to a nomination that was given up for
    /// another says that the peer may have seen it last, and so prefer it: it is told again which one counts.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        transaction: &Transaction,
        valid: PairId,
        can_renominate: bool,
    ) -> Answered {
        let Some(checked) = checks.checked_by(transaction.start.pair) else { return Answered::Nothing };
        let (attempt, before) = (self.attempt, self.pair());
        if self.was_made() && before.is_none() && !can_renominate {
            // What was agreed has lost its consent, and no other nomination takes its place.
            return Answered::Nothing;
        }
        if can_renominate {
            let value = transaction.start.nomination.map(|(_, value)| value);
            if value.is_none() || value != self.highest {
                return Answered::Nothing;
            }
        } else {
            let asked = attempt.filter(|attempt| attempt.tries > 0).map(|attempt| attempt.valid);
            let counts = before.or(asked).filter(|other| checks.checked_by(*other) != Some(checked));
            if let Some(other) = counts {
                return Answered::TellAgain(other);
            }
            if attempt.is_some_and(|attempt| attempt.checked == checked && transaction.first_sent < attempt.since) {
                return Answered::Nothing;
            }
        }
        let is_repeated = before == Some(valid);
        // One of another pair that has not left yet is not what was answered.
        let is_pending = |attempt: Attempt| attempt.checked != checked && (is_repeated || attempt.is_forced);
        if !attempt.is_some_and(is_pending) {
            self.attempt = None;
        }
        self.agreed = self.highest;
        if self.pinned.is_some_and(|pinned| checks.is_same_path(pinned, valid)) {
            self.pinned = Some(valid);
        }
        if is_repeated {
            return Answered::Nothing;
        }
        if let Some(before) = before {
            self.leave(checks, before);
        }
        self.hold(now, checks, valid);
        Answered::Nominated { before }
    }

    /// Lets the peer's nomination of a pair take effect once our own check of it has succeeded (RFC 8445 §7.3.1.5).
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        checked: PairId,
        choice: NominationChoice,
    ) -> Followed {
        let Some(asked) = self.asked.of(checked) else { return Followed::Nothing };
        let valid = checks.get(checked).and_then(|pair| checks.get(pair.produced?));
        let Some((valid, priority)) = valid.map(|valid| (valid.id, valid.priority)) else { return Followed::Nothing };
        let current = self.pair();
        let held = current.filter(|current| *current != valid).and_then(|current| checks.get(current));
        let is_better = match held.map(|held| (checks.checked_by(held.id), self.asked.of(held.id), held.priority)) {
            // The same path, under the name that it has by now.
            Some((held_checked, ..)) if held_checked == Some(checked) => true,
            Some((_, Some(held), held_priority)) => asked.supersedes(choice, priority, (held, held_priority)),
            Some((_, None, _)) => true,
            None => current.is_none(),
        };
        if !is_better && current != Some(valid) && asked.is_by_order(choice) {
            self.leave(checks, checked);
            return Followed::Outdated;
        }
        self.show(valid);
        self.asked.set(valid, Some(asked));
        if !is_better {
            return Followed::Noted(valid);
        }
        match current {
            Some(current) if checks.checked_by(current) != Some(checked) => self.leave(checks, current),
            Some(current) => self.shown.retain(|shown| *shown != current),
            None => {}
        }
        self.hold(now, checks, valid);
        Followed::Nominated { pair: valid, by: asked }
    }

    /// Makes a pair the nominated one of a lite agent if its nomination counts, and shows it as one in any case; gives the one
    /// that it takes the place of.
    pub(crate) fn follow_unchecked(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        pair: PairId,
        choice: NominationChoice,
    ) -> Option<PairId> {
        let rank = |id: PairId| Some((self.asked.of(id)?, checks.get(id)?.priority));
        let held = self.pair();
        let is_better = match rank(pair).zip(held.and_then(rank)) {
            Some(((new, priority), held)) => new.supersedes(choice, priority, held),
            None => true,
        };
        self.show(pair);
        let left = held.filter(|held| is_better && *held != pair);
        if let Some(left) = left {
            self.shown.retain(|shown| *shown != left);
        }
        if is_better {
            self.hold(now, checks, pair);
        }
        left
    }

    /// Makes one pair the nominated one in the place of another, which it is for the peer all the same. Gives the nomination in
    /// progress of that one, if there is one.
    pub(crate) fn readdress(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        old: PairId,
        new: PairId,
    ) -> Option<Attempt> {
        let asked = self.asked.of(old);
        for name in [new, checks.checked_by(new).unwrap_or(new)] {
            if asked.is_some() {
                self.asked.set(name, asked);
            }
            self.show(name);
        }
        for name in [old, checks.checked_by(old).unwrap_or(old)] {
            self.asked.set(name, None);
        }
        self.hold(now, checks, new);
        if self.pinned == Some(old) {
            self.pinned = Some(new);
        }
        self.attempt.filter(|attempt| attempt.valid == old)
    }

    /// Takes the nomination off a pair, under all names of its path: another one has taken its place.
    fn leave(&mut self, checks: &ChecklistSet, pair: PairId) {
        for name in checks.names_of(pair) {
            self.shown.retain(|shown| *shown != name);
            self.asked.set(name, None);
        }
    }

    fn hold(&mut self, now: Instant, checks: &ChecklistSet, pair: PairId) {
        self.show(pair);
        self.held = Some(Held { pair: Some(pair), at: now, first_later_pair: checks.next_serial() });
    }

    fn show(&mut self, pair: PairId) {
        if !self.shown.contains(&pair) {
            self.shown.push(pair);
        }
    }

    /// The roles have changed; gives the pair whose checks carried a nomination.
    ///
    /// A nomination of ours that the peer has not confirmed outranks none of its own. And what it has nominated so far it may
    /// not have been told that we follow.
    pub(crate) fn take_role(&mut self, is_controlled: bool) -> Option<PairId> {
        let carried = self.give_up();
        let agreed = self.agreed.take();
        if is_controlled {
            self.highest = agreed;
        }
        let (shown, former) = (&self.shown, self.former);
        let is_shown = |pair| shown.contains(&pair) || former.is_some_and(|one| one.pair == pair && one.is_nominated);
        self.asked.forget_asked(is_shown);
        carried
    }

    /// The application has nominated a pair, or hands the choice back.
    pub(crate) const fn pin(&mut self, pair: Option<PairId>) {
        self.pinned = pair;
    }

    /// Notes under which address the peer sees the path of this checked pair; whether it is to be told that it is another one.
    pub(crate) fn observe(&mut self, now: Instant, checked: PairId, mapped: SocketAddr, is_unlimited: bool) -> bool {
        let mapping = self.mapping.as_mut().filter(|mapping| mapping.path == checked);
        mapping.is_some_and(|mapping| mapping.observe(now, mapped, is_unlimited))
    }

    /// The policy wants to be asked again then.
    pub(crate) const fn wait_until(&mut self, at: Option<Instant>) {
        self.decide_at = at;
    }

    /// When there is something to decide.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.decide_at
    }

    /// Whether it is time to decide.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.decide_at.take_if(|at| *at <= now).is_some()
    }

    /// The transactions that are remembered.
    #[cfg(feature = "sim")]
    pub(crate) fn transactions(&self) -> impl Iterator<Item = TransactionId> + '_ {
        self.asked.transactions()
    }

    /// How many pairs the peer is known to have asked for, or not.
    #[cfg(feature = "sim")]
    pub(crate) fn asked_pairs(&self) -> usize {
        self.asked.len()
    }

    /// The pairs that are named, with what for.
    #[cfg(feature = "sim")]
    pub(crate) fn named(&self) -> [(&'static str, Option<PairId>); 4] {
        [
            ("nominated", self.pair()),
            ("pinned", self.pinned),
            ("nominating", self.attempt.map(|attempt| attempt.valid)),
            ("asked", self.attempt.map(|attempt| attempt.checked)),
        ]
    }
}
