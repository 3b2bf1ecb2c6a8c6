//! What is there beside the pair in use: pairs in reserve, pairs that failed and may come to work, and where data goes when
//! the selected pair is silent.
//!
//! A component whose peer takes several nominations keeps a few working pairs warm, and checks failed ones again that would
//! be better, with a back-off. When the selected pair dies, the controlling side nominates one of the reserve. Any agent
//! sends its data on another pair meanwhile, if one is known to work: a detour.

use core::cmp::Reverse;

use smallvec::SmallVec;

use super::Agent;
use super::stream_data::{Component, Detour, Retry, Rival};
use crate::checklist::{CandidatePair, CandidatePairState, Purpose, Start};
use crate::config::limits;
use crate::consent::{Consent, Pace};
use crate::selection::{PathQuality, SelectionDecision, SelectionView};
use crate::types::{
    ComponentId, Instant, PairId, PathHealth, Renomination, Role, StreamId, Transport, after, earliest,
};

type Place = (StreamId, ComponentId);

/// Pairs in use and in reserve, the one in use first, and how often each is asked; not at all where nobody would answer.
pub(super) type Watched = SmallVec<[(PairId, Option<Pace>); 3]>;

impl Agent {
    /// Lets the selection policy look at the components that have their pair.
    pub(super) fn decide_selections(&mut self, stream: StreamId) {
        let is_ours = self.role == Role::Controlling && !self.is_closed && !self.config.lite;
        if !is_ours || !self.can_renominate(stream) {
            return;
        }
        let Some(data) = self.stream(stream) else { return };
        let open: SmallVec<[ComponentId; 2]> = data
            .components
            .iter()
            .filter(|component| component.nomination.pair().is_some())
            .filter(|component| {
                // As long as the peer confirms nothing, there is no other move, unless the pair that is kept is silent, too.
                let kept = component.nomination.pair().and_then(|id| self.consent(id)).map(Consent::health);
                let is_silent = kept.is_some_and(|health| health != PathHealth::Healthy);
                component.nomination.attempt().is_none_or(|attempt| attempt.is_affirming && is_silent)
            })
            .map(|component| component.id)
            .collect();
        for id in open {
            self.decide_selection((stream, id));
        }
    }

    /// Whether the selection policy may choose among several pairs: then it is asked whenever one is measured.
    pub(super) fn is_selecting(&self, place: Place) -> bool {
        self.role == Role::Controlling
            && self.can_renominate(place.0)
            && self
                .component(place)
                .is_some_and(|one| one.nomination.pair().is_some() && self.set.valid(place).len() > 1)
    }

    fn decide_selection(&mut self, place: Place) {
        let Some(component) = self.component(place) else { return };
        let Some(nominated) = component.nomination.pair() else { return };
        let Some(current) = self.quality(component, nominated) else { return };
        if component.nomination.pinned() == Some(nominated) && current.health != PathHealth::Lost {
            return;
        }
        let others: SmallVec<[PathQuality; 4]> = self
            .set
            .valid(place)
            .iter()
            .filter(|id| **id != nominated && !self.set.is_same_path(**id, nominated))
            .filter_map(|id| self.quality(component, *id))
            .collect();
        let since = component.nomination.since().unwrap_or(self.now);
        let view = SelectionView { now: self.now, current: &current, since, others: &others };
        let decision = self.config.selection.decide(&view);
        let mut decide_at = None;
        match decision {
            SelectionDecision::Move(pair) if others.iter().any(|other| other.pair == pair) => {
                self.start_nomination(place, pair, false);
            }
            SelectionDecision::KeepUntil(at) => decide_at = Some(at),
            SelectionDecision::Keep | SelectionDecision::Move(_) => {}
        }
        // What the policy sees of pairs that nobody watches changes by itself.
        let unwatched = |one: &&PathQuality| one.health == PathHealth::Healthy && self.consent(one.pair).is_none();
        let stale_at = others.iter().filter(unwatched).map(|one| after(one.answered_at, self.config.detection())).min();
        let decide_at = earliest(decide_at, stale_at).filter(|at| *at > self.now);
        if let Some(component) = self.component_mut(place) {
            component.decide_at = decide_at;
        }
    }

    /// What is known of a valid pair.
    fn quality(&self, component: &Component, id: PairId) -> Option<PathQuality> {
        let pair = self.set.get(id)?;
        let data = self.stream(pair.stream)?;
        let (local, remote) = (data.locals.get(pair.local)?, data.remotes.get(pair.remote)?);
        let consent = pair.consent.as_ref();
        let answered_at = consent.map(Consent::answered_at).or(pair.answered_at)?;
        // One that nobody watches was alive when it answered last. Of the one in use, which without consent nobody asks, silence
        // says nothing.
        let is_fresh = component.nominated == Some(id) || after(answered_at, self.config.detection()) > self.now;
        let unwatched = if is_fresh { PathHealth::Healthy } else { PathHealth::Suspect };
        Some(PathQuality {
            pair: id,
            priority: pair.priority,
            local: local.candidate.kind(),
            remote: remote.candidate.kind(),
            is_ipv6: pair.path.base.is_ipv6(),
            network_cost: local.network_cost.saturating_add(remote.network_cost()),
            round_trip_time: pair.smoothed_round_trip,
            measurements: pair.stats.round_trip_time_measurements,
            loss: consent.and_then(Consent::loss),
            health: consent.map_or(unwatched, Consent::health),
            answered_at,
            unanswered_since: consent.and_then(Consent::unanswered_since),
            is_unreachable: consent.is_some_and(Consent::is_unreachable),
            is_successor: component.detour.is_some_and(|detour| detour.pair == id && detour.is_successor),
        })
    }

    /// The pairs of a component that are to be watched.
    pub(super) fn wanted(&self, place: Place) -> Watched {
        let mut wanted = Watched::new();
        let (false, Some(data)) = (self.is_closed, self.stream(place.0)) else { return wanted };
        let Some(component) = data.component(place.1) else { return wanted };
        // Two lite agents never hear checks of each other.
        let is_watched = if self.config.lite { !data.is_remote_lite } else { self.config.consent };
        let Some(in_use) = self.in_use(place.0, component) else { return wanted };
        let config = &self.config;
        let active = match (config.lite, self.is_idle) {
            (true, _) => Pace::PASSIVE,
            (false, true) => Pace::idle(config.idle_interval),
            (false, false) => Pace::active(config.consent_interval),
        };
        let active = Some(active).filter(|_| is_watched);
        wanted.push((in_use, active));
        if config.lite || !is_watched || component.previous.is_some() {
            return wanted;
        }
        if let Some(nominated) = component.nomination.pair().filter(|nominated| *nominated != in_use) {
            // It is what was agreed, and data goes back to it when it answers.
            wanted.push((nominated, active));
        }
        let is_given_up = |consent: &Consent| consent.health() == PathHealth::Lost || consent.is_unreachable();
        let is_lost = self.consent(in_use).is_some_and(is_given_up);
        let can_renominate = data.renomination.is_some();
        if component.nomination.pair().is_some() && (can_renominate || is_lost) {
            let spares = self.spares(place, in_use, &wanted);
            let pace = match data.renomination {
                Some(Renomination::Draft2026) => Pace::kept(config.consent_interval),
                Some(Renomination::Draft2016) | None => Pace::spare(config.standby_interval),
            };
            wanted.extend(spares.into_iter().map(|id| (id, Some(pace))));
        }
        wanted
    }

    /// The pairs to keep in reserve: those that share the least with the one in use, then the best.
    fn spares(&self, place: Place, in_use: PairId, watched: &Watched) -> SmallVec<[PairId; 2]> {
        let Some(used) = self.set.get(in_use).map(|pair| pair.path) else { return SmallVec::new() };
        let mut spares: SmallVec<[(u8, PairId); 4]> = SmallVec::new();
        for id in self.set.valid(place) {
            let Some(pair) = self.set.get(*id).filter(|pair| !pair.is_barred) else { continue };
            let is_known = watched.iter().any(|(one, _)| self.set.is_same_path(*one, *id))
                || spares.iter().any(|(_, one)| self.set.is_same_path(*one, *id));
            if is_known {
                continue;
            }
            let is_shared = [pair.path.base.ip() == used.base.ip(), pair.path.remote.ip() == used.remote.ip()];
            let shared = is_shared.into_iter().map(u8::from).sum();
            spares.push((shared, *id));
        }
        // The valid list is in order of priority, and the sort is stable.
        spares.sort_by_key(|(shared, _)| *shared);
        spares.into_iter().take(self.config.standby_pairs).map(|(_, id)| id).collect()
    }

    /// Chooses where data goes while the selected pair is silent.
    pub(super) fn take_detours(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        let detours: SmallVec<[(ComponentId, Option<Detour>); 2]> =
            data.components.iter().map(|component| (component.id, self.detour(component))).collect();
        for (id, detour) in detours {
            if let Some(component) = self.component_mut((stream, id)) {
                component.detour = detour;
            }
        }
    }

    fn detour(&self, component: &Component) -> Option<Detour> {
        let nominated = component.nomination.pair().filter(|_| component.previous.is_none())?;
        let of_nominated = self.consent(nominated)?;
        let is_usable = |id: &PairId| self.set.get(*id).is_some_and(|pair| pair.is_valid && !pair.is_barred);
        if let Some(detour) = component.detour.filter(|one| one.pair != nominated && is_usable(&one.pair)) {
            let has_recovered = of_nominated.answered_at() > detour.since;
            return Some(detour).filter(|_| !has_recovered);
        }
        let silent_since = of_nominated.unanswered_since()?;
        if of_nominated.health() == PathHealth::Healthy {
            return None;
        }
        let answers = |id: &PairId| {
            let consent = self.consent(*id);
            consent.is_some_and(|c| c.health() == PathHealth::Healthy && c.answered_at() > silent_since)
        };
        let rival = component.rival.filter(|rival| rival.pair != nominated && is_usable(&rival.pair));
        // That the nominated one has answered since says that the peer had not moved then.
        let is_believed = |rival: &Rival| of_nominated.answered_at() <= rival.since || answers(&rival.pair);
        if let Some(Rival { pair, .. }) = rival.filter(is_believed) {
            return Some(Detour { pair, since: self.now, is_successor: true, is_readdressed: false });
        }
        if of_nominated.health() != PathHealth::Lost && !of_nominated.is_unreachable() {
            return None;
        }
        let is_elsewhere = |id: &PairId| of_nominated.is_cut() && self.leaves_elsewhere(*id, nominated);
        let pair = component.spares.iter().copied().find(|id| is_usable(id) && (answers(id) || is_elsewhere(id)))?;
        Some(Detour { pair, since: self.now, is_successor: false, is_readdressed: false })
    }

    /// Gives up a pair that does not answer and was not in use: it may be checked again later.
    pub(super) fn lapse(&mut self, id: PairId) {
        self.give_up_path(id, false);
    }

    /// Arms or stops the rounds in which better pairs that have failed are checked again.
    pub(super) fn plan_retries(&mut self, stream: StreamId) {
        if !self.can_renominate(stream) || self.config.lite {
            return;
        }
        // The first round is soon: pairs were put off when the selected one was nominated.
        let (at, gap) = (after(self.now, self.config.retry_interval / 5), self.config.retry_interval);
        let Some(data) = self.stream(stream) else { return };
        let mut changes: SmallVec<[(ComponentId, Option<Retry>); 1]> = SmallVec::new();
        for component in &data.components {
            let wanted = component
                .nomination
                .pair()
                .is_some_and(|id| self.retriable((stream, component.id), id).next().is_some());
            match (wanted, component.retry) {
                (true, None) => changes.push((component.id, Some(Retry { at, gap }))),
                (false, Some(_)) => changes.push((component.id, None)),
                (true, Some(_)) | (false, None) => {}
            }
        }
        for (id, retry) in changes {
            if let Some(component) = self.component_mut((stream, id)) {
                component.retry = retry;
            }
        }
    }

    /// The failed pairs that would be better than this one, or, as long as there are too few in reserve, all of them.
    fn retriable(&self, place: Place, nominated: PairId) -> impl Iterator<Item = PairId> + '_ {
        let than = self.set.get(nominated).map(|pair| pair.priority);
        let spares = self.component(place).map_or(0, |component| component.spares.len());
        let is_short = spares < self.config.standby_pairs;
        let failed = self.set.list(place.0).into_iter().flat_map(|list| list.failed());
        failed.filter(move |id| {
            self.set.get(*id).is_some_and(|pair| {
                // Over TCP it would take a connection of its own.
                let is_free = pair.path.transport == Transport::Udp && !pair.is_barred && pair.produced.is_none();
                is_free && pair.component == place.1 && (is_short || Some(pair.priority) > than)
            })
        })
    }

    /// Begins the rounds anew, at once: the network or the candidates have changed.
    pub(super) fn reset_retries(&mut self) {
        let (at, gap) = (self.now, self.config.retry_interval);
        for component in self.streams.iter_mut().flat_map(|stream| &mut stream.components) {
            if let Some(retry) = component.retry.as_mut() {
                *retry = Retry { at, gap };
            }
        }
    }

    /// Does what is due of these rounds.
    pub(super) fn expire_retries(&mut self) {
        const MOST_BACK_OFF: u32 = 12;
        let now = self.now;
        let longest = self.config.retry_interval.saturating_mul(MOST_BACK_OFF);
        for stream in 0..self.streams.len() {
            let Some(count) = self.streams.get(stream).map(|stream| stream.components.len()) else { continue };
            for index in 0..count {
                let Some(data) = self.streams.get_mut(stream) else { continue };
                let id = data.id;
                let Some(component) = data.components.get_mut(index) else { continue };
                let Some(retry) = component.retry.as_mut().filter(|retry| retry.at <= now) else { continue };
                retry.at = after(now, retry.gap);
                retry.gap = retry.gap.saturating_mul(2).min(longest);
                let (place, nominated) = ((id, component.id), component.nomination.pair());
                let Some(nominated) = nominated else { continue };
                let mut round: SmallVec<[PairId; 8]> = self.retriable(place, nominated).collect();
                // All get their turn: those first that were not checked for longest.
                round.sort_by_key(|id| self.set.get(*id).map(|pair| (pair.last_check_at, Reverse(pair.priority))));
                round.truncate(limits::RETRIES);
                round.into_iter().for_each(|id| self.outbox.queue_probe(id));
            }
        }
    }

    /// When these rounds need attention.
    pub(super) fn retry_deadline(&self) -> Option<Instant> {
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        let mut next = components.filter_map(|component| component.retry).map(|retry| retry.at).min();
        if !self.outbox.probes.is_empty() {
            next = earliest(next, Some(self.pacer.next_start_from(self.now)));
        }
        next
    }

    /// The next check of a failed pair, or of one that was left and is nominated again, as it is to be sent: once.
    pub(super) fn plan_probe(&mut self) -> Option<Start> {
        loop {
            let id = self.outbox.probes.pop_front()?;
            let is_open = |pair: &CandidatePair| {
                let is_failed = pair.state.get() == CandidatePairState::Failed;
                (is_failed || self.asked(pair).is_some()) && !pair.is_barred
            };
            if self.set.get(id).is_some_and(is_open) {
                if let Some(start) = self.plan(id, Purpose::Probe) {
                    return Some(start);
                }
            }
        }
    }
}
