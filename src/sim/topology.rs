//! Topology: which addresses exist where, and how packets find them through NATs.
//!
//! Addresses live in realms. The public realm has no way out; the inside of every NAT is a realm of its own whose way
//! out is that NAT, with its public addresses in the realm around it. A packet climbs from the realm of its sender,
//! through one NAT after the other, to the first realm where somebody has its destination. That is where it takes
//! time. When it is due it descends: while the owner of its destination is a NAT, that NAT translates it inwards.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::host::{Direction, Host, HostId, Interface};
use super::nat::{Nat, NatConfig, NatId, Translation};
use super::trace::DropReason;
use crate::types::Random;
use crate::{Instant, Transport};

/// Why the topology could not be changed as asked. Nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The network has no such host.
    #[error("network has no host {0}")]
    UnknownHost(HostId),
    /// The network has no such NAT.
    #[error("network has no NAT {0}")]
    UnknownNat(NatId),
    /// The host has no interface with this address.
    #[error("host has no interface with the address {0}")]
    UnknownInterface(IpAddr),
    /// Somebody has this address already where both could see each other.
    #[error("address {0} is in use")]
    AddressInUse(IpAddr),
    /// The 1:1 NAT has no public address left for this one.
    #[error("NAT has no public address left for {0}")]
    NoPublicAddress(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RealmId(u32);

impl RealmId {
    pub(super) const PUBLIC: Self = Self(0);

    const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Host(HostId),
    Nat(NatId),
}

#[derive(Clone, Debug)]
struct Realm {
    /// The NAT that leads out.
    gateway: Option<NatId>,
    owners: BTreeMap<IpAddr, Owner>,
}

/// Where a packet is once its source is behind no more NATs than its destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Climbed {
    pub(super) realm: RealmId,
    /// Its source as seen there.
    pub(super) source: SocketAddr,
    /// Whether somebody has its destination there.
    pub(super) is_routed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Topology {
    hosts: Vec<Host>,
    nats: Vec<Nat>,
    realms: Vec<Realm>,
}

impl Topology {
    pub(super) fn new() -> Self {
        let public = Realm { gateway: None, owners: BTreeMap::new() };
        Self { hosts: Vec::new(), nats: Vec::new(), realms: Vec::from([public]) }
    }

    pub(super) fn add_host(&mut self, name: &str) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        self.hosts.push(Host {
            name: name.into(),
            interfaces: Vec::new(),
            firewall: Vec::new(),
            stream_firewall: Vec::new(),
        });
        id
    }

    pub(super) fn host(&self, id: HostId) -> Option<&Host> {
        self.hosts.get(id.index())
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> Result<&mut Host, TopologyError> {
        self.hosts.get_mut(id.index()).ok_or(TopologyError::UnknownHost(id))
    }

    pub(super) fn interface_mut(&mut self, id: HostId, ip: IpAddr) -> Result<&mut Interface, TopologyError> {
        self.host_mut(id)?.interface_mut(ip).ok_or(TopologyError::UnknownInterface(ip))
    }

    pub(super) fn add_interface(
        &mut self,
        host: HostId,
        ip: IpAddr,
        behind: Option<NatId>,
    ) -> Result<(), TopologyError> {
        let realm = self.inside(behind)?;
        if self.host_mut(host)?.interface(ip).is_some() {
            return Err(TopologyError::AddressInUse(ip));
        }
        self.claim(realm, ip, Owner::Host(host))?;
        let interface = Interface { ip, realm, up: true, egress: None, ingress: None };
        self.host_mut(host)?.interfaces.push(interface);
        Ok(())
    }

    pub(super) fn remove_interface(&mut self, host: HostId, ip: IpAddr) -> Result<(), TopologyError> {
        let realm = self.interface_mut(host, ip)?.realm;
        self.host_mut(host)?.interfaces.retain(|interface| interface.ip != ip);
        self.release(realm, ip);
        Ok(())
    }

    pub(super) fn add_nat(
        &mut self,
        config: NatConfig,
        behind: Option<NatId>,
        random: Random,
    ) -> Result<NatId, TopologyError> {
        let outside = self.inside(behind)?;
        let id = NatId(u32::try_from(self.nats.len()).unwrap_or(u32::MAX));
        let inside = RealmId(u32::try_from(self.realms.len()).unwrap_or(u32::MAX));
        self.claim_all(outside, &config.public, Owner::Nat(id))?;
        self.realms.push(Realm { gateway: Some(id), owners: BTreeMap::new() });
        self.nats.push(Nat::new(config, inside, outside, random));
        Ok(id)
    }

    pub(super) fn nat(&self, id: NatId) -> Result<&Nat, TopologyError> {
        self.nats.get(id.index()).ok_or(TopologyError::UnknownNat(id))
    }

    pub(super) fn nat_mut(&mut self, id: NatId) -> Result<&mut Nat, TopologyError> {
        self.nats.get_mut(id.index()).ok_or(TopologyError::UnknownNat(id))
    }

    /// Gives a NAT other public addresses; it forgets all mappings.
    pub(super) fn move_nat(&mut self, id: NatId, public: Vec<IpAddr>) -> Result<(), TopologyError> {
        let nat = self.nat(id)?;
        let (outside, old) = (nat.outside(), nat.config().public.clone());
        old.iter().for_each(|ip| self.release(outside, *ip));
        if let Err(error) = self.claim_all(outside, &public, Owner::Nat(id)) {
            // The addresses were its own a moment ago, so that they are free.
            let _ = self.claim_all(outside, &old, Owner::Nat(id));
            return Err(error);
        }
        self.nat_mut(id)?.move_to(public);
        Ok(())
    }

    /// Appends what its NATs remember and which of its interfaces are up as text.
    pub(super) fn write_state(&self, out: &mut std::string::String) {
        use std::fmt::Write;
        self.nats.iter().for_each(|nat| nat.write_state(out));
        for interface in self.hosts.iter().flat_map(|host| &host.interfaces) {
            let _ = write!(out, "{}{}", interface.ip, interface.up);
        }
    }

    /// Forgets nothing more, and what has expired at once.
    pub(super) fn freeze(&mut self, now: Instant) {
        self.nats.iter_mut().for_each(|nat| nat.freeze(now));
    }

    /// A number that grows with what the NATs remember.
    pub(super) fn generation(&self) -> u64 {
        self.nats.iter().map(Nat::generation).sum()
    }

    /// Checks that a host may send a packet, and returns the interface that it leaves through.
    pub(super) fn leave(
        &mut self,
        from: HostId,
        transport: Transport,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<&mut Interface, DropReason> {
        let host = self.hosts.get_mut(from.index()).ok_or(DropReason::NotLocal)?;
        let blocked = host.blocks(transport, Direction::Out, destination);
        let interface = host.interface_mut(source.ip()).ok_or(DropReason::NotLocal)?;
        if !interface.up {
            return Err(DropReason::InterfaceDown);
        }
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(DropReason::FamilyMismatch);
        }
        if blocked { Err(DropReason::FirewallOut) } else { Ok(interface) }
    }

    /// Translates a packet outwards until somebody has its destination, or nobody is left to ask.
    pub(super) fn climb(
        &mut self,
        now: Instant,
        mut realm: RealmId,
        mut source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Climbed, DropReason> {
        loop {
            if self.owner(realm, destination.ip()).is_some() {
                return Ok(Climbed { realm, source, is_routed: true });
            }
            let Some(id) = self.realms.get(realm.index()).and_then(|realm| realm.gateway) else {
                return Ok(Climbed { realm, source, is_routed: false });
            };
            let nat = self.nat(id).map_err(|_| DropReason::NoRoute)?;
            let outside = nat.outside();
            if !nat.config().hairpin && self.owner(outside, destination.ip()) == Some(Owner::Nat(id)) {
                return Err(DropReason::NatNoHairpin);
            }
            source = self.nat_mut(id).map_err(|_| DropReason::NoRoute)?.outbound(now, source, destination)?;
            realm = outside;
        }
    }

    /// Translates a packet inwards until it is at a host, which has to accept it.
    pub(super) fn descend(
        &mut self,
        now: Instant,
        mut realm: RealmId,
        transport: Transport,
        source: SocketAddr,
        mut destination: SocketAddr,
    ) -> Result<(HostId, SocketAddr), DropReason> {
        loop {
            match self.owner(realm, destination.ip()).ok_or(DropReason::NoRoute)? {
                Owner::Nat(id) => {
                    let nat = self.nat_mut(id).map_err(|_| DropReason::NoRoute)?;
                    destination = nat.inbound(now, source, destination)?;
                    realm = nat.inside();
                }
                Owner::Host(id) => {
                    let host = self.host(id).ok_or(DropReason::NoRoute)?;
                    let interface = host.interface(destination.ip()).ok_or(DropReason::NoRoute)?;
                    if !interface.up {
                        return Err(DropReason::InterfaceDown);
                    }
                    if host.blocks(transport, Direction::In, source) {
                        return Err(DropReason::FirewallIn);
                    }
                    return Ok((id, destination));
                }
            }
        }
    }

    /// The host and interface behind an address, whether or not a packet would get there.
    pub(super) fn locate(
        &self,
        now: Instant,
        mut realm: RealmId,
        mut destination: SocketAddr,
    ) -> Option<(HostId, IpAddr)> {
        loop {
            match self.owner(realm, destination.ip())? {
                Owner::Host(id) => return Some((id, destination.ip())),
                Owner::Nat(id) => {
                    let nat = self.nats.get(id.index())?;
                    destination = nat.internal(now, destination)?;
                    realm = nat.inside();
                }
            }
        }
    }

    fn owner(&self, realm: RealmId, ip: IpAddr) -> Option<Owner> {
        self.realms.get(realm.index())?.owners.get(&ip).copied()
    }

    /// The realm of whoever is behind this NAT.
    fn inside(&self, behind: Option<NatId>) -> Result<RealmId, TopologyError> {
        behind.map_or(Ok(RealmId::PUBLIC), |id| self.nat(id).map(Nat::inside))
    }

    fn claim_all(&mut self, realm: RealmId, ips: &[IpAddr], owner: Owner) -> Result<(), TopologyError> {
        for (index, ip) in ips.iter().enumerate() {
            if let Err(error) = self.claim(realm, *ip, owner) {
                ips.iter().take(index).for_each(|ip| self.release(realm, *ip));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives an address to its owner, in the realm and wherever else it is known.
    fn claim(&mut self, realm: RealmId, ip: IpAddr, owner: Owner) -> Result<(), TopologyError> {
        if self.owner(realm, ip).is_some() {
            return Err(TopologyError::AddressInUse(ip));
        }
        if let Some(id) = self.realms.get(realm.index()).and_then(|realm| realm.gateway) {
            let nat = self.nat_mut(id)?;
            if nat.config().translation == Translation::Nothing {
                let outside = nat.outside();
                self.claim(outside, ip, Owner::Nat(id))?;
            } else if !nat.attach(ip) {
                return Err(TopologyError::NoPublicAddress(ip));
            }
        }
        if let Some(realm) = self.realms.get_mut(realm.index()) {
            realm.owners.insert(ip, owner);
        }
        Ok(())
    }

    fn release(&mut self, realm: RealmId, ip: IpAddr) {
        let Some(place) = self.realms.get_mut(realm.index()) else { return };
        place.owners.remove(&ip);
        let Some(nat) = place.gateway.and_then(|id| self.nats.get_mut(id.index())) else { return };
        if nat.config().translation == Translation::Nothing {
            let outside = nat.outside();
            self.release(outside, ip);
        } else {
            nat.detach(ip);
        }
    }
}
