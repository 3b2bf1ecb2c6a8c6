//! Events that wait to be polled: a bounded queue in which no flood of one kind costs what an application cannot do without.
//!
//! What anybody can make happen over and over, such as an ICMP message at a relay, has a share of the queue for each kind, and
//! beyond it the oldest of that kind goes. Facts of the tables and candidates leave some room. Changes of state have all of it,
//! and where there is none, the place of something that has a share; that something was closed finds room always, since each
//! thing is closed once.

use alloc::collections::VecDeque;

use super::outbox::Outgoing;
use crate::config::limits;
use crate::event::Event;
use crate::types::ConnectionState;

/// Kinds of events that have a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Icmp,
    ServerError,
    Health,
    Selection,
    ConsentEnd,
    Role,
    Connection,
    Relay,
    Name,
    Limit,
}

impl Kind {
    const COUNT: usize = Self::Limit as usize + 1;
}

/// What an event means where there is little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// At most so many of a kind wait.
    Shared(Kind),
    /// It is lost where there is little room.
    Listed,
    /// It is told again where it finds no room, and has half of it.
    Table,
    /// It takes the place of another.
    State,
    /// It is lost only where more such things wait than there can be streams at a time.
    Final,
}

impl Weight {
    const fn of(outgoing: &Outgoing) -> Self {
        match outgoing {
            Outgoing::LocalCandidate { .. } => Self::Listed,
            Outgoing::Event(event) => Self::of_event(event),
        }
    }

    const fn of_event(event: &Event) -> Self {
        match event {
            Event::StreamStateChanged { current: ConnectionState::Closed, .. }
            | Event::ConnectionStateChanged { current: ConnectionState::Closed, .. } => Self::Final,
            Event::StreamStateChanged { .. }
            | Event::ConnectionStateChanged { .. }
            | Event::GatheringStateChanged { .. }
            | Event::EndOfCandidates { .. } => Self::State,
            Event::RelayIcmp { .. } => Self::Shared(Kind::Icmp),
            Event::IceCandidateError { .. } => Self::Shared(Kind::ServerError),
            Event::PathHealthChanged { .. } => Self::Shared(Kind::Health),
            Event::SelectedPairChanged { .. } => Self::Shared(Kind::Selection),
            Event::ConsentEnded { .. } => Self::Shared(Kind::ConsentEnd),
            Event::RoleChanged { .. } => Self::Shared(Kind::Role),
            Event::ConnectionEnded { .. } => Self::Shared(Kind::Connection),
            Event::RelayLost { .. } | Event::RelayReleased { .. } => Self::Shared(Kind::Relay),
            Event::RegisterName { .. } | Event::ResolveName { .. } => Self::Shared(Kind::Name),
            Event::TooManyRemoteCandidates { .. } | Event::PacingLimited { .. } => Self::Shared(Kind::Limit),
            Event::LocalCandidate { .. } => Self::Listed,
            Event::LocalCandidateAdded { .. }
            | Event::LocalCandidateChanged { .. }
            | Event::LocalCandidateRemoved { .. }
            | Event::RemoteCandidateAdded { .. }
            | Event::RemoteCandidateDiscovered { .. }
            | Event::RemoteCandidateMerged { .. }
            | Event::RemoteCandidateChanged { .. }
            | Event::RemoteCandidateRemoved { .. }
            | Event::PairAdded { .. }
            | Event::PairStateChanged { .. }
            | Event::PairCandidatesChanged { .. }
            | Event::PairValidityChanged { .. }
            | Event::PairNominated { .. }
            | Event::PairNominationLost { .. }
            | Event::PairRemoved { .. } => Self::Table,
        }
    }
}

/// The events of an agent that wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQueue {
    list: VecDeque<Outgoing>,
    /// How many of each kind that has a share wait.
    shares: [usize; Kind::COUNT],
    /// How many may wait: what room there was for an event stays until the queue is empty, whatever streams go meanwhile.
    most: usize,
}

impl EventQueue {
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.list.iter()
    }

    /// The same, to be changed without becoming of another kind.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outgoing> {
        self.list.iter_mut()
    }

    /// How many may wait at the most, and the ends of streams beside them.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) const fn capacity(&self) -> usize {
        self.most + limits::STREAMS
    }

    /// Whether what may wait elsewhere finds room: a quarter is left for changes of state.
    fn has_room(&self) -> bool {
        self.list.len() < self.most - self.most / 4
    }

    /// Adds an event to a queue of at most `most`; gives how many were lost, this one or others.
    #[must_use]
    pub(crate) fn push(&mut self, most: usize, outgoing: Outgoing) -> u64 {
        self.most = if self.list.is_empty() { most } else { self.most.max(most) };
        let most = self.most;
        let weight = Weight::of(&outgoing);
        let mut lost = 0;
        match weight {
            Weight::Shared(kind) => {
                let is_full = !self.has_room();
                if is_full || self.share(kind) >= (most / limits::EVENTS_SHARE).max(1) {
                    // The newest of a kind tells more than the oldest.
                    if !self.drop_first(|other| other == weight) {
                        return 1;
                    }
                    lost = 1;
                }
            }
            Weight::Listed if !self.has_room() => return 1,
            Weight::Table if self.list.len() >= most / 2 => return 1,
            Weight::State if self.list.len() >= most => {
                // Of nothing but states the latest say what is true.
                let has_room = self.drop_first(|other| matches!(other, Weight::Shared(_)))
                    || self.drop_first(|other| other == Weight::State);
                if !has_room {
                    return 1;
                }
                lost = 1;
            }
            Weight::Final if self.list.len() >= most + limits::STREAMS => {
                // Streams have come and gone for long, and nobody has polled.
                self.drop_first(|_| true);
                lost = 1;
            }
            Weight::Listed | Weight::Table | Weight::State | Weight::Final => {}
        }
        self.count(weight, true);
        self.list.push_back(outgoing);
        lost
    }

    pub(crate) fn pop_front(&mut self) -> Option<Outgoing> {
        let outgoing = self.list.pop_front()?;
        self.count(Weight::of(&outgoing), false);
        Some(outgoing)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Outgoing) -> bool) {
        self.list.retain(keep);
        self.shares = [0; Kind::COUNT];
        for place in 0..self.list.len() {
            if let Some(weight) = self.list.get(place).map(Weight::of) {
                self.count(weight, true);
            }
        }
    }

    fn share(&self, kind: Kind) -> usize {
        self.shares.get(kind as usize).copied().unwrap_or_default()
    }

    fn count(&mut self, weight: Weight, is_added: bool) {
        let Weight::Shared(kind) = weight else { return };
        if let Some(share) = self.shares.get_mut(kind as usize) {
            *share = if is_added { *share + 1 } else { share.saturating_sub(1) };
        }
    }

    fn drop_first(&mut self, which: impl Fn(Weight) -> bool) -> bool {
        let Some(place) = self.list.iter().position(|outgoing| which(Weight::of(outgoing))) else { return false };
        if let Some(dropped) = self.list.remove(place) {
            self.count(Weight::of(&dropped), false);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::collections::BTreeSet;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::net::SocketAddr;
    use core::time::Duration;

    use super::*;
    use crate::checklist::CandidatePairState;
    use crate::connection::ConnectionEnd;
    use crate::types::CandidateId;
    use crate::types::ConnectionId;
    use crate::types::Instant;
    use crate::types::PairId;
    use crate::types::PathHealth;
    use crate::types::{ComponentId, StreamId};
    use crate::types::{GatheringState, Role, StateReason};

    const MOST: usize = 64;

    fn icmp(code: u8) -> Outgoing {
        let peer = "203.0.113.1:1".parse().unwrap();
        let (stream, component, at) = (StreamId(0), ComponentId::RTP, Instant::ZERO);
        Outgoing::Event(Event::RelayIcmp { stream, component, peer, kind: 3, code, at })
    }

    fn state(current: ConnectionState) -> Outgoing {
        let (previous, at, reason) = (ConnectionState::New, Instant::ZERO, StateReason::ClosedByApplication);
        Outgoing::Event(Event::ConnectionStateChanged { previous, current, at, reason })
    }

    #[test]
    fn a_flood_of_one_kind_keeps_to_its_share_and_its_newest() {
        let mut queue = EventQueue::default();
        let lost: u64 = (0..200).map(|code| queue.push(MOST, icmp(code))).sum();
        assert_eq!((queue.len(), lost), (8, 192));
        assert_eq!(queue.push(MOST, state(ConnectionState::Connected)), 0);
        assert!(matches!(queue.pop_front(), Some(Outgoing::Event(Event::RelayIcmp { code: 192, .. }))));
        queue.retain(|_| true);
        assert_eq!((queue.push(MOST, icmp(0)), queue.push(MOST, icmp(1)), queue.len()), (0, 1, 9));
    }

    #[test]
    fn changes_of_state_find_room_whatever_waits_and_the_close_always() {
        let mut queue = EventQueue::default();
        let at = Instant::ZERO;
        let others = [
            Outgoing::Event(Event::RoleChanged { role: Role::Controlled, at }),
            Outgoing::LocalCandidate { stream: StreamId(0), id: CandidateId(0), generation: 0 },
            icmp(0),
        ];
        for outgoing in others.iter().cycle().take(1000) {
            let _ = queue.push(MOST, outgoing.clone());
        }
        assert_eq!(queue.len(), MOST * 3 / 4);
        let (previous, current) = (GatheringState::New, GatheringState::Gathering);
        let gathering = Outgoing::Event(Event::GatheringStateChanged { previous, current, at });
        // A quarter of the queue is theirs, and then the places of what has a share.
        let lost: Vec<u64> = (0..40).map(|_| queue.push(MOST, gathering.clone())).collect();
        assert!(lost[..32].iter().enumerate().all(|(n, lost)| *lost == u64::from(n >= 16)), "{lost:?}");
        assert_eq!((queue.len(), lost[32..].iter().sum::<u64>()), (MOST, 8));
        let closed = [(); 3].map(|()| queue.push(MOST, state(ConnectionState::Closed)));
        assert_eq!((closed, queue.len()), ([0; 3], MOST + 3));
        while queue.pop_front().is_some() {}
        assert_eq!(queue.shares, [0; Kind::COUNT]);
    }

    /// One event of each kind that somebody can bring about over and over.
    fn floods() -> Vec<Outgoing> {
        let (stream, component, at) = (StreamId(0), ComponentId::RTP, Instant::ZERO);
        let (pair, id) = (PairId { serial: 0, slot: 0 }, CandidateId(0));
        let local: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let (url, text): (Arc<str>, Box<str>) = ("turn:a".into(), "".into());
        let health = PathHealth::Suspect;
        let (answered_at, heard_at, sent_at, next_state_at) = (at, at, None, None);
        let connection = ConnectionId { serial: 0, slot: 0 };
        let reason = ConnectionEnd::Lost;
        let name: Arc<str> = "name.local".into();
        let state = CandidatePairState::Waiting;
        let events = [
            Event::IceCandidateError { url: url.clone(), base: None, code: 1, text: text.clone(), at },
            Event::PathHealthChanged {
                stream,
                component,
                pair,
                health,
                at,
                answered_at,
                heard_at,
                sent_at,
                next_state_at,
            },
            Event::SelectedPairChanged { stream, component, pair: None, at },
            Event::ConsentEnded { stream, component, pair, answered_at: None, at, is_revoked: false },
            Event::RoleChanged { role: Role::Controlled, at },
            Event::ConnectionEnded { connection, stream, component, local, remote: local, reason, at },
            Event::RelayLost { stream, component, url: url.clone(), base: local, code: 1, text, at },
            Event::RelayReleased { url, base: local, at },
            Event::RegisterName { name: name.clone(), address: local.ip() },
            Event::ResolveName { name },
            Event::TooManyRemoteCandidates { stream, limit: 1 },
            Event::PacingLimited { stream, proposed: Duration::ZERO, used: Duration::ZERO },
            Event::LocalCandidateRemoved { stream, id },
            Event::RemoteCandidateRemoved { stream, id },
            Event::PairAdded { pair, stream, component, local: id, remote: id },
            Event::PairStateChanged { pair, state },
            Event::PairRemoved { pair },
        ];
        let mut all: Vec<Outgoing> = events.into_iter().map(Outgoing::Event).collect();
        all.push(icmp(0));
        all.push(Outgoing::LocalCandidate { stream, id, generation: 0 });
        all
    }

    #[test]
    fn no_flood_of_whatever_kind_costs_a_change_of_state_or_the_close() {
        let floods = floods();
        let kinds = floods.iter().filter_map(|one| match Weight::of(one) {
            Weight::Shared(kind) => Some(kind as usize),
            Weight::Listed | Weight::Table | Weight::State | Weight::Final => None,
        });
        assert_eq!(kinds.collect::<BTreeSet<_>>().len(), Kind::COUNT);
        let all_at_once = core::iter::once(floods.clone());
        for flood in floods.into_iter().map(|one| Vec::from([one])).chain(all_at_once) {
            let mut queue = EventQueue::default();
            let mut expected = Vec::new();
            for round in 0..8 {
                for outgoing in flood.iter().cycle().take(10 * MOST) {
                    let _ = queue.push(MOST, outgoing.clone());
                }
                let current = if round % 2 == 0 { ConnectionState::Connected } else { ConnectionState::Disconnected };
                assert_eq!(queue.push(MOST, state(current)), 0, "{flood:?}");
                expected.push(current);
            }
            assert_eq!(queue.push(MOST, state(ConnectionState::Closed)), 0, "{flood:?}");
            expected.push(ConnectionState::Closed);
            assert!(queue.len() <= MOST + 1);
            let told = core::iter::from_fn(|| queue.pop_front()).filter_map(|outgoing| match outgoing {
                Outgoing::Event(Event::ConnectionStateChanged { current, .. }) => Some(current),
                Outgoing::Event(_) | Outgoing::LocalCandidate { .. } => None,
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "{flood:?}");
        }
    }

    #[test]
    fn of_nothing_but_states_the_latest_are_kept() {
        let mut queue = EventQueue::default();
        let lost: u64 = (0..3 * MOST).map(|_| queue.push(MOST, state(ConnectionState::Disconnected))).sum();
        assert_eq!((queue.push(MOST, state(ConnectionState::Connected)), queue.len()), (1, MOST));
        assert_eq!(lost, 2 * MOST as u64);
        let last = core::iter::from_fn(|| queue.pop_front()).last();
        let is_it =
            |event: &Event| matches!(event, Event::ConnectionStateChanged { current: ConnectionState::Connected, .. });
        assert!(matches!(&last, Some(Outgoing::Event(event)) if is_it(event)));
    }

    #[test]
    fn room_that_streams_made_stays_until_the_events_are_polled() {
        let mut queue = EventQueue::default();
        let fill = |queue: &mut EventQueue, most| (0..200).map(|code| queue.push(most, icmp(code))).sum::<u64>();
        assert_eq!((fill(&mut queue, 4 * MOST), queue.len()), (168, 32));
        assert_eq!((fill(&mut queue, MOST), queue.len()), (200, 32));
        while queue.pop_front().is_some() {}
        assert_eq!((fill(&mut queue, MOST), queue.len()), (192, 8));
    }
}
