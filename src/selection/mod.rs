//! Where the data of one component goes, and how it is known that it arrives (RFC 8445 §12, RFC 7675).
//!
//! ```text
//!   nominated ------> selected ------> in use          watched: asked at a cadence whether the peer consents
//!                        |                |
//!                        |  silent        |  consent ends: never again
//!                        v                v
//!       standby ----> fallback        another valid pair
//!                        |
//!                        +-- the selected one answers: back to it
//! ```
//!
//! The pair in use is the first of these that may be used: the fallback around a silent pair, the selected one, that of the
//! generation before a restart, the nominated one, and any valid one. It is watched, and so are the nominated one and a few
//! others that stand by. What is asked, and what has expired, is said to whoever lets the time pass; nothing here knows how a
//! check is sent.

mod consent;
mod fallback;
mod policy;
mod retry;
mod standby;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use smallvec::SmallVec;

pub(crate) use consent::{Cadence, Consent, Demand};
use fallback::SuspectedMove;
pub(crate) use fallback::{Fallback, Successor};
pub use policy::{ApplicationSelects, PathQuality, SelectionDecision, SelectionPolicy, SelectionView, SteadySelection};
pub(crate) use retry::{Retries, Retry};
pub(crate) use standby::{Standby, Wanted};

use crate::types::{Instant, PairId, PathHealth, Random, earliest};
use core::time::Duration;

/// A pair that is watched.
#[derive(Clone, Debug)]
struct Watch {
    pair: PairId,
    /// Consent of the peer; `None` if nobody would answer, or nobody wants to know.
    consent: Option<Consent>,
}

/// What has become of the pairs that are watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// They are watched no more.
    pub(crate) gone: SmallVec<[PairId; 2]>,
    /// A check is due of them at once: they were not heard of lately.
    pub(crate) stale: SmallVec<[PairId; 2]>,
    /// At another cadence a check may be due by now.
    pub(crate) is_hurried: bool,
    pub(crate) has_changed: bool,
}

/// What the time has brought about for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advanced {
    pub(crate) demand: Demand,
    pub(crate) health: PathHealth,
    /// The health has changed.
    pub(crate) is_other_health: bool,
    /// The health has changed, or two probes after a hint of the host were not answered.
    pub(crate) has_changed: bool,
    /// Pairs that stand by had better be asked whether they work.
    pub(crate) needs_standby: bool,
}

/// What a component uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// The selected pair, as the application knows it.
    selected: Option<PairId>,
    /// The pair of the generation before that is used until this one has its own (RFC 8445 §9).
    previous: Option<PairId>,
    /// The pair in use.
    in_use: Option<Watch>,
    /// Other pairs that are watched: the nominated one, if it is not in use, and those that stand by.
    standby: Vec<Watch>,
    /// Where data goes while the nominated pair is silent.
    fallback: Option<Fallback>,
    suspected: Option<SuspectedMove>,
    retries: Retries,
    /// The health of the pair in use that the application knows of.
    told_health: Option<PathHealth>,
    /// The peer's consent on the pair in use has ended.
    has_lost_consent: bool,
    /// When it is looked at again.
    decide_at: Option<Instant>,
}

impl Selection {
    // What is so.

    pub(crate) const fn selected(&self) -> Option<PairId> {
        self.selected
    }

    pub(crate) const fn previous(&self) -> Option<PairId> {
        self.previous
    }

    /// The pair in use.
    pub(crate) fn in_use(&self) -> Option<PairId> {
        self.in_use.as_ref().map(|watch| watch.pair)
    }

    /// Other pairs that are watched.
    pub(crate) fn standby(&self) -> impl Iterator<Item = PairId> + '_ {
        self.standby.iter().map(|watch| watch.pair)
    }

    pub(crate) fn is_standby(&self, pair: PairId) -> bool {
        self.standby().any(|standby| standby == pair)
    }

    /// All pairs that are watched, the one in use first.
    pub(crate) fn watched(&self) -> impl Iterator<Item = PairId> + '_ {
        self.in_use().into_iter().chain(self.standby())
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.in_use.iter().chain(&self.standby)
    }

    /// The consent that is kept on a pair.
    pub(crate) fn consent(&self, pair: PairId) -> Option<&Consent> {
        self.watches().find(|watch| watch.pair == pair)?.consent.as_ref()
    }

    pub(crate) fn consent_mut(&mut self, pair: PairId) -> Option<&mut Consent> {
        let mut watches = self.in_use.iter_mut().chain(&mut self.standby);
        watches.find(|watch| watch.pair == pair)?.consent.as_mut()
    }

    /// How the pair in use is doing, as far as it is asked.
    pub(crate) fn health(&self) -> Option<PathHealth> {
        self.in_use.as_ref()?.consent.as_ref().map(Consent::health)
    }

    /// The health that the application knows of.
    #[cfg_attr(not(any(test, feature = "turn")), expect(dead_code, reason = "relays alone are questioned by it"))]
    pub(crate) const fn told_health(&self) -> Option<PathHealth> {
        self.told_health
    }

    /// Whether the path in use is given up for the time being.
    pub(crate) fn is_lost(&self) -> bool {
        self.health() == Some(PathHealth::Lost)
    }

    pub(crate) const fn has_lost_consent(&self) -> bool {
        self.has_lost_consent
    }

    /// The pairs on which data may go before any other valid one, the first choice first.
    pub(crate) fn choices(&self, nominated: Option<PairId>) -> impl Iterator<Item = PairId> + use<> {
        let fallback = self.fallback.map(|fallback| fallback.pair);
        [fallback, self.selected, self.previous, nominated].into_iter().flatten()
    }

    /// Whether a pair carries what the component sends, or is about to.
    pub(crate) fn uses(&self, pair: PairId) -> bool {
        let suspected = self.suspected.map(|suspected| suspected.pair);
        let fallback = self.fallback.map(|fallback| fallback.pair);
        [self.selected, self.previous, self.in_use(), suspected, fallback].contains(&Some(pair))
    }

    // What happens.

    /// Selects the nominated pair, or none as long as the stream is not complete; gives whether that is another one than
    /// before, and the pair of the generation before that is used no more.
    pub(crate) fn select(&mut self, nominated: Option<PairId>, is_closed: bool) -> (bool, Option<PairId>) {
        let outdated = if nominated.is_some() { self.previous.take() } else { None };
        let selected = nominated.or(self.previous).filter(|_| !is_closed);
        let before = core::mem::replace(&mut self.selected, selected);
        (before != selected, outdated)
    }

    /// A pair works no more, or is gone. That it is selected no more is told by [`select`](Self::select).
    pub(crate) fn lose(&mut self, pair: PairId) {
        self.standby.retain(|watch| watch.pair != pair);
        self.in_use.take_if(|watch| watch.pair == pair);
        self.fallback.take_if(|fallback| fallback.pair == pair);
        self.suspected.take_if(|suspected| suspected.pair == pair);
        self.previous.take_if(|previous| *previous == pair);
    }

    /// The peer's consent on a pair has ended: there may be no other.
    pub(crate) const fn lose_consent(&mut self) {
        self.has_lost_consent = true;
    }

    /// A generation begins, in which this pair of the one before is used for the time being.
    pub(crate) fn restart(&mut self, in_use: Option<PairId>) {
        let Self { selected, told_health, .. } = *self;
        let watch = self.in_use.take();
        *self = Self { selected, previous: in_use, in_use: watch, told_health, ..Self::default() };
    }

    /// Watches these pairs and no others; `answered_at` tells when a pair answered last.
    pub(crate) fn watch(
        &mut self,
        now: Instant,
        wanted: &Wanted,
        answered_at: impl Fn(PairId) -> Option<Instant>,
        random: &mut Random,
    ) -> Watched {
        let mut result = Watched::default();
        let is_wanted = |pair| wanted.iter().any(|(one, _)| *one == pair);
        result.gone.extend(self.watched().filter(|pair| !is_wanted(*pair)));
        let in_use = wanted.first().map(|(pair, _)| *pair);
        let standby = wanted.iter().skip(1).map(|(pair, _)| *pair);
        result.has_changed = self.in_use() != in_use || !self.standby().eq(standby);
        if result.has_changed {
            let mut before: SmallVec<[Watch; 3]> =
                self.in_use.take().into_iter().chain(self.standby.drain(..)).collect();
            let mut watch = |pair| {
                let known = before.iter().position(|watch| watch.pair == pair);
                known.map_or(Watch { pair, consent: None }, |place| before.swap_remove(place))
            };
            self.in_use = in_use.map(&mut watch);
            self.standby.extend(wanted.iter().skip(1).map(|(pair, _)| watch(*pair)));
        }
        let watches = self.in_use.iter_mut().chain(&mut self.standby);
        for (watch, cadence) in watches.zip(wanted.iter().map(|(_, cadence)| *cadence)) {
            let Some(cadence) = cadence else { continue };
            if let Some(consent) = watch.consent.as_mut() {
                result.is_hurried |= consent.set_cadence(now, cadence, random);
                continue;
            }
            let Some(answered_at) = answered_at(watch.pair) else { continue };
            let mut consent = Consent::new(answered_at, now, cadence, random);
            if consent.is_stale() {
                consent.is_queued = true;
                result.stale.push(watch.pair);
            }
            watch.consent = Some(consent);
        }
        result
    }

    /// Does what is due on one of the pairs that are watched.
    pub(crate) fn advance(&mut self, pair: PairId, now: Instant, detection: Duration) -> Option<Advanced> {
        let consent = self.consent_mut(pair)?;
        let (before, was_unreachable) = (consent.health(), consent.is_unreachable());
        let needs_standby = consent.needs_reserve(now);
        let mut demand = consent.advance(now, detection);
        if demand == Demand::Check && core::mem::replace(&mut consent.is_queued, true) {
            demand = Demand::Nothing;
        }
        let health = consent.health();
        let is_other_health = health != before;
        // That a host is unreachable may bring a fallback by itself: the health may have got worse before.
        let has_changed = is_other_health || consent.is_unreachable() != was_unreachable;
        let needs_standby = needs_standby || is_other_health;
        Some(Advanced { demand, health, is_other_health, has_changed, needs_standby })
    }

    /// The pairs on which something is due.
    pub(crate) fn due(&self, now: Instant, detection: Duration) -> impl Iterator<Item = PairId> + '_ {
        let is_due = move |watch: &&Watch| {
            let at = watch.consent.as_ref().and_then(|consent| consent.deadline(detection));
            at.is_some_and(|at| at <= now)
        };
        self.watches().filter(is_due).map(|watch| watch.pair)
    }

    /// When something is due on a pair that is watched.
    pub(crate) fn consent_deadline(&self, detection: Duration) -> Option<Instant> {
        self.watches().fold(None, |next, watch| {
            earliest(next, watch.consent.as_ref().and_then(|consent| consent.deadline(detection)))
        })
    }

    /// Asks the pairs that stand by whether they work, twice if need be: the one in use does not answer.
    pub(crate) fn urge_standby(&mut self, now: Instant) {
        self.standby.iter_mut().filter_map(|watch| watch.consent.as_mut()).for_each(|consent| consent.urge(now));
    }

    /// Asks all pairs that are watched whether they work.
    pub(crate) fn ask_all(&mut self, now: Instant) {
        let watches = self.in_use.iter_mut().chain(&mut self.standby);
        watches.filter_map(|watch| watch.consent.as_mut()).for_each(|consent| consent.ask_at_once(now));
    }

    /// Asks for the consent that has lapsed on the pair in use, if it is not asked for.
    pub(crate) fn regain(&mut self, now: Instant) {
        let consent = self.in_use.as_mut().and_then(|watch| watch.consent.as_mut());
        if let Some(consent) = consent.filter(|consent| consent.unanswered_since().is_none()) {
            consent.ask_at_once(now);
        }
    }

    /// Notes that the peer was heard on the pair in use, in whatever way.
    pub(crate) fn heard_data(&mut self, now: Instant) {
        if let Some(consent) = self.in_use.as_mut().and_then(|watch| watch.consent.as_mut()) {
            consent.record_life(now);
        }
    }

    /// Doubts the pair in use when the peer asks one that stands by out of turn, so long after the check before: it may have
    /// noticed what we have not.
    pub(crate) fn notice_alarm(&mut self, now: Instant, asked: PairId, gap: Option<Duration>) {
        let Some(gap) = gap.filter(|_| self.is_standby(asked)) else { return };
        if !self.consent(asked).is_some_and(|consent| consent.is_unusual(gap)) {
            return;
        }
        if let Some(consent) = self.in_use.as_mut().and_then(|watch| watch.consent.as_mut()) {
            consent.doubt_if_quiet(now);
        }
    }

    /// Takes note that the application is told how the pair in use is doing; gives what it knew before if that has changed.
    pub(crate) fn tell_health(&mut self) -> Option<Option<PathHealth>> {
        let health = self.health();
        let before = core::mem::replace(&mut self.told_health, health);
        (before != health).then_some(before)
    }

    /// It is to be looked at again then.
    pub(crate) const fn wait_until(&mut self, at: Option<Instant>) {
        self.decide_at = at;
    }

    /// It is to be looked at then, too.
    pub(crate) fn wait_no_longer_than(&mut self, at: Instant) {
        self.decide_at = earliest(self.decide_at, Some(at));
    }

    /// When there is something to decide.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.decide_at
    }

    /// Whether it is time to decide.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.decide_at.take_if(|at| *at <= now).is_some()
    }

    /// The rounds in which failed pairs are checked again.
    pub(crate) const fn retries(&mut self) -> &mut Retries {
        &mut self.retries
    }

    /// When the next of these rounds is due.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retries.deadline()
    }

    /// The pairs that are named, with what for.
    #[cfg(feature = "sim")]
    pub(crate) fn named(&self) -> [(&'static str, Option<PairId>); 5] {
        [
            ("previous", self.previous),
            ("selected", self.selected),
            ("in use", self.in_use()),
            ("suspected", self.suspected.map(|suspected| suspected.pair)),
            ("fallback", self.fallback.map(|fallback| fallback.pair)),
        ]
    }
}
