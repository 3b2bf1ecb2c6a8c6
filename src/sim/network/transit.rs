//! The way of a packet: out of its host, through the air, and to the host that it is for.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::{Delivery, Flight, Network, Passing, Verdict};
use crate::sim::host::HostId;
use crate::sim::link::Crossing;
use crate::sim::topology::Climbed;
use crate::sim::trace::{DropReason, Packet, PacketFate, PacketId};
use crate::types::after;
use crate::{Instant, Transport};

impl Network {
    /// Takes a packet from its host into the air.
    pub(super) fn launch(
        &mut self,
        id: PacketId,
        from: HostId,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let size = packet_size(destination, payload);
        let interface = self.topology.leave(from, Transport::Udp, source, destination)?;
        let realm = interface.realm;
        let egress = interface.egress.as_mut().map(|egress| egress.cross(&mut self.random, size));
        let egress = egress.transpose()?.unwrap_or_default();
        let climbed = self.topology.climb(self.now, realm, source, destination)?;
        if let Some(packet) = self.trace.get_mut(id) {
            packet.outside_source = Some(climbed.source);
        }
        if !climbed.is_routed {
            return Err(DropReason::NoRoute);
        }
        let to = self.topology.locate(self.now, climbed.realm, destination);
        let verdict = self.hook.as_ref().map_or(Verdict::Pass, |hook| {
            let (packet_id, now, to) = (id, self.now, to.map(|(host, _)| host));
            (hook.0)(&Passing { packet_id, now, from, to, source: climbed.source, destination, payload })
        });
        let (wish, replaced) = match verdict {
            Verdict::Pass => (Crossing::default(), None),
            Verdict::Drop => return Err(DropReason::Hook),
            Verdict::Delay(delay) => (Crossing { delay, copy: None }, None),
            Verdict::Duplicate(delay) => (Crossing { delay: Duration::ZERO, copy: Some(delay) }, None),
            Verdict::Replace(payload) => (Crossing::default(), Some(payload)),
        };
        let payload = replaced.as_deref().unwrap_or(payload);
        let crossing = egress.then(wish).then(self.cross(from, to, packet_size(destination, payload))?);
        if let Some(packet) = self.trace.get_mut(id) {
            packet.len = payload.len();
        }
        self.fly(id, from, climbed, destination, payload, crossing.delay);
        if let Some(delay) = crossing.copy {
            self.fly_copy(id, from, source, climbed, destination, payload, delay);
        }
        Ok(())
    }

    /// Crosses the link between two hosts, and that of the receiver's interface.
    pub(super) fn cross(
        &mut self,
        from: HostId,
        to: Option<(HostId, IpAddr)>,
        size: usize,
    ) -> Result<Crossing, DropReason> {
        let Some((host, ip)) = to else {
            return self.default_link.cross(&mut self.nowhere, &mut self.random, size);
        };
        let path = self.paths.entry((from, host)).or_default();
        let count = path.count;
        path.count += 1;
        if path.lose.remove(&count) {
            return Err(DropReason::Script);
        }
        if path.is_cut {
            return Err(DropReason::Cut);
        }
        let link = path.link.unwrap_or(self.default_link);
        let crossing = link.cross(&mut path.bad, &mut self.random, size)?;
        let interface = self.topology.interface_mut(host, ip).ok();
        match interface.and_then(|interface| interface.ingress.as_mut()) {
            Some(ingress) => Ok(crossing.then(ingress.cross(&mut self.random, size)?)),
            None => Ok(crossing),
        }
    }

    fn fly(
        &mut self,
        packet_id: PacketId,
        from: HostId,
        climbed: Climbed,
        destination: SocketAddr,
        payload: &[u8],
        delay: Duration,
    ) {
        let due = after(self.now, delay);
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(payload);
        let Climbed { realm, source, .. } = climbed;
        let flight = Flight { packet_id, from, realm, source, destination, payload: buffer };
        self.flights.insert((due, self.next_flight), flight);
        self.next_flight += 1;
        self.trace.settle(packet_id, PacketFate::InFlight { due });
    }

    #[expect(clippy::too_many_arguments, reason = "everything about a packet")]
    fn fly_copy(
        &mut self,
        copied: PacketId,
        from: HostId,
        source: SocketAddr,
        climbed: Climbed,
        destination: SocketAddr,
        payload: &[u8],
        delay: Duration,
    ) {
        let id = self.trace.next_id();
        self.trace.push(Packet {
            id,
            copy_of: Some(copied),
            from,
            source,
            destination,
            outside_source: Some(climbed.source),
            sent_at: self.now,
            len: payload.len(),
            fate: PacketFate::InFlight { due: self.now },
        });
        self.fly(id, from, climbed, destination, payload, delay);
    }

    /// Lets everything arrive that is due.
    pub(super) fn settle(&mut self) {
        while let Some(entry) = self.flights.first_entry() {
            let due = entry.key().0;
            if due > self.now {
                break;
            }
            let flight = entry.remove();
            self.arrive(due, flight);
        }
        self.settle_streams();
    }

    /// Takes a packet from the air to its host.
    pub(super) fn arrive(&mut self, at: Instant, flight: Flight) {
        let arrival = self.topology.descend(at, flight.realm, Transport::Udp, flight.source, flight.destination);
        let arrival = arrival.and_then(|(host, destination)| {
            let is_cut = self.paths.get(&(flight.from, host)).is_some_and(|path| path.is_cut);
            if is_cut { Err(DropReason::Cut) } else { Ok((host, destination)) }
        });
        match arrival {
            Ok((host, destination)) => {
                let Flight { packet_id, source, payload, .. } = flight;
                self.trace.settle(packet_id, PacketFate::Delivered { host, source, destination, at });
                self.arrived.push_back(Delivery { packet_id, host, source, destination, payload, at });
            }
            Err(reason) => self.drop_flight(at, flight, reason),
        }
    }

    pub(super) fn drop_flight(&mut self, at: Instant, flight: Flight, reason: DropReason) {
        self.trace.settle(flight.packet_id, PacketFate::Dropped { reason, at });
        self.recycle(flight.payload);
    }

    pub(super) fn take_flight(&mut self, packet: PacketId) -> Option<((Instant, u64), Flight)> {
        self.settle();
        let key = self.flights.iter().find(|(_, flight)| flight.packet_id == packet).map(|(key, _)| *key)?;
        self.flights.remove_entry(&key)
    }
}

/// Bytes of an IP packet with this payload.
fn packet_size(destination: SocketAddr, payload: &[u8]) -> usize {
    payload.len() + if destination.is_ipv4() { IPV4_OVERHEAD } else { IPV6_OVERHEAD }
}

/// Bytes of the headers of IP and UDP.
const IPV4_OVERHEAD: usize = 28;
const IPV6_OVERHEAD: usize = 48;
