//! Between which addresses packets go.

use core::net::SocketAddr;

use super::address::in_scope_of;
use super::{ComponentId, StreamId, Transport};

/// How the packets of a pair go: the transport, the local candidate's base, and the address of the remote candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) transport: Transport,
    pub(crate) base: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Whose it is, for TCP: each has connections of its own between the same addresses.
    pub(crate) flow: Option<Flow>,
}

impl Path {
    /// The addresses between which packets go; a link-local peer is reached in the scope of our own address.
    pub(crate) fn new(transport: Transport, base: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport, base, remote: in_scope_of(base, remote), flow: None }
    }

    /// The same for a component: over TCP it has connections of its own.
    pub(crate) fn of(flow: Flow, transport: Transport, base: SocketAddr, remote: SocketAddr) -> Self {
        let flow = Some(flow).filter(|_| transport == Transport::Tcp);
        Self { flow, ..Self::new(transport, base, remote) }
    }
}

/// A component in one of its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    pub(crate) generation: u32,
}
