//! Where data goes while the nominated pair is silent, and what speaks for it that the peer has moved.

use core::time::Duration;

use super::{Consent, Selection};
use crate::checklist::ChecklistSet;
use crate::types::{Instant, PairId, PathHealth, after};

/// A way around the nominated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fallback {
    pub(crate) pair: PairId,
    /// Since when data goes there.
    pub(crate) since: Instant,
    /// The peer seems to have moved there.
    pub(crate) is_peer_move: bool,
    /// It is the nominated pair for the peer, too: the same candidate of its, which a NAT shows under another address.
    pub(crate) is_readdressed: bool,
}

/// A pair to which the peer may have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuspectedMove {
    pub(super) pair: PairId,
    /// Since when that is believed, unless the nominated pair has answered later.
    since: Instant,
}

/// Whether the fallback takes the place of the nominated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// Not as things are.
    None,
    /// Then, if the nominated one does not answer by then.
    At(Instant),
    /// Now: it is this pair.
    Now(PairId),
}

impl Selection {
    /// How long the pair that was agreed is silent before another address of the peer takes its place; data goes there before.
    /// Two ways to one candidate may both work, and a few packets may be lost on one of them.
    const LOYALTY: Duration = Duration::from_secs(2);

    /// Where data goes around the nominated pair.
    pub(crate) const fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }

    /// Whether a pair is the fallback, because the peer seems to have moved there.
    pub(crate) fn is_peer_move(&self, pair: PairId) -> bool {
        self.fallback.is_some_and(|fallback| fallback.pair == pair && fallback.is_peer_move)
    }

    /// Whether it is known already that the peer may have moved to a pair.
    pub(crate) fn knows_move(&self, pair: PairId, is_readdressed: bool) -> bool {
        self.fallback.is_some_and(|fallback| fallback.pair == pair)
            || self.suspected.is_some_and(|suspected| suspected.pair == pair) && !is_readdressed
    }

    /// The peer may have moved to a pair, and the nominated one is to be asked. Data goes there at once if it is that one seen
    /// under another address.
    pub(crate) fn suspect_move(&mut self, now: Instant, nominated: PairId, to: PairId, is_readdressed: bool) {
        if let Some(consent) = self.consent_mut(nominated) {
            consent.doubt(now);
        }
        self.suspected = Some(SuspectedMove { pair: to, since: now });
        if is_readdressed {
            self.fallback = Some(Fallback { pair: to, since: now, is_peer_move: true, is_readdressed });
        }
    }

    /// A pair is nominated: what was suspected before has nothing to do with it.
    pub(crate) const fn forget_suspicion(&mut self) {
        self.suspected = None;
    }

    /// The fallback is the nominated pair now.
    pub(crate) const fn end_fallback(&mut self) {
        self.fallback = None;
    }

    /// Chooses where data goes while the nominated pair is silent; `leaves_elsewhere` tells of a pair whether its packets leave
    /// from another address than those of the nominated one.
    pub(crate) fn choose_fallback(
        &mut self,
        now: Instant,
        checks: &ChecklistSet,
        nominated: Option<PairId>,
        leaves_elsewhere: impl Fn(PairId) -> bool,
    ) {
        self.fallback = self.fallback_for(now, checks, nominated, leaves_elsewhere);
    }

    fn fallback_for(
        &self,
        now: Instant,
        checks: &ChecklistSet,
        nominated: Option<PairId>,
        leaves_elsewhere: impl Fn(PairId) -> bool,
    ) -> Option<Fallback> {
        let nominated = nominated.filter(|_| self.previous.is_none())?;
        let of_nominated = self.consent(nominated)?;
        let is_usable = |id: &PairId| checks.get(*id).is_some_and(|pair| pair.is_valid && !pair.is_barred);
        if let Some(fallback) = self.fallback.filter(|one| one.pair != nominated && is_usable(&one.pair)) {
            let has_recovered = of_nominated.answered_at() > fallback.since;
            return Some(fallback).filter(|_| !has_recovered);
        }
        let silent_since = of_nominated.unanswered_since()?;
        if of_nominated.health() == PathHealth::Healthy {
            return None;
        }
        let answers = |id: PairId| {
            let consent = self.consent(id);
            consent.is_some_and(|one| one.health() == PathHealth::Healthy && one.answered_at() > silent_since)
        };
        let suspected = self.suspected.filter(|one| one.pair != nominated && is_usable(&one.pair));
        // That the nominated one has answered since says that the peer had not moved then.
        let is_believed = |one: &SuspectedMove| of_nominated.answered_at() <= one.since || answers(one.pair);
        if let Some(SuspectedMove { pair, .. }) = suspected.filter(is_believed) {
            return Some(Fallback { pair, since: now, is_peer_move: true, is_readdressed: false });
        }
        if of_nominated.health() != PathHealth::Lost && !of_nominated.is_unreachable() {
            return None;
        }
        let is_elsewhere = |id: PairId| of_nominated.is_cut() && leaves_elsewhere(id);
        let pair = self.standby().find(|id| is_usable(id) && (answers(*id) || is_elsewhere(*id)))?;
        Some(Fallback { pair, since: now, is_peer_move: false, is_readdressed: false })
    }

    /// Whether the address under which the peer is seen takes the place of the nominated pair, which is silent.
    ///
    /// Where pairs can be nominated again, the controlling side does so, which the peer understands in any case. And whoever is
    /// nominated to once goes nowhere else: in the end it can only be the same candidate.
    pub(crate) fn successor(&self, now: Instant, nominated: Option<PairId>, can_renominate: bool) -> Successor {
        let fallback = self.fallback.filter(|one| one.is_peer_move && self.previous.is_none());
        let Some((nominated, fallback)) = nominated.zip(fallback) else { return Successor::None };
        let is_silent = |consent: &&Consent| consent.health() != PathHealth::Healthy;
        let Some(consent) = self.consent(nominated).filter(is_silent) else { return Successor::None };
        let is_lost = consent.health() == PathHealth::Lost;
        let at = match (is_lost, can_renominate, fallback.is_readdressed) {
            (true, true, false) | (false, true, _) | (false, false, false) => return Successor::None,
            (true, _, _) => now,
            (false, false, true) => after(consent.unanswered_since().unwrap_or(now), Self::LOYALTY),
        };
        if at <= now { Successor::Now(fallback.pair) } else { Successor::At(at) }
    }
}
