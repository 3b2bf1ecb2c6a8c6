//! What is there beside the pair in use: pairs in reserve, pairs that failed and may come to work, and where data goes when
//! the selected pair is silent.
//!
//! A component whose peer takes several nominations keeps a few working pairs warm, and checks failed ones again that would
//! be better, with a back-off. When the selected pair dies, the controlling side nominates one of the reserve. Any agent
//! sends its data on another pair meanwhile, if one is known to work: the fallback.

use core::cmp::Reverse;

use smallvec::SmallVec;

use super::Agent;
use super::stream_data::{Component, Stream};
use crate::checklist::{CandidatePair, CandidatePairState, Purpose, Start};
use crate::config::limits;
use crate::selection::{Cadence, Consent, PathQuality, Retry, SelectionDecision, SelectionView, Standby, Wanted};
use crate::types::{
    ComponentId, Instant, PairId, PathHealth, Renomination, Role, StreamId, Transport, after, earliest,
};

type Place = (StreamId, ComponentId);

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
            component.selection.wait_until(decide_at);
        }
    }

    /// What is known of a valid pair.
    fn quality(&self, component: &Component, id: PairId) -> Option<PathQuality> {
        let pair = self.set.get(id)?;
        let data = self.stream(pair.stream)?;
        let (local, remote) = (data.locals.get(pair.local)?, data.remotes.get(pair.remote)?);
        let consent = component.selection.consent(id);
        let answered_at = consent.map(Consent::answered_at).or(pair.answered_at)?;
        // One that nobody watches was alive when it answered last. Of the one in use, which without consent nobody asks, silence
        // says nothing.
        let is_fresh =
            component.nomination.pair() == Some(id) || after(answered_at, self.config.detection()) > self.now;
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
            is_successor: component.selection.is_peer_move(id),
        })
    }

    /// The pairs of a component that are to be watched.
    pub(super) fn wanted(&self, place: Place) -> Wanted {
        let (false, Some(data)) = (self.is_closed, self.stream(place.0)) else { return Wanted::new() };
        let Some(component) = data.component(place.1) else { return Wanted::new() };
        let Some(in_use) = self.in_use(place.0, component) else { return Wanted::new() };
        let config = &self.config;
        // Two lite agents never hear checks of each other.
        let is_asked = if config.lite { !data.is_remote_lite } else { config.consent };
        let active = match (config.lite, self.is_idle) {
            (true, _) => Cadence::PASSIVE,
            (false, true) => Cadence::idle(config.idle_interval),
            (false, false) => Cadence::active(config.consent_interval),
        };
        let standby = match data.renomination {
            Some(Renomination::Draft2026) => Cadence::kept(config.consent_interval),
            Some(Renomination::Draft2016) | None => Cadence::spare(config.standby_interval),
        };
        let how = Standby {
            active: Some(active).filter(|_| is_asked),
            standby,
            most: config.standby_pairs,
            is_always: data.renomination.is_some(),
            is_alone: config.lite || !is_asked,
        };
        component.selection.wanted(&self.set, place, (in_use, component.nomination.pair()), how)
    }

    /// Chooses where data goes while the selected pair is silent.
    pub(super) fn choose_fallbacks(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        // Only where the host cannot send on the nominated pair does it matter which others leave from another address.
        let elsewhere: SmallVec<[SmallVec<[PairId; 2]>; 1]> = data
            .components
            .iter()
            .map(|component| {
                let nominated = component.nomination.pair();
                let cut = nominated.filter(|id| component.selection.consent(*id).is_some_and(Consent::is_cut));
                let others = cut.into_iter().flat_map(|cut| component.selection.standby().map(move |id| (id, cut)));
                others.filter(|(id, cut)| self.leaves_elsewhere(*id, *cut)).map(|(id, _)| id).collect()
            })
            .collect();
        let (now, Self { streams, set, .. }) = (self.now, self);
        let Some(data) = Stream::find_mut(streams, stream) else { return };
        for (component, elsewhere) in data.components.iter_mut().zip(&elsewhere) {
            let nominated = component.nomination.pair();
            component.selection.choose_fallback(now, set, nominated, |id| elsewhere.contains(&id));
        }
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
        let wanted: SmallVec<[bool; 2]> = data
            .components
            .iter()
            .map(|component| {
                let nominated = component.nomination.pair();
                nominated.is_some_and(|id| self.retriable((stream, component.id), id).next().is_some())
            })
            .collect();
        let Some(data) = self.stream_mut(stream) else { return };
        for (component, is_wanted) in data.components.iter_mut().zip(wanted) {
            component.selection.retries().want(is_wanted, Retry { at, gap });
        }
    }

    /// The failed pairs that would be better than this one, or, as long as there are too few in reserve, all of them.
    fn retriable(&self, place: Place, nominated: PairId) -> impl Iterator<Item = PairId> + '_ {
        let than = self.set.get(nominated).map(|pair| pair.priority);
        let spares = self.component(place).map_or(0, |component| component.selection.standby().count());
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
            component.selection.retries().reset(Retry { at, gap });
        }
    }

    /// Does what is due of these rounds.
    pub(super) fn expire_retries(&mut self) {
        let now = self.now;
        let interval = self.config.retry_interval;
        for stream in 0..self.streams.len() {
            let Some(count) = self.streams.get(stream).map(|stream| stream.components.len()) else { continue };
            for index in 0..count {
                let Some(data) = self.streams.get_mut(stream) else { continue };
                let id = data.id;
                let Some(component) = data.components.get_mut(index) else { continue };
                if !component.selection.retries().expire(now, interval) {
                    continue;
                }
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
        let mut next = components.filter_map(|component| component.selection.retry_at()).min();
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
