//! The last few of something, the oldest of which is forgotten for a new one.

use alloc::vec::Vec;

/// The last `N` things that were pushed, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T, const N: usize>(Vec<T>);

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> Recent<T, N> {
    /// Remembers a thing; the oldest goes if there are `N`.
    pub(crate) fn push(&mut self, thing: T) {
        if self.0.len() >= N {
            self.0.remove(0);
        }
        self.0.push(thing);
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn retain(&mut self, which: impl FnMut(&T) -> bool) {
        self.0.retain(which);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: PartialEq, const N: usize> Recent<T, N> {
    pub(crate) fn contains(&self, thing: &T) -> bool {
        self.0.contains(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_for_a_new_one_and_no_other() {
        let mut recent = Recent::<u32, 3>::default();
        assert!(recent.is_empty());
        for number in 0..3 {
            recent.push(number);
        }
        assert!([0, 1, 2].iter().all(|number| recent.contains(number)));
        recent.push(3);
        assert_eq!(recent.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        recent.retain(|number| *number != 2);
        recent.push(4);
        assert_eq!((recent.iter().copied().collect::<Vec<_>>(), recent.len()), (Vec::from([1, 3, 4]), 3));
        recent.clear();
        assert!(recent.is_empty());
    }
}
