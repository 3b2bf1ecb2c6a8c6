//! The oracle: whether the topology has a path that ICE must find.
//!
//! It plays a simplified ICE on a copy of the NATs in which time stands still, nothing is lost and nothing expires, and
//! repeats it until nothing new happens:
//!
//! - Both sides send a request from each of their bases to each address that they know: the candidates signalled to them,
//!   and the sources of requests that they received.
//! - Whoever receives a request answers to its observed source, from the base that received it.
//! - A request has succeeded if its answer arrives at the base it was sent from, and comes from the address it was sent
//!   to (RFC 8445 §7.2.5.2.1).
//!
//! A [`Path`] is a pair of bases and a pair of addresses: a request from base `l` to `r_seen` arrives at base `r` from
//! `l_seen` and succeeds, and a request from base `r` to `l_seen` arrives at base `l` from `r_seen` and succeeds. These are
//! the two ends of one candidate pair, seen from either side: `l_seen` is the address of a local candidate of L and of a
//! remote candidate of R.
//!
//! Left out of account are chance (loss below 1.0, delay, reordering, MTU), expiry, packets in flight, scripted losses and
//! the packet hook. Taken into account are NATs with what they remember at the moment, firewalls, interfaces that are
//! down, cuts, and links that lose everything.
//!
//! ```
//! use std::net::SocketAddr;
//! use nilas::sim::oracle::{Base, Side, find_paths};
//! use nilas::sim::{NatConfig, Network};
//! use nilas::Seed;
//!
//! let mut network = Network::new(Seed::from_name("example"));
//! let (l, r) = (network.add_host("L"), network.add_host("R"));
//! let nat = network.add_nat(NatConfig::symmetric(["192.0.2.1".parse()?]))?;
//! network.add_interface_behind(nat, l, "10.0.0.2".parse()?)?;
//! network.add_interface(r, "198.51.100.7".parse()?)?;
//!
//! let (l_base, r_base): (SocketAddr, SocketAddr) = ("10.0.0.2:5000".parse()?, "198.51.100.7:6000".parse()?);
//! let verdict = find_paths(&network, &Side::new(l, [l_base], [l_base]), &Side::new(r, [r_base], [r_base]));
//! let [path] = verdict.paths() else { return Err("there is one path".into()) };
//! assert_eq!((path.l, path.r, path.r_seen), (Base::new(l, l_base), Base::new(r, r_base), r_base));
//! assert_eq!(path.l_seen.ip(), "192.0.2.1".parse::<std::net::IpAddr>()?); // peer-reflexive
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::host::HostId;
use super::network::Network;
use super::topology::Topology;
use crate::{Instant, Transport};

/// An address that a side sends from and receives at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Base {
    /// The host whose address it is.
    pub host: HostId,
    /// The address.
    pub address: SocketAddr,
    /// Whether it is an address that a TURN server relays: then it only receives from IP addresses that it has sent to,
    /// because a permission is installed with the first packet to them (RFC 8656 §9).
    pub is_relayed: bool,
}

impl Base {
    /// An address of the side itself.
    #[must_use]
    pub const fn new(host: HostId, address: SocketAddr) -> Self {
        Self { host, address, is_relayed: false }
    }

    /// An address that the TURN server `server` relays. The way between the side and the server is taken for granted.
    #[must_use]
    pub const fn relayed(server: HostId, address: SocketAddr) -> Self {
        Self { host: server, address, is_relayed: true }
    }
}

/// One of the two agents: what it has, and what the other is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain input")]
pub struct Side {
    /// The addresses that it sends from.
    pub bases: Vec<Base>,
    /// The candidates that it signals: host, server-reflexive and relayed.
    pub candidates: Vec<SocketAddr>,
}

impl Side {
    /// A side with bases on one host.
    #[must_use]
    pub fn new(
        host: HostId,
        bases: impl IntoIterator<Item = SocketAddr>,
        candidates: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let bases = bases.into_iter().map(|address| Base::new(host, address)).collect();
        Self { bases, candidates: candidates.into_iter().collect() }
    }
}

/// A path between two agents. The [module](self) says what that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Path {
    /// Base of the first side.
    pub l: Base,
    /// Base of the second side.
    pub r: Base,
    /// Address of the first side as the second sees it: where the second sends.
    pub l_seen: SocketAddr,
    /// Address of the second side as the first sees it: where the first sends.
    pub r_seen: SocketAddr,
}

/// What the oracle found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct PathVerdict {
    paths: Vec<Path>,
    converged: bool,
}

impl PathVerdict {
    /// Whether there is a path: whether ICE must connect.
    #[must_use]
    pub fn connects(&self) -> bool {
        !self.paths.is_empty()
    }

    /// All paths, in the order of their bases and addresses.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Whether nothing new happened in the end.
    ///
    /// `false` where every request creates another mapping that the other side learns of, as between two NATs of dependent
    /// mapping and independent filtering. Then the search ended after [`MAX_ROUNDS`], or as soon as a side knew more than
    /// [`MAX_KNOWN`] addresses. Paths that need longer chains of learned addresses would be missed; no topology is known
    /// that has one.
    #[must_use]
    pub const fn converged(&self) -> bool {
        self.converged
    }
}

/// Most rounds that the search takes.
pub const MAX_ROUNDS: usize = 8;
/// Most addresses that a side learns before the search ends.
pub const MAX_KNOWN: usize = 64;

/// Which bases send to an address that was learned from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "some or all")]
pub enum Learning {
    /// All bases of the side.
    EveryBase,
    /// Only the base that received the request: RFC 8445 §7.3.1.3 pairs a peer-reflexive remote candidate with no other.
    ReceivingBase,
}

/// Finds all paths between two sides, whose bases all send to whatever the side learns.
///
/// This is the generous reading: with [`find_paths_by`] and [`Learning::ReceivingBase`] it finds those only that an agent
/// finds which follows RFC 8445 §7.3.1.3 to the letter.
pub fn find_paths(network: &Network, l: &Side, r: &Side) -> PathVerdict {
    find_paths_by(network, l, r, Learning::EveryBase)
}

/// As [`find_paths`], with a choice of who sends to learned addresses.
pub fn find_paths_by(network: &Network, l: &Side, r: &Side, learning: Learning) -> PathVerdict {
    let mut topology = network.topology().clone();
    topology.freeze(network.now());
    let bases = |side: &Side| side.bases.iter().copied().collect::<BTreeSet<Base>>();
    let known = |side: &Side, peer: &Side| {
        let signalled = || peer.candidates.iter().copied();
        bases(side).into_iter().flat_map(|base| signalled().map(move |address| (base, address))).collect()
    };
    let [l, r] = [
        Agent { bases: bases(l), to_send: known(l, r), learned: BTreeSet::new() },
        Agent { bases: bases(r), to_send: known(r, l), learned: BTreeSet::new() },
    ];
    let search = Search { network, topology, learning, permissions: BTreeSet::new(), successes: BTreeMap::new() };
    search.run(l, r)
}

/// One side during the search.
#[derive(Debug)]
struct Agent {
    bases: BTreeSet<Base>,
    /// Every request that it repeats: from which base, to which address.
    to_send: BTreeSet<(Base, SocketAddr)>,
    /// Sources of requests that it received.
    learned: BTreeSet<SocketAddr>,
}

/// A request that reached a base of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    base: Base,
    /// Its source as seen there.
    source: SocketAddr,
}

#[derive(Debug)]
struct Search<'a> {
    network: &'a Network,
    topology: Topology,
    learning: Learning,
    /// From which IP addresses relayed bases receive.
    permissions: BTreeSet<(Base, IpAddr)>,
    /// Requests that succeeded, and where they arrived.
    successes: BTreeMap<(Base, SocketAddr), Reached>,
}

impl Search<'_> {
    fn run(mut self, mut l: Agent, mut r: Agent) -> PathVerdict {
        let mut converged = false;
        for _ in 0..MAX_ROUNDS {
            let before = self.progress(&l, &r);
            self.round(&mut l, &mut r);
            self.round(&mut r, &mut l);
            converged = self.progress(&l, &r) == before;
            if converged || l.learned.len().max(r.learned.len()) > MAX_KNOWN {
                break;
            }
        }
        PathVerdict { paths: self.paths(&l), converged }
    }

    /// Numbers that only grow, and stay the same if nothing new happens.
    fn progress(&self, l: &Agent, r: &Agent) -> (u64, [usize; 4]) {
        let counts = [l.to_send.len(), r.to_send.len(), self.permissions.len(), self.successes.len()];
        (self.topology.generation(), counts)
    }

    /// Sends every request of one side, and the answers of the other.
    fn round(&mut self, side: &mut Agent, peer: &mut Agent) {
        let requests: Vec<(Base, SocketAddr)> = side.to_send.iter().copied().collect();
        for (base, address) in requests {
            let Some(request) = self.deliver(base, address, peer) else { continue };
            peer.learned.insert(request.source);
            match self.learning {
                Learning::ReceivingBase => {
                    peer.to_send.insert((request.base, request.source));
                }
                Learning::EveryBase => peer.to_send.extend(peer.bases.iter().map(|base| (*base, request.source))),
            }
            let answer = self.deliver(request.base, request.source, side);
            if answer == Some(Reached { base, source: address }) {
                self.successes.insert((base, address), request);
            }
        }
    }

    /// Sends one packet, and says at which base of the receiver it arrives, if it does.
    fn deliver(&mut self, from: Base, to: SocketAddr, receiver: &Agent) -> Option<Reached> {
        const NOW: Instant = Instant::ZERO;
        let realm = self.topology.leave(from.host, Transport::Udp, from.address, to).ok()?.realm;
        if from.is_relayed {
            self.permissions.insert((from, to.ip()));
        }
        let climbed = self.topology.climb(NOW, realm, from.address, to).ok()?;
        let source = climbed.source;
        let (host, address) = self.topology.descend(NOW, climbed.realm, Transport::Udp, source, to).ok()?;
        let base = *receiver.bases.iter().find(|base| base.host == host && base.address == address)?;
        let is_permitted = !base.is_relayed || self.permissions.contains(&(base, source.ip()));
        let is_severed = self.network.is_severed((from.host, from.address.ip()), (host, address.ip()));
        (is_permitted && !is_severed).then_some(Reached { base, source })
    }

    /// The successes that mirror each other.
    fn paths(&self, l: &Agent) -> Vec<Path> {
        let of_l = self.successes.iter().filter(|((base, _), _)| l.bases.contains(base));
        let paths = of_l.filter_map(|((base, address), reached)| {
            let mirrored = self.successes.get(&(reached.base, reached.source));
            let path = Path { l: *base, r: reached.base, l_seen: reached.source, r_seen: *address };
            (mirrored == Some(&Reached { base: *base, source: *address })).then_some(path)
        });
        let mut paths: Vec<Path> = paths.collect();
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests;
