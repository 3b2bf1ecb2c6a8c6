//! The network: a virtual clock, and packets in flight between hosts.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::host::{Direction, FirewallRule, HostId};
use super::link::{Access, Link};
use super::nat::{NatConfig, NatId};
use streams::Streams;
pub use streams::{StreamEvent, StreamSocketId};

use super::topology::{RealmId, Topology, TopologyError};
use super::trace::{DropReason, Packet, PacketFate, PacketId, Trace};
use crate::types::{Random, earliest};
use crate::{Instant, Seed, Transport};

/// A packet that reached a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a packet that nobody looks at might as well have been lost"]
#[non_exhaustive]
pub struct Delivery {
    /// The packet.
    pub packet_id: PacketId,
    /// The host that it reached.
    pub host: HostId,
    /// Where the host sees it come from.
    pub source: SocketAddr,
    /// Address of the host that it arrived at.
    pub destination: SocketAddr,
    /// The bytes after the UDP header. [`Network::recycle`] takes the buffer back.
    pub payload: Vec<u8>,
    /// When it arrived.
    pub at: Instant,
}

/// A packet about to cross the links, as the packet hook sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Passing<'a> {
    /// The packet.
    pub packet_id: PacketId,
    /// When.
    pub now: Instant,
    /// The host that sent it.
    pub from: HostId,
    /// The host that it will reach if nothing happens to it and the NATs there let it in; `None` if there is none.
    pub to: Option<HostId>,
    /// Its source after the NATs of the sender.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// The bytes after the UDP header.
    pub payload: &'a [u8],
}

/// What the packet hook wants done with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Send it on.
    Pass,
    /// Lose it.
    Drop,
    /// Send it on, this much later than the links say.
    Delay(Duration),
    /// Send it on, and a copy of it this much later.
    Duplicate(Duration),
    /// Send it on with this payload.
    Replace(Vec<u8>),
}

#[derive(Clone)]
struct Hook(Arc<dyn Fn(&Passing<'_>) -> Verdict + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}

/// What is special about the way from one host to another.
#[derive(Clone, Debug, Default)]
struct Path {
    link: Option<Link>,
    bad: bool,
    is_cut: bool,
    /// Packets that came this way.
    count: u64,
    /// Those of them that are lost: by the count before them.
    lose: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Flight {
    packet_id: PacketId,
    from: HostId,
    realm: RealmId,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// Hosts, NATs and links under one virtual clock. See the [module](super) for how to drive it.
///
/// Hosts are joined by links: every packet crosses the one [from its sender to its
/// receiver](Self::set_link), or else the [default one](Self::set_default_link), which takes
/// [10 ms](Self::DEFAULT_DELAY) and loses nothing. If [the interface](Self::set_interface_link) that it leaves or
/// arrives through has one, it crosses that, too.
///
/// A clone goes its own way from the same state, with the same randomness to come. It shares the packet hook.
#[derive(Clone, Debug)]
pub struct Network {
    now: Instant,
    random: Random,
    topology: Topology,
    default_link: Link,
    paths: BTreeMap<(HostId, HostId), Path>,
    /// State of the default link for packets to nobody.
    nowhere: bool,
    hook: Option<Hook>,
    /// By when they are due, and what was sent first among those due together.
    flights: BTreeMap<(Instant, u64), Flight>,
    next_flight: u64,
    arrived: VecDeque<Delivery>,
    trace: Trace,
    spare: Vec<Vec<u8>>,
    streams: Streams,
}

impl Network {
    /// Delay of the default link until another is set.
    pub const DEFAULT_DELAY: Duration = Duration::from_millis(10);
    /// Number of packets that the trace holds until another is set.
    pub const DEFAULT_TRACE_LIMIT: usize = 65_536;

    /// An empty network whose clock shows [`Instant::ZERO`]. Everything random in it comes from `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            now: Instant::ZERO,
            random: Random::new(&seed),
            topology: Topology::new(),
            default_link: Link::with_delay(Self::DEFAULT_DELAY),
            paths: BTreeMap::new(),
            nowhere: false,
            hook: None,
            flights: BTreeMap::new(),
            next_flight: 0,
            arrived: VecDeque::new(),
            trace: Trace::new(Self::DEFAULT_TRACE_LIMIT),
            spare: Vec::new(),
            streams: Streams::default(),
        }
    }

    /// The same network with its clock set to `now`, before anything is sent.
    #[must_use]
    pub fn starting_at(mut self, now: Instant) -> Self {
        self.now = now;
        self
    }

    // Hosts.

    /// Adds a host without interfaces.
    pub fn add_host(&mut self, name: &str) -> HostId {
        self.topology.add_host(name)
    }

    /// Name of a host.
    #[must_use]
    pub fn host_name(&self, host: HostId) -> Option<&str> {
        self.topology.host(host).map(|host| host.name.as_str())
    }

    /// Addresses of a host whose interfaces are up, in the order in which they were added.
    pub fn addresses(&self, host: HostId) -> impl Iterator<Item = IpAddr> {
        let interfaces = self.topology.host(host).into_iter().flat_map(|host| &host.interfaces);
        interfaces.filter(|interface| interface.up).map(|interface| interface.ip)
    }

    /// All addresses of a host, be their interfaces up or not.
    pub(super) fn all_addresses(&self, host: HostId) -> impl Iterator<Item = IpAddr> {
        let interfaces = self.topology.host(host).into_iter().flat_map(|host| &host.interfaces);
        interfaces.map(|interface| interface.ip)
    }

    /// Gives a host an interface in the public realm. It is up.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost), and [`AddressInUse`](TopologyError::AddressInUse) if the host or
    /// anybody in the public realm has the address.
    pub fn add_interface(&mut self, host: HostId, ip: IpAddr) -> Result<(), TopologyError> {
        self.topology.add_interface(host, ip, None)
    }

    /// Gives a host an interface behind a NAT. It is up.
    ///
    /// # Errors
    /// As [`add_interface`](Self::add_interface), for the realm inside the NAT;
    /// [`UnknownNat`](TopologyError::UnknownNat); [`NoPublicAddress`](TopologyError::NoPublicAddress) if it is a 1:1
    /// NAT with no address left.
    pub fn add_interface_behind(&mut self, nat: NatId, host: HostId, ip: IpAddr) -> Result<(), TopologyError> {
        self.topology.add_interface(host, ip, Some(nat))
    }

    /// Takes an interface away for good. Packets in flight to it find nobody.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost), [`UnknownInterface`](TopologyError::UnknownInterface).
    pub fn remove_interface(&mut self, host: HostId, ip: IpAddr) -> Result<(), TopologyError> {
        self.settle();
        self.topology.remove_interface(host, ip)
    }

    /// Takes an interface down or up again. A packet from or to one that is down is dropped.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost), [`UnknownInterface`](TopologyError::UnknownInterface).
    pub fn set_interface_up(&mut self, host: HostId, ip: IpAddr, up: bool) -> Result<(), TopologyError> {
        self.settle();
        self.topology.interface_mut(host, ip)?.up = up;
        Ok(())
    }

    /// Adds a rule to the firewall of a host.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost).
    pub fn block(&mut self, host: HostId, rule: FirewallRule) -> Result<(), TopologyError> {
        self.settle();
        self.topology.host_mut(host)?.firewall.push(rule);
        Ok(())
    }

    /// Adds a rule to the firewall of a host that is about TCP.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost).
    pub fn block_streams(&mut self, host: HostId, rule: FirewallRule) -> Result<(), TopologyError> {
        self.settle();
        self.topology.host_mut(host)?.stream_firewall.push(rule);
        Ok(())
    }

    /// Removes all rules from the firewall of a host.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost).
    pub fn unblock(&mut self, host: HostId) -> Result<(), TopologyError> {
        self.settle();
        let host = self.topology.host_mut(host)?;
        host.firewall.clear();
        host.stream_firewall.clear();
        Ok(())
    }

    // NATs.

    /// Adds a NAT to the public realm.
    ///
    /// # Errors
    /// [`AddressInUse`](TopologyError::AddressInUse) if anybody there has one of its public addresses.
    pub fn add_nat(&mut self, config: NatConfig) -> Result<NatId, TopologyError> {
        let random = self.fork();
        self.topology.add_nat(config, None, random)
    }

    /// Adds a NAT behind another one: a home router behind carrier-grade NAT.
    ///
    /// # Errors
    /// As [`add_nat`](Self::add_nat), for the realm inside `outer`; [`UnknownNat`](TopologyError::UnknownNat);
    /// [`NoPublicAddress`](TopologyError::NoPublicAddress) if `outer` is a 1:1 NAT with no address left.
    pub fn add_nat_behind(&mut self, outer: NatId, config: NatConfig) -> Result<NatId, TopologyError> {
        let random = self.fork();
        self.topology.add_nat(config, Some(outer), random)
    }

    /// Makes a NAT forget all its mappings and filter entries, as a reboot does.
    ///
    /// What it gives out next is as its port assignment says: one that preserves ports gives out the same again.
    ///
    /// # Errors
    /// [`UnknownNat`](TopologyError::UnknownNat).
    pub fn rebind(&mut self, nat: NatId) -> Result<(), TopologyError> {
        self.settle();
        self.topology.nat_mut(nat)?.forget();
        Ok(())
    }

    /// Makes a NAT forget everything and gives it other public addresses.
    ///
    /// # Errors
    /// [`UnknownNat`](TopologyError::UnknownNat); [`AddressInUse`](TopologyError::AddressInUse) if anybody else has
    /// one of the addresses.
    pub fn rebind_to(&mut self, nat: NatId, public: impl IntoIterator<Item = IpAddr>) -> Result<(), TopologyError> {
        self.settle();
        self.topology.move_nat(nat, public.into_iter().collect())
    }

    /// Number of mappings that a NAT holds; 0 if there is no such NAT.
    #[must_use]
    pub fn mapping_count(&self, nat: NatId) -> usize {
        self.topology.nat(nat).map_or(0, |nat| nat.mapping_count(self.now))
    }

    /// What a STUN server at `toward` sees as the source of a packet that `host` sends from `source` now.
    ///
    /// Leaves behind in the NATs what a binding request and its response would: this is how a test gathers a
    /// server-reflexive candidate. Links and cuts are left out of account. `toward` may be an address that nobody has:
    /// then it is taken for a public one.
    ///
    /// `None` if no packet gets out, or none back: the address is not one of the host, the interface is down, the
    /// host's firewall blocks `toward` in a direction, or a NAT has no room or no address.
    pub fn outside_address(&mut self, host: HostId, source: SocketAddr, toward: SocketAddr) -> Option<SocketAddr> {
        self.settle();
        let realm = self.topology.leave(host, Transport::Udp, source, toward).ok()?.realm;
        let climbed = self.topology.climb(self.now, realm, source, toward).ok()?;
        let answered = self.topology.descend(self.now, climbed.realm, Transport::Udp, toward, climbed.source);
        answered.is_ok_and(|answered| answered == (host, source)).then_some(climbed.source)
    }

    // Links and faults.

    /// The link between hosts that have none of their own.
    pub fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    /// Changes the link between hosts that have none of their own.
    pub(super) fn change_default_link(&mut self, change: impl FnOnce(&mut Link)) {
        change(&mut self.default_link);
    }

    /// The link that packets from one host to another cross. `None` is the default one.
    pub fn set_link(&mut self, from: HostId, to: HostId, link: Option<Link>) {
        self.path(from, to).link = link;
    }

    /// The links of two hosts to each other. `None` is the default one.
    pub fn set_links(&mut self, one: HostId, other: HostId, link: Option<Link>) {
        self.set_link(one, other, link);
        self.set_link(other, one, link);
    }

    /// The link that packets cross, besides that between the hosts, when they leave or arrive through an interface.
    /// `None`, as at first, is none.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost), [`UnknownInterface`](TopologyError::UnknownInterface).
    pub fn set_interface_link(
        &mut self,
        host: HostId,
        ip: IpAddr,
        direction: Direction,
        link: Option<Link>,
    ) -> Result<(), TopologyError> {
        let interface = self.topology.interface_mut(host, ip)?;
        let access = link.map(Access::new);
        match direction {
            Direction::In => interface.ingress = access,
            Direction::Out => interface.egress = access,
        }
        Ok(())
    }

    /// As [`set_interface_link`](Self::set_interface_link), for all interfaces that a host has at present.
    ///
    /// # Errors
    /// [`UnknownHost`](TopologyError::UnknownHost).
    pub fn set_host_link(
        &mut self,
        host: HostId,
        direction: Direction,
        link: Option<Link>,
    ) -> Result<(), TopologyError> {
        for interface in &mut self.topology.host_mut(host)?.interfaces {
            match direction {
                Direction::In => interface.ingress = link.map(Access::new),
                Direction::Out => interface.egress = link.map(Access::new),
            }
        }
        Ok(())
    }

    /// Cuts the way from one host to another, also for packets in flight.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.settle();
        self.path(from, to).is_cut = true;
    }

    /// Undoes [`cut`](Self::cut).
    pub fn mend(&mut self, from: HostId, to: HostId) {
        self.settle();
        self.path(from, to).is_cut = false;
    }

    /// Cuts the ways of two hosts to each other.
    pub fn cut_both(&mut self, one: HostId, other: HostId) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Undoes [`cut_both`](Self::cut_both).
    pub fn mend_both(&mut self, one: HostId, other: HostId) {
        self.mend(one, other);
        self.mend(other, one);
    }

    /// Loses one packet from one host to another: 0 is the next one, 1 the one after it, and so on.
    ///
    /// Packets to an address behind which there is no host at the time of sending do not count.
    pub fn lose_nth(&mut self, from: HostId, to: HostId, n: u64) {
        let path = self.path(from, to);
        path.lose.insert(path.count.saturating_add(n));
    }

    /// Asks `hook` about every packet from here on, when it is past the NATs of its sender and before the link between
    /// the hosts. There is one hook at a time.
    pub fn set_hook(&mut self, hook: impl Fn(&Passing<'_>) -> Verdict + Send + Sync + 'static) {
        self.hook = Some(Hook(Arc::new(hook)));
    }

    /// Asks no hook from here on.
    pub fn clear_hook(&mut self) {
        self.hook = None;
    }

    // Packets.

    /// Sends a packet. It always gets a name, by which [`packet`](Self::packet) says what became of it.
    pub fn send(&mut self, from: HostId, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> PacketId {
        self.settle();
        let id = self.trace.next_id();
        self.trace.push(Packet {
            id,
            copy_of: None,
            from,
            source,
            destination,
            outside_source: None,
            sent_at: self.now,
            len: payload.len(),
            fate: PacketFate::InFlight { due: self.now },
        });
        if let Err(reason) = self.launch(id, from, source, destination, payload) {
            self.trace.settle(id, PacketFate::Dropped { reason, at: self.now });
        }
        id
    }

    /// When the next packet or stream event is due, or since when one waits for [`pop_delivery`](Self::pop_delivery). It may turn out
    /// to be dropped there. `None` if nothing is in flight.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Instant> {
        let waiting = self.arrived.front().map(|delivery| delivery.at);
        let packet = waiting.or_else(|| self.flights.first_key_value().map(|((due, _), _)| *due));
        earliest(packet, self.streams.next())
    }

    /// The next packet that has reached a host by now, in the order of arrival, then of sending.
    pub fn pop_delivery(&mut self) -> Option<Delivery> {
        self.settle();
        self.arrived.pop_front()
    }

    /// Moves the clock, and every packet that is due. The clock does not go back.
    pub fn advance_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.settle();
    }

    /// What the clock shows.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Takes back the payload of a [`Delivery`], to be used again.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(payload);
        }
    }

    /// The packets in flight, in the order in which they are due, with their payloads.
    pub fn in_flight(&self) -> impl Iterator<Item = (PacketId, Instant, &[u8])> {
        self.flights.iter().map(|((due, _), flight)| (flight.packet_id, *due, flight.payload.as_slice()))
    }

    /// Source, as seen where it is, destination and payload of the packets in flight, in the order in which they are due.
    pub(super) fn in_flight_with_addresses(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr, &[u8])> {
        self.flights.values().map(|flight| (flight.source, flight.destination, flight.payload.as_slice()))
    }

    /// The host that a packet in flight is for; `None` if there is none, or none yet.
    pub(super) fn hearer(&self, place: usize) -> Option<HostId> {
        let flight = self.flights.values().nth(place)?;
        self.topology.locate(self.now, flight.realm, flight.destination).map(|(host, _)| host)
    }

    /// Appends what it will do with packets as text, but for what it will draw, and the packets themselves.
    pub(super) fn write_state(&self, out: &mut alloc::string::String) {
        use core::fmt::Write;
        self.topology.write_state(out);
        for (way, path) in &self.paths {
            let _ = write!(out, "{way:?}{}", path.is_cut);
        }
    }

    /// Lets a packet in flight arrive now, whatever its link says. Returns `false` if it is not in flight.
    pub fn expedite(&mut self, packet: PacketId) -> bool {
        let Some((_, flight)) = self.take_flight(packet) else { return false };
        self.arrive(self.now, flight);
        true
    }

    /// Loses a packet in flight. Returns `false` if it is not in flight.
    pub fn discard(&mut self, packet: PacketId) -> bool {
        let Some((_, flight)) = self.take_flight(packet) else { return false };
        self.drop_flight(self.now, flight, DropReason::Discarded);
        true
    }

    /// Lets a packet in flight arrive so much later. Returns `false` if it is not in flight.
    pub fn postpone(&mut self, packet: PacketId, by: Duration) -> bool {
        let Some(((due, _), flight)) = self.take_flight(packet) else { return false };
        let due = due.checked_add(by).unwrap_or(due);
        self.trace.settle(packet, PacketFate::InFlight { due });
        self.flights.insert((due, self.next_flight), flight);
        self.next_flight += 1;
        true
    }

    /// Puts a copy of a packet in flight beside it. Returns `false` if it is not in flight.
    pub fn copy(&mut self, packet: PacketId) -> bool {
        self.settle();
        let found = self.flights.iter().find(|(_, flight)| flight.packet_id == packet);
        let Some((due, flight)) = found.map(|((due, _), flight)| (*due, flight.clone())) else { return false };
        let id = self.trace.next_id();
        self.trace.push(Packet {
            id,
            copy_of: Some(packet),
            from: flight.from,
            source: flight.source,
            destination: flight.destination,
            outside_source: Some(flight.source),
            sent_at: self.now,
            len: flight.payload.len(),
            fate: PacketFate::InFlight { due },
        });
        self.flights.insert((due, self.next_flight), Flight { packet_id: id, ..flight });
        self.next_flight += 1;
        true
    }

    // What became of them.

    /// A packet of the trace; `None` if it was never sent, or too long ago.
    #[must_use]
    pub fn packet(&self, id: PacketId) -> Option<&Packet> {
        self.trace.get(id)
    }

    /// What became of a packet; `None` if it was never sent, or too long ago.
    #[must_use]
    pub fn fate(&self, id: PacketId) -> Option<PacketFate> {
        self.trace.get(id).map(|packet| packet.fate)
    }

    /// All packets of the trace, in the order of sending.
    #[must_use]
    pub fn packets(&self) -> impl DoubleEndedIterator<Item = &Packet> {
        self.trace.iter()
    }

    /// How many packets the trace holds: the most recent ones. 0 switches it off; the counts go on.
    pub fn set_trace_limit(&mut self, packets: usize) {
        self.trace.set_limit(packets);
    }

    /// Number of packets sent, copies made by links and hooks included.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.trace.sent()
    }

    /// Number of packets that reached a host.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.trace.delivered
    }

    /// Number of packets dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.trace.dropped(reason)
    }

    /// Number of packets dropped for each reason that occurred.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.trace.drops()
    }

    // For the oracle.

    pub(super) const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether packets from one host to another have no chance to arrive, by a cut or a dead link.
    pub(super) fn is_severed(&self, from: (HostId, IpAddr), to: (HostId, IpAddr)) -> bool {
        let path = self.paths.get(&(from.0, to.0));
        let interface = |(host, ip)| self.topology.host(host).and_then(|host| host.interface(ip));
        let is_dead = |access: Option<Access>| access.is_some_and(|access| access.link.is_dead());
        path.is_some_and(|path| path.is_cut)
            || path.and_then(|path| path.link).unwrap_or(self.default_link).is_dead()
            || interface(from).is_some_and(|interface| is_dead(interface.egress))
            || interface(to).is_some_and(|interface| is_dead(interface.ingress))
    }

    fn path(&mut self, from: HostId, to: HostId) -> &mut Path {
        self.paths.entry((from, to)).or_default()
    }

    /// A stream of randomness of its own, so that what a NAT draws does not depend on what links draw.
    fn fork(&mut self) -> Random {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes);
        Random::new(&Seed::new(bytes))
    }
}

/// Most buffers kept for reuse.
const MAX_SPARE: usize = 64;

mod streams;
mod transit;

#[cfg(test)]
mod tests;
