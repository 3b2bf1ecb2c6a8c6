//! What goes out: datagrams, events, and the next deadline.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::BufMut;

use super::outbox::Outgoing;
use super::{Agent, Role};
use crate::candidate::{CandidateKind, Priority};
use crate::check::{Purpose, Start};
use crate::config::RtoFormula;
use crate::event::Event;
use crate::pair::{CandidatePair, CandidatePairState, PairId};
use crate::stun::{Request, Scratch, TransactionId, write_error, write_request, write_success};
use crate::time::{Instant, earliest};
use crate::transmit::Transmit;

impl Agent {
    /// Longest datagram that the agent writes by itself, in bytes: what any IPv4 path carries (RFC 8489 §6.1).
    pub const MAX_DATAGRAM: usize = 548;

    /// Appends the next datagram to `buf`, and says where it goes; `None` if there is none for the time being.
    ///
    /// Call it until it gives `None`. A buffer with room for less than [`MAX_DATAGRAM`](Self::MAX_DATAGRAM) bytes gets
    /// nothing, and nothing is lost by it.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut impl BufMut) -> Option<Transmit> {
        self.observe(now);
        self.expire();
        self.evaluate();
        if self.is_closed || buf.remaining_mut() < Self::MAX_DATAGRAM {
            return None;
        }
        let mut scratch = Scratch::new();
        let (source, destination) = self
            .write_reply(&mut scratch)
            .or_else(|| self.write_repetition(&mut scratch))
            .or_else(|| self.write_check(&mut scratch))?;
        buf.put_slice(&scratch);
        self.stats.datagrams_sent += 1;
        Some(Transmit::udp(scratch.len(), source, destination))
    }

    /// The answer to a request, on the way that the request took (RFC 8445 §7.3.1.2).
    fn write_reply(&mut self, out: &mut Scratch) -> Option<(SocketAddr, SocketAddr)> {
        loop {
            let reply = self.outbox.replies.pop_front()?;
            let Some(stream) = self.stream(reply.stream) else { continue };
            let key = &stream.local.key;
            match (&reply.error, reply.integrity) {
                (None, Some(integrity)) => write_success(out, reply.id, reply.to, key, integrity),
                (Some(error), integrity) => {
                    write_error(out, reply.id, error, integrity.map(|integrity| (key, integrity)))
                }
                (None, None) => continue,
            }
            return Some((reply.base, reply.to));
        }
    }

    /// A check that is sent again: the same bytes.
    fn write_repetition(&mut self, out: &mut Scratch) -> Option<(SocketAddr, SocketAddr)> {
        loop {
            let key = self.outbox.repeats.pop_front()?;
            let Some(transaction) = self.transactions.repeat(self.now, key) else { continue };
            let id = transaction.pair;
            if let Some(pair) = self.set.get_mut(id) {
                pair.stats.retransmissions_sent += 1;
            }
            let transaction = self.transactions.get(key)?;
            let start = Start {
                id: transaction.id,
                pair: id,
                purpose: transaction.purpose,
                role: transaction.role,
                tiebreaker: transaction.tiebreaker,
                priority: transaction.priority,
                use_candidate: transaction.use_candidate,
                peer: transaction.peer,
                rto: Duration::ZERO,
            };
            let addresses = self.encode(out, &start);
            if addresses.is_some() {
                return addresses;
            }
        }
    }

    /// A new check, if Ta allows one (RFC 8445 §6.1.4.2).
    fn write_check(&mut self, out: &mut Scratch) -> Option<(SocketAddr, SocketAddr)> {
        if !self.pacer.is_open(self.now) {
            return None;
        }
        loop {
            let id = self.set.next()?;
            let Some(start) = self.plan(id) else {
                self.set.dequeue(id);
                self.set.give_up(id);
                continue;
            };
            let addresses = self.encode(out, &start)?;
            self.record_start(&start);
            return Some(addresses);
        }
    }

    /// What a check of this pair says now; `None` if it has nothing to say.
    fn plan(&mut self, id: PairId) -> Option<Start> {
        let transaction = TransactionId::draw(&mut self.random);
        let pair = self.set.get(id)?;
        let use_candidate = pair.is_nominating && self.role == Role::Controlling;
        if pair.state.get() == CandidatePairState::Succeeded && !use_candidate {
            return None;
        }
        let data = self.stream(pair.stream)?;
        let local = data.locals.get(pair.local)?;
        // What the peer would give the candidate if it knew it from this check alone (RFC 8445 §7.1.1).
        let preference = self.config.type_preferences.of(CandidateKind::PeerReflexive);
        let priority = Priority::compute(preference, local.candidate.priority().local_preference(), pair.component);
        Some(Start {
            id: transaction,
            pair: id,
            purpose: if use_candidate { Purpose::Nomination } else { Purpose::Check },
            role: self.role,
            tiebreaker: self.tiebreaker,
            priority: priority.get(),
            use_candidate,
            peer: data.remotes.get(pair.remote)?.peer,
            rto: self.rto(pair),
        })
    }

    /// How long the first transmission of a check is waited for (RFC 8445 §14.3).
    fn rto(&self, pair: &CandidatePair) -> Duration {
        if pair.is_urgent() {
            return self.urgent_rto(pair.stats.current_round_trip_time);
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let factor = match self.config.rto_formula {
            RtoFormula::Checks => 1,
            RtoFormula::Literal => count(self.set.len()),
        };
        self.config.rto.max(self.pacer.ta().saturating_mul(count(self.set.busy())).saturating_mul(factor))
    }

    fn record_start(&mut self, start: &Start) {
        let now = self.now;
        self.pacer.start(now);
        let key = self.transactions.start(now, start);
        self.set.start(start.pair, key);
        let Some(pair) = self.set.get_mut(start.pair) else { return };
        pair.stats.requests_sent += 1;
        if pair.is_urgent() {
            pair.urgent_since.get_or_insert(now);
        }
        let place = (pair.stream, pair.component);
        if start.purpose == Purpose::Nomination {
            if let Some(attempt) = self.component_mut(place).and_then(|component| component.attempt.as_mut()) {
                attempt.tries += 1;
                attempt.latest = Some(key);
            }
        }
        self.is_dirty |= self.config.pair_events;
    }

    fn encode(&self, out: &mut Scratch, start: &Start) -> Option<(SocketAddr, SocketAddr)> {
        let pair = self.set.get(start.pair)?;
        let data = self.stream(pair.stream)?;
        let peer = data.remote.get(usize::from(start.peer))?;
        let request = Request {
            id: start.id,
            to: peer.ufrag(),
            from: data.local.ufrag(),
            priority: start.priority,
            role: start.role,
            tiebreaker: start.tiebreaker,
            use_candidate: start.use_candidate,
        };
        write_request(out, &request, &peer.key);
        Some((pair.path.base, pair.path.remote))
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.evaluate();
        loop {
            match self.outbox.events.pop_front()? {
                Outgoing::Event(event) => return Some(event),
                Outgoing::LocalCandidate(stream, id) => {
                    self.announce(stream, id);
                    let Some(local) = self.stream(stream).and_then(|data| data.locals.get(id)) else { continue };
                    let candidate = alloc::boxed::Box::new(local.candidate.clone());
                    return Some(Event::LocalCandidate { stream, id, candidate });
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` if only a call or a datagram can change
    /// anything. It is in the past only while there is something to poll.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_dirty || self.outbox.has_datagrams() {
            return Some(self.now);
        }
        if self.is_closed {
            return None;
        }
        let mut next = self.transactions.deadline();
        if self.set.has_work() {
            next = earliest(next, Some(self.pacer.next_start().unwrap_or(self.now).max(self.now)));
        }
        for stream in &self.streams {
            next = earliest(next, stream.pac_deadline);
            for component in &stream.components {
                next = earliest(next, component.decide_at);
            }
        }
        next
    }
}
