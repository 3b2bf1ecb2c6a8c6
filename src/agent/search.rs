//! Networks that come late: pairs that were not answered in time are checked again for some minutes, as long as their
//! component never had one that was nominated, and candidates may still come. Each check is a new one that is sent once, Ta
//! apart from all others.

use core::cmp::Reverse;
use core::time::Duration;

use smallvec::SmallVec;

use super::Agent;
use super::connections::Carriage;
use super::stream_data::{Component, Stream};
use crate::check::Search;
use crate::checklist::{CandidatePair, CandidatePairState, Purpose, Start};
use crate::types::{Instant, PairId, Path, StreamId, after};

impl Agent {
    /// Begins or ends the search of a stream, and says when its next pair is due.
    pub(super) fn plan_search(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        let search = data.search.unwrap_or(Search::new(self.now));
        let pace = self.longest_interval();
        let due = self.sought(data).map(|pair| due_again(pair, pace)).min();
        let (now, count) = (self.now, self.sought(data).count());
        if let Some(data) = self.stream_mut(stream) {
            data.search = due.map(|at| search.due(at.unwrap_or(now).max(now), count));
        }
    }

    /// The failed pairs that are checked again: those of components that have none that works, and never had one in use.
    /// What becomes of those that had one is the business of consent and of the reserve. A stream of which all candidates
    /// are known fails, and is done.
    fn sought<'a>(&'a self, data: &'a Stream) -> impl Iterator<Item = &'a CandidatePair> {
        let is_off = self.is_closed || self.config.lite || self.is_withheld(data.id);
        let is_open = !is_off && data.failure.is_none() && !data.are_candidates_complete();
        let is_bare = |one: &Component| self.set.valid((data.id, one.id)).is_empty() && !one.nomination.was_made();
        let list = self.set.list(data.id).filter(|_| is_open && data.components.iter().any(is_bare));
        list.into_iter().flat_map(|list| list.failed()).filter_map(|id| self.set.get(id)).filter(move |pair| {
            let is_wanted = data.component(pair.component).is_some_and(is_bare);
            is_wanted && pair.has_timed_out && !pair.is_barred && pair.produced.is_none()
        })
    }

    /// How many pairs are checked in this way.
    pub(super) fn sought_pairs(&self) -> usize {
        self.streams.iter().filter_map(|stream| stream.search).map(|search| search.count()).sum()
    }

    /// When the next one is due.
    pub(super) fn search_deadline(&self) -> Option<Instant> {
        let at = self.streams.iter().filter_map(|stream| stream.search?.deadline()).min()?;
        Some(at.max(self.pacer.next_start_from(self.now)))
    }

    /// The next check of such a pair, as it is to be sent: once. Over TCP it may take a connection first.
    pub(super) fn plan_sought(&mut self) -> Option<Start> {
        let now = self.now;
        loop {
            let searching = self.streams.iter().filter_map(|data| Some((data.search?.deadline()?, data)));
            let (_, data) = searching.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at)?;
            let (stream, pace) = (data.id, self.longest_interval());
            let due = self.sought(data).filter(|pair| due_again(pair, pace).is_none_or(|at| at <= now));
            let next = due.min_by_key(|pair| (pair.last_check_at, Reverse(pair.priority))).map(|pair| pair.id);
            next.into_iter().for_each(|id| self.set.record_look(id, now));
            self.plan_search(stream);
            let Some(id) = next else { continue };
            match self.carriage(id) {
                Carriage::Ready => {
                    if let Some(start) = self.plan(id, Purpose::Probe) {
                        return Some(start);
                    }
                }
                Carriage::Opening(_) => {
                    self.pacer.start(now);
                    return None;
                }
                Carriage::None => {}
            }
        }
    }

    /// What is said first on a connection that was opened for such a pair.
    pub(super) fn plan_opened(&mut self, path: &Path) -> Option<Start> {
        let pair = self.set.find(path).and_then(|id| self.set.get(id))?;
        let is_sought = pair.state.get() == CandidatePairState::Failed && pair.has_timed_out && !pair.is_barred;
        let id =
            Some(pair.id).filter(|_| is_sought && self.stream(pair.stream).is_some_and(|data| data.search.is_some()));
        id.and_then(|id| self.plan(id, Purpose::Probe))
    }

    /// The pairs that are better than this one, which has turned out to work, and were given up before it.
    pub(super) fn given_up_before(&self, id: PairId) -> SmallVec<[PairId; 4]> {
        let found = self.set.get(id).and_then(|found| Some((found, self.stream(found.stream)?)));
        let Some((found, data)) = found.filter(|(_, data)| data.search.is_some()) else { return SmallVec::new() };
        let is_better = |pair: &&CandidatePair| pair.component == found.component && pair.priority > found.priority;
        self.sought(data).filter(is_better).map(|pair| pair.id).collect()
    }
}

/// When a pair is checked again; `None` for at once.
fn due_again(pair: &CandidatePair, pace: Duration) -> Option<Instant> {
    pair.last_check_at.map(|last| after(last, pace))
}
