//! Statistics of transports and candidates, in the terms of the W3C (webrtc-stats).

use core::net::IpAddr;

use super::Agent;
use crate::candidate::{Candidate, CandidateAddress, CandidateKind, Foundation, Priority, TcpType};
use crate::credentials::Ufrag;
use crate::types::{CandidateId, ComponentId, ConnectionState, PairId, RelayProtocol, Role, StreamId, Transport};

/// What went through a component, on whatever pair: it lasts when pairs change and over restarts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) selections: u32,
}

/// Statistics of a component, which the W3C calls a transport (`RTCTransportStats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats<'a> {
    /// The stream.
    pub stream: StreamId,
    /// The component.
    pub component: ComponentId,
    /// Application datagrams sent: `packetsSent`.
    pub packets_sent: u64,
    /// Application datagrams received: `packetsReceived`.
    pub packets_received: u64,
    /// Application bytes sent: `bytesSent`.
    pub bytes_sent: u64,
    /// Application bytes received: `bytesReceived`.
    pub bytes_received: u64,
    /// The role, `iceRole`; `None` for `unknown`: before the peer's description is there, which may settle it.
    pub role: Option<Role>,
    /// Our username fragment: `iceLocalUsernameFragment`.
    pub local_username_fragment: &'a Ufrag,
    /// The state of the stream: `iceState`.
    pub state: ConnectionState,
    /// The selected pair: `selectedCandidatePairId`.
    pub selected_pair: Option<PairId>,
    /// How often that has changed, to another or to none: `selectedCandidatePairChanges`.
    pub selected_pair_changes: u32,
}

/// Statistics of a candidate (`RTCIceCandidateStats`, and the fields of `RTCIceCandidate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CandidateStats<'a> {
    /// Its name.
    pub id: CandidateId,
    /// It is the peer's.
    pub is_remote: bool,
    /// Its stream, which with its component is the transport: `transportId`.
    pub stream: StreamId,
    /// Its component: `rtp` for 1, `rtcp` for 2.
    pub component: ComponentId,
    /// Its address: `address`. `None` for one of the peer's that was not signalled: who sees only these statistics need not
    /// learn it. And `None` while it is a name; see [`Candidate::address`].
    pub address: Option<IpAddr>,
    /// Its port: `port`.
    pub port: u16,
    /// How it is reached: `protocol`.
    pub protocol: Transport,
    /// Its type: `candidateType`.
    pub kind: CandidateKind,
    /// Its priority: `priority`.
    pub priority: Priority,
    /// Its foundation: `foundation`.
    pub foundation: Foundation,
    /// Its related address: `relatedAddress` and `relatedPort`.
    pub related_address: Option<&'a CandidateAddress>,
    /// Who opens the connection: `tcpType`.
    pub tcp_type: Option<TcpType>,
    /// The username fragment that it goes with: `usernameFragment`. `None` for one of the peer's that was not signalled.
    pub username_fragment: Option<&'a Ufrag>,
    /// The server that it was gathered from: `url`. `None` for one of the peer's.
    pub url: Option<&'a str>,
    /// How the server of a relayed one of ours is reached: `relayProtocol`. `None` for all others.
    pub relay_protocol: Option<RelayProtocol>,
}

impl<'a> CandidateStats<'a> {
    fn of(id: CandidateId, stream: StreamId, candidate: &'a Candidate) -> Self {
        Self {
            id,
            is_remote: false,
            stream,
            component: candidate.component(),
            address: candidate.socket_address().map(|address| address.ip()),
            port: candidate.address().port(),
            protocol: candidate.transport(),
            kind: candidate.kind(),
            priority: candidate.priority(),
            foundation: candidate.foundation(),
            related_address: candidate.related_address(),
            tcp_type: candidate.tcp_type(),
            username_fragment: None,
            url: None,
            relay_protocol: None,
        }
    }
}

impl Agent {
    /// Statistics of a component.
    #[must_use]
    pub fn transport_stats(&self, stream: StreamId, component: ComponentId) -> Option<TransportStats<'_>> {
        let data = self.stream(stream)?;
        let of = data.component(component)?;
        let Traffic { packets_sent, bytes_sent, packets_received, bytes_received, selections } = of.traffic;
        Some(TransportStats {
            stream,
            component,
            packets_sent,
            packets_received,
            bytes_sent,
            bytes_received,
            role: Some(self.role).filter(|_| !data.remote.is_empty()),
            local_username_fragment: &data.local.credentials.ufrag,
            state: data.state,
            selected_pair: of.selection.selected(),
            selected_pair_changes: selections,
        })
    }

    /// Statistics of the candidates of a stream: the local ones that were handed to signalling or found by checks, then the
    /// remote ones.
    pub fn candidate_stats(&self, stream: StreamId) -> impl Iterator<Item = CandidateStats<'_>> {
        let data = self.stream(stream);
        let locals = data.into_iter().flat_map(move |data| {
            let is_known = |kind, generation: Option<u32>| generation.is_some() || kind == CandidateKind::PeerReflexive;
            let known = data.locals.iter().filter(move |local| is_known(local.candidate.kind(), local.announced_in));
            known.map(move |local| {
                let keyed = local.announced_in.and_then(|generation| data.local_in(generation)).unwrap_or(&data.local);
                CandidateStats {
                    username_fragment: Some(&keyed.credentials.ufrag),
                    url: local.url.as_deref(),
                    relay_protocol: local.relay_protocol,
                    ..CandidateStats::of(local.id, stream, &local.candidate)
                }
            })
        });
        let remotes = data.into_iter().flat_map(move |data| {
            data.remotes.iter().map(move |remote| {
                let stats = CandidateStats::of(remote.id, stream, &remote.candidate);
                let keyed = data.remote.get(usize::from(remote.peer)).filter(|_| remote.is_signalled);
                CandidateStats {
                    is_remote: true,
                    address: stats.address.filter(|_| remote.is_signalled),
                    username_fragment: keyed.map(|keyed| &keyed.credentials.ufrag),
                    ..stats
                }
            })
        });
        locals.chain(remotes)
    }
}
