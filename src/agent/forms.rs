//! In which form the addresses of a datagram leave: that of the socket that sends it.
//!
//! A socket that was added as `::ffff:a.b.c.d` is one of IPv6, which on some systems refuses plain IPv4 addresses. Inside of
//! the agent there is only the plain form.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;

use super::wrap::Leaving;
use crate::connection::ConnectionRequest;
use crate::tcp::Owner;
use crate::types::Transport;
use crate::types::address::mapped;

/// The sockets that were added in mapped form, by their plain addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct MappedSockets(BTreeSet<(Transport, SocketAddr)>);

impl MappedSockets {
    /// Notes the form of a socket that is added.
    pub(super) fn note(&mut self, transport: Transport, base: SocketAddr, is_mapped: bool) {
        if is_mapped {
            self.0.insert((transport, base));
        } else {
            self.forget(transport, base);
        }
    }

    /// Forgets a socket that is gone.
    pub(super) fn forget(&mut self, transport: Transport, base: SocketAddr) {
        self.0.remove(&(transport, base));
    }

    fn contains(&self, transport: Transport, base: SocketAddr) -> bool {
        !self.0.is_empty() && self.0.contains(&(transport, base))
    }

    /// The way of a message from this socket, in its form.
    pub(super) fn spell(&self, transport: Transport, base: SocketAddr, way: Leaving) -> Leaving {
        if self.contains(transport, base) {
            Leaving { source: mapped(way.source), destination: mapped(way.destination), ..way }
        } else {
            way
        }
    }
}

impl super::Agent {
    /// A request about a connection in the form of the socket on whose behalf it is opened.
    pub(super) fn spell_request(&self, request: ConnectionRequest) -> ConnectionRequest {
        let ConnectionRequest::Open { id, local, remote, security } = request else { return request };
        let base = self.connections.get(id).map(|connection| match &connection.owner {
            Owner::Candidates(carrier) => (Transport::Tcp, Some(carrier.path.base)),
            Owner::Server(enquiry) => (Transport::Tcp, Some(enquiry.base)),
            #[cfg(feature = "turn")]
            Owner::Relay(relay, _) => (Transport::Udp, self.relays.base_of(*relay)),
        });
        let is_from_mapped = |(transport, base): (Transport, Option<SocketAddr>)| {
            base.is_some_and(|base| self.mapped_sockets.contains(transport, base))
        };
        let is_mapped = base.is_some_and(is_from_mapped);
        let form = if is_mapped { mapped } else { core::convert::identity };
        ConnectionRequest::Open { id, local: form(local), remote: form(remote), security }
    }
}
