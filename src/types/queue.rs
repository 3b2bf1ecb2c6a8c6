//! Queues that anything can leave from wherever it stands.

use alloc::collections::VecDeque;
use core::fmt;

use hashbrown::HashTable;

use super::{Handle, work};

/// Things in the order in which they came, each once. To come, to leave and to be looked for takes the same few steps however
/// many there are.
#[derive(Clone)]
pub(crate) struct Queue<T> {
    /// Where something has left there is a gap: fewer than half of them, and none in front.
    entries: VecDeque<Option<T>>,
    /// The number of the first entry: they count up.
    first: u64,
    numbers: HashTable<(T, u64)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), first: 0, numbers: HashTable::new() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().flatten()).finish()
    }
}

impl<T: Handle> Queue<T> {
    /// Adds something at the end, unless it is there.
    pub(crate) fn push_back(&mut self, item: T) {
        work::count();
        if self.contains(&item) {
            return;
        }
        if self.entries.len() > 2 * self.numbers.len() + 16 {
            self.close_gaps();
        }
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Some(item));
        self.numbers.insert_unique(hash(item), (item, number), |(item, _)| hash(*item));
    }

    /// Takes something out; `false` if it was not there.
    pub(crate) fn remove(&mut self, item: &T) -> bool {
        work::count();
        let Ok(found) = self.numbers.find_entry(hash(*item), |(one, _)| one == item) else { return false };
        let ((_, number), _) = found.remove();
        let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = None;
        }
        self.trim();
        true
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.front()?;
        self.remove(&first);
        Some(first)
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.entries.front().copied().flatten()
    }

    pub(crate) fn contains(&self, item: &T) -> bool {
        self.numbers.find(hash(*item), |(one, _)| one == item).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.entries.iter().inspect(|_| work::count()).copied().flatten()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.numbers.clear();
    }

    /// Lets no gap stand in front.
    fn trim(&mut self) {
        while self.entries.front().is_some_and(Option::is_none) {
            work::count();
            self.entries.pop_front();
            self.first += 1;
        }
    }

    fn close_gaps(&mut self) {
        work::many(self.entries.len());
        self.entries.retain(Option::is_some);
        self.numbers.clear();
        for (number, item) in (self.first..).zip(self.entries.iter().flatten()) {
            self.numbers.insert_unique(hash(*item), (*item, number), |(item, _)| hash(*item));
        }
    }
}

/// Slots are given out by us, and close together.
fn hash<T: Handle>(item: T) -> u64 {
    u64::from(item.slot()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::types::{Random, Seed};

    impl Handle for u32 {
        fn new(slot: u32, _: u64) -> Self {
            slot
        }

        fn slot(self) -> u32 {
            self
        }
    }

    #[test]
    fn a_queue_does_what_a_list_does() {
        let mut random = Random::new(&Seed::from_name("queue"));
        let (mut queue, mut list) = (Queue::default(), Vec::new());
        for _ in 0..20_000 {
            let item = u32::try_from(random.below(60)).unwrap();
            match random.below(5) {
                0 | 1 => {
                    if !list.contains(&item) {
                        list.push(item);
                    }
                    queue.push_back(item);
                }
                2 | 3 => {
                    assert_eq!(queue.remove(&item), list.contains(&item));
                    list.retain(|one| *one != item);
                }
                _ => {
                    let first = (!list.is_empty()).then(|| list.remove(0));
                    assert_eq!((queue.front(), queue.pop_front()), (first, first));
                }
            }
            assert!(queue.iter().eq(list.iter().copied()) && queue.len() == list.len());
            assert!(queue.entries.len() <= 2 * 60 + 18);
        }
    }

    #[test]
    fn one_that_stays_in_front_does_not_let_the_queue_grow() {
        let mut queue = Queue::default();
        (0..10_000).for_each(|item: u32| {
            queue.push_back(item);
            assert!(item == 0 || queue.remove(&item));
        });
        assert!(queue.front() == Some(0) && queue.entries.len() < 40);
    }
}
