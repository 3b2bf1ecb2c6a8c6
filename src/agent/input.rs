//! What comes in: datagrams and the passing of time. The order of work, one named step per line.

use super::outbox::Reply;
use super::{Agent, Socket};
use crate::candidate::LocalCandidate;
use crate::checklist::{Due, Purpose};
use crate::stats::DropReason;
use crate::stun::{Class, ErrorReply, Integrity, Message, TransactionId, Unreadable, looks_like_stun, response_id};
use crate::transmit::Datagram;
use crate::types::address::canonical;
use crate::types::{CandidateId, ComponentId, Instant, PairId, Path, StreamId, TrafficClass, Transport, after};

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "application data is in here"]
#[non_exhaustive]
pub enum Received<'a> {
    /// Application data.
    Data {
        /// The stream that it is for.
        stream: StreamId,
        /// The component that it is for.
        component: ComponentId,
        /// The pair on which it came; `None` as long as the peer's credentials are not known, and so no pair is, and for
        /// data that still comes on the pair from before a restart.
        pair: Option<PairId>,
        /// How it was marked, as [`Datagram::traffic_class`] says.
        traffic_class: TrafficClass,
        /// The data.
        payload: &'a [u8],
    },
    /// A message of ICE, which was dealt with.
    Handled,
    /// Nothing to believe or to understand; counted.
    Dropped(DropReason),
}

impl<'a> Received<'a> {
    /// The same with another payload.
    pub(super) fn with_payload<'b>(self, payload: &'b [u8]) -> Received<'b> {
        match self {
            Self::Data { stream, component, pair, traffic_class, .. } => {
                Received::Data { stream, component, pair, traffic_class, payload }
            }
            Self::Handled => Received::Handled,
            Self::Dropped(reason) => Received::Dropped(reason),
        }
    }

    /// The same with an empty payload, which borrows nothing.
    pub(super) fn without_payload(self) -> Received<'static> {
        self.with_payload(&[])
    }
}

/// Where a datagram came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) stream: StreamId,
    pub(super) component: ComponentId,
    /// How it came: our base, and where it came from.
    pub(super) path: Path,
    /// The generation of the stream that it is for.
    pub(super) generation: u32,
}

impl Agent {
    /// Takes a datagram that arrived at one of the agent's sockets.
    ///
    /// Nothing is believed before it is authenticated: what is not is counted, and at the most answered with an error.
    pub fn handle_datagram<'a>(&mut self, now: Instant, datagram: &Datagram<'a>) -> Received<'a> {
        self.observe(now);
        self.stats.datagrams_received += 1;
        let received = self.dispatch(datagram);
        if let Received::Dropped(reason) = received {
            self.stats.count_drop(reason);
        }
        received
    }

    fn dispatch<'a>(&mut self, datagram: &Datagram<'a>) -> Received<'a> {
        if !self.relays.is_empty() {
            let (base, source) = (canonical(datagram.destination), canonical(datagram.source));
            if self.relays.is_relayed(base) {
                // Nothing comes there but from its server.
                return Received::Dropped(DropReason::UnknownDestination);
            }
            let is_gathering = response_id(datagram.payload).is_some_and(|id| self.gatherer.find(id).is_some());
            if let Some(relay) = self.relays.find(base, source).filter(|_| !is_gathering) {
                return self.handle_from_server(relay, datagram);
            }
        }
        self.dispatch_inner(datagram)
    }

    /// Handles what came to one of our bases, be it the address of a socket or of a relay.
    pub(super) fn dispatch_inner<'a>(&mut self, datagram: &Datagram<'a>) -> Received<'a> {
        if self.is_closed {
            return Received::Dropped(DropReason::Closed);
        }
        let base = canonical(datagram.destination);
        let Some(&Socket { stream, component, host }) = self.sockets.get(&(datagram.transport, base)) else {
            return Received::Dropped(DropReason::UnknownDestination);
        };
        if datagram.transport == Transport::Tcp {
            // It comes on a connection, or not at all.
            return Received::Dropped(DropReason::UnknownDestination);
        }
        let generation = self.stream(stream).map_or(0, |data| data.generation);
        let path = Path::new(datagram.transport, base, canonical(datagram.source));
        let id = response_id(datagram.payload).filter(|_| looks_like_stun(datagram.payload));
        if let Some(result) = id.and_then(|id| self.handle_server_answer(id, datagram)) {
            return result.map_or_else(Received::Dropped, |()| Received::Handled);
        }
        if self.is_excluded(stream, host) {
            return Received::Dropped(DropReason::ExcludedType);
        }
        self.deliver(Arrival { stream, component, path, generation }, datagram)
    }

    /// Takes what has come on a path, whatever it was wrapped in.
    pub(super) fn deliver<'a>(&mut self, arrival: Arrival, datagram: &Datagram<'a>) -> Received<'a> {
        let payload = datagram.payload;
        if !looks_like_stun(payload) {
            return self.handle_data(arrival, datagram);
        }
        let message = match Message::read(payload) {
            Ok(message) => message,
            Err(Unreadable::Malformed) => return Received::Dropped(DropReason::Malformed),
            Err(Unreadable::Method) => return Received::Dropped(DropReason::UnknownMethod),
            Err(Unreadable::NoFingerprint) => return Received::Dropped(DropReason::BadFingerprint),
        };
        let result = match message.class {
            Class::Request => self.handle_request(arrival, message),
            Class::Success | Class::Error => self.handle_response(arrival, message),
            // Keepalives carry no credentials and mean nothing (RFC 8445 §11).
            Class::Indication if message.has_valid_fingerprint() => Ok(()),
            Class::Indication => Err(DropReason::BadFingerprint),
        };
        result.map_or_else(Received::Dropped, |()| Received::Handled)
    }

    /// Whether what arrives at this candidate is not to be noticed: only relayed ones are used.
    fn is_excluded(&self, stream: StreamId, id: CandidateId) -> bool {
        !self.config.candidate_types.are_direct()
            && self.stream(stream).and_then(|data| data.locals.get(id)).is_none_or(LocalCandidate::is_host)
    }

    fn handle_data<'a>(&mut self, arrival: Arrival, datagram: &Datagram<'a>) -> Received<'a> {
        let Datagram { payload, traffic_class, .. } = *datagram;
        if !self.config.data_filter.takes(payload) {
            return Received::Dropped(DropReason::Unclassified);
        }
        let now = self.now;
        let Arrival { stream, component, path, .. } = arrival;
        // Nearly all data comes on the pair in use.
        let likely = self
            .component((stream, component))
            .map(|component| [component.selection.in_use(), component.selection.previous()]);
        let is_on_path = |id: &PairId| self.set.get(*id).is_some_and(|pair| pair.path == path);
        let likely = likely.into_iter().flatten().flatten().find(is_on_path);
        let found = likely.or_else(|| self.set.find(&path)).and_then(|id| self.set.get(id));
        // What comes on a pair whose check has produced another one counts for that: data goes back on it.
        let found = found.filter(|pair| pair.is_trusted()).map(|pair| pair.produced.unwrap_or(pair.id));
        let found = found.filter(|id| self.set.record_data_received(*id, now, payload.len()));
        let pair = if found.is_some() {
            found
        } else {
            // A check that came before the peer's credentials was authenticated, too.
            let early = self.stream(stream).map(|data| data.early.as_slice()).unwrap_or_default();
            let is_early = early.iter().any(|early| early.path == path);
            // And a peer may be slower than we are to leave the pair from before a restart.
            let before = self.stream(stream).and_then(|data| data.previous.as_ref());
            let is_known = is_early || before.is_some_and(|previous| previous.paths.contains(&path));
            if !is_known {
                return Received::Dropped(DropReason::UnvalidatedSource);
            }
            None
        };
        if let Some(component) = self.component_mut((stream, component)) {
            component.traffic.packets_received += 1;
            component.traffic.bytes_received += payload.len() as u64;
        }
        Received::Data { stream, component, pair, traffic_class, payload }
    }

    /// Queues an answer.
    pub(super) fn reply(
        &mut self,
        arrival: Arrival,
        id: TransactionId,
        integrity: Option<Integrity>,
        error: Option<ErrorReply>,
    ) -> Result<(), DropReason> {
        let Arrival { stream, path, generation, .. } = arrival;
        let is_queued = self.outbox.reply(Reply { id, path, stream, generation, integrity, error });
        if is_queued { Ok(()) } else { Err(DropReason::TooManyReplies) }
    }

    /// Answers a request that could not be authenticated, a few times a second (RFC 8489 §9.1.3).
    pub(super) fn reply_unauthenticated(&mut self, arrival: Arrival, id: TransactionId, error: ErrorReply) {
        let second = core::time::Duration::from_secs(1);
        if after(self.reply_limit.since, second) <= self.now {
            self.reply_limit.since = self.now;
            self.reply_limit.used = 0;
        }
        if self.reply_limit.used < self.config.unauthenticated_replies {
            self.reply_limit.used += 1;
            // Without room it is lost, like any datagram.
            let _ = self.reply(arrival, id, None, Some(error));
        }
    }

    /// Tells the agent the time. Calling it early, late or repeatedly is harmless; call it at the latest at
    /// [`poll_timeout`](Self::poll_timeout), and poll afterwards: conclusions are drawn there.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.observe(now);
        self.expire();
    }

    /// Does what is due.
    pub(super) fn expire(&mut self) {
        self.expire_relays();
        if self.is_closed {
            return;
        }
        while let Some(due) = self.set.poll_due(self.now) {
            match due {
                Due::Repeat(key) => self.handle_silence(key),
                Due::Expired(key, transaction) => {
                    let is_current =
                        self.set.get(transaction.start.pair).is_some_and(|pair| pair.state.transaction() == Some(key));
                    if is_current && transaction.start.purpose == Purpose::Check {
                        self.time_out_pair(transaction.start.pair);
                    }
                    self.handle_lost_nomination(key, &transaction);
                }
            }
        }
        self.expire_connections();
        self.expire_consent();
        self.expire_gathering();
        self.expire_retries();
        let is_over = |at: &mut Option<Instant>, now| at.take_if(|at| *at <= now).is_some();
        let now = self.now;
        for stream in &mut self.streams {
            self.is_dirty |= is_over(&mut stream.pac_deadline, now);
            self.is_dirty |= stream.previous.as_ref().and_then(|previous| previous.until).is_some_and(|at| at <= now);
            for component in &mut stream.components {
                self.is_dirty |= component.selection.expire(now) | component.nomination.expire(now);
            }
        }
    }
}
