//! Streams and components that the session no longer needs.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::outbox::Outgoing;
use super::{Agent, UnknownStream};
use crate::event::Event;
use crate::types::{ComponentId, ConnectionState, Instant, StateReason, StreamId, Transport};

impl Agent {
    /// Removes a stream with its sockets, candidates and pairs: nothing more is sent for it, and what arrives at its
    /// addresses is dropped (RFC 8839 §4.4.1). Its state ends as closed, and no longer counts for that of the agent. Its
    /// name is never used again.
    ///
    /// Its connections are closed, and its relays given back, for which sockets are needed until
    /// [`Event::RelayReleased`]. The other streams go on undisturbed; pairs that waited for a check of this one are checked themselves.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn remove_stream(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        let place = self.streams.binary_search_by_key(&stream, |data| data.id).map_err(|_| UnknownStream(stream))?;
        self.stop_gathering(stream);
        self.forget_components(stream, |_| true);
        let data = self.streams.remove(place);
        self.set.remove_list(stream);
        self.outbox.replies.retain(|reply| reply.stream != stream);
        let is_of = |event: &Outgoing| match event {
            Outgoing::LocalCandidate { stream: of, .. }
            | Outgoing::Event(Event::EndOfCandidates { stream: of, .. }) => *of == stream,
            Outgoing::Event(_) => false,
        };
        self.outbox.events.retain(|event| !is_of(event));
        let at = self.now;
        for component in data.components.iter().filter(|component| component.selection.selected().is_some()) {
            self.emit(Event::SelectedPairChanged { stream, component: component.id, pair: None, at });
        }
        if data.state != ConnectionState::Closed {
            let (previous, current) = (data.state, ConnectionState::Closed);
            let reason = StateReason::ClosedByApplication;
            self.emit(Event::StreamStateChanged { stream, previous, current, at, reason });
        }
        self.update_gathering();
        Ok(())
    }

    /// Keeps the first `components` of a stream and removes the others with their sockets, candidates and pairs: RTP and
    /// RTCP share a component since the peer agrees to multiplex them (RFC 5761 §5.1.3). Keeping as many as there are, or
    /// more, changes nothing; one always stays.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn keep_components(&mut self, now: Instant, stream: StreamId, components: u16) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream(stream).ok_or(UnknownStream(stream))?;
        let kept = usize::from(components.max(1));
        if kept >= data.components.len() {
            return Ok(());
        }
        self.forget_components(stream, |component| component.index() >= kept);
        let mut gone = Vec::new();
        if let Some(data) = self.stream_mut(stream) {
            gone.extend(data.components.drain(kept..).filter(|component| component.selection.selected().is_some()));
            data.locals.retain(|local| local.candidate.component().index() < kept);
            data.early.retain(|early| early.component.index() < kept);
        }
        let at = self.now;
        for component in gone {
            self.emit(Event::SelectedPairChanged { stream, component: component.id, pair: None, at });
        }
        self.is_dirty = true;
        Ok(())
    }

    /// Forgets sockets and pairs of some components, and all that is sent or asked from those sockets.
    fn forget_components(&mut self, stream: StreamId, which: impl Fn(ComponentId) -> bool) {
        self.release_relays_of(stream, &which);
        let bases: Vec<(Transport, SocketAddr)> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.stream == stream && which(socket.component))
            .map(|(base, _)| *base)
            .collect();
        for base in bases {
            self.sockets.remove(&base);
            self.stop_gathering_from(base.0, base.1);
            self.outbox.replies.retain(|reply| (reply.path.transport, reply.path.base) != base);
        }
        self.forget_pairs(|pair| pair.stream == stream && which(pair.component));
        // Late answers to their checks mean nothing, and nobody is to wake up for the end of these.
        self.set.forget_orphans();
        self.drop_connections(|carrier| carrier.stream == stream && which(carrier.component));
    }
}
