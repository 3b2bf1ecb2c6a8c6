//! The path in use: consent to send on it, its health, and what its end means (RFC 7675).

use core::net::SocketAddr;

use smallvec::SmallVec;

use super::stream_data::{Component, Stream};
use super::{Agent, UnknownStream};
use crate::checklist::{CandidatePairState, Purpose, Start, Transaction, Why};
use crate::event::Event;
use crate::selection::{Consent, Demand};
use crate::types::{ComponentId, Instant, PairId, PathHealth, Role, StreamId, after, earliest};

impl Agent {
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
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        if let Some(component) = data.component_mut(component) {
            component.selection.heard_data(now);
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
        for component in self.streams.iter_mut().flat_map(|stream| &mut stream.components) {
            component.selection.ask_all(now);
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
    }

    /// The consent that is kept on a pair.
    pub(super) fn consent(&self, id: PairId) -> Option<&Consent> {
        let pair = self.set.get(id)?;
        self.component((pair.stream, pair.component))?.selection.consent(id)
    }

    pub(super) fn consent_mut(&mut self, id: PairId) -> Option<&mut Consent> {
        let pair = self.set.get(id)?;
        self.component_mut((pair.stream, pair.component))?.selection.consent_mut(id)
    }

    /// The pair on which data of a component goes.
    pub(super) fn in_use(&self, stream: StreamId, component: &Component) -> Option<PairId> {
        let is_open = |id: &PairId| self.set.get(*id).is_some_and(|pair| !pair.is_barred);
        component.selection.choices(component.nomination.pair()).find(is_open).or_else(|| {
            let valid = self.set.valid((stream, component.id));
            valid.iter().copied().find(is_open)
        })
    }

    /// The pairs in use, and those in reserve.
    pub(super) fn watched(&self) -> impl Iterator<Item = PairId> + '_ {
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        components.flat_map(|component| component.selection.watched())
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
        self.set.record_sent(self.watched_as(checked), now);
    }

    /// Keeps consent on the pair that each component uses and on those in reserve, and on no other.
    pub(super) fn follow_use(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        let components: SmallVec<[ComponentId; 2]> = data.components.iter().map(|component| component.id).collect();
        let mut is_hurried = false;
        for component in components {
            let place = (stream, component);
            let wanted = self.wanted(place);
            let (now, Self { streams, set, random, outbox, .. }) = (self.now, &mut *self);
            let data = Stream::find_mut(streams, stream);
            let Some(component) = data.and_then(|data| data.component_mut(component)) else { continue };
            let answered_at = |id| set.get(id).and_then(|pair| pair.answered_at);
            let watched = component.selection.watch(now, &wanted, answered_at, random);
            for id in &watched.gone {
                outbox.consent.remove(id);
            }
            watched.stale.into_iter().for_each(|id| outbox.queue_consent(id));
            // How long the generation before is needed depends on it, and which connections are.
            self.is_dirty |= watched.has_changed;
            is_hurried |= watched.is_hurried;
        }
        if is_hurried {
            self.expire_consent();
        }
    }

    /// Does what is due on the paths in use.
    pub(super) fn expire_consent(&mut self) {
        let (now, detection) = (self.now, self.config.detection());
        let components =
            self.streams.iter().flat_map(|stream| stream.components.iter().map(move |one| (stream.id, one)));
        let due: SmallVec<[((StreamId, ComponentId), PairId); 4]> = components
            .flat_map(|(stream, one)| one.selection.due(now, detection).map(move |id| ((stream, one.id), id)))
            .collect();
        for (place, id) in due {
            let component = self.component_mut(place);
            let Some(advanced) = component.and_then(|one| one.selection.advance(id, now, detection)) else { continue };
            // What becomes of it is told before what becomes of others with it.
            self.set.note(id);
            match advanced.demand {
                Demand::Nothing => {}
                Demand::Check => self.outbox.queue_consent(id),
                Demand::Expired => self.end_consent(id, false),
                Demand::Lapsed => self.lapse(id),
            }
            self.is_dirty |= advanced.has_changed;
            if advanced.needs_standby {
                self.ask_spares_of(id);
                self.replace_dead_connection(id, advanced.health);
            }
        }
    }

    /// Asks for the consent that has lapsed while nothing was to be sent.
    pub(super) fn regain_consent(&mut self, stream: StreamId, component: ComponentId) {
        if !self.is_idle {
            return;
        }
        let now = self.now;
        if let Some(component) = self.component_mut((stream, component)) {
            component.selection.regain(now);
        }
    }

    /// Asks the pairs in reserve of the one in use, which does not answer, whether they work.
    pub(super) fn ask_spares_of(&mut self, id: PairId) {
        let now = self.now;
        let Some(place) = self.set.get(id).map(|pair| (pair.stream, pair.component)) else { return };
        if let Some(component) = self.component_mut(place).filter(|one| one.selection.in_use() == Some(id)) {
            component.selection.urge_standby(now);
        }
    }

    /// Asks the pair that a component has, and those in reserve, whether they work: a nomination of another one is not answered.
    pub(super) fn question_kept(&mut self, place: (StreamId, ComponentId)) {
        let now = self.now;
        if let Some(component) = self.component_mut(place).filter(|component| component.nomination.pair().is_some()) {
            component.selection.ask_all(now);
        }
    }

    /// Doubts the pair in use when the peer asks one in reserve out of turn: it may have noticed what we have not.
    pub(super) fn notice_alarm(&mut self, checked: PairId, before: Option<Instant>) {
        let now = self.now;
        let Some(pair) = self.set.get(checked) else { return };
        let id = self.watched_as(checked);
        let place = (pair.stream, pair.component);
        let gap = before.map(|before| now.saturating_duration_since(before));
        let Some(component) = self.component_mut(place) else { return };
        component.selection.notice_alarm(now, id, gap);
    }

    /// When a path in use needs attention.
    pub(super) fn consent_deadline(&self) -> Option<Instant> {
        let detection = self.config.detection();
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        let mut next = components.fold(None, |next, one| earliest(next, one.selection.consent_deadline(detection)));
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
            let pair = self.set.get(component.selection.in_use()?)?;
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
        let Some(pair) = self.set.get(id) else { return };
        if pair.is_barred || !pair.is_valid {
            // A late answer does not bring back what consent has ended for, nor what was given up (RFC 7675 §5.1).
            return;
        }
        let place = (pair.stream, pair.component);
        self.set.record_answer(id, now);
        if let Some(consent) = self.consent_mut(id) {
            let has_recovered = consent.health() != PathHealth::Healthy;
            consent.record_answer(now);
            self.is_dirty |= has_recovered;
        }
        let has_nominated = transaction.start.use_candidate && transaction.start.role == Role::Controlling;
        if has_nominated && self.role == Role::Controlling && !self.is_past(id) {
            self.conclude_nomination(transaction, id);
        }
        // What is in reserve may be better by now than what is in use.
        self.is_dirty |= self.component(place).is_some_and(|component| {
            component.selection.in_use() != Some(id) || component.selection.fallback().is_some()
        }) || self.is_selecting(place);
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
            let answered_at = self.consent(id).map(Consent::answered_at).or(pair.answered_at);
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
            if is_over {
                component.selection.lose_consent();
            }
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
        let (at, detection) = (self.now, self.config.detection());
        let Self { streams, set, .. } = &mut *self;
        let Some(data) = Stream::find_mut(streams, stream) else { return };
        let mut events: SmallVec<[Event; 1]> = SmallVec::new();
        for component in &mut data.components {
            let Some(before) = component.selection.tell_health() else { continue };
            let pair = component.selection.in_use().and_then(|id| set.get(id));
            let consent = pair.and_then(|pair| component.selection.consent(pair.id));
            let Some((pair, consent)) = pair.zip(consent) else { continue };
            let health = consent.health();
            if before.is_none() && health == PathHealth::Healthy {
                // A path that is taken into use is healthy, as the selection says.
                continue;
            }
            events.push(Event::PathHealthChanged {
                stream,
                component: component.id,
                pair: pair.id,
                health,
                at,
                answered_at: consent.answered_at(),
                heard_at: consent.heard_at(),
                sent_at: pair.last_sent_at,
                next_state_at: consent.next_state_at(detection),
            });
        }
        events.into_iter().for_each(|event| self.emit(event));
    }
}
