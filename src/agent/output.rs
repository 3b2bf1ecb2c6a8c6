//! What goes out: datagrams, events, and the next deadline.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::BufMut;

use super::Agent;
use super::connections::Carriage;
use super::outbox::Outgoing;
use super::stream_data::Stream;
use crate::candidate::{CandidateKind, Priority};
use crate::checklist::{CandidatePair, CandidatePairState, ChecklistSet, Purpose, Start, TransactionKey};
use crate::config::{RtoFormula, limits};
use crate::event::Event;
use crate::nomination::Attempt;
use crate::stun::{Request, Scratch, TransactionId, write_error, write_keepalive, write_request, write_success};
use crate::transmit::Transmit;
use crate::types::{Instant, PairId, Path, Renomination, Role, Transport, earliest, last};

impl Agent {
    /// Longest datagram that the agent writes by itself, in bytes: what any IPv4 path carries (RFC 8489 §6.1).
    pub const MAX_DATAGRAM: usize = limits::DATAGRAM;

    /// Appends the next datagram to `buf`, and says where it goes; `None` if there is none for the time being.
    ///
    /// A request to a TURN server with a long user name, realm and nonce may be longer: it waits for a buffer with room for it,
    /// which one of 1,500 bytes has for all that servers use.
    ///
    /// Call it until it gives `None`. A buffer with room for less than [`MAX_DATAGRAM`](Self::MAX_DATAGRAM) bytes gets
    /// nothing, and nothing is lost by it.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut impl BufMut) -> Option<Transmit> {
        self.observe(now);
        self.expire();
        self.evaluate();
        if buf.remaining_mut() < Self::MAX_DATAGRAM {
            return None;
        }
        if self.is_closed {
            return self.write_relay(buf);
        }
        let mut scratch = Scratch::new();
        loop {
            if let Some(transmit) = self.write_enquiry(buf) {
                return Some(transmit);
            }
            let path = self
                .write_reply(&mut scratch)
                .or_else(|| self.write_repetition(&mut scratch))
                .or_else(|| self.write_gathering_repetition(&mut scratch))
                .or_else(|| self.write_opening(&mut scratch));
            if path.is_none() {
                if let Some(transmit) = self.write_relay(buf) {
                    return Some(transmit);
                }
            }
            let path = path
                .or_else(|| self.write_consent(&mut scratch))
                .or_else(|| self.write_keepalive(&mut scratch))
                .or_else(|| self.write_new(&mut scratch))
                .or_else(|| self.write_probe(&mut scratch));
            let Some(path) = path else {
                // A relay that gathering has just opened may begin at once.
                return self.write_relay(buf);
            };
            let transmit = self.wrap(&path, &scratch, buf);
            if transmit.is_some() {
                return transmit;
            }
            // Its connection is gone, or its relay does not let it through: what was to be sent is lost, like any datagram.
        }
    }

    /// The answer to a request, on the way that the request took (RFC 8445 §7.3.1.2).
    fn write_reply(&mut self, out: &mut Scratch) -> Option<Path> {
        loop {
            let reply = self.outbox.replies.pop_front()?;
            let Some(key) = self.stream(reply.stream).and_then(|stream| stream.key_in(reply.generation)) else {
                continue;
            };
            match (&reply.error, reply.integrity) {
                (None, Some(integrity)) => write_success(out, reply.id, reply.path.remote, key, integrity),
                (Some(error), integrity) => {
                    write_error(out, reply.id, error, integrity.map(|integrity| (key, integrity)))
                }
                (None, None) => continue,
            }
            return Some(reply.path);
        }
    }

    /// A check that is sent again: the same bytes.
    fn write_repetition(&mut self, out: &mut Scratch) -> Option<Path> {
        loop {
            let key = self.outbox.repeats.pop_front()?;
            let cap = self.longest_interval();
            // Nothing leaves for a pair that is gone, whatever became of its check.
            let pair = self.set.transaction(key).map(|transaction| transaction.start.pair);
            if pair.is_none_or(|pair| self.set.get(pair).is_none()) {
                continue;
            }
            let Some(start) = self.set.repeat(self.now, key, cap) else { continue };
            let path = self.encode(out, &start);
            if path.is_some() {
                return path;
            }
        }
    }

    /// A consent check that is due (RFC 7675 §5.1). Ta is not for them, yet many that are due at once do not leave at once.
    fn write_consent(&mut self, out: &mut Scratch) -> Option<Path> {
        if self.outbox.consent.is_empty() || !self.consent_pacer.is_open(self.now) {
            return None;
        }
        loop {
            let start = self.plan_consent()?;
            if self.is_asked(start.pair) {
                // On a connection, the answer to the check before comes first.
                self.record_demand(start.pair);
                continue;
            }
            let Some(path) = self.encode(out, &start) else {
                // What cannot be asked cannot be used.
                self.end_consent(start.pair, false);
                continue;
            };
            self.record_consent(&start);
            return Some(path);
        }
    }

    pub(super) fn record_consent(&mut self, start: &Start) {
        self.consent_pacer.start(self.now);
        self.set.begin(self.now, start);
        let Some(pair) = self.set.get(start.pair) else { return };
        let (path, place) = (pair.path, (pair.stream, pair.component));
        if let Some((component, (_, value))) = self.component_mut(place).zip(start.nomination) {
            component.nomination.sent_value(value);
        }
        self.connections.record_question(&path);
        self.record_demand(start.pair);
    }

    /// Plans the next consent check.
    fn record_demand(&mut self, pair: PairId) {
        let now = self.now;
        let Some(pair) = self.set.get(pair) else { return };
        let (id, round_trip) = (pair.id, pair.stats.current_round_trip_time);
        let place = (pair.stream, pair.component);
        let Self { streams, random, .. } = self;
        let data = Stream::find_mut(streams, place.0);
        let component = data.and_then(|data| data.component_mut(place.1));
        if let Some(consent) = component.and_then(|component| component.selection.consent_mut(id)) {
            consent.record_check(now, round_trip, random);
        }
        self.is_dirty |= self.is_selecting(place);
    }

    /// A keepalive on a pair in use, where consent is not asked for (RFC 8445 §11).
    fn write_keepalive(&mut self, out: &mut Scratch) -> Option<Path> {
        let now = self.now;
        let id = self.keepalives().find(|(_, at)| *at <= now).map(|(id, _)| id)?;
        write_keepalive(out, TransactionId::draw(&mut self.random));
        self.set.record_sent(id, now);
        Some(self.set.get(id)?.path)
    }

    /// A new check or a new request to a server, in turn: both start Ta apart (RFC 8445 §14.2).
    fn write_new(&mut self, out: &mut Scratch) -> Option<Path> {
        if self.gatherer.is_turn() {
            self.write_gathering(out).or_else(|| self.write_check(out))
        } else {
            self.write_check(out).or_else(|| self.write_gathering(out))
        }
    }

    /// A check of a pair that has failed, if Ta allows one.
    fn write_probe(&mut self, out: &mut Scratch) -> Option<Path> {
        if self.set.has_work() || !self.pacer.is_open(self.now) {
            return None;
        }
        loop {
            let start = self.plan_probe().or_else(|| self.plan_sought())?;
            if let Some(path) = self.encode(out, &start) {
                self.record_probe(&start);
                return Some(path);
            }
        }
    }

    pub(super) fn record_probe(&mut self, start: &Start) {
        self.stats.requests_sent += 1;
        self.pacer.start(self.now);
        self.set.begin(self.now, start);
        // When which of those that have failed is due depends on it.
        self.is_dirty = true;
    }

    /// A new check, if Ta allows one (RFC 8445 §6.1.4.2).
    fn write_check(&mut self, out: &mut Scratch) -> Option<Path> {
        if !self.pacer.is_open(self.now) {
            return None;
        }
        loop {
            let id = self.set.next()?;
            let Some(start) = self.plan(id, Purpose::Check) else {
                self.skip(id);
                continue;
            };
            match self.carriage(id) {
                Carriage::Ready => {
                    let Some(path) = self.encode(out, &start) else {
                        self.skip(id);
                        continue;
                    };
                    self.record_start(&start, ChecklistSet::begin);
                    return Some(path);
                }
                Carriage::Opening(connection) => {
                    let key = self.record_start(&start, ChecklistSet::prepare);
                    self.let_wait(connection, key);
                    return None;
                }
                Carriage::None => self.skip(id),
            }
        }
    }

    /// Takes a pair out of turn that cannot be checked, which may be the end of its list.
    fn skip(&mut self, id: PairId) {
        self.set.skip(id);
        self.is_dirty = true;
    }

    /// What a check of this pair says now; `None` if it has nothing to say.
    pub(super) fn plan(&mut self, id: PairId, purpose: Purpose) -> Option<Start> {
        let transaction = TransactionId::draw(&mut self.random);
        let pair = self.set.get(id)?;
        let is_single = matches!(purpose, Purpose::Consent | Purpose::Probe);
        let is_nomination = !is_single && self.is_nominating(pair) && self.role == Role::Controlling;
        let repeated = if purpose == Purpose::Consent { self.repeated_nomination(pair) } else { None };
        let use_candidate = is_nomination || repeated.is_some();
        if pair.state.get() == CandidatePairState::Succeeded && !use_candidate && !is_single {
            return None;
        }
        let data = self.stream(pair.stream)?;
        let local = data.locals.get(pair.local)?;
        let attempt = data
            .component(pair.component)
            .and_then(|component| component.nomination.attempt())
            .filter(|_| is_nomination);
        let nomination = data.renomination.zip(attempt.map(|attempt| attempt.value).or(repeated));
        let rto = self.rto(pair);
        let patience = attempt.map_or(rto, |attempt| attempt.patience(rto));
        let is_urgent = self.is_urgent(pair) && self.may_be_lost_early(pair.stats.current_round_trip_time);
        // What the peer would give the candidate if it knew it from this check alone (RFC 8445 §7.1.1).
        let is_reliable = pair.path.transport == Transport::Tcp;
        let preference = self.config.preferences().of(CandidateKind::PeerReflexive, is_reliable);
        let priority = Priority::compute(preference, local.candidate.priority().local_preference(), pair.component);
        Some(Start {
            id: transaction,
            pair: id,
            purpose: if is_nomination { Purpose::Nomination } else { purpose },
            role: self.role,
            tiebreaker: self.tiebreaker,
            priority: priority.get(),
            use_candidate,
            nomination,
            generation: pair.generation,
            peer: data.remotes_in(pair.generation)?.get(pair.remote)?.peer,
            rto: patience,
            is_urgent: is_urgent && patience == rto,
            is_reliable,
        })
    }

    /// The value with which a consent check of this pair nominates it again; `None` if it does not: only the pair does that we
    /// have nominated and use, as long as no other one is on its way to take its place.
    fn repeated_nomination(&self, pair: &CandidatePair) -> Option<u32> {
        if !self.config.repeated_use_candidate || self.role == Role::Controlled {
            return None;
        }
        let data = self.stream(pair.stream).filter(|data| data.generation == pair.generation)?;
        let component = data.component(pair.component)?;
        let is_used = component.nomination.pair() == Some(pair.id) && component.selection.in_use() == Some(pair.id);
        if !is_used || component.nomination.attempt().is_some_and(|attempt| attempt.has_left()) {
            return None;
        }
        if !data.is_remote_lite && !component.nomination.is_mapping_settled() {
            // The peer may see it from any of several addresses, each of which is another pair to it. A lite one goes by
            // nothing else, and to be answered where it was asked from is right in any case.
            return None;
        }
        let unconfirmed =
            component.nomination.attempt().filter(|attempt| attempt.is_affirming).map(|attempt| attempt.value);
        match data.renomination {
            Some(Renomination::Draft2016) => unconfirmed,
            Some(Renomination::Draft2026) | None => unconfirmed.or(component.nomination.agreed()),
        }
    }

    /// How long the first transmission of a check is waited for (RFC 8445 §14.3).
    fn rto(&self, pair: &CandidatePair) -> Duration {
        if pair.path.transport == Transport::Tcp {
            return self.config.rto;
        }
        if self.is_urgent(pair) {
            return self.urgent_rto(pair.stats.current_round_trip_time);
        }
        let factor = match self.config.rto_formula {
            RtoFormula::Checks => 1,
            RtoFormula::Literal => u32::try_from(self.set.len()).unwrap_or(u32::MAX),
        };
        self.config.rto.max(self.paced(self.set.busy()).saturating_mul(factor))
    }

    /// Up to where the interval between two transmissions of a check doubles: all pairs that are checked share Ta.
    pub(super) fn longest_interval(&self) -> Duration {
        self.config.max_rto.max(self.paced(self.set.busy() + self.sought_pairs()))
    }

    /// The time in which so many checks leave.
    pub(super) fn paced(&self, checks: usize) -> Duration {
        self.pacer.ta().saturating_mul(u32::try_from(checks).unwrap_or(u32::MAX))
    }

    fn record_start(
        &mut self,
        start: &Start,
        record: impl FnOnce(&mut ChecklistSet, Instant, &Start) -> TransactionKey,
    ) -> TransactionKey {
        let now = self.now;
        self.pacer.start(now);
        self.gatherer.set_turn(true);
        self.stats.requests_sent += 1;
        let key = record(&mut self.set, now, start);
        let Some(pair) = self.set.get(start.pair) else { return key };
        let (place, is_urgent) = ((pair.stream, pair.component), self.is_urgent(pair));
        if is_urgent {
            self.set.note_urgent(start.pair, now);
        }
        if start.purpose == Purpose::Nomination {
            let tries = self.component_mut(place).map_or(0, |component| component.nomination.sent(key));
            if tries == Attempt::TRIES_BEFORE_FALLBACK / 2 {
                self.question_kept(place);
            }
        }
        // The nomination policy waits for the answers to the checks that it knows to be under way.
        let is_undecided = self
            .component(place)
            .is_some_and(|one| one.nomination.pair().is_none() && !self.set.valid(place).is_empty());
        // And a connection may have been wanted for this check alone.
        self.is_dirty |= self.config.pair_events || is_undecided || start.is_reliable;
        key
    }

    pub(super) fn encode(&self, out: &mut Scratch, start: &Start) -> Option<Path> {
        let pair = self.set.get(start.pair)?;
        let data = self.stream(pair.stream)?;
        let peer = data.remote_in(start.generation, start.peer)?;
        let local = data.local_in(start.generation)?;
        let request = Request {
            id: start.id,
            to: peer.ufrag(),
            from: local.ufrag(),
            priority: start.priority,
            role: start.role,
            tiebreaker: start.tiebreaker,
            use_candidate: start.use_candidate,
            nomination: start.nomination,
        };
        write_request(out, &request, &peer.key);
        Some(pair.path)
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.evaluate();
        loop {
            self.report_tables();
            match self.outbox.events.pop_front()? {
                Outgoing::Event(event) => return Some(event),
                Outgoing::LocalCandidate { stream, id, generation } => {
                    // One whose candidate or generation is gone is not told, and nothing comes of it.
                    let Some(data) = self.stream(stream) else { continue };
                    let Some((local, keyed)) = data.locals.get(id).zip(data.local_in(generation)) else { continue };
                    let candidate = Box::new(local.candidate.clone().with_extension("ufrag", keyed.ufrag()));
                    self.announce(stream, id, generation);
                    return Some(Event::LocalCandidate { stream, id, generation, candidate });
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` if only a call or a datagram can change
    /// anything. It is in the past only while there is something to poll.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_output = self.gatherer.has_repeats() || self.connections.has_output();
        if self.is_dirty || self.outbox.has_datagrams() || has_output {
            return Some(self.now);
        }
        let next = if self.is_closed {
            earliest(self.relay_deadline(), self.connections.deadline())
        } else {
            self.next_deadline()
        };
        next.filter(|at| *at <= last())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let mut next = earliest(self.set.deadline(), self.consent_deadline());
        next = earliest(next, self.gathering_deadline());
        next = earliest(next, self.retry_deadline());
        next = earliest(next, self.search_deadline());
        next = earliest(next, self.connections.deadline());
        next = earliest(next, self.relay_deadline());
        if self.set.has_work() {
            next = earliest(next, Some(self.pacer.next_start_from(self.now)));
        }
        for stream in &self.streams {
            next = earliest(next, stream.pac_deadline);
            next = earliest(next, stream.previous.as_ref().and_then(|previous| previous.until));
            for component in &stream.components {
                next = earliest(next, earliest(component.selection.deadline(), component.nomination.deadline()));
            }
        }
        next
    }
}
