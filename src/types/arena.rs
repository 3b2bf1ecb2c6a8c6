//! Things in slots that are used again, each found by an id that is not.
//!
//! ```text
//!   id { slot: 2, serial: 9 } ----+            serial: counts up with each thing, so that an id of one
//!                                 v            that is gone finds nothing, whatever is in its slot now
//!   slots   [ 4 ]   [ free ]   [ 9 ]   [ 7 ]
//! ```

use alloc::vec::Vec;

/// An id: the slot of a thing, and its serial number.
pub(crate) trait Handle: Copy + PartialEq {
    fn new(slot: u32, serial: u64) -> Self;
    fn slot(self) -> u32;
}

/// A thing that knows its id.
pub(crate) trait Kept {
    type Id: Handle;
    fn id(&self) -> Self::Id;
}

/// A table of things by id.
#[derive(Clone, Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    next_serial: u64,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), next_serial: 0 }
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The serial number of the next thing.
    pub(crate) const fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// All things, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// The numbers of all slots, for whoever changes the table on the way.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + use<T> {
        0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

impl<T: Kept> Arena<T> {
    /// Keeps what is made for an id.
    pub(crate) fn insert(&mut self, make: impl FnOnce(T::Id) -> T) -> T::Id {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let id = T::Id::new(slot, self.next_serial);
        self.next_serial += 1;
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(make(id));
        }
        id
    }

    pub(crate) fn get(&self, id: T::Id) -> Option<&T> {
        self.slots.get(id.slot() as usize)?.as_ref().filter(|thing| thing.id() == id)
    }

    pub(crate) fn get_mut(&mut self, id: T::Id) -> Option<&mut T> {
        self.slots.get_mut(id.slot() as usize)?.as_mut().filter(|thing| thing.id() == id)
    }

    /// The thing that is in a slot.
    pub(crate) fn in_slot(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn remove(&mut self, id: T::Id) -> Option<T> {
        let thing = self.slots.get_mut(id.slot() as usize)?.take_if(|thing| thing.id() == id)?;
        self.free.push(id.slot());
        Some(thing)
    }

    /// Says what is wrong: a slot that is free and has something in it, or the other way round, or something in another place
    /// than its id says.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), alloc::string::String> {
        for (slot, thing) in (0_u32..).zip(&self.slots) {
            let free = self.free.iter().filter(|free| **free == slot).count();
            if free != usize::from(thing.is_none()) {
                return Err(alloc::format!("slot {slot} is free {free} times, and has something: {}", thing.is_some()));
            }
            if thing.as_ref().is_some_and(|thing| thing.id().slot() != slot) {
                return Err(alloc::format!("what is in slot {slot} believes to be elsewhere"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PairId;

    #[derive(Debug, PartialEq)]
    struct Thing(PairId, char);

    impl Kept for Thing {
        type Id = PairId;
        fn id(&self) -> PairId {
            self.0
        }
    }

    #[test]
    fn an_id_of_something_that_is_gone_finds_nothing_in_the_slot_that_is_used_again() {
        let mut arena = Arena::new();
        let [a, b] = ['a', 'b'].map(|name| arena.insert(|id| Thing(id, name)));
        assert_eq!(arena.remove(a).map(|thing| thing.1), Some('a'));
        assert_eq!(arena.remove(a), None);
        let c = arena.insert(|id| Thing(id, 'c'));
        assert_eq!((c.slot, a.slot, b.slot), (0, 0, 1));
        assert_eq!((arena.get(a), arena.get(c).map(|thing| thing.1)), (None, Some('c')));
        assert_eq!(arena.get_mut(a), None);
        assert_eq!((arena.len(), arena.next_serial()), (2, 3));
        assert_eq!(arena.iter().map(|thing| thing.1).collect::<alloc::string::String>(), "cb");
        assert_eq!(arena.audit(), Ok(()));
    }

    #[test]
    fn as_many_slots_are_used_as_there_were_things_at_a_time() {
        let mut arena = Arena::new();
        let mut last = [None; 3];
        for round in 0..100 {
            if let Some(old) = last[round % 3].replace(arena.insert(|id| Thing(id, 'x'))) {
                assert!(arena.remove(old).is_some());
            }
        }
        assert_eq!((arena.len(), arena.slots.len()), (3, 4));
        assert_eq!(arena.audit(), Ok(()));
    }
}
