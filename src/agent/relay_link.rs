//! The way to the servers of relays: connections to them, and what goes out and comes in through them (RFC 8656 §3.1,
//! §11, §12).
//!
//! Only the last step on the way out and the first on the way in know that an address is relayed. On the way out, a message
//! is put into ChannelData or a Send indication to the server; on the way in, it is taken out, and handled as if it had
//! come to the relayed address.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::BufMut;
use smallvec::SmallVec;

use super::Agent;
use super::input::Received;
use super::relay::{Cramped, Relay, RelayId};
use super::wrap::Leaving;
use crate::connection::ConnectionSecurity;
use crate::route::Framing;
use crate::stats::DropReason;
use crate::stun::{Scratch, TransactionId, write_keepalive};
use crate::tcp::{Owner, Stage};
use crate::transmit::{Datagram, Transmit};
use crate::turn::data::{FromServer, put_send_indication};
use crate::turn::framing::OutOfStep;
use crate::types::address::canonical;
use crate::types::{ConnectionId, Frame, Framer, Path, Transport, after};

impl Agent {
    /// Opens the connection of a relay, where it needs one (RFC 8656 §3.1).
    pub(super) fn connect_relay(&mut self, id: RelayId) {
        self.hang_up(id);
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if relay.ice_server.transport() != Transport::Tcp {
            return;
        }
        let security = match relay.ice_server.is_secure() {
            true => ConnectionSecurity::Tls { server_name: relay.ice_server.host().into() },
            false => ConnectionSecurity::Plain,
        };
        let local = SocketAddr::new(relay.base.ip(), 0);
        let owner = Owner::Relay(id, Framer::default());
        relay.connection = Some(self.connections.open(self.now, local, relay.server, security, owner));
    }

    /// Closes the connection of a relay, if it has one.
    pub(super) fn hang_up(&mut self, id: RelayId) {
        let connection = self.relays.list.get_mut(&id).and_then(|relay| relay.connection.take());
        if let Some(connection) = connection {
            self.connections.close(self.now, connection);
        }
    }

    /// The connection of a relay has ended.
    pub(super) fn disconnect_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.connection = None;
        relay.allocation.disconnect();
        self.follow_relay(id);
        self.is_dirty = true;
    }

    /// Whether requests of a relay can leave: over a stream, once its connection is open.
    pub(super) fn is_reachable(&self, relay: &Relay) -> bool {
        let is_open = |id| self.connections.get(id).is_some_and(|connection| connection.stage == Stage::Open);
        relay.ice_server.transport() == Transport::Udp || relay.connection.is_some_and(is_open)
    }

    /// How messages leave to the server of a relay; `None` as long as its connection is not open.
    fn link_of(&self, relay: &Relay) -> Option<Leaving> {
        let (destination, transport) = (relay.server, relay.ice_server.transport());
        let way = if transport == Transport::Udp {
            Leaving { source: relay.base, destination, transport, connection: None }
        } else {
            let open = self.connections.get(relay.connection?).filter(|connection| connection.stage == Stage::Open)?;
            Leaving { source: open.local, destination, transport, connection: Some(open.id) }
        };
        Some(self.mapped_sockets.spell(Transport::Udp, relay.base, way))
    }

    // The way out.

    /// What stands around each message that leaves from a relayed address; `None` if it is none.
    pub(super) fn relay_framing(&self, path: &Path) -> Option<Framing> {
        if self.relays.is_empty() {
            return None;
        }
        let relay = self.relays.at(path.base)?;
        Some(match relay.allocation.channel_to(self.now, path.remote) {
            Some(channel) => Framing {
                channel: Some(channel),
                has_length: true,
                is_padded: relay.allocation.is_stream(),
                indication: None,
            },
            None => Framing { indication: Some(path.remote), ..Framing::NONE },
        })
    }

    /// How messages leave whose base is a relayed address; `None` for others. Without the permission of its server nothing
    /// leaves (RFC 8656 §11.1).
    pub(super) fn relay_link(&self, path: &Path) -> Option<Option<Leaving>> {
        if self.relays.is_empty() {
            return None;
        }
        let relay = self.relays.at(path.base)?;
        let is_permitted = relay.allocation.is_permitted(self.now, path.remote.ip());
        Some(self.link_of(relay).filter(|_| is_permitted))
    }

    /// Notes that something leaves through a relay: that puts off its keepalive.
    pub(super) fn note_relayed(&mut self, path: &Path) {
        if self.relays.is_empty() {
            return;
        }
        let (now, id) = (self.now, self.relays.by_address.get(&path.base));
        if let Some(relay) = id.and_then(|id| self.relays.list.get_mut(id)) {
            relay.last_sent_at = now;
        }
    }

    /// Notes that data leaves through a relay: something should come back.
    pub(super) fn note_relayed_data(&mut self, path: &Path) {
        if self.relays.is_empty() {
            return;
        }
        let (now, Some(id)) = (self.now, self.relays.by_address.get(&path.base).copied()) else { return };
        let due = self.relays.list.get_mut(&id).and_then(|relay| relay.allocation.note_sent(now, path.remote));
        if let Some(due) = due {
            self.relays.hasten(id, due);
        }
    }

    /// Appends a Send indication.
    pub(super) fn put_indication(&mut self, peer: SocketAddr, message: &[u8], buf: &mut impl BufMut) -> usize {
        let id = TransactionId::draw(&mut self.random);
        put_send_indication(buf, id, peer, message)
    }

    /// Appends what a relay has to say to its server.
    pub(super) fn write_relay(&mut self, buf: &mut impl BufMut) -> Option<Transmit> {
        if self.relays.is_empty() {
            return None;
        }
        let now = self.now;
        let room = buf.remaining_mut();
        if let Some(id) =
            self.next_relay(room, |agent, relay| relay.allocation.repeat_len().filter(|_| agent.is_reachable(relay)))
        {
            return self.write_to_server(id, buf, |relay, _| relay.allocation.repeat(now).map(Into::into));
        }
        let is_due = |relay: &Relay| relay.keepalive_at.is_some_and(|at| at <= now);
        if let Some(id) = self.relays.list.iter().find(|(_, relay)| is_due(relay)).map(|(id, _)| *id) {
            let mut out = Scratch::new();
            write_keepalive(&mut out, TransactionId::draw(&mut self.random));
            return self.write_to_server(id, buf, |_, _| Some(Box::from(&*out)));
        }
        let upkeep_len = |agent: &Self, relay: &Relay| {
            let is_due = relay.allocation.has_upkeep() && agent.is_reachable(relay);
            relay.allocation.start_len().filter(|_| is_due)
        };
        if let Some(id) = self.next_relay(room, upkeep_len) {
            return self
                .write_to_server(id, buf, |relay, random| relay.allocation.start(now, random, room).map(Into::into));
        }
        let is_turn = self.gatherer.is_turn() || !self.set.has_work();
        if !is_turn || !self.pacer.is_open(now) {
            return None;
        }
        let start_len =
            |agent: &Self, relay: &Relay| relay.allocation.start_len().filter(|_| agent.is_reachable(relay));
        let id = self.next_relay(room, start_len)?;
        let transmit =
            self.write_to_server(id, buf, |relay, random| relay.allocation.start(now, random, room).map(Into::into))?;
        self.pacer.start(now);
        self.gatherer.set_turn(false);
        Some(transmit)
    }

    /// The first relay whose request of this length fits into a buffer. Those of which it does not wait for another buffer,
    /// and not for ever.
    fn next_relay(&mut self, room: usize, length: impl Fn(&Self, &Relay) -> Option<usize>) -> Option<RelayId> {
        let wants = self.relays.list.iter().filter_map(|(id, relay)| Some((*id, length(self, relay)?)));
        let wants: SmallVec<[(RelayId, usize); 4]> = wants.collect();
        for (id, length) in wants {
            let Some(relay) = self.relays.list.get_mut(&id) else { continue };
            if length <= room {
                relay.cramped = None;
                return Some(id);
            }
            relay.cramped = Some(Cramped::next(relay.cramped, self.now));
            self.relays.touch(id);
        }
        None
    }

    fn write_to_server(
        &mut self,
        id: RelayId,
        buf: &mut impl BufMut,
        write: impl FnOnce(&mut Relay, &mut crate::types::Random) -> Option<Box<[u8]>>,
    ) -> Option<Transmit> {
        let patience = self.config.keepalive_interval;
        let now = self.now;
        let link = self.relays.list.get(&id).and_then(|relay| self.link_of(relay))?;
        let relay = self.relays.list.get_mut(&id)?;
        // One that does not fit, whatever was expected of it, is lost like any datagram.
        let bytes = write(relay, &mut self.random).filter(|bytes| bytes.len() <= buf.remaining_mut())?;
        relay.last_sent_at = now;
        if relay.keepalive_at.is_some() {
            relay.keepalive_at = Some(after(now, patience));
        }
        self.relays.touch(id);
        self.stats.datagrams_sent += 1;
        buf.put_slice(&bytes);
        let Leaving { source, destination, transport, connection } = link;
        let mut transmit = Transmit::new(bytes.len(), transport, source, destination);
        transmit.connection = connection;
        Some(transmit)
    }

    // The way in.

    /// Takes what came from the server of a relay.
    pub(super) fn handle_from_server<'a>(&mut self, id: RelayId, datagram: &Datagram<'a>) -> Received<'a> {
        let now = self.now;
        let dropped = Received::Dropped;
        let Some(relay) = self.relays.list.get_mut(&id) else { return dropped(DropReason::UnknownDestination) };
        let (peer, payload, is_on_channel) = match FromServer::read(datagram.payload) {
            FromServer::Channel(number, payload) => match relay.allocation.peer_of(now, number) {
                Some(peer) => (peer, payload, true),
                None => return dropped(DropReason::UnvalidatedSource),
            },
            FromServer::Data(peer, payload) => (canonical(peer), payload, false),
            FromServer::Icmp(peer, kind, code) => {
                let result = relay.allocation.handle_icmp(now, canonical(peer), kind, code);
                self.follow_relay(id);
                return result.map_or_else(dropped, |()| Received::Handled);
            }
            FromServer::Message(message) => {
                let result = relay.allocation.handle_answer(now, &message);
                self.follow_relay(id);
                return result.map_or_else(dropped, |()| Received::Handled);
            }
            FromServer::Junk => return dropped(DropReason::Malformed),
        };
        if !relay.allocation.is_permitted(now, peer.ip()) {
            return dropped(DropReason::UnvalidatedSource);
        }
        let is_asked = relay.allocation.note_heard(now, peer, is_on_channel);
        let Some(relayed) = relay.allocation.relayed().iter().find(|relayed| relayed.is_ipv4() == peer.is_ipv4())
        else {
            return dropped(DropReason::UnknownDestination);
        };
        let (destination, transport) = (canonical(*relayed), Transport::Udp);
        if is_asked {
            self.relays.touch(id);
        }
        let inner = Datagram { source: peer, destination, transport, payload, ..*datagram };
        self.dispatch_inner(&inner)
    }

    /// Takes what came on the connection of a relay, whose frames have been found.
    pub(super) fn take_relay_frame<'a>(
        &'a mut self,
        connection: ConnectionId,
        relay: RelayId,
        frame: Result<Option<Frame<'a>>, OutOfStep>,
        spare: Vec<u8>,
    ) -> Option<Received<'a>> {
        match frame {
            Ok(None) => {
                self.connections.spare = spare;
                None
            }
            Err(OutOfStep) => {
                self.connections.spare = spare;
                // Nothing that follows can be understood.
                self.connections.close(self.now, connection);
                self.disconnect_relay(relay);
                self.stats.count_drop(DropReason::Malformed);
                Some(Received::Dropped(DropReason::Malformed))
            }
            Ok(Some(Frame::Whole(bytes))) => {
                self.connections.spare = spare;
                self.stats.datagrams_received += 1;
                Some(self.count_relayed(relay, &in_stream(bytes)))
            }
            Ok(Some(Frame::Joined(bytes))) => {
                self.stats.datagrams_received += 1;
                let received = self.count_relayed(relay, &in_stream(&bytes)).without_payload();
                self.connections.spare = bytes;
                let payload = match FromServer::read(&self.connections.spare) {
                    FromServer::Channel(_, payload) | FromServer::Data(_, payload) => payload,
                    FromServer::Icmp(..) | FromServer::Message(_) | FromServer::Junk => &[],
                };
                Some(received.with_payload(payload))
            }
        }
    }

    fn count_relayed<'a>(&mut self, relay: RelayId, datagram: &Datagram<'a>) -> Received<'a> {
        let received = self.handle_from_server(relay, datagram);
        if let Received::Dropped(reason) = received {
            self.stats.count_drop(reason);
        }
        received
    }
}

/// What arrives on a connection has its addresses from there.
const fn in_stream(bytes: &[u8]) -> Datagram<'_> {
    let nowhere = SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
    Datagram { transport: Transport::Tcp, ..Datagram::new(nowhere, nowhere, bytes) }
}
