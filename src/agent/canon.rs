//! What an agent will do, as text: for the explorer of the simulator, which takes two agents with the same text for one.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::Agent;
use crate::checklist::TransactionKey;
use crate::stun::TransactionId;
use crate::types::{ComponentId, PairId, StreamId};

/// The names that are drawn at random, in an order that does not depend on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DrawnNames {
    pub(crate) transactions: Vec<TransactionId>,
    pub(crate) keys: Vec<TransactionKey>,
    pub(crate) ufrags: Vec<String>,
}

impl Agent {
    /// Appends the state to `out`, with instants and drawn names as they are; gives these names.
    pub(crate) fn write_state(&self, out: &mut String) -> DrawnNames {
        // Every field is named here, so that a new one cannot be forgotten. Left out is what follows from others, what never
        // changes, what only counts, and what is yet to be drawn.
        let Self {
            config: _,
            role,
            tiebreaker: _,
            random: _,
            streams,
            sockets,
            set,
            pacer,
            consent_pacer,
            local_foundations: _,
            remote_foundations: _,
            next_stream: _,
            next_candidate: _,
            nominations,
            outbox,
            gatherer,
            connections,
            names: _,
            relays,
            stats: _,
            reply_limit: _,
            now: _,
            is_dirty,
            is_closed,
            is_marked: _,
            is_idle,
            mapped_sockets: _,
            ledger: _,
            gathering,
            state,
        } = self;
        let mut drawn = DrawnNames::default();
        let mut live: Vec<(String, TransactionKey, TransactionId)> =
            set.live().map(|(key, transaction)| (format!("{transaction:?}"), key, transaction.start.id)).collect();
        live.sort();
        for (text, key, id) in live {
            let _ = write!(out, "{text};");
            drawn.keys.push(key);
            drawn.transactions.push(id);
        }
        drawn.transactions.extend(gatherer.transactions());
        #[cfg(feature = "turn")]
        drawn.transactions.extend(relays.list.values().flat_map(|relay| relay.allocation.transactions()));
        drawn.transactions.extend(outbox.replies.iter().map(|reply| reply.id));
        for component in streams.iter().flat_map(|stream| &stream.components) {
            drawn.transactions.extend(component.nomination.transactions());
        }
        for stream in streams {
            let remote = stream.previous.iter().flat_map(|previous| &previous.remote).chain(&stream.remote);
            let local = [stream.previous.as_ref().map(|one| &one.local), Some(&stream.local)];
            let local = local.into_iter().chain([stream.pending.as_ref().map(|one| &one.local)]).flatten();
            drawn.ufrags.extend(local.chain(remote).map(|keyed| keyed.ufrag().into()));
        }
        let _ = write!(
            out,
            "{role:?}{sockets:?}{pacer:?}{consent_pacer:?}{nominations}{outbox:?}{gatherer:?}{connections:?}{relays:?}{:?}",
            (is_dirty, is_closed, is_idle, gathering, state)
        );
        set.write_state(out);
        for pair in set.iter() {
            let _ = write!(out, "{pair:?}");
        }
        let _ = write!(out, "{streams:?}");
        drawn
    }

    /// Whether the application has ended the session, polled or not.
    pub(crate) const fn was_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether a component has selected a pair of the current generation.
    pub(crate) fn has_selected_anew(&self, stream: StreamId, component: ComponentId) -> bool {
        let selected = self.component((stream, component)).and_then(|component| component.selection.selected());
        selected.is_some_and(|id| self.is_current_pair(id))
    }

    /// Whether a pair is one of the current generation of its stream.
    pub(crate) fn is_current_pair(&self, id: PairId) -> bool {
        let pair = self.set.get(id);
        pair.is_some_and(|pair| self.stream(pair.stream).is_some_and(|data| data.generation == pair.generation))
    }
}
