//! The path in use: consent to send on it, its health, and what its end means (RFC 7675).

use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use super::stream_data::Component;
use super::{Agent, UnknownStream};
use crate::checklist::{CandidatePairState, Purpose, Start, Transaction, Why};
use crate::consent::{Consent, Demand, Pace};
use crate::event::Event;
use crate::types::{ComponentId, Instant, PairId, PathHealth, Role, StreamId, after, earliest};

impl Agent {
    /// How long nothing is heard on the pair in use before the peer's alarm is believed.
    const QUIET: Duration = Duration::from_millis(500);

    /// Says that data of the peer has arrived, which the application has authenticated: it puts off the suspicion that the
    /// path is dead, and gives no consent (RFC 7675 §5.1).
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn application_received(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
    ) -> Result<(), UnknownStream> {
        self.observe(now);
        let now = self.now;
        let data = self.stream(stream).ok_or(UnknownStream(stream))?;
        let kept = data.component(component).and_then(|component| component.kept);
        if let Some(consent) = kept.and_then(|id| self.consent_mut(id)) {
            consent.record_life(now);
        }
        Ok(())
    }

    /// Says whether data is expected to flow. While idle, the pair in use is asked less often, by
    /// [`Config::with_idle_interval`](crate::Config::with_idle_interval), which saves wake-ups and battery; consent to send
    /// may lapse meanwhile, and [`send`](Self::send) then asks for it again. Agents start active.
    ///
    /// It takes effect at once: the next check is due as if it had been so since the last one, and no more than one is.
    pub fn set_idle(&mut self, now: Instant, is_idle: bool) {
        self.observe(now);
        if core::mem::replace(&mut self.is_idle, is_idle) != is_idle {
            self.is_dirty = true;
        }
    }

    /// Says that the network may have changed: an interface came or went, the machine woke up. Pairs in use are asked at once
    /// whether they still work, one shortly after the other, pairs that have failed are checked again, and servers are asked again where
    /// gathering goes on.
    pub fn network_changed(&mut self, now: Instant) {
        self.observe(now);
        let now = self.now;
        let watched: SmallVec<[PairId; 4]> = self.watched().collect();
        for id in watched {
            if let Some(consent) = self.consent_mut(id) {
                consent.ask_at_once(now);
            }
        }
        self.reset_retries();
        self.renew_gathering();
        let failed: SmallVec<[PairId; 8]> = self
            .set
            .iter()
            .filter(|pair| pair.state.get() == CandidatePairState::Failed && !pair.is_barred && pair.group.is_some())
            .filter(|pair| {
                self.component((pair.stream, pair.component)).is_some_and(|one| one.nomination.pair().is_none())
            })
            .map(|pair| pair.id)
            .collect();
        for id in failed {
            self.trigger(id);
        }
        self.expire_consent();
    }

    /// The consent that is kept on a pair.
    pub(super) fn consent(&self, id: PairId) -> Option<&Consent> {
        self.set.get(id)?.consent.as_ref()
    }

    pub(super) fn consent_mut(&mut self, id: PairId) -> Option<&mut Consent> {
        self.set.get_mut(id)?.consent.as_mut()
    }

    /// The pair on which data of a component goes.
    pub(super) fn in_use(&self, stream: StreamId, component: &Component) -> Option<PairId> {
        let is_open = |id: &PairId| self.set.get(*id).is_some_and(|pair| !pair.is_barred);
        component.choices().find(is_open).or_else(|| {
            let valid = self.set.valid((stream, component.id));
            valid.iter().copied().find(is_open)
        })
    }

    /// The pairs in use, and those in reserve.
    pub(super) fn watched(&self) -> impl Iterator<Item = PairId> + '_ {
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        components.flat_map(|component| component.kept.into_iter().chain(component.spares.iter().copied()))
    }

    /// Withdraws our consent to the data of the peer on a stream: its checks are refused with 403, which makes it stop at
    /// once, or within 30 s if that gets lost (RFC 7675 §5.2). A restart gives consent again.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn revoke_consent(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        self.stream_mut(stream).ok_or(UnknownStream(stream))?.is_revoked = true;
        Ok(())
    }

    /// Notes that the peer was heard on a path that may be in use.
    pub(super) fn record_life(&mut self, checked: PairId) {
        let now = self.now;
        if let Some(consent) = self.consent_mut(self.watched_as(checked)) {
            let before = consent.health();
            consent.record_life(now);
            self.is_dirty |= consent.health() != before;
        }
    }

    /// The name under which the path of a pair that is checked is watched, if it is.
    fn watched_as(&self, checked: PairId) -> PairId {
        let Some(pair) = self.set.get(checked) else { return checked };
        let names = [pair.produced, Some(checked), pair.twin];
        let watched = names.into_iter().flatten().find(|id| self.consent(*id).is_some());
        watched.unwrap_or(pair.produced.unwrap_or(checked))
    }

    /// Notes that a check of the peer is answered on a path that may be in use: for a while it needs no keepalive.
    pub(super) fn record_reply(&mut self, checked: PairId) {
        let now = self.now;
        if let Some(pair) = self.set.get_mut(self.watched_as(checked)) {
            pair.last_sent_at = Some(now);
        }
    }

    /// Keeps consent on the pair that each component uses and on those in reserve, and on no other.
    pub(super) fn follow_use(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        let components: SmallVec<[ComponentId; 2]> = data.components.iter().map(|component| component.id).collect();
        let mut is_hurried = false;
        for component in components {
            let place = (stream, component);
            let wanted = self.wanted(place);
            let Some(component) = self.component(place) else { continue };
            let before = component.kept.into_iter().chain(component.spares.iter().copied());
            let gone: SmallVec<[PairId; 3]> = before.filter(|id| wanted.iter().all(|(one, _)| one != id)).collect();
            for id in gone {
                if let Some(pair) = self.set.get_mut(id) {
                    pair.consent = None;
                }
                self.outbox.consent.remove(&id);
            }
            for (id, pace) in &wanted {
                is_hurried |= self.watch(*id, *pace);
            }
            let mut has_changed = false;
            if let Some(component) = self.component_mut(place) {
                let kept = wanted.first().map(|(id, _)| *id);
                let spares = wanted.iter().skip(1).map(|(id, _)| *id);
                has_changed = component.kept != kept || !component.spares.iter().copied().eq(spares.clone());
                component.kept = kept;
                component.spares.clear();
                component.spares.extend(spares);
            }
            // How long the generation before is needed depends on it, and which connections are.
            self.is_dirty |= has_changed;
        }
        if is_hurried {
            // At another pace a check may be due by now.
            self.expire_consent();
        }
    }

    /// Watches a pair at this pace, if at all; whether a check is due at once.
    fn watch(&mut self, id: PairId, pace: Option<Pace>) -> bool {
        let now = self.now;
        let Some((pair, pace)) = self.set.get_mut(id).zip(pace) else { return false };
        if let Some(consent) = pair.consent.as_mut() {
            return consent.set_pace(pace, &mut self.random) <= now;
        }
        let Some(answered_at) = pair.answered_at else { return false };
        let mut consent = Consent::new(answered_at, now, pace, &mut self.random);
        if consent.is_stale() {
            consent.is_queued = true;
            self.outbox.queue_consent(id);
        }
        pair.consent = Some(consent);
        false
    }

    /// Does what is due on the paths in use.
    pub(super) fn expire_consent(&mut self) {
        let (now, detection) = (self.now, self.config.detection());
        let is_due = |id: PairId| {
            let consent = self.consent(id);
            consent.and_then(|consent| consent.deadline(detection)).is_some_and(|at| at <= now)
        };
        let watched: SmallVec<[PairId; 4]> = self.watched().filter(|id| is_due(*id)).collect();
        for id in watched {
            let Some(consent) = self.consent_mut(id) else { continue };
            let (before, was_unreachable) = (consent.health(), consent.is_unreachable());
            let needs_reserve = consent.needs_reserve(now);
            let demand = consent.advance(now, detection);
            let (health, is_unreachable) = (consent.health(), consent.is_unreachable());
            match demand {
                Demand::Nothing => {}
                Demand::Check if consent.is_queued => {}
                Demand::Check => {
                    consent.is_queued = true;
                    self.outbox.queue_consent(id);
                }
                Demand::Expired => self.end_consent(id, false),
                Demand::Lapsed => self.lapse(id),
            }
            // That alone may bring a detour: the health may have got worse before.
            self.is_dirty |= health != before || is_unreachable != was_unreachable;
            if health != before || needs_reserve {
                self.ask_spares_of(id);
                self.replace_dead_connection(id, health);
            }
        }
    }

    /// Asks for the consent that has lapsed while nothing was to be sent.
    pub(super) fn regain_consent(&mut self, stream: StreamId, component: ComponentId) {
        if !self.is_idle {
            return;
        }
        let now = self.now;
        let kept = self.component((stream, component)).and_then(|component| component.kept);
        if let Some(consent) = kept.and_then(|id| self.consent_mut(id)) {
            if consent.unanswered_since().is_none() {
                consent.ask_at_once(now);
            }
        }
        self.expire_consent();
    }

    /// Asks the pairs in reserve of the one in use, which does not answer, whether they work.
    pub(super) fn ask_spares_of(&mut self, id: PairId) {
        let now = self.now;
        let Some(place) = self.set.get(id).map(|pair| (pair.stream, pair.component)) else { return };
        let Some(component) = self.component(place).filter(|component| component.kept == Some(id)) else { return };
        for spare in component.spares.clone() {
            if let Some(consent) = self.consent_mut(spare) {
                consent.urge(now);
            }
        }
    }

    /// Asks the pair that a component has, and those in reserve, whether they work: a nomination of another one is not answered.
    pub(super) fn question_kept(&mut self, place: (StreamId, ComponentId)) {
        let now = self.now;
        let Some(component) = self.component(place).filter(|component| component.nomination.pair().is_some()) else {
            return;
        };
        let watched: SmallVec<[PairId; 4]> =
            component.kept.into_iter().chain(component.spares.iter().copied()).collect();
        for id in watched {
            if let Some(consent) = self.consent_mut(id) {
                consent.ask_at_once(now);
            }
        }
    }

    /// Doubts the pair in use when the peer asks one in reserve out of turn: it may have noticed what we have not.
    pub(super) fn notice_alarm(&mut self, checked: PairId, before: Option<Instant>) {
        let now = self.now;
        let Some(pair) = self.set.get(checked) else { return };
        let id = self.watched_as(checked);
        let Some(component) = self.component((pair.stream, pair.component)) else { return };
        let Some(kept) = component.kept.filter(|_| component.spares.contains(&id)) else { return };
        let consent = self.consent(id);
        let gap = before.map(|before| now.saturating_duration_since(before));
        if !consent.zip(gap).is_some_and(|(consent, gap)| consent.is_unusual(gap)) {
            return;
        }
        if let Some(consent) = self.consent_mut(kept) {
            // Whoever probes it in vain is heard by us if it still works in one direction.
            let is_quiet = after(consent.heard_at(), Self::QUIET) <= now;
            if is_quiet && consent.health() == PathHealth::Healthy && consent.unanswered_since().is_none() {
                consent.doubt(now);
            }
        }
        self.expire_consent();
    }

    /// When a path in use needs attention.
    pub(super) fn consent_deadline(&self) -> Option<Instant> {
        let mut next = None;
        for id in self.watched() {
            let consent = self.consent(id);
            next = earliest(next, consent.and_then(|consent| consent.deadline(self.config.detection())));
        }
        next = earliest(next, self.keepalives().map(|(_, at)| at).min());
        if !self.outbox.consent.is_empty() {
            next = earliest(next, Some(self.consent_pacer.next_start_from(self.now)));
        }
        next
    }

    /// Keeps consent checks so far apart that all of those which are watched could leave in half of their shortest interval,
    /// and no farther than Ta: whatever makes them due at once, they are no burst.
    pub(super) fn spread_consent(&mut self) {
        let interval = self.config.consent_interval;
        let shortest = interval.saturating_sub(interval / 5);
        let count = u32::try_from(self.watched().count()).unwrap_or(u32::MAX).max(1);
        let gap = shortest / count.saturating_mul(2);
        self.consent_pacer.set_ta(gap.min(self.pacer.ta()));
    }

    /// The pairs in use that are kept alive without consent, and when each next needs a keepalive (RFC 8445 §11).
    pub(super) fn keepalives(&self) -> impl Iterator<Item = (PairId, Instant)> + '_ {
        let components = self
            .streams
            .iter()
            .flat_map(|stream| &stream.components)
            .filter(|_| !self.config.consent || self.config.lite);
        components.filter_map(|component| {
            let pair = self.set.get(component.kept?)?;
            let last = pair.last_sent_at.or(pair.answered_at)?;
            Some((pair.id, after(last, self.config.keepalive_interval)))
        })
    }

    /// The next consent check that is due, as it is to be sent: once, and with a new transaction ID (RFC 7675 §5.1).
    pub(super) fn plan_consent(&mut self) -> Option<Start> {
        loop {
            let id = self.outbox.consent.pop_front()?;
            let Some(consent) = self.consent_mut(id) else { continue };
            consent.is_queued = false;
            if let Some(start) = self.plan(id, Purpose::Consent) {
                return Some(start);
            }
            // What cannot be asked cannot be used.
            self.end_consent(id, false);
        }
    }

    /// Takes an answer to a consent check.
    pub(super) fn handle_consent(&mut self, transaction: &Transaction, mapped: SocketAddr) {
        let now = self.now;
        let id = transaction.start.pair;
        let Some(pair) = self.set.get_mut(id) else { return };
        pair.answered_at = Some(now);
        let place = (pair.stream, pair.component);
        if let Some(consent) = pair.consent.as_mut() {
            self.is_dirty |= consent.health() != PathHealth::Healthy;
            consent.record_answer(now);
        }
        let has_nominated = transaction.start.use_candidate && transaction.start.role == Role::Controlling;
        if has_nominated && self.role == Role::Controlling && !self.is_past(id) {
            self.conclude_nomination(transaction, id);
        }
        // What is in reserve may be better by now than what is in use.
        self.is_dirty |=
            self.component(place).is_some_and(|component| component.kept != Some(id) || component.detour.is_some())
                || self.is_selecting(place);
        self.follow_mapping(transaction, mapped);
    }

    /// Notices that a NAT shows us to the peer under another address than before.
    fn follow_mapping(&mut self, transaction: &Transaction, mapped: SocketAddr) {
        let id = transaction.start.pair;
        let Some(pair) = self.set.get(id) else { return };
        let (place, is_past) = ((pair.stream, pair.component), self.is_past(id));
        let Some(data) = self.stream(place.0).filter(|_| !is_past) else { return };
        let is_known = data.locals.get(pair.local).is_some_and(|local| local.address == mapped);
        let mut valid = id;
        if !is_known {
            let checked = pair.produced_by.unwrap_or(id);
            let Some(seen) = self.valid_pair(checked, transaction.start.priority, mapped) else { return };
            self.make_valid(checked, seen);
            self.is_dirty = true;
            valid = seen;
        }
        self.note_mapping(valid, mapped, true);
    }

    /// Stops to use a path: the peer has not consented for 30 s, or said no (RFC 7675 §5.1, §5.2).
    pub(super) fn end_consent(&mut self, id: PairId, is_revoked: bool) {
        let at = self.now;
        if let Some(pair) = self.set.get(id) {
            let (stream, component) = (pair.stream, pair.component);
            // An answer to another check of the pair gives no consent.
            let answered_at = pair.consent.as_ref().map(Consent::answered_at).or(pair.answered_at);
            self.emit(Event::ConsentEnded { stream, component, pair: id, answered_at, at, is_revoked });
        }
        self.give_up_path(id, true);
    }

    /// Takes a path off the valid list under all its names. The same credentials never regain consent where it has ended.
    pub(super) fn give_up_path(&mut self, id: PairId, is_over: bool) {
        let Some(pair) = self.set.get(id) else { return };
        let place = (pair.stream, pair.component);
        // Several may be valid: the NAT may have shown us under another address for a while.
        let gone = self.set.names_of(id);
        let attempt = self.component(place).and_then(|component| component.nomination.attempt());
        if attempt.is_some_and(|attempt| gone.contains(&attempt.valid)) {
            self.give_up_nominating(place.0);
        }
        for one in gone.iter().copied() {
            self.leave_use(place, one);
            self.set.forget_valid_pair(one);
            let why = if is_over { Why::ConsentLost } else { Why::Failed };
            let _ = self.set.drop(one, why);
        }
        if let Some(component) = self.component_mut(place) {
            component.has_lost_consent |= is_over;
        }
        for one in gone {
            if self.set.get(one).is_some_and(|pair| pair.group.is_none()) {
                // It is on no checklist that it could be seen on as failed.
                self.forget_pair(one);
            }
        }
        self.is_dirty = true;
    }

    /// Tells how the paths in use are doing, where that has changed.
    pub(super) fn report_health(&mut self, stream: StreamId) {
        let detection = self.config.detection();
        let Some(data) = self.stream(stream) else { return };
        let mut events: SmallVec<[Event; 1]> = SmallVec::new();
        let mut changes: SmallVec<[(ComponentId, Option<PathHealth>); 1]> = SmallVec::new();
        for component in &data.components {
            let pair = component.kept.and_then(|id| self.set.get(id));
            let health = pair.and_then(|pair| pair.consent.as_ref()).map(Consent::health);
            if health == component.health {
                continue;
            }
            changes.push((component.id, health));
            let (Some(pair), Some(current)) = (pair, health) else { continue };
            if component.health.is_none() && current == PathHealth::Healthy {
                // A path that is taken into use is healthy, as the selection says.
                continue;
            }
            let Some(consent) = &pair.consent else { continue };
            events.push(Event::PathHealthChanged {
                stream,
                component: component.id,
                pair: pair.id,
                health: current,
                at: self.now,
                answered_at: consent.answered_at(),
                heard_at: consent.heard_at(),
                sent_at: pair.last_sent_at,
                next_state_at: consent.next_state_at(detection),
            });
        }
        for (component, health) in changes {
            if let Some(component) = self.component_mut((stream, component)) {
                component.health = health;
            }
        }
        events.into_iter().for_each(|event| self.emit(event));
    }

    /// Whether the path of a component is given up for the time being.
    pub(super) fn is_lost(&self, component: &Component) -> bool {
        let consent = component.kept.and_then(|id| self.consent(id));
        consent.is_some_and(|consent| consent.health() == PathHealth::Lost)
    }
}
