//! Streams whose candidates are gathered before there is anybody to signal them to (RFC 9429 §3.5.4).

use alloc::vec::Vec;

use super::outbox::Outgoing;
use super::{AddStreamError, Agent, UnknownStream};
use crate::types::{Instant, StreamId};

impl Agent {
    /// Adds a stream of the candidate pool: its candidates are gathered like those of any other, and kept alive, but their
    /// events, and that of their end, wait for [`use_pooled_stream`](Self::use_pooled_stream). The first offer then has its
    /// candidates at once. The pool is as large as the application makes it; without such calls there is none.
    ///
    /// # Errors
    /// As [`add_stream`](Self::add_stream).
    pub fn add_pooled_stream(&mut self, components: u16) -> Result<StreamId, AddStreamError> {
        let stream = self.add_stream(components)?;
        if let Some(data) = self.stream_mut(stream) {
            data.held = Some(Vec::new());
        }
        Ok(stream)
    }

    /// Takes a stream out of the candidate pool, when a description with it is about to be signalled: what was gathered so
    /// far comes as events, and what else is found as soon as it is. Any other stream stays as it is.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn use_pooled_stream(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        for outgoing in data.held.take().unwrap_or_default() {
            self.queue(outgoing);
        }
        self.is_dirty = true;
        Ok(())
    }

    /// Keeps what is about candidates of a pooled stream; gives back what is not.
    pub(super) fn hold(&mut self, outgoing: Outgoing) -> Option<Outgoing> {
        let limit = self.config.max_events;
        let held = outgoing.about_candidates_of().and_then(|stream| self.stream_mut(stream)?.held.as_mut());
        match held {
            Some(held) if held.len() < limit => held.push(outgoing),
            Some(_) => self.stats.events_lost += 1,
            None => return Some(outgoing),
        }
        None
    }
}
