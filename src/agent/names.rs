//! Names in the place of addresses: ours, which hide them, and those of the peer (draft-ietf-mmusic-mdns-ice-candidates).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::{Agent, RemoteCandidateOutcome};
use crate::candidate::{Candidate, CandidateAddress, mdns};
use crate::config::limits;
use crate::event::Event;
use crate::types::address::canonical;
use crate::types::{Instant, StreamId};

impl Agent {
    /// Says what a name of the peer stands for, which [`Event::ResolveName`] has asked for: its candidates are paired then.
    ///
    /// `None` if nobody answered, or several did: the candidates are forgotten. A name that was not asked for changes
    /// nothing. The address is never shown: [`remote_candidates`](Self::remote_candidates) keeps the name.
    pub fn resolved(&mut self, now: Instant, name: &str, address: Option<IpAddr>) {
        self.observe(now);
        let is_it = |candidate: &Candidate| matches!(&candidate.address, CandidateAddress::Name { host, .. } if host.eq_ignore_ascii_case(name));
        let mut found: SmallVec<[(StreamId, Candidate); 2]> = SmallVec::new();
        for data in &mut self.streams {
            let (named, others) = core::mem::take(&mut data.unresolved).into_iter().partition(is_it);
            data.unresolved = others;
            found.extend(Vec::into_iter(named).map(|candidate| (data.id, candidate)));
        }
        let Some(ip) = address.filter(|_| !self.is_closed) else { return };
        for (stream, candidate) in found {
            let Some(data) = self.stream(stream) else { continue };
            let ufrag = candidate.extension("ufrag");
            let peer = ufrag.map_or(Some(0), |ufrag| data.peer(ufrag.as_bytes()));
            let Some(peer) = peer.or(data.remote.is_empty().then_some(0)) else { continue };
            let address = canonical(SocketAddr::new(ip, candidate.address.port()));
            // What becomes of it the application sees in the list of candidates.
            let _ = self.take_remote(stream, candidate, address, peer);
        }
    }

    /// Asks what the name of a candidate stands for, if it is one that hides an address.
    pub(super) fn resolve(&mut self, stream: StreamId, candidate: Candidate) -> RemoteCandidateOutcome {
        use RemoteCandidateOutcome as Outcome;
        let CandidateAddress::Name { host, port } = &candidate.address else { return Outcome::UnresolvedName };
        if !mdns::is_hidden_address(host) || !self.config.candidate_types.are_direct() {
            return Outcome::UnresolvedName;
        }
        if *port == 0 {
            return Outcome::UnusableAddress;
        }
        let name: Arc<str> = host.to_ascii_lowercase().into();
        let is_it = |other: &Candidate| matches!(&other.address, CandidateAddress::Name { host, .. } if host.eq_ignore_ascii_case(&name));
        let is_asked_for = self.streams.iter().any(|data| data.unresolved.iter().any(is_it));
        let Some(data) = self.stream_mut(stream) else { return Outcome::UnresolvedName };
        if data.unresolved.contains(&candidate) {
            return Outcome::Resolving;
        }
        if data.unresolved.len() >= limits::UNRESOLVED_NAMES {
            return Outcome::TooMany;
        }
        data.unresolved.push(candidate);
        if !is_asked_for {
            self.emit(Event::ResolveName { name });
        }
        Outcome::Resolving
    }

    /// The name that hides an address: one for each, as long as a candidate has it, and mostly longer.
    pub(super) fn name_of(&mut self, address: IpAddr) -> Arc<str> {
        if let Some(name) = self.names.get(&address) {
            return Arc::clone(name);
        }
        if self.names.len() >= limits::NAMES {
            let locals = self.streams.iter().flat_map(|data| data.locals.iter());
            let used: BTreeSet<IpAddr> = locals.map(|local| local.base.ip()).collect();
            self.names.retain(|ip, _| used.contains(ip));
        }
        let name: Arc<str> = mdns::new_name(&mut self.random).into();
        self.names.insert(address, Arc::clone(&name));
        self.emit(Event::RegisterName { name: Arc::clone(&name), address });
        name
    }
}
