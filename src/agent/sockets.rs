//! What the application says of the sockets that it gives to the agent.

use core::net::SocketAddr;

use super::{AddLocalCandidateError, Agent, RemoveCandidateError};
use crate::candidate::SocketOptions;
use crate::config::limits;
use crate::types::{CandidateId, ComponentId, Instant, StreamId, Transport};

impl Agent {
    /// Most sockets of a stream, active TCP candidates included: 1,000.
    pub const MAX_SOCKETS: usize = limits::SOCKETS;

    /// Adds the address of a socket of this component, which becomes a host candidate (RFC 8445 §5.1.1.1); gives its name,
    /// the same one if it was added before.
    ///
    /// Local preferences follow RFC 8421 §4: of the addresses that are added before the first of them is taken as an
    /// event, IPv6 and IPv4 ones are interleaved.
    ///
    /// A TCP socket is one that accepts connections, unless [`SocketOptions::tcp_type`] says otherwise.
    ///
    /// An IPv4 address may be given as a socket of IPv6 names it, `::ffff:a.b.c.d`. It is the same address, of an IPv4
    /// candidate, but all that is sent from this socket names its addresses in that form, which such sockets want.
    ///
    /// Where both sides take several nominations, see [`Renomination`](crate::Renomination), sockets may come and go at any
    /// time. Otherwise none may be added once the end of the candidates was signalled or a pair is nominated, save for a
    /// restart: while one that is prepared waits for its answer, sockets can be added and removed. One that is added after
    /// the end of its candidates was signalled makes no event, and the peer learns of it by its checks.
    ///
    /// # Errors
    /// * [`UnknownStream`](AddLocalCandidateError::UnknownStream) or
    ///   [`UnknownComponent`](AddLocalCandidateError::UnknownComponent) if there is none of that name.
    /// * [`UnusableAddress`](AddLocalCandidateError::UnusableAddress) if the address cannot be that of a candidate.
    /// * [`AddressInUse`](AddLocalCandidateError::AddressInUse) if another component has it.
    /// * [`Lite`](AddLocalCandidateError::Lite) for a lite agent, if a TCP candidate is not passive (RFC 6544 §4.4).
    /// * [`AfterEndOfCandidates`](AddLocalCandidateError::AfterEndOfCandidates) after
    ///   [`end_of_local_candidates`](Self::end_of_local_candidates), unless a restart is prepared.
    /// * [`AfterNomination`](AddLocalCandidateError::AfterNomination) once a pair of the component is nominated.
    /// * [`TooMany`](AddLocalCandidateError::TooMany) if the stream has [`MAX_SOCKETS`](Self::MAX_SOCKETS).
    /// * [`Closed`](AddLocalCandidateError::Closed) after [`close`](Self::close).
    pub fn add_socket(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
    ) -> Result<CandidateId, AddLocalCandidateError> {
        self.add_socket_with(now, stream, component, transport, address, SocketOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`add_socket`](Self::add_socket).
    pub fn add_socket_with(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
        options: SocketOptions,
    ) -> Result<CandidateId, AddLocalCandidateError> {
        let tcp_type = (transport == Transport::Tcp).then_some(options.tcp_type);
        self.add_host(now, stream, component, address, tcp_type, options)
    }

    /// Says that traffic through the interface of a local candidate costs more or less than before: 0 to 999, more counts as
    /// that. The policies take it into account at once; the peer learns it with the candidates of the next restart.
    ///
    /// # Errors
    /// [`UnknownStream`](RemoveCandidateError::UnknownStream) or
    /// [`UnknownCandidate`](RemoveCandidateError::UnknownCandidate) if there is none of that name.
    pub fn set_network_cost(
        &mut self,
        now: Instant,
        stream: StreamId,
        candidate: CandidateId,
        cost: u16,
    ) -> Result<(), RemoveCandidateError> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(RemoveCandidateError::UnknownStream(stream))?;
        let base = data.locals.get(candidate).ok_or(RemoveCandidateError::UnknownCandidate(candidate))?.base;
        data.locals.set_network_cost(base, cost.min(SocketOptions::MAX_COST));
        self.is_dirty = true;
        Ok(())
    }
}
