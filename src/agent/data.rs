//! Application data on its way out (RFC 8445 §12.1).

use bytes::BufMut;

use super::wrap::Leaving;
use super::{Agent, SendError, UnknownStream};
use crate::checklist::CandidatePair;
use crate::route::Route;
use crate::selection::Consent;
use crate::transmit::{Payload, Transmit};
use crate::types::{
    CONSENT_EXPIRY, ComponentId, ConnectionState, Ecn, Instant, PairId, StreamId, TrafficClass, Transport, after,
};

/// Where data may go.
#[derive(Clone, Copy, Debug)]
struct Way<'a> {
    pair: &'a CandidatePair,
    /// How the stream is marked.
    class: TrafficClass,
    /// Until when the peer consents, if that is asked for.
    expires_at: Option<Instant>,
}

impl Agent {
    /// Appends `payload` to `buf` as it has to be sent on the pair of this component, and says where it goes.
    ///
    /// That is the selected pair or, before there is one, the best valid pair (RFC 8445 §12.1): never an address that has
    /// not answered a check. Several datagrams at once are given by [`Payload::with_segment_size`]; they leave with one
    /// stride, [`Transmit::segment_size`].
    ///
    /// What stands around each datagram needs room as well: 2 bytes over TCP, 4 on a channel of a TURN server, and before
    /// the channel is bound 36 toward an IPv4 and 48 toward an IPv6 peer; with up to 3 bytes of padding in the latter two
    /// cases, and where the server is reached over a stream.
    ///
    /// # Errors
    /// * [`UnknownStream`](SendError::UnknownStream) or [`UnknownComponent`](SendError::UnknownComponent) if there is none
    ///   of that name.
    /// * [`ConsentLost`](SendError::ConsentLost) once the peer's consent has ended, and for a round trip when a pair is taken
    ///   into use that has not answered for 30 s (RFC 7675 §5.1).
    /// * [`NoPair`](SendError::NoPair) while no pair is valid, [`Failed`](SendError::Failed) once the stream has failed,
    ///   [`Closed`](SendError::Closed) after [`close`](Self::close).
    /// * [`NotConnected`](SendError::NotConnected) while the TCP connection of the pair is lost and not proven again.
    /// * [`TooLong`](SendError::TooLong) if a datagram has more than 65,535 bytes and goes through a relay or a stream.
    /// * [`NoRoom`](SendError::NoRoom) if it does not fit into the buffer.
    pub fn send<'a>(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        payload: impl Into<Payload<'a>>,
        buf: &mut impl BufMut,
    ) -> Result<Transmit, SendError> {
        self.observe(now);
        let payload = payload.into();
        let found = self.find_way(self.now, stream, component).map(|way| (way.pair.id, way.pair.path, way.class));
        let (pair, path, class) = found.inspect_err(|_| self.regain_consent(stream, component))?;
        let (framing, count, (first, last)) = (self.framing(&path), payload.count(), payload.lengths());
        if !framing.can_hold(first) {
            return Err(SendError::TooLong(first));
        }
        let needed = framing.framed_len(first).saturating_mul(count - 1).saturating_add(framing.framed_len(last));
        if buf.remaining_mut() < needed {
            return Err(SendError::NoRoom(needed));
        }
        let mut segments = payload.segments();
        let first = segments.next().unwrap_or_default();
        let mut transmit = self.wrap(&path, first, buf).ok_or(SendError::NotConnected)?;
        let stride = transmit.len;
        for segment in segments {
            transmit.len += self.wrap(&path, segment, buf).map_or(0, |transmit| transmit.len);
        }
        transmit.segment_size = (count > 1 && transmit.transport == Transport::Udp).then_some(stride);
        transmit.traffic_class = payload.class_on(class);
        transmit.pair = Some(pair);
        (transmit.datagrams, transmit.payload_len) = (count, payload.bytes.len());
        self.count_sent(pair, count, payload.bytes.len());
        Ok(transmit)
    }

    /// Says where the data of this component goes, for an application that writes it into buffers of its own.
    ///
    /// Asking costs little, so it can be done for each burst; whoever keeps a route for longer asks
    /// [`is_current`](Self::is_current) before each use. What was sent is told by [`record_sent`](Self::record_sent).
    ///
    /// # Errors
    /// As [`send`](Self::send), without [`TooLong`](SendError::TooLong) and [`NoRoom`](SendError::NoRoom), and
    /// [`NoChannel`](SendError::NoChannel) as long as a relayed pair has no channel: `send` works all the same.
    pub fn route(&mut self, now: Instant, stream: StreamId, component: ComponentId) -> Result<Route, SendError> {
        self.observe(now);
        self.find_route(self.now, stream, component).inspect_err(|_| self.regain_consent(stream, component))
    }

    /// Whether a route is still the way of its component's data: the peer consents, and no other pair was taken into use.
    #[must_use]
    pub fn is_current(&self, now: Instant, route: &Route) -> bool {
        let found = self.find_route(now.max(self.now), route.stream, route.component);
        // Consent may have been renewed since.
        found.is_ok_and(|found| Route { expires_at: route.expires_at, ..found } == *route)
    }

    /// Counts application data that was sent on a route: so many datagrams with so many bytes, prefixes not included.
    ///
    /// It also puts off the keepalive of the pair (RFC 8445 §11).
    pub fn record_sent(&mut self, now: Instant, route: &Route, datagrams: usize, bytes: usize) {
        self.observe(now);
        self.stats.datagrams_sent += datagrams as u64;
        if let Some(path) = self.set.get(route.pair).map(|pair| pair.path) {
            self.note_relayed(&path);
        }
        self.count_sent(route.pair, datagrams, bytes);
    }

    /// Counts application data that [`send`](Self::send) gave out and the host did not take: its buffer is full, or it has no
    /// memory (W3C `packetsDiscardedOnSend`). What the agent sends by itself is not counted.
    pub fn record_discarded(&mut self, transmit: &Transmit) {
        if let Some(pair) = transmit.pair {
            self.set.record_data_discarded(pair, transmit.datagrams, transmit.payload_len);
        }
    }

    /// Says how datagrams of a stream are marked: its data, unless the payload says otherwise, and the checks and answers
    /// that go the same way (RFC 8445 §7.2.3). Of the latter none is marked as capable of ECN. Default: not at all.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn set_traffic_class(&mut self, stream: StreamId, class: TrafficClass) -> Result<(), UnknownStream> {
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        data.traffic_class = class.with_ecn(Ecn::NotEct);
        self.is_marked = true;
        Ok(())
    }

    fn find_route(&self, now: Instant, stream: StreamId, component: ComponentId) -> Result<Route, SendError> {
        let Way { pair, class, expires_at } = self.find_way(now, stream, component)?;
        let framing = self.framing(&pair.path);
        if framing.indication.is_some() {
            return Err(SendError::NoChannel);
        }
        let Leaving { source, destination, transport, connection } =
            self.leaving(&pair.path).ok_or(SendError::NotConnected)?;
        Ok(Route {
            stream,
            component,
            pair: pair.id,
            source,
            destination,
            transport,
            connection,
            traffic_class: class,
            expires_at,
            framing,
        })
    }

    /// The way that the data of a component takes, if it may go anywhere.
    fn find_way(&self, now: Instant, stream: StreamId, component: ComponentId) -> Result<Way<'_>, SendError> {
        if self.is_closed {
            return Err(SendError::Closed);
        }
        let data = self.stream(stream).ok_or(SendError::UnknownStream(stream))?;
        let wanted = data.component(component).ok_or(SendError::UnknownComponent(component))?;
        if data.state == ConnectionState::Failed {
            return Err(SendError::Failed);
        }
        // A lite agent sends nothing before every component has its pair (RFC 8445 §12.1.1). Pairs are selected together.
        let is_ready = !self.config.lite
            || wanted.selection.selected().is_some()
            || data.effective_components().iter().all(|one| self.in_use(stream, one).is_some());
        let usable = self.in_use(stream, wanted).filter(|_| is_ready).and_then(|id| self.set.get(id));
        let Some(pair) = usable else {
            return Err(if wanted.selection.has_lost_consent() { SendError::ConsentLost } else { SendError::NoPair });
        };
        if !self.can_leave(&pair.path) {
            return Err(SendError::NoPair);
        }
        let mut expires_at = None;
        if self.config.consent && !self.config.lite {
            let answered_at = wanted.selection.consent(pair.id).map(Consent::answered_at).or(pair.answered_at);
            expires_at = answered_at.map(|at| after(at, CONSENT_EXPIRY));
            if pair.is_barred || expires_at.is_none_or(|at| at <= now) {
                return Err(SendError::ConsentLost);
            }
        }
        if pair.path.transport == Transport::Tcp && !self.is_carried(&pair.path) {
            return Err(SendError::NotConnected);
        }
        Ok(Way { pair, class: data.traffic_class, expires_at })
    }

    fn count_sent(&mut self, pair: PairId, datagrams: usize, bytes: usize) {
        self.set.record_data_sent(pair, self.now, datagrams, bytes);
        let Some(pair) = self.set.get(pair) else { return };
        let (place, path) = ((pair.stream, pair.component), pair.path);
        self.note_relayed_data(&path);
        if let Some(component) = self.component_mut(place) {
            component.traffic.packets_sent += datagrams as u64;
            component.traffic.bytes_sent += bytes as u64;
        }
    }
}
