//! Numbers for foundations, by which pairs are compared (RFC 8445 §5.1.1.3).

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use super::{CandidateKind, Foundation};
use crate::config::limits;
use crate::types::Transport;

/// Numbers for foundations of local candidates: the same for the same type, base, server and transport
/// (RFC 8445 §5.1.1.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalFoundations {
    known: BTreeMap<(CandidateKind, IpAddr, Option<IpAddr>, Transport), u32>,
    last: u32,
}

impl LocalFoundations {
    /// Forgets those that no candidate has, if there are too many; a candidate that has one of them later gets a new number.
    pub(crate) fn make_room(&mut self, used: impl FnOnce() -> BTreeSet<u32>) {
        if self.known.len() >= limits::FOUNDATIONS {
            let used = used();
            self.known.retain(|_, number| used.contains(number));
        }
    }

    /// The number of a foundation. Of more than anybody needs, all others share one.
    pub(crate) fn number(
        &mut self,
        kind: CandidateKind,
        base: IpAddr,
        server: Option<IpAddr>,
        transport: Transport,
    ) -> u32 {
        let key = (kind, base, server, transport);
        if self.known.len() >= limits::FOUNDATIONS && !self.known.contains_key(&key) {
            return u32::MAX;
        }
        *self.known.entry(key).or_insert_with(|| {
            self.last = self.last.saturating_add(1);
            self.last
        })
    }
}

/// Numbers for foundations of remote candidates.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteFoundations {
    known: BTreeMap<Foundation, u32>,
    next: u32,
}

impl RemoteFoundations {
    /// Forgets those that no candidate has, if there are too many.
    pub(crate) fn make_room(&mut self, used: impl FnOnce() -> BTreeSet<u32>) {
        if self.known.len() >= limits::FOUNDATIONS {
            let used = used();
            self.known.retain(|_, number| used.contains(number));
        }
    }

    /// The number of a foundation. Of more than anybody needs, all others share one.
    pub(crate) fn number(&mut self, foundation: Foundation) -> u32 {
        if self.known.len() >= limits::FOUNDATIONS && !self.known.contains_key(&foundation) {
            return u32::MAX;
        }
        let next = self.next;
        let number = *self.known.entry(foundation).or_insert(next);
        if number == next {
            self.next = next.saturating_add(1);
        }
        number
    }

    /// A number, and a foundation, unlike all others (RFC 8445 §7.3.1.3).
    pub(crate) fn unique(&mut self) -> (u32, Foundation) {
        loop {
            let foundation = Foundation::numbered("peer", self.next);
            let number = self.next;
            self.next = number.saturating_add(1);
            if number == u32::MAX || !self.known.contains_key(&foundation) {
                return (number, foundation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    /// Req: 8445-5.1.1.3-a
    #[test]
    fn foundations_are_shared_by_type_base_server_and_transport_alone() {
        let mut foundations = LocalFoundations::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b, server) = (ip("10.0.0.1"), ip("10.0.0.2"), Some(ip("192.0.2.1")));
        let host = foundations.number(CandidateKind::Host, a, None, Transport::Udp);
        assert_eq!(foundations.number(CandidateKind::Host, a, None, Transport::Udp), host);
        let others = [
            foundations.number(CandidateKind::Host, b, None, Transport::Udp),
            foundations.number(CandidateKind::ServerReflexive, a, server, Transport::Udp),
            foundations.number(CandidateKind::ServerReflexive, a, Some(b), Transport::Udp),
            foundations.number(CandidateKind::Host, a, None, Transport::Tcp),
        ];
        assert!(others.iter().all(|other| *other != host));
        assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len());
    }

    /// Req: 8445-7.3.1.3-a
    #[test]
    fn a_unique_foundation_is_never_one_that_was_signalled() {
        let mut foundations = RemoteFoundations::default();
        let taken = foundations.number("peer1".parse().unwrap());
        let (number, foundation) = foundations.unique();
        assert!(number != taken && foundation.to_string() != "peer1");
        assert_eq!(foundations.number("peer1".parse().unwrap()), taken);
    }

    #[test]
    fn foundations_that_no_candidate_has_make_room_for_others() {
        let mut foundations = LocalFoundations::default();
        let mut theirs = RemoteFoundations::default();
        let (mut last, mut last_of_theirs) = (0, 0);
        for n in 0..50_000_u32 {
            let ip = IpAddr::V4((0x0a00_0000 + n).into());
            foundations.make_room(|| BTreeSet::from([1, last]));
            last = foundations.number(CandidateKind::Host, ip, None, Transport::Udp);
            assert_ne!(last, u32::MAX);
            theirs.make_room(|| BTreeSet::from([0, last_of_theirs]));
            last_of_theirs = theirs.number(format!("f{n}").parse().unwrap());
            assert!(foundations.known.len() <= limits::FOUNDATIONS && theirs.known.len() <= limits::FOUNDATIONS);
        }
        // What a candidate has all along keeps its number.
        let first = IpAddr::V4(0x0a00_0000.into());
        assert_eq!(foundations.number(CandidateKind::Host, first, None, Transport::Udp), 1);
        assert_eq!(theirs.number("f0".parse().unwrap()), 0);
        // Where all are in use, the others share one.
        let mut full = LocalFoundations::default();
        let number = |full: &mut LocalFoundations, n: u32| {
            full.make_room(|| (0..=u32::MAX >> 8).take(30_000).collect());
            full.number(CandidateKind::Host, IpAddr::V4(n.into()), None, Transport::Udp)
        };
        let numbers: Vec<u32> = (0..20_002).map(|n| number(&mut full, n)).collect();
        assert_eq!(numbers[19_999..], [20_000, u32::MAX, u32::MAX]);
    }
}
