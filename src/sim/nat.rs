//! Network address translators, by the classification of RFC 4787.
//!
//! A [`NatConfig`] is a point in the space that RFC 4787 spans: how a NAT chooses the external address of an internal
//! one (§4.1), which port it takes (§4.2), how long it remembers (§4.3), whom it lets in (§5), and whether two hosts
//! behind it can talk through its outside (§6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::topology::RealmId;
use super::trace::DropReason;
use crate::Instant;
use crate::types::Random;

/// Names a NAT of one [`Network`](super::Network).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub(super) u32);

impl NatId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// For which remote addresses a NAT uses one mapping of an internal address and port again (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4787 §4.1 closes the set")]
pub enum Mapping {
    /// For all: a server-reflexive address is good for every peer.
    EndpointIndependent,
    /// For all ports of one remote IP address.
    AddressDependent,
    /// For one remote address and port: what RFC 3489 called symmetric.
    AddressAndPortDependent,
}

/// Whose packets a NAT lets in to an internal address and port (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4787 §5 closes the set")]
pub enum Filtering {
    /// Everybody's.
    EndpointIndependent,
    /// Those from IP addresses that it has sent to.
    AddressDependent,
    /// Those from addresses and ports that it has sent to.
    AddressAndPortDependent,
}

/// To what a filter entry belongs. It only matters if the mapping is not endpoint-independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a filter entry belongs to one side of the mapping or to the other")]
pub enum FilterScope {
    /// To the internal address and port, whichever of its mappings a packet arrives at: RFC 4787 §5 to the letter.
    Endpoint,
    /// To the mapping that the packet which opened it went out through, as in a NAT that tracks sessions (and as
    /// RFC 3489 §5 describes the symmetric one).
    Mapping,
}

/// Which external port a new mapping gets (RFC 4787 §4.2). A port that is taken is passed over for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PortAssignment {
    /// The internal port, if it is free.
    Preserving,
    /// The port after the one that was given out last, from 40000.
    Sequential,
    /// Any port from 1024 up.
    Random,
    /// The next port that is even or odd as the internal port is (RFC 4787 §4.2.2).
    ParityPreserving,
}

/// Which of several public addresses a mapping gets (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4787 §4.1 closes the set")]
pub enum Pooling {
    /// Always the same one for the same internal IP address.
    Paired,
    /// The next one in turn for every mapping.
    Arbitrary,
}

/// What a NAT translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Translation {
    /// Address and port.
    Ports,
    /// The address, one to one: each internal address has a public one, in the order in which they were added, and
    /// ports stay. `mapping`, `ports`, `pooling` and `max_mappings` have no meaning.
    Addresses,
    /// Nothing. The internal addresses are known outside, and only the filtering is left: a firewall that lets
    /// answers in. `public`, `mapping`, `ports`, `pooling`, `hairpin` and `max_mappings` have no meaning.
    Nothing,
}

/// How a NAT behaves.
///
/// ```
/// use nilas::sim::{NatConfig, PortAssignment};
///
/// let nat = NatConfig { hairpin: true, ports: PortAssignment::Random, ..NatConfig::symmetric(["192.0.2.1".parse()?]) };
/// # let _ = nat;
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain configuration, written with `..NatConfig::new(..)`")]
pub struct NatConfig {
    /// Its public addresses, of one family or both. A packet of a family that has none is dropped.
    pub public: Vec<IpAddr>,
    /// What it translates. By default address and port.
    pub translation: Translation,
    /// How it maps.
    pub mapping: Mapping,
    /// How it filters.
    pub filtering: Filtering,
    /// To what its filter entries belong. By default to the endpoint, as in RFC 4787.
    pub filter_scope: FilterScope,
    /// How it chooses ports. By default it preserves them.
    pub ports: PortAssignment,
    /// How it chooses among several public addresses. By default paired, as RFC 4787 REQ-2 recommends.
    pub pooling: Pooling,
    /// After how much time without traffic it forgets a mapping or a filter entry. `None` is never. By default 5
    /// minutes, which RFC 4787 REQ-5 recommends; many home routers take 30 seconds.
    pub lifetime: Option<Duration>,
    /// Whether packets from outside count as traffic, too. By default they do not (RFC 4787 §4.3).
    pub inbound_refreshes: bool,
    /// Whether a packet from inside to a public address of the NAT comes back in (RFC 4787 §6). Its source is then the
    /// external one. By default it does not.
    pub hairpin: bool,
    /// Most mappings that it holds at a time; a packet that needs one more is dropped. By default 4096.
    pub max_mappings: usize,
    /// Most filter entries that it holds at a time. By default 65536.
    pub max_filters: usize,
}

impl NatConfig {
    /// A NAT with this mapping and filtering, and defaults otherwise.
    #[must_use]
    pub fn new(mapping: Mapping, filtering: Filtering, public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            public: public.into_iter().collect(),
            translation: Translation::Ports,
            mapping,
            filtering,
            filter_scope: FilterScope::Endpoint,
            ports: PortAssignment::Preserving,
            pooling: Pooling::Paired,
            lifetime: Some(Duration::from_secs(300)),
            inbound_refreshes: false,
            hairpin: false,
            max_mappings: 4096,
            max_filters: 65_536,
        }
    }

    /// The full cone of RFC 3489: independent mapping, independent filtering.
    #[must_use]
    pub fn full_cone(public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::EndpointIndependent, public)
    }

    /// The restricted cone of RFC 3489: independent mapping, filtering by address.
    #[must_use]
    pub fn address_restricted(public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::AddressDependent, public)
    }

    /// The port-restricted cone of RFC 3489, the most common home router: independent mapping, filtering by address
    /// and port.
    #[must_use]
    pub fn port_restricted(public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, public)
    }

    /// The symmetric NAT of RFC 3489: a mapping for each remote address and port, open to that one only, on an
    /// unpredictable port.
    #[must_use]
    pub fn symmetric(public: impl IntoIterator<Item = IpAddr>) -> Self {
        let dependent = Self::new(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent, public);
        Self { filter_scope: FilterScope::Mapping, ports: PortAssignment::Random, ..dependent }
    }

    /// A 1:1 NAT that lets everything in, as clouds have in front of a virtual machine.
    #[must_use]
    pub fn one_to_one(public: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { translation: Translation::Addresses, ..Self::full_cone(public) }
    }

    /// A firewall that translates nothing and lets in what `filtering` says, as home routers have for IPv6.
    #[must_use]
    pub fn firewall(filtering: Filtering) -> Self {
        Self { translation: Translation::Nothing, ..Self::new(Mapping::EndpointIndependent, filtering, []) }
    }
}

/// The part of a remote address on which a mapping or filter entry depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remote {
    Any,
    Ip(IpAddr),
    Address(SocketAddr),
}

impl Remote {
    fn of_mapping(mapping: Mapping, remote: SocketAddr) -> Self {
        match mapping {
            Mapping::EndpointIndependent => Self::Any,
            Mapping::AddressDependent => Self::Ip(remote.ip()),
            Mapping::AddressAndPortDependent => Self::Address(remote),
        }
    }

    /// `None` if the filter lets everybody in.
    fn of_filtering(filtering: Filtering, remote: SocketAddr) -> Option<Self> {
        match filtering {
            Filtering::EndpointIndependent => None,
            Filtering::AddressDependent => Some(Self::Ip(remote.ip())),
            Filtering::AddressAndPortDependent => Some(Self::Address(remote)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    internal: SocketAddr,
    remote: Remote,
    expiry: Expiry,
}

/// When something is forgotten; `None` is never.
#[derive(Clone, Copy, Debug)]
struct Expiry(Option<Instant>);

impl Expiry {
    fn new(now: Instant, lifetime: Option<Duration>) -> Self {
        Self(lifetime.and_then(|lifetime| now.checked_add(lifetime)))
    }

    fn has_passed(self, now: Instant) -> bool {
        self.0.is_some_and(|at| now >= at)
    }
}

/// A NAT and everything that it remembers.
#[derive(Clone, Debug)]
pub(super) struct Nat {
    config: NatConfig,
    inside: RealmId,
    outside: RealmId,
    random: Random,
    /// By external address.
    mappings: BTreeMap<SocketAddr, Entry>,
    /// From an internal address and what its mapping depends on to the external address.
    by_internal: BTreeMap<(SocketAddr, Remote), SocketAddr>,
    /// By the address that [`FilterScope`] says.
    filters: BTreeMap<(SocketAddr, Remote), Expiry>,
    /// The public address of each internal one, if they are paired or one to one.
    pairs: BTreeMap<IpAddr, IpAddr>,
    /// The internal address of each public one, if they are one to one.
    owners: BTreeMap<IpAddr, IpAddr>,
    next_port: u16,
    next_address: usize,
    generation: u64,
}

impl Nat {
    pub(super) fn new(config: NatConfig, inside: RealmId, outside: RealmId, random: Random) -> Self {
        Self {
            config,
            inside,
            outside,
            random,
            mappings: BTreeMap::new(),
            by_internal: BTreeMap::new(),
            filters: BTreeMap::new(),
            pairs: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_port: FIRST_SEQUENTIAL_PORT,
            next_address: 0,
            generation: 0,
        }
    }

    /// Appends what it remembers as text.
    pub(super) fn write_state(&self, out: &mut std::string::String) {
        use std::fmt::Write;
        let Self { mappings, by_internal, filters, pairs, owners, next_port, next_address, .. } = self;
        let _ = write!(out, "{mappings:?}{by_internal:?}{filters:?}{pairs:?}{owners:?}{next_port}/{next_address}");
    }

    pub(super) const fn config(&self) -> &NatConfig {
        &self.config
    }

    pub(super) const fn inside(&self) -> RealmId {
        self.inside
    }

    pub(super) const fn outside(&self) -> RealmId {
        self.outside
    }

    /// Grows with every mapping and filter entry that is made: equal numbers mean that nothing was added.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Number of mappings that have not expired.
    pub(super) fn mapping_count(&self, now: Instant) -> usize {
        self.mappings.values().filter(|entry| !entry.expiry.has_passed(now)).count()
    }

    /// Takes note of an address inside. Returns `false` if a 1:1 NAT has no public address left for it.
    #[must_use]
    pub(super) fn attach(&mut self, ip: IpAddr) -> bool {
        if self.config.translation != Translation::Addresses {
            return true;
        }
        let is_free = |public: &&IpAddr| public.is_ipv4() == ip.is_ipv4() && !self.owners.contains_key(public);
        let Some(public) = self.config.public.iter().find(is_free).copied() else { return false };
        self.owners.insert(public, ip);
        self.pairs.insert(ip, public);
        true
    }

    /// Forgets an address inside.
    pub(super) fn detach(&mut self, ip: IpAddr) {
        if let Some(public) = self.pairs.remove(&ip) {
            self.owners.remove(&public);
        }
    }

    /// Forgets all mappings and filter entries.
    pub(super) fn forget(&mut self) {
        self.mappings.clear();
        self.by_internal.clear();
        self.filters.clear();
        if self.config.translation == Translation::Ports {
            self.pairs.clear();
        }
    }

    /// Forgets everything and has other public addresses from here on.
    pub(super) fn move_to(&mut self, public: Vec<IpAddr>) {
        self.forget();
        self.config.public = public;
        let inside: Vec<IpAddr> = self.owners.values().copied().collect();
        self.owners.clear();
        self.pairs.clear();
        for ip in inside {
            let _ = self.attach(ip);
        }
    }

    /// Forgets what has expired, and forgets nothing more from here on.
    pub(super) fn freeze(&mut self, now: Instant) {
        self.purge(now);
        self.config.lifetime = None;
        self.mappings.values_mut().for_each(|entry| entry.expiry = Expiry(None));
        self.filters.values_mut().for_each(|expiry| *expiry = Expiry(None));
    }

    /// The source that a packet from inside gets on its way out.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        internal: SocketAddr,
        remote: SocketAddr,
    ) -> Result<SocketAddr, DropReason> {
        let external = match self.config.translation {
            Translation::Nothing => internal,
            Translation::Addresses => {
                let public = self.pairs.get(&internal.ip()).ok_or(DropReason::NatNoAddress)?;
                SocketAddr::new(*public, internal.port())
            }
            Translation::Ports => self.map(now, internal, remote)?,
        };
        self.permit(now, internal, external, remote)?;
        Ok(external)
    }

    /// The destination that a packet from outside gets on its way in.
    pub(super) fn inbound(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        external: SocketAddr,
    ) -> Result<SocketAddr, DropReason> {
        let internal = self.internal(now, external).ok_or(DropReason::NatNoMapping)?;
        let fresh = Expiry::new(now, self.config.lifetime);
        if let Some(remote) = Remote::of_filtering(self.config.filtering, remote) {
            let scope = self.scope(internal, external);
            let entry = self.filters.get_mut(&(scope, remote)).filter(|expiry| !expiry.has_passed(now));
            let expiry = entry.ok_or(DropReason::NatFiltered)?;
            if self.config.inbound_refreshes {
                *expiry = fresh;
            }
        }
        if self.config.inbound_refreshes {
            self.mappings.entry(external).and_modify(|entry| entry.expiry = fresh);
        }
        Ok(internal)
    }

    /// The internal address behind an external one.
    pub(super) fn internal(&self, now: Instant, external: SocketAddr) -> Option<SocketAddr> {
        match self.config.translation {
            Translation::Nothing => Some(external),
            Translation::Addresses => Some(SocketAddr::new(*self.owners.get(&external.ip())?, external.port())),
            Translation::Ports => {
                let entry = self.mappings.get(&external)?;
                (!entry.expiry.has_passed(now)).then_some(entry.internal)
            }
        }
    }

    /// The mapping for a packet, refreshed or made.
    fn map(&mut self, now: Instant, internal: SocketAddr, remote: SocketAddr) -> Result<SocketAddr, DropReason> {
        let expiry = Expiry::new(now, self.config.lifetime);
        let remote = Remote::of_mapping(self.config.mapping, remote);
        if let Some(external) = self.by_internal.get(&(internal, remote)).copied() {
            if let Some(entry) = self.mappings.get_mut(&external).filter(|entry| !entry.expiry.has_passed(now)) {
                entry.expiry = expiry;
                return Ok(external);
            }
            self.remove(external);
        }
        if self.mappings.len() >= self.config.max_mappings {
            self.purge(now);
            if self.mappings.len() >= self.config.max_mappings {
                return Err(DropReason::NatFull);
            }
        }
        let public = self.public_address(internal.ip()).ok_or(DropReason::NatNoAddress)?;
        let external = self.free_port(now, public, internal.port()).ok_or(DropReason::NatFull)?;
        self.mappings.insert(external, Entry { internal, remote, expiry });
        self.by_internal.insert((internal, remote), external);
        self.generation += 1;
        Ok(external)
    }

    /// Lets packets of `remote` in.
    fn permit(
        &mut self,
        now: Instant,
        internal: SocketAddr,
        external: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), DropReason> {
        let Some(remote) = Remote::of_filtering(self.config.filtering, remote) else { return Ok(()) };
        let key = (self.scope(internal, external), remote);
        let fresh = Expiry::new(now, self.config.lifetime);
        if let Some(expiry) = self.filters.get_mut(&key) {
            *expiry = fresh;
            return Ok(());
        }
        if self.filters.len() >= self.config.max_filters {
            self.purge(now);
            if self.filters.len() >= self.config.max_filters {
                return Err(DropReason::NatFull);
            }
        }
        self.filters.insert(key, fresh);
        self.generation += 1;
        Ok(())
    }

    fn scope(&self, internal: SocketAddr, external: SocketAddr) -> SocketAddr {
        match self.config.filter_scope {
            FilterScope::Endpoint => internal,
            FilterScope::Mapping => external,
        }
    }

    fn public_address(&mut self, internal: IpAddr) -> Option<IpAddr> {
        if self.config.pooling == Pooling::Paired {
            if let Some(public) = self.pairs.get(&internal) {
                return Some(*public);
            }
        }
        let same_family = || self.config.public.iter().filter(|public| public.is_ipv4() == internal.is_ipv4());
        let turn = self.next_address.checked_rem(same_family().count())?;
        let public = same_family().nth(turn).copied()?;
        self.next_address = turn + 1;
        if self.config.pooling == Pooling::Paired {
            self.pairs.insert(internal, public);
        }
        Some(public)
    }

    fn free_port(&mut self, now: Instant, public: IpAddr, internal: u16) -> Option<SocketAddr> {
        let (first, step) = match self.config.ports {
            PortAssignment::Preserving => (internal, 1),
            PortAssignment::Sequential => (self.next_port, 1),
            PortAssignment::Random => (self.random_port(), 1),
            PortAssignment::ParityPreserving if self.next_port % 2 == internal % 2 => (self.next_port, 2),
            PortAssignment::ParityPreserving => (port_after(self.next_port, 1), 2),
        };
        let mut port = first;
        for _ in 0..=u16::MAX {
            let external = SocketAddr::new(public, port);
            if self.mappings.get(&external).is_none_or(|entry| entry.expiry.has_passed(now)) {
                self.remove(external);
                self.next_port = port_after(port, 1);
                return Some(external);
            }
            port = port_after(port, step);
        }
        None
    }

    fn random_port(&mut self) -> u16 {
        let offset = self.random.below(u64::from(u16::MAX - FIRST_PORT) + 1);
        u16::try_from(offset).map_or(FIRST_PORT, |offset| FIRST_PORT.saturating_add(offset))
    }

    fn purge(&mut self, now: Instant) {
        let expired = self.mappings.iter().filter(|(_, entry)| entry.expiry.has_passed(now));
        let expired: Vec<SocketAddr> = expired.map(|(external, _)| *external).collect();
        for external in expired {
            self.remove(external);
        }
        self.filters.retain(|_, expiry| !expiry.has_passed(now));
    }

    /// Removes a mapping, and the filter entries that belong to it.
    fn remove(&mut self, external: SocketAddr) {
        if let Some(entry) = self.mappings.remove(&external) {
            self.by_internal.remove(&(entry.internal, entry.remote));
        }
        if self.config.filter_scope == FilterScope::Mapping {
            let from = self.filters.range((external, Remote::Any)..);
            let keys: Vec<_> = from.map(|(key, _)| *key).take_while(|key| key.0 == external).collect();
            for key in keys {
                self.filters.remove(&key);
            }
        }
    }
}

/// The port `step` after `port`, among those from [`FIRST_PORT`] up.
fn port_after(port: u16, step: u16) -> u16 {
    // An even step from an even first port keeps the parity when it wraps around.
    port.checked_add(step).unwrap_or(FIRST_PORT + port % step)
}

/// The first port that a NAT gives out unless it preserves a lower one (RFC 4787 §4.2.1).
const FIRST_PORT: u16 = 1024;
const FIRST_SEQUENTIAL_PORT: u16 = 40_000;

#[cfg(test)]
mod tests;
