//! The table of relays: by their number, by the way to their server, and by the addresses that they have.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use crate::config::limits;
use crate::gather::{IceServer, TaskId};
use crate::turn::Allocation;
use crate::types::{CandidateId, ComponentId, ConnectionId, Instant, Recent, StreamId, Transport, after, earliest};

/// Names a relay of an agent; never used again for another.
pub(super) type RelayId = u64;

/// An allocation, and where it is used.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    pub(super) stream: StreamId,
    pub(super) component: ComponentId,
    /// The socket that the server is reached from.
    pub(super) base: SocketAddr,
    pub(super) server: SocketAddr,
    /// Where the server is that the application has named.
    pub(super) origin: SocketAddr,
    pub(super) ice_server: Arc<IceServer>,
    /// The connection, where the server is reached over TCP or TLS.
    pub(super) connection: Option<ConnectionId>,
    /// How many connections were opened because the server knew the address of the one before.
    pub(super) mismatches: u8,
    /// How many servers have named another one instead of themselves.
    pub(super) hops: u8,
    pub(super) allocation: Allocation,
    /// What gathering waits for.
    pub(super) task: Option<TaskId>,
    pub(super) candidates: SmallVec<[(SocketAddr, CandidateId); 2]>,
    pub(super) last_sent_at: Instant,
    pub(super) keepalive_at: Option<Instant>,
    /// How often an allocation was lost at once, or a lost one could not be replaced.
    pub(super) failures: u32,
    /// When the allocation was had.
    pub(super) allocated_at: Instant,
    /// A request that no buffer has had room for.
    pub(super) cramped: Option<Cramped>,
    /// When that is tried again.
    pub(super) retry_at: Option<Instant>,
    /// The peers that are not heard any more through it, and when the server is questioned about them next.
    pub(super) silent: SmallVec<[SocketAddr; 1]>,
    pub(super) question_at: Option<Instant>,
    /// When any of it needs attention.
    pub(super) deadline: Option<Instant>,
}

/// A request that waits for a buffer with room for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cramped {
    pub(super) since: Instant,
    /// When to look for one again; `None` if that is now.
    pub(super) again_at: Option<Instant>,
    pub(super) wait: Duration,
}

impl Cramped {
    /// How long to wait at first: the rest of a buffer may have been taken by what left before.
    const FIRST: Duration = Duration::from_millis(1);
    /// How long a buffer with room is waited for.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// After a buffer that had no room.
    pub(super) fn next(before: Option<Self>, now: Instant) -> Self {
        let Some(before) = before else {
            return Self { since: now, again_at: Some(after(now, Self::FIRST)), wait: Self::FIRST };
        };
        if before.again_at.is_some() {
            return before;
        }
        let wait = before.wait.saturating_mul(2);
        Self { again_at: Some(after(now, wait)), wait, ..before }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        after(self.since, Self::PATIENCE) <= now
    }
}

/// All relays of an agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    pub(super) list: BTreeMap<RelayId, Relay>,
    /// By the addresses of the socket and of the server.
    pub(super) by_link: BTreeMap<(SocketAddr, SocketAddr), RelayId>,
    /// By relayed address.
    pub(super) by_address: BTreeMap<SocketAddr, RelayId>,
    pub(super) next: RelayId,
    pub(super) deadline: Option<Instant>,
    /// Servers that were asked for an allocation from a base: none is asked again soon because another says so.
    pub(super) asked: Recent<(SocketAddr, SocketAddr, Instant), { limits::ASKED_SERVERS }>,
}

impl Relays {
    /// Most relays at a time.
    pub(super) const MOST: usize = limits::RELAYS;
    /// How long a server that was asked is not redirected to (RFC 8489 §10, RFC 8656 §7.4).
    const ASKED_FOR: Duration = limits::ASKED_FOR;

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The relay whose server sends from there to here.
    pub(super) fn find(&self, base: SocketAddr, server: SocketAddr) -> Option<RelayId> {
        self.by_link.get(&(base, server)).copied()
    }

    /// Whether this is an address of a server, not one of ours.
    pub(super) fn is_relayed(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The address of the socket that a relay is reached from.
    pub(super) fn base_of(&self, id: RelayId) -> Option<SocketAddr> {
        self.list.get(&id).map(|relay| relay.base)
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<&Relay> {
        self.list.get(self.by_address.get(&address)?)
    }

    pub(super) fn insert(&mut self, relay: Relay) -> RelayId {
        let id = self.next;
        self.next += 1;
        if relay.ice_server.transport() == Transport::Udp {
            self.by_link.insert((relay.base, relay.server), id);
        }
        self.list.insert(id, relay);
        id
    }

    pub(super) fn remove(&mut self, id: RelayId) -> Option<Relay> {
        let relay = self.list.remove(&id)?;
        self.by_link.retain(|_, known| *known != id);
        self.by_address.retain(|_, known| *known != id);
        self.settle();
        Some(relay)
    }

    /// Notes when a relay needs attention.
    pub(super) fn touch(&mut self, id: RelayId) {
        if let Some(relay) = self.list.get_mut(&id) {
            let cramped = relay.cramped.and_then(|cramped| cramped.again_at);
            let own = earliest(earliest(relay.keepalive_at, relay.retry_at), cramped);
            relay.deadline = earliest(relay.allocation.deadline(), earliest(own, relay.question_at));
        }
        self.settle();
    }

    /// Notes that a relay needs attention at this time, or earlier.
    pub(super) fn hasten(&mut self, id: RelayId, at: Instant) {
        if let Some(relay) = self.list.get_mut(&id) {
            relay.deadline = earliest(relay.deadline, Some(at));
            self.deadline = earliest(self.deadline, Some(at));
        }
    }

    pub(super) fn settle(&mut self) {
        self.deadline = self.list.values().filter_map(|relay| relay.deadline).min();
    }

    /// Has a relay ask another server.
    pub(super) fn turn_to(&mut self, id: RelayId, server: SocketAddr) {
        let Some(relay) = self.list.get_mut(&id) else { return };
        let before = core::mem::replace(&mut relay.server, server);
        if relay.ice_server.transport() == Transport::Udp {
            self.by_link.remove(&(relay.base, before));
            self.by_link.insert((relay.base, server), id);
        }
    }

    /// Remembers that a server was asked from a base; `false` if that was not long ago.
    pub(super) fn note_asked(&mut self, now: Instant, base: SocketAddr, server: SocketAddr) -> bool {
        self.asked.retain(|(.., until)| *until > now);
        let is_it = |(from, to, _): &(SocketAddr, SocketAddr, Instant)| (*from, *to) == (base, server);
        let is_new = !self.asked.iter().any(is_it);
        // One that is asked over and over takes no room from others.
        self.asked.retain(|one| !is_it(one));
        self.asked.push((base, server, after(now, Self::ASKED_FOR)));
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn a_server_that_was_asked_is_remembered_for_five_minutes_and_of_too_many_the_latest() {
        let (mut relays, base) = (Relays::default(), server(0));
        let start = Instant::ZERO;
        assert!(relays.note_asked(start, base, server(1)));
        let late = |seconds| after(start, Duration::from_secs(seconds));
        assert!(!relays.note_asked(late(299), base, server(1)));
        assert!(relays.note_asked(late(299), server(9), server(1)), "from another base it is another question");
        assert!(!relays.note_asked(late(598), base, server(1)));
        assert!(relays.note_asked(late(900), base, server(1)), "it was forgotten");
        for number in 2..66 {
            assert!(relays.note_asked(late(901), base, server(number)));
            assert!(relays.asked.len() <= 64);
        }
        assert!((2..66).all(|number| !relays.note_asked(late(902), base, server(number))));
        assert!(relays.note_asked(late(902), base, server(1)), "the oldest was forgotten");
    }
}
