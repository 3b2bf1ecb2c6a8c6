//! Accepted connections that have not shown yet whose they are, by the site that they come from: who has to go when there is no
//! room for another one.
//!
//! Whoever opens connections and says nothing takes room from others. A host has as many addresses as it likes within its
//! IPv6 /64, so that is what counts as one site, like an IPv4 address. Where there is no room, a connection of the site that
//! has most of them goes: somebody with one connection has to wait for nobody with many.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;
use core::net::IpAddr;

use crate::candidate::address::site;

/// The place of a connection in a [`Lobby`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    site: IpAddr,
    number: u64,
}

/// Who waits, by site. `K` names a connection.
#[derive(Clone, Debug)]
pub(crate) struct Lobby<K> {
    sites: BTreeMap<IpAddr, BTreeMap<u64, K>>,
    /// The sites by how many wait of each, and of those with as many by who came first.
    by_size: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    next: u64,
}

impl<K> Default for Lobby<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Lobby<K> {
    pub(crate) const fn new() -> Self {
        Self { sites: BTreeMap::new(), by_size: BTreeSet::new(), next: 0 }
    }

    /// Lets a connection from this address wait.
    pub(crate) fn enter(&mut self, ip: IpAddr, key: K) -> Ticket {
        let ticket = Ticket { site: site(ip), number: self.next };
        self.next += 1;
        self.change(ticket.site, |guests| {
            guests.insert(ticket.number, key);
        });
        ticket
    }

    /// It waits no longer.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.change(ticket.site, |guests| {
            guests.remove(&ticket.number);
        });
    }

    /// Who has to go if somebody has to: the oldest of the site that has most.
    pub(crate) fn victim(&self) -> Option<&K> {
        let (_, Reverse(number), site) = self.by_size.last()?;
        self.sites.get(site)?.get(number)
    }

    /// How many wait that come from where this address is.
    pub(crate) fn count(&self, ip: IpAddr) -> usize {
        self.sites.get(&site(ip)).map_or(0, BTreeMap::len)
    }

    fn change(&mut self, site: IpAddr, change: impl FnOnce(&mut BTreeMap<u64, K>)) {
        let rank = |guests: &BTreeMap<u64, K>| {
            guests.first_key_value().map(|(oldest, _)| (guests.len(), Reverse(*oldest), site))
        };
        let guests = self.sites.entry(site).or_default();
        let before = rank(guests);
        change(guests);
        let after = rank(guests);
        if guests.is_empty() {
            self.sites.remove(&site);
        }
        before.into_iter().for_each(|rank| {
            self.by_size.remove(&rank);
        });
        self.by_size.extend(after);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_of_the_site_with_most_goes_first() {
        let mut lobby = Lobby::new();
        assert_eq!(lobby.victim(), None);
        let guests = [
            ("192.0.2.1", 'a'),
            ("2001:db8::1", 'b'),
            ("2001:db8::2:2", 'c'),
            ("192.0.2.2", 'd'),
            ("2001:db8:0:1::1", 'e'),
            ("::ffff:192.0.2.2", 'f'),
            ("2001:db8::3:3", 'g'),
        ];
        let mut tickets: Vec<(char, Ticket)> =
            guests.iter().map(|(from, key)| (*key, lobby.enter(ip(from), *key))).collect();
        assert_eq!(
            (lobby.count(ip("2001:db8::9")), lobby.count(ip("192.0.2.2")), lobby.count(ip("192.0.2.3"))),
            (3, 2, 0)
        );
        let mut order = Vec::new();
        while let Some(victim) = lobby.victim().copied() {
            order.push(victim);
            let place = tickets.iter().position(|(key, _)| *key == victim).unwrap();
            lobby.leave(tickets.remove(place).1);
        }
        // Three of one /64, then of two with as many the one who came first, and so on.
        assert_eq!(order, ['b', 'c', 'd', 'a', 'e', 'f', 'g']);
        assert!(lobby.sites.is_empty() && lobby.by_size.is_empty());
    }

    #[test]
    fn leaving_twice_changes_nothing() {
        let mut lobby = Lobby::new();
        let first = lobby.enter(ip("192.0.2.1"), 1);
        let _ = lobby.enter(ip("192.0.2.1"), 2);
        lobby.leave(first);
        lobby.leave(first);
        assert_eq!((lobby.victim(), lobby.count(ip("192.0.2.1"))), (Some(&2), 1));
    }
}
