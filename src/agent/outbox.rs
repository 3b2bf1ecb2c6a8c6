//! The queues that leave the crate: answers, and events.

use alloc::collections::VecDeque;

use super::event_queue::EventQueue;
use crate::checklist::TransactionKey;
use crate::config::limits;
use crate::event::Event;
use crate::stun::{ErrorReply, Integrity, TransactionId};
use crate::types::{CandidateId, PairId, Path, Queue, StreamId};

/// An answer to a request, encoded when it is polled.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: TransactionId,
    /// How the request came, and the answer goes: a success response tells the remote address.
    pub(crate) path: Path,
    pub(crate) stream: StreamId,
    /// The generation whose password protects it.
    pub(crate) generation: u32,
    /// How it is protected; an answer to what was not authenticated is not.
    pub(crate) integrity: Option<Integrity>,
    pub(crate) error: Option<ErrorReply>,
}

/// An event that waits. A candidate is looked up when it is taken: until then its priority may change.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Event(Event),
    LocalCandidate { stream: StreamId, id: CandidateId, generation: u32 },
}

impl Outgoing {
    /// The stream whose candidates it is about.
    pub(crate) const fn about_candidates_of(&self) -> Option<StreamId> {
        match self {
            Self::LocalCandidate { stream, .. } | Self::Event(Event::EndOfCandidates { stream, .. }) => Some(*stream),
            Self::Event(_) => None,
        }
    }

    /// Whether it is about the candidates of this generation.
    pub(crate) fn is_of(&self, wanted: StreamId, number: u32) -> bool {
        match self {
            Self::LocalCandidate { stream, generation, .. } => (*stream, *generation) == (wanted, number),
            Self::Event(Event::EndOfCandidates { stream, generation, .. }) => {
                (*stream, *generation) == (wanted, number)
            }
            Self::Event(_) => false,
        }
    }
}

/// What waits to be polled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) replies: VecDeque<Reply>,
    /// Transactions that are due to be sent again.
    pub(crate) repeats: Queue<TransactionKey>,
    /// Pairs of which a consent check is due.
    pub(crate) consent: Queue<PairId>,
    /// Failed pairs that are to be checked again, once.
    pub(crate) probes: Queue<PairId>,
    pub(crate) events: EventQueue,
}

impl Outbox {
    /// Queues an answer; `false` if there is no room.
    #[must_use]
    pub(crate) fn reply(&mut self, reply: Reply) -> bool {
        let has_room = self.replies.len() < limits::REPLIES;
        if has_room {
            self.replies.push_back(reply);
        }
        has_room
    }

    /// Queues a consent check, once for each pair.
    pub(crate) fn queue_consent(&mut self, pair: PairId) {
        self.consent.push_back(pair);
    }

    /// Queues a check of a failed pair, once for each pair.
    pub(crate) fn queue_probe(&mut self, pair: PairId) {
        self.probes.push_back(pair);
    }

    pub(crate) fn has_datagrams(&self) -> bool {
        !self.replies.is_empty() || !self.repeats.is_empty()
    }
}
