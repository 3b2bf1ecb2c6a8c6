//! Sessions that the user has not accepted yet.

use super::Agent;
use crate::types::{Instant, StreamId, after};

impl Agent {
    /// Withholds connectivity checks, or lets them go: candidates are gathered and signalled, and nothing is sent to the
    /// peer before its user has accepted the session (RFC 8827 §6.4). Default: nothing is withheld.
    ///
    /// Meanwhile checks of the peer for a stream that has no pair in use are dropped without an answer, which would tell
    /// that somebody is there; the time after which ICE fails starts when checks do. Streams that are connected go on, with
    /// consent and data.
    pub fn withhold_checks(&mut self, now: Instant, is_held: bool) {
        self.observe(now);
        if self.set.is_paused() == is_held || self.is_closed {
            return;
        }
        self.set.pause(is_held);
        let pac = after(self.now, self.config.pac());
        for stream in self.streams.iter_mut().filter(|stream| !is_held && !stream.remote.is_empty()) {
            if stream.components.iter().any(|component| component.nomination.pair().is_none()) {
                stream.pac_deadline = Some(pac);
            }
        }
        self.is_dirty = true;
    }

    /// Whether a check of the peer may not be answered yet.
    pub(super) fn is_withheld(&self, stream: StreamId) -> bool {
        self.set.is_paused()
            && self
                .stream(stream)
                .is_some_and(|data| data.components.iter().all(|component| component.selection.in_use().is_none()))
    }
}
