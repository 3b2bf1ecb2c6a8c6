//! The candidates of this agent in one stream: what is known of each, redundancy, and limits (RFC 8445 §5.1.3).

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::preference::{self, Traits};
use super::{Candidate, CandidateAddress, CandidateKind, Foundation, NETWORK_COST, Preferences, Priority, TcpType};
use crate::candidate::SocketOptions;
use crate::config::limits;
use crate::types::{CandidateId, ComponentId, RelayProtocol, Transport};

/// A candidate of this agent.
#[derive(Clone, Debug)]
pub(crate) struct LocalCandidate {
    pub(crate) id: CandidateId,
    pub(crate) candidate: Candidate,
    pub(crate) address: SocketAddr,
    /// Where its packets leave from (RFC 8445 §4).
    pub(crate) base: SocketAddr,
    /// Number of its foundation.
    pub(crate) foundation: u32,
    /// The latest generation in which it was handed to signalling: from the first on its priority stands (RFC 8838 §10).
    pub(crate) announced_in: Option<u32>,
    /// What its interface costs: 0 to 999.
    pub(crate) network_cost: u16,
    /// It is not signalled, though its socket is used.
    pub(crate) is_hidden: bool,
    /// The server that it was gathered from.
    pub(crate) url: Option<Arc<str>>,
    /// How the server of a relayed one is reached.
    pub(crate) relay_protocol: Option<RelayProtocol>,
    /// Index of the address slot that gives a host candidate its local preference.
    slot: Option<usize>,
}

impl LocalCandidate {
    /// Whether packets to this address reach it.
    fn is_at(&self, address: SocketAddr) -> bool {
        self.address == address || self.candidate.socket_address() == Some(address)
    }

    /// Whether its socket is one of ours.
    pub(crate) fn is_host(&self) -> bool {
        self.candidate.kind == CandidateKind::Host
    }

    /// Whether others are not to know its address: it is not signalled, or under a name.
    pub(crate) fn is_concealed(&self) -> bool {
        self.shown().is_none()
    }

    /// The address that others know it by.
    pub(crate) fn shown(&self) -> Option<SocketAddr> {
        self.candidate.socket_address().filter(|_| !self.is_hidden)
    }

    /// Whether the peer may know it in this generation.
    pub(crate) fn is_announced_in(&self, generation: u32) -> bool {
        self.announced_in >= Some(generation)
    }
}

/// A host candidate to add.
#[derive(Clone, Debug)]
pub(crate) struct NewHost {
    pub(crate) id: CandidateId,
    pub(crate) component: ComponentId,
    pub(crate) foundation: u32,
    /// The address of its socket.
    pub(crate) address: SocketAddr,
    pub(crate) tcp_type: Option<TcpType>,
    /// What is signalled in the place of its address.
    pub(crate) shown: CandidateAddress,
    pub(crate) options: SocketOptions,
    pub(crate) is_hidden: bool,
}

/// An address of the host, with the local preference that its host candidates share.
#[derive(Clone, Debug)]
struct Slot {
    ip: IpAddr,
    /// How many sockets of the same component and address were there before.
    occurrence: usize,
    traits: Traits,
    preference: u16,
    /// A candidate with it was announced.
    is_fixed: bool,
}

/// The local candidates of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalCandidates {
    list: Vec<LocalCandidate>,
    slots: Vec<Slot>,
    revision: u64,
}

impl LocalCandidates {
    /// Another number after each change.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    const fn revise(&mut self) {
        self.revision += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LocalCandidate> {
        self.list.iter()
    }

    pub(crate) fn get(&self, id: CandidateId) -> Option<&LocalCandidate> {
        let place = self.list.binary_search_by_key(&id, |local| local.id).ok()?;
        self.list.get(place)
    }

    /// The candidate that a peer sees by this address when packets leave from `base`: one of that base, or another host, whose
    /// address it is. A reflexive one of another base it is not: the NAT has given its address away.
    pub(crate) fn find(
        &self,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
        base: SocketAddr,
    ) -> Option<&LocalCandidate> {
        let is_it = |local: &&LocalCandidate| {
            let candidate = &local.candidate;
            (candidate.component, candidate.transport) == (component, transport) && local.is_at(address)
        };
        let mut with_address = self.list.iter().filter(is_it);
        let first = with_address.next()?;
        if first.base == base {
            return Some(first);
        }
        let of_base = with_address.find(|local| local.base == base);
        of_base.or(Some(first).filter(|first| first.is_host()))
    }

    /// The candidate with this address and base that makes another one redundant (RFC 8445 §5.1.3): of the same transport, and
    /// one that others are told of, which neither what is hidden nor what only checks have shown is.
    pub(crate) fn told(
        &self,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
        base: SocketAddr,
    ) -> Option<&LocalCandidate> {
        self.list.iter().find(|local| {
            let candidate = &local.candidate;
            (candidate.component, candidate.transport, local.base) == (component, transport, base)
                && local.is_at(address)
                && candidate.kind != CandidateKind::PeerReflexive
                && !local.is_concealed()
        })
    }

    /// The host or relayed candidate from which packets of this base leave.
    pub(crate) fn at_base(
        &self,
        component: ComponentId,
        transport: Transport,
        base: SocketAddr,
    ) -> Option<&LocalCandidate> {
        self.list.iter().find(|local| {
            (local.candidate.component, local.candidate.transport, local.address) == (component, transport, base)
                && !local.candidate.kind.is_reflexive()
        })
    }

    /// Adds a host candidate and orders the local preferences of those that nobody knows yet.
    pub(crate) fn add_host(&mut self, host: NewHost, preferences: &Preferences) {
        self.revise();
        let NewHost { id, component, foundation, address, tcp_type, shown, options, is_hidden } = host;
        let ip = address.ip();
        let is_twin = |local: &&LocalCandidate| {
            let candidate = &local.candidate;
            (candidate.component, candidate.tcp_type, local.address.ip()) == (component, tcp_type, ip)
        };
        let occurrence = self.list.iter().filter(is_twin).filter(|local| local.slot.is_some()).count();
        let known = self.slots.iter().position(|slot| slot.ip == ip && slot.occurrence == occurrence);
        let slot = known.unwrap_or_else(|| {
            let traits = Traits { is_ipv6: ip.is_ipv6(), is_unreliable: options.is_unreliable };
            if self.slots.len() >= limits::LOCAL_PREFERENCES {
                self.forget_slots();
            }
            self.slots.push(Slot { ip, occurrence, traits, preference: 0, is_fixed: false });
            self.slots.len() - 1
        });
        let priority = preferences.priority(CandidateKind::Host, tcp_type, 0, component);
        let number = Foundation::numbered("", foundation);
        let mut candidate = Candidate::new(CandidateKind::Host, component, number, priority, address);
        if options.network_cost > 0 {
            candidate = candidate.with_extension(NETWORK_COST, &options.network_cost.to_string());
        }
        if let Some(tcp_type) = tcp_type {
            candidate = candidate.with_tcp_type(tcp_type);
        }
        candidate.address = shown;
        self.list.push(LocalCandidate {
            id,
            candidate,
            address,
            base: address,
            foundation,
            announced_in: None,
            network_cost: options.network_cost,
            is_hidden,
            url: None,
            relay_protocol: None,
            slot: Some(slot),
        });
        self.order_preferences(preferences);
    }

    /// Gives the slots that are not fixed their preferences, below those that are, and the candidates their priorities.
    fn order_preferences(&mut self, preferences: &Preferences) {
        let fixed: BTreeSet<u16> = self.slots.iter().filter(|slot| slot.is_fixed).map(|slot| slot.preference).collect();
        let open: Vec<usize> =
            (0..self.slots.len()).filter(|i| self.slots.get(*i).is_some_and(|s| !s.is_fixed)).collect();
        if preferences.is_lite && self.slots.iter().any(|slot| slot.ip.is_ipv6()) {
            self.order_as_lite(&open);
        } else {
            // Where there is no room below, because many have come and gone, free ones are taken from above.
            let below = fixed.first().map_or(1 << 16, |lowest| usize::from(*lowest));
            let start = if below >= open.len() { below } else { 1 << 16 };
            let mut free =
                (0..start).rev().filter_map(|one| u16::try_from(one).ok()).filter(|one| !fixed.contains(one));
            let traits: Vec<Traits> = open.iter().filter_map(|i| self.slots.get(*i)).map(|slot| slot.traits).collect();
            for place in preference::order(&traits) {
                if let Some(slot) = open.get(place).and_then(|index| self.slots.get_mut(*index)) {
                    slot.preference = free.next().unwrap_or_default();
                }
            }
        }
        for local in self.list.iter_mut().filter(|local| local.announced_in.is_none()) {
            if let Some(slot) = local.slot.and_then(|slot| self.slots.get(slot)) {
                let (tcp_type, component) = (local.candidate.tcp_type, local.candidate.component);
                local.candidate.priority =
                    preferences.priority(CandidateKind::Host, tcp_type, slot.preference, component);
            }
        }
    }

    /// Forgets the preferences that no candidate has any more.
    fn forget_slots(&mut self) {
        let used: BTreeSet<usize> = self.list.iter().filter_map(|local| local.slot).collect();
        for local in &mut self.list {
            // Its place among those that stay.
            local.slot = local.slot.map(|slot| used.range(..slot).count());
        }
        let mut place = 0..;
        self.slots.retain(|_| place.next().is_some_and(|place| used.contains(&place)));
    }

    /// Gives these slots the preferences that a lite agent with IPv6 has (RFC 8445 §5.2), distinct ones.
    fn order_as_lite(&mut self, open: &[usize]) {
        let is_open = |index: usize| open.contains(&index);
        let fixed = self.slots.iter().enumerate().filter(|(index, _)| !is_open(*index));
        let mut taken: Vec<u16> = fixed.map(|(_, slot)| slot.preference).collect();
        for slot in open.iter() {
            let Some(slot) = self.slots.get_mut(*slot) else { continue };
            let mut preference = preference::precedence(slot.ip);
            while taken.contains(&preference) && preference > 0 {
                preference -= 1;
            }
            slot.preference = preference;
            taken.push(preference);
        }
    }

    /// Adds a reflexive or relayed candidate next to its base; it shares the base's local preference, or takes the next free one.
    pub(crate) fn add_reflexive(
        &mut self,
        id: CandidateId,
        mut candidate: Candidate,
        address: SocketAddr,
        base: SocketAddr,
        foundation: u32,
    ) {
        self.revise();
        let component = candidate.component;
        // That of a peer-reflexive one was said in its check.
        if candidate.kind != CandidateKind::PeerReflexive {
            candidate.priority = self.free_priority(component, candidate.priority);
        }
        let network_cost = self.at_base(component, candidate.transport, base).map_or(0, |host| host.network_cost);
        self.list.push(LocalCandidate {
            id,
            candidate,
            address,
            base,
            foundation,
            announced_in: None,
            network_cost,
            is_hidden: false,
            url: None,
            relay_protocol: None,
            slot: None,
        });
    }

    /// The priority, or the one with the next local preference that no candidate of the component has: all that are not of the
    /// host are numbered together, whatever server or base they come from (RFC 8445 §5.1.2.1).
    fn free_priority(&self, component: ComponentId, wanted: Priority) -> Priority {
        let is_free = |priority: &Priority| {
            self.list.iter().all(|l| l.candidate.component != component || l.candidate.priority != *priority)
        };
        let preference = u32::from(wanted.local_preference());
        let with = |preference: u32| Priority::new(wanted.get() & !0x00ff_ff00 | preference << 8);
        let lower = (0..=preference).rev().filter_map(with);
        let higher = (preference..=u32::from(u16::MAX)).filter_map(with);
        lower.chain(higher).find(is_free).unwrap_or(wanted)
    }

    /// Notes the server that a candidate was gathered from.
    pub(crate) fn set_url(&mut self, id: CandidateId, url: Arc<str>) {
        self.revise();
        if let Some(local) = self.list.iter_mut().find(|local| local.id == id) {
            local.url = Some(url);
        }
    }

    /// Notes how the server of a relayed candidate is reached.
    #[cfg(feature = "turn")]
    pub(crate) fn set_relay_protocol(&mut self, id: CandidateId, protocol: RelayProtocol) {
        if let Some(local) = self.list.iter_mut().find(|local| local.id == id) {
            local.relay_protocol = Some(protocol);
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&LocalCandidate) -> bool) {
        self.revise();
        self.list.retain(keep);
    }

    /// Gives all candidates of one base another cost.
    pub(crate) fn set_network_cost(&mut self, base: SocketAddr, cost: u16) {
        self.revise();
        for local in self.list.iter_mut().filter(|local| local.base.ip() == base.ip()) {
            local.network_cost = cost;
            local.candidate.extensions.retain(|(name, _)| name != NETWORK_COST);
            if cost > 0 {
                local.candidate.extensions.push((NETWORK_COST.into(), cost.to_string()));
            }
            local.candidate.spelling = None;
        }
    }

    /// Records that a candidate is handed to signalling; `None` if it is gone.
    pub(crate) fn announce(&mut self, id: CandidateId, generation: u32) -> Option<&LocalCandidate> {
        self.fix_priority(id);
        self.revise();
        let place = self.list.binary_search_by_key(&id, |local| local.id).ok()?;
        let local = self.list.get_mut(place)?;
        local.announced_in = local.announced_in.max(Some(generation));
        Some(local)
    }

    /// Takes a generation back: what was announced in it counts as announced in the one before, save the candidates from
    /// `first` on, which are given.
    pub(crate) fn reassign(&mut self, from: u32, to: u32, first: CandidateId) -> Vec<CandidateId> {
        for local in self.list.iter_mut().filter(|local| local.announced_in == Some(from)) {
            local.announced_in = (local.id < first).then_some(to);
        }
        self.list.iter().filter(|local| local.id >= first).map(|local| local.id).collect()
    }

    /// Records that the priority of a candidate was used, and stands.
    pub(crate) fn fix_priority(&mut self, id: CandidateId) {
        let slot = self.get(id).and_then(|local| local.slot);
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            slot.is_fixed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{TransportOrder, TypePreferences};

    /// Req: 8445-5.1.2.1-c
    #[test]
    fn the_local_preferences_of_hosts_are_distinct_and_a_single_one_is_the_highest() {
        let preferences =
            Preferences { udp: TypePreferences::default(), order: TransportOrder::default(), is_lite: false };
        let mut candidates = LocalCandidates::default();
        let add = |candidates: &mut LocalCandidates, id, address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            let host = NewHost {
                id: CandidateId(id),
                component: ComponentId::RTP,
                foundation: 1,
                address,
                tcp_type: None,
                shown: address.into(),
                options: SocketOptions::default(),
                is_hidden: false,
            };
            candidates.add_host(host, &preferences);
        };
        add(&mut candidates, 0, "10.0.0.1:1");
        assert_eq!(candidates.get(CandidateId(0)).unwrap().candidate.priority.local_preference(), 65535);
        add(&mut candidates, 1, "[2001:db8::1]:1");
        add(&mut candidates, 2, "10.0.0.1:2");
        let of = |candidates: &LocalCandidates| {
            candidates.iter().map(|local| local.candidate.priority.local_preference()).collect::<Vec<_>>()
        };
        assert_eq!(of(&candidates), [65534, 65535, 65533]);
        candidates.announce(CandidateId(0), 0);
        add(&mut candidates, 3, "[2001:db8::2]:1");
        assert_eq!(of(&candidates)[0], 65534);
        let mut all = of(&candidates);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    fn host_at(id: u64, ip: IpAddr) -> NewHost {
        let address = SocketAddr::new(ip, 5000);
        let (options, shown) = (SocketOptions::default(), address.into());
        let (component, tcp_type) = (ComponentId::RTP, None);
        NewHost { id: CandidateId(id), component, foundation: 1, address, tcp_type, shown, options, is_hidden: false }
    }

    /// Req: 8445-5.1.2.1-c
    #[test]
    fn the_local_preferences_of_addresses_that_come_and_go_for_ever_stay_distinct_and_few() {
        let preferences =
            Preferences { udp: TypePreferences::default(), order: TransportOrder::default(), is_lite: false };
        let mut candidates = LocalCandidates::default();
        for id in 0..70_000_u64 {
            let bits = 0x0a00_0000 + u32::try_from(id).unwrap();
            candidates.add_host(host_at(id, IpAddr::V4(bits.into())), &preferences);
            candidates.announce(CandidateId(id), 0);
            // The one before goes when the next is there.
            candidates.retain(|local| local.id.0 + 1 >= id);
            assert!(candidates.slots.len() <= limits::LOCAL_PREFERENCES);
            let mut both: Vec<u32> = candidates.iter().map(|local| local.candidate.priority.get()).collect();
            both.dedup();
            assert_eq!(both.len(), candidates.list.len(), "after {id}");
        }
    }
}
