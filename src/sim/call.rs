//! What an application may call on its agent, as letters of the alphabet.

use std::net::SocketAddr;
use std::vec::Vec;

use super::op::Bytes;
use crate::{
    Agent, Candidate, CandidateId, CandidateKind, ComponentId, Credentials, Foundation, Instant, PairId, Payload,
    Priority, RemoteDescription, StreamId, Transport,
};

/// A call of an application, on its first stream if it takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Adds a socket at another port of an address that has one, or at another address.
    AddSocket(u8),
    /// Adds a candidate of the peer at this port of an address of it that is known.
    AddRemote(u16),
    /// Removes a local candidate.
    RemoveLocal(u8),
    /// Removes a candidate of the peer.
    RemoveRemote(u8),
    /// Says that no more local candidates come.
    EndOfLocals,
    /// Says that no more candidates of the peer come.
    EndOfRemotes,
    /// Nominates a pair, which pins the component to it.
    Nominate(u8),
    /// Removes a pair.
    RemovePair(u8),
    /// Protects a pair from removal, or no longer.
    Protect(u8, bool),
    /// Says that the network has changed.
    NetworkChanged,
    /// Says whether data is expected.
    Idle(bool),
    /// Withholds checks, or lets them go.
    Withhold(bool),
    /// Says that nothing can be sent on the path of a pair.
    SendFails(u8),
    /// Withdraws consent.
    Revoke,
    /// Restarts ICE; where there is signalling, the peer is told.
    Restart,
    /// Takes a restart back that the peer has not agreed to.
    Rollback,
    /// Asks the servers again.
    Gather,
    /// Adds a stream whose peer never answers, or removes it.
    ToggleStream,
    /// Keeps so many components of the stream.
    KeepComponents(u8),
    /// Sends so many bytes of data.
    Send(u16),
    /// Sends a batch, on a route.
    SendBatch,
    /// Ends the session.
    Close,
}

impl Call {
    pub(super) fn decode(bytes: &mut Bytes<'_, '_>) -> Self {
        match bytes.u8() % 40 {
            0..3 => Self::AddSocket(bytes.u8()),
            3 => Self::AddRemote(6000 + bytes.u16() % 12),
            4 | 5 => Self::RemoveLocal(bytes.u8()),
            6 | 7 => Self::RemoveRemote(bytes.u8()),
            8 => Self::EndOfLocals,
            9 => Self::EndOfRemotes,
            10..13 => Self::Nominate(bytes.u8()),
            13..16 => Self::RemovePair(bytes.u8()),
            16 => Self::Protect(bytes.u8(), bytes.bool()),
            17..19 => Self::NetworkChanged,
            19..21 => Self::Idle(bytes.bool()),
            21 => Self::Withhold(bytes.bool()),
            22..24 => Self::SendFails(bytes.u8()),
            24 => Self::Revoke,
            25..30 => Self::Restart,
            30 => Self::Rollback,
            31 => Self::Gather,
            32..34 => Self::ToggleStream,
            34 => Self::KeepComponents(bytes.u8()),
            35..38 => Self::Send(bytes.u16() % 1200),
            38 => Self::SendBatch,
            _ => Self::Close,
        }
    }

    /// Calls any agent. What the agent refuses has no effect; it has to be polled afterwards.
    ///
    /// [`Restart`](Self::Restart) only prepares one, and [`Gather`](Self::Gather) does nothing: what signalling and servers there
    /// are is the business of the harness.
    ///
    /// # Panics
    /// If what the agent says of itself is contradictory.
    pub fn perform(&self, agent: &mut Agent, now: Instant) {
        let Some(stream) = agent.streams().next() else { return };
        match *self {
            Self::AddSocket(which) => {
                let base = agent.local_candidates(stream).map(|local| local.base).next();
                if let Some(base) = base {
                    let address = SocketAddr::new(base.ip(), 5100 + u16::from(which % 8));
                    let _ = agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address);
                }
            }
            Self::AddRemote(port) => {
                let known = agent.remote_candidates(stream).find_map(|remote| remote.candidate.socket_address());
                if let (Some(known), Some(priority)) = (known, Priority::new(0x7eff_00ff + 256 * u32::from(port % 256)))
                {
                    let address = SocketAddr::new(known.ip(), port);
                    let foundation = Foundation::numbered("added", u32::from(port));
                    let candidate =
                        Candidate::new(CandidateKind::Host, ComponentId::RTP, foundation, priority, address);
                    let _ = agent.add_remote_candidate(now, stream, candidate);
                }
            }
            Self::RemoveLocal(which) => {
                let ids: Vec<CandidateId> = agent.local_candidates(stream).map(|local| local.id).collect();
                if let Some(id) = nth(&ids, which) {
                    let _ = agent.remove_local_candidate(now, stream, id);
                }
            }
            Self::RemoveRemote(which) => {
                let ids: Vec<CandidateId> = agent.remote_candidates(stream).map(|remote| remote.id).collect();
                if let Some(id) = nth(&ids, which) {
                    let _ = agent.remove_remote_candidate(now, stream, id);
                }
            }
            Self::EndOfLocals => {
                let _ = agent.end_of_local_candidates(now, stream);
            }
            Self::EndOfRemotes => {
                let _ = agent.end_of_remote_candidates(now, stream);
            }
            Self::Nominate(which) => {
                let _ = pair(agent, which).map(|pair| agent.nominate(now, pair));
            }
            Self::RemovePair(which) => {
                let _ = pair(agent, which).map(|pair| agent.remove_pair(now, pair));
            }
            Self::Protect(which, is_protected) => {
                let _ = pair(agent, which).map(|pair| agent.protect_pair(now, pair, is_protected));
            }
            Self::NetworkChanged => agent.network_changed(now),
            Self::Idle(is_idle) => agent.set_idle(now, is_idle),
            Self::Withhold(is_held) => agent.withhold_checks(now, is_held),
            Self::SendFails(which) => {
                let paths: Vec<_> = agent.pairs().map(|pair| (pair.base, pair.remote_address)).collect();
                if let Some((base, remote)) = nth(&paths, which) {
                    agent.handle_send_error(now, base, remote);
                }
            }
            Self::Revoke => {
                let _ = agent.revoke_consent(now, stream);
            }
            Self::Restart => {
                let _ = agent.prepare_restart(now, stream);
            }
            Self::Rollback => {
                let _ = agent.rollback_restart(now, stream);
            }
            Self::Gather => {}
            Self::ToggleStream => toggle_stream(agent, now, stream),
            Self::KeepComponents(count) => drop(agent.keep_components(now, stream, 1 + u16::from(count % 2))),
            Self::Send(length) => {
                let payload = std::vec![0x80; usize::from(length).max(1)];
                let _ = agent.send(now, stream, ComponentId::RTP, payload.as_slice(), &mut Vec::new());
            }
            Self::SendBatch => send_batch(agent, now, stream),
            Self::Close => agent.close(now),
        }
    }
}

fn nth<T: Copy>(list: &[T], which: u8) -> Option<T> {
    list.get(usize::from(which).checked_rem(list.len())?).copied()
}

fn pair(agent: &Agent, which: u8) -> Option<PairId> {
    let ids: Vec<PairId> = agent.pairs().map(|pair| pair.id).collect();
    nth(&ids, which)
}

/// Adds a second stream, with two components and a peer that is nobody, or removes the last one.
fn toggle_stream(agent: &mut Agent, now: Instant, first: StreamId) {
    if let Some(last) = agent.streams().last().filter(|last| *last != first) {
        let _ = agent.remove_stream(now, last);
        return;
    }
    let base = agent.local_candidates(first).map(|local| local.base).next();
    let (Some(base), Ok(stream)) = (base, agent.add_stream(2)) else { return };
    for (component, port) in [(ComponentId::RTP, 7100), (ComponentId::RTCP, 7101)] {
        let _ = agent.add_socket(now, stream, component, Transport::Udp, SocketAddr::new(base.ip(), port));
    }
    let Ok(nobody) = Credentials::new("else", "passwordOfNobody0123456") else { return };
    let lines = ["1 1 udp 2130706431 203.0.113.77 7000 typ host", "1 2 udp 2130706430 203.0.113.77 7001 typ host"];
    let candidates = lines.iter().filter_map(|line| std::format!("candidate:{line}").parse().ok()).collect();
    let _ = agent.set_remote_description(now, stream, &RemoteDescription::new(nobody).with_candidates(candidates));
}

fn send_batch(agent: &mut Agent, now: Instant, stream: StreamId) {
    let payload = Payload::from(&[0x80; 250]).with_segment_size(100);
    let sent = agent.send(now, stream, ComponentId::RTP, payload, &mut Vec::new());
    let route = agent.route(now, stream, ComponentId::RTP);
    assert!(sent.is_err() || route.is_ok(), "data can be sent, and there is no route: {route:?}");
    if let Ok(route) = route {
        assert!(agent.is_current(now, &route), "a route is out of date at once");
        agent.record_sent(now, &route, 1, 100);
    }
}
