//! The candidates of the peer in one stream.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Candidate, CandidateAddress, NETWORK_COST};
use crate::candidate::SocketOptions;
use crate::types::{CandidateId, ComponentId, Transport};

/// A candidate of the peer.
#[derive(Clone, Debug)]
pub(crate) struct RemoteCandidate {
    pub(crate) id: CandidateId,
    pub(crate) candidate: Candidate,
    pub(crate) address: SocketAddr,
    /// Number of its foundation.
    pub(crate) foundation: u32,
    /// Which of the peer's credentials it goes with.
    pub(crate) peer: u8,
    /// It was signalled, not only seen as the source of a check.
    pub(crate) is_signalled: bool,
}

impl RemoteCandidate {
    /// What the peer says that its interface costs: 0 to 999.
    pub(crate) fn network_cost(&self) -> u16 {
        let cost = self.candidate.extension(NETWORK_COST).and_then(|text| text.parse().ok());
        cost.unwrap_or(0).min(SocketOptions::MAX_COST)
    }
}

/// The remote candidates of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteCandidates {
    list: Vec<RemoteCandidate>,
    by_address: BTreeMap<(ComponentId, Transport, SocketAddr), CandidateId>,
    signalled: usize,
    revision: u64,
}

impl RemoteCandidates {
    /// Another number after each change.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    const fn revise(&mut self) {
        self.revision += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RemoteCandidate> {
        self.list.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of candidates that were signalled, and of those that were only seen.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.signalled, self.list.len() - self.signalled)
    }

    pub(crate) fn get(&self, id: CandidateId) -> Option<&RemoteCandidate> {
        let place = self.list.binary_search_by_key(&id, |remote| remote.id).ok()?;
        self.list.get(place)
    }

    pub(crate) fn find(
        &self,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
    ) -> Option<&RemoteCandidate> {
        self.by_address.get(&(component, transport, address)).and_then(|id| self.get(*id))
    }

    /// Adds a candidate whose address is not known yet.
    pub(crate) fn add(&mut self, remote: RemoteCandidate) {
        self.revise();
        let key = (remote.candidate.component, remote.candidate.transport, remote.address);
        self.by_address.insert(key, remote.id);
        self.signalled += usize::from(remote.is_signalled);
        self.list.push(remote);
    }

    /// Takes what was signalled of a candidate in the place of what was known of it (RFC 8838 §11).
    pub(crate) fn replace(&mut self, id: CandidateId, candidate: Candidate, foundation: u32, peer: u8) {
        self.revise();
        let Ok(place) = self.list.binary_search_by_key(&id, |remote| remote.id) else { return };
        let Some(remote) = self.list.get_mut(place) else { return };
        self.signalled += usize::from(!remote.is_signalled);
        remote.candidate = candidate;
        remote.foundation = foundation;
        remote.peer = peer;
        remote.is_signalled = true;
    }

    /// Records that this address belongs to another one of the peers that answered the same description.
    pub(crate) fn assign(&mut self, id: CandidateId, peer: u8) {
        let Ok(place) = self.list.binary_search_by_key(&id, |remote| remote.id) else { return };
        if let Some(remote) = self.list.get_mut(place) {
            remote.peer = peer;
        }
    }

    /// Records that the peer has this candidate at another address now: it has opened its connection anew.
    pub(crate) fn readdress(&mut self, id: CandidateId, address: SocketAddr) {
        self.revise();
        let Ok(place) = self.list.binary_search_by_key(&id, |remote| remote.id) else { return };
        let Some(remote) = self.list.get_mut(place) else { return };
        let (component, transport) = (remote.candidate.component, remote.candidate.transport);
        let before = core::mem::replace(&mut remote.address, address);
        remote.candidate.address = CandidateAddress::Socket(address);
        remote.candidate.spelling = None;
        self.by_address.remove(&(component, transport, before));
        self.by_address.insert((component, transport, address), id);
    }

    pub(crate) fn remove(&mut self, id: CandidateId) -> Option<RemoteCandidate> {
        let place = self.list.binary_search_by_key(&id, |remote| remote.id).ok()?;
        self.revise();
        let remote = self.list.remove(place);
        self.by_address.remove(&(remote.candidate.component, remote.candidate.transport, remote.address));
        self.signalled -= usize::from(remote.is_signalled);
        Some(remote)
    }

    /// The signalled candidate of the lowest priority.
    pub(crate) fn least(&self) -> Option<&RemoteCandidate> {
        self.list.iter().filter(|remote| remote.is_signalled).min_by_key(|remote| remote.candidate.priority)
    }
}
