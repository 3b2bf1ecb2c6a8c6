//! Pairs that were not answered in time are checked again, once each, at a pace: the network may come late.

use core::time::Duration;

use crate::types::{Instant, after};

/// The search of one checklist for a pair that works after all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    until: Instant,
    /// When the next pair is due; `None` once the time is over.
    at: Option<Instant>,
    /// How many pairs take part.
    count: usize,
}

impl Search {
    /// How long it goes on: a session that nobody has closed must not wake its host for ever.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

    /// A search that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { until: after(now, Self::PATIENCE), at: None, count: 0 }
    }

    /// The same with so many pairs, the next of which is due then.
    pub(crate) fn due(self, at: Instant, count: usize) -> Self {
        let is_open = at < self.until;
        Self { at: Some(at).filter(|_| is_open), count: if is_open { count } else { 0 }, ..self }
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// How many pairs take part: they share Ta with all others.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_after_five_minutes() {
        let at = |secs| after(Instant::ZERO, Duration::from_secs(secs));
        let search = Search::new(at(40));
        assert_eq!((search.deadline(), search.count()), (None, 0));
        let search = search.due(at(339), 3);
        assert_eq!((search.deadline(), search.count()), (Some(at(339)), 3));
        let search = search.due(at(340), 3);
        assert_eq!((search.deadline(), search.count()), (None, 0));
    }
}
