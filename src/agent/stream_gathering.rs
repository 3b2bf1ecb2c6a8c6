//! Server-reflexive TCP candidates: what a STUN server sees of a connection from the port of a simultaneous-open candidate
//! (RFC 6544 §5.2).
//!
//! The connection stays open until a pair is nominated, so that the NAT keeps the address.

use alloc::vec::Vec;

use bytes::BufMut;

use super::Agent;
use super::gathering::end_of;
use super::input::Received;
use super::wrap::Leaving;
use crate::config::limits;
use crate::connection::{ConnectionEnd, ConnectionSecurity};
use crate::gather::{End, TaskId};
use crate::stats::DropReason;
use crate::stun::{Scratch, ServerAnswer, TransactionId, read_answer, response_id, write_binding};
use crate::tcp::{Enquiry, Owner};
use crate::transmit::Transmit;
use crate::types::address::canonical;
use crate::types::{ComponentId, ConnectionId, StreamId, Transport};

impl Agent {
    /// Whether a component has its pair: then no connection keeps an address for it, and none is opened.
    pub(super) fn is_enquiry_over(&self, task: TaskId) -> bool {
        let place = self.gatherer.get(task).map(|task| (task.stream, task.component));
        place.is_none_or(|place| self.has_its_pair(place))
    }

    fn has_its_pair(&self, place: (StreamId, ComponentId)) -> bool {
        self.component(place).is_none_or(|component| component.nomination.pair().is_some())
    }

    /// Opens a connection to a server, which is asked once it is there.
    pub(super) fn ask_over_stream(&mut self, task: TaskId) {
        let request = TransactionId::draw(&mut self.random);
        let Some(task) = self.gatherer.get(task) else { return };
        let (base, server) = (task.base, canonical(task.address));
        let enquiry = Enquiry {
            task: task.id,
            stream: task.stream,
            component: task.component,
            base,
            request,
            answer: Vec::new(),
            is_answered: false,
        };
        self.connections.open(self.now, base, server, ConnectionSecurity::Plain, Owner::Server(enquiry));
    }

    /// A request to a server whose connection was opened: STUN as it is, without a frame (RFC 8489 §6.2.2).
    pub(super) fn write_enquiry(&mut self, buf: &mut impl BufMut) -> Option<Transmit> {
        loop {
            let id = self.connections.poll_enquiry()?;
            let Some(connection) = self.connections.get(id) else { continue };
            let Owner::Server(enquiry) = &connection.owner else { continue };
            let mut scratch = Scratch::new();
            write_binding(&mut scratch, enquiry.request);
            buf.put_slice(&scratch);
            let (source, destination, transport) = (connection.local, connection.remote, Transport::Tcp);
            let way = Leaving { source, destination, transport, connection: Some(id) };
            let way = self.mapped_sockets.spell(transport, enquiry.base, way);
            let mut transmit = Transmit::new(scratch.len(), transport, way.source, way.destination);
            transmit.connection = Some(id);
            self.stats.datagrams_sent += 1;
            return Some(transmit);
        }
    }

    /// Takes the answer of a server, if it is complete.
    pub(super) fn take_answer(&mut self, id: ConnectionId) -> Option<Received<'static>> {
        let connection = self.connections.get_mut(id)?;
        let Owner::Server(enquiry) = &mut connection.owner else { return None };
        let server = connection.remote;
        if enquiry.is_answered {
            // It was asked one thing.
            enquiry.answer.clear();
            return Some(Received::Dropped(DropReason::UnknownTransaction));
        }
        let wanted = match enquiry.answer.first_chunk() {
            Some([_, _, high, low]) => 20 + usize::from(u16::from_be_bytes([*high, *low])),
            None => return None,
        };
        if enquiry.answer.len() < wanted && wanted <= limits::SERVER_ANSWER {
            return None;
        }
        enquiry.is_answered = true;
        let bytes = core::mem::take(&mut enquiry.answer);
        let (task, stream, base, request) = (enquiry.task, enquiry.stream, enquiry.base, enquiry.request);
        self.stats.datagrams_received += 1;
        self.is_dirty = true;
        let message = bytes.get(..wanted).filter(|message| response_id(message) == Some(request));
        let end = match message.and_then(read_answer) {
            Some(ServerAnswer::Mapped(mapped)) => {
                end_of(&self.add_reflexive(stream, (Transport::Tcp, base), mapped, Some(server.ip())))
            }
            Some(ServerAnswer::Refused(code, text)) => End::Refused(code, text.into()),
            Some(ServerAnswer::Unusable) | None => End::Silent,
        };
        let is_of_use = end == End::Answered;
        self.end_task(task, end);
        if !is_of_use {
            self.end_connection(id, ConnectionEnd::Unused);
        }
        Some(Received::Handled)
    }

    /// Ends the asking of a server whose connection is over.
    pub(super) fn end_enquiry(&mut self, enquiry: &Enquiry) {
        self.end_task(enquiry.task, End::Silent);
        self.is_dirty = true;
    }

    /// Closes the connections to servers that have served their purpose (RFC 6544 §4.1, §11.2).
    pub(super) fn tidy_enquiries(&mut self) {
        for id in self.connections.ids() {
            let Some(Owner::Server(enquiry)) = self.connections.get(id).map(|connection| &connection.owner) else {
                continue;
            };
            let is_over = self.has_its_pair((enquiry.stream, enquiry.component));
            let is_there = self.sockets.contains_key(&(Transport::Tcp, enquiry.base));
            let is_asked = enquiry.is_answered || self.gatherer.get(enquiry.task).is_some();
            if is_over || !is_there || !is_asked {
                self.end_connection(id, ConnectionEnd::Unused);
            }
        }
    }
}
