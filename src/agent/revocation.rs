//! 5-tuples on which this agent has taken its consent back, because the application has removed the candidate of the peer
//! that a pair in use had: checks there are refused until a restart (RFC 7675 §5.2).
//!
//! A success would keep the peer sending to nobody.

use core::net::SocketAddr;

use crate::config::limits;
use crate::types::address::in_scope_of;
use crate::types::{ComponentId, Path, Recent, Transport};

/// Such a 5-tuple, in one generation of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) generation: u32,
    pub(crate) component: ComponentId,
    pub(crate) path: Path,
}

/// All of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations(Recent<Revocation, { limits::REVOCATIONS }>);

impl Revocations {
    #[cfg(feature = "sim")]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, revocation: Revocation) {
        if !self.0.contains(&revocation) {
            self.0.push(revocation);
        }
    }

    /// Whether consent was taken back on this path.
    pub(crate) fn holds(&self, generation: u32, path: &Path) -> bool {
        self.0.iter().any(|one| one.generation == generation && one.path == *path)
    }

    /// Whether it was on some path to this candidate of the peer.
    pub(crate) fn concerns(
        &self,
        generation: u32,
        component: ComponentId,
        transport: Transport,
        address: SocketAddr,
    ) -> bool {
        self.0.iter().any(|one| {
            let is_there = in_scope_of(one.path.base, address) == one.path.remote && one.path.transport == transport;
            is_there && (one.generation, one.component) == (generation, component)
        })
    }

    /// Forgets all but those of these generations.
    pub(crate) fn keep(&mut self, is_in_view: impl Fn(u32) -> bool) {
        self.0.retain(|one| is_in_view(one.generation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn revocation(generation: u32, port: u16) -> Revocation {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let path = Path { transport: Transport::Udp, base: address(1), remote: address(port), flow: None };
        Revocation { generation, component: ComponentId::RTP, path }
    }

    #[test]
    fn each_is_kept_once_for_its_generation_and_no_more_than_the_limit() {
        let mut all = Revocations::default();
        let first = revocation(1, 9);
        all.add(first);
        all.add(first);
        assert_eq!(all.0.len(), 1);
        assert!(all.holds(1, &first.path) && !all.holds(2, &first.path) && !all.holds(1, &revocation(1, 10).path));
        let concerns = |all: &Revocations, generation, component, transport| {
            all.concerns(generation, component, transport, first.path.remote)
        };
        assert!(concerns(&all, 1, ComponentId::RTP, Transport::Udp));
        assert!(
            !concerns(&all, 2, ComponentId::RTP, Transport::Udp)
                && !concerns(&all, 1, ComponentId::RTP, Transport::Tcp)
        );
        assert!(!concerns(&all, 1, ComponentId::RTCP, Transport::Udp));
        for port in 100..1000 {
            all.add(revocation(2, port));
        }
        assert!(
            all.0.len() == limits::REVOCATIONS && !all.holds(1, &first.path) && all.holds(2, &revocation(2, 999).path)
        );
        all.keep(|generation| generation != 2);
        assert!(all.0.is_empty());
    }
}
