//! Which nominations were seen before: of so many that remembering each would take tens of kilobytes.

use alloc::vec::Vec;

use crate::config::limits;
use crate::stun::TransactionId;

/// A memory of transactions: what was recorded is known through at least [`WINDOW`](Self::WINDOW) later ones, without
/// exception; of others a few are taken for known.
///
/// It is a Bloom filter of 4 kB with three bits for each transaction: after 4,096 of them 3 in 100 strange ones seem known.
/// Then it is folded in half, bit by bit, and the other half is for the next 4,096; when that is full it takes the place of
/// the first. From then on 15 to 27 in 100 seem known. Nothing is allocated before the first is recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayMemory {
    words: Vec<u64>,
    /// How many were recorded since the last fold or change.
    count: usize,
    /// The first half is that of earlier ones, the second that of the latest.
    is_split: bool,
}

impl ReplayMemory {
    /// Through how many later ones a transaction is known at the least.
    pub(crate) const WINDOW: usize = limits::REPLAY_WINDOW;
    const WORDS: usize = 512;
    const HALF: usize = Self::WORDS / 2;

    /// Whether a transaction was recorded, or seems to have been.
    pub(crate) fn knows(&self, id: TransactionId) -> bool {
        self.has(id, self.latest()) || self.is_split && self.has(id, (0, Self::HALF))
    }

    /// Where the latest are: the first word, and how many.
    const fn latest(&self) -> (usize, usize) {
        if self.is_split { (Self::HALF, Self::HALF) } else { (0, Self::WORDS) }
    }

    fn has(&self, id: TransactionId, (start, words): (usize, usize)) -> bool {
        places(id).into_iter().all(|place| {
            let (word, bit) = locate(place, words);
            self.words.get(start + word).is_some_and(|word| word & bit != 0)
        })
    }

    /// Records a transaction. One that is among the latest already, such as a request that comes twice, takes no room.
    pub(crate) fn record(&mut self, id: TransactionId) {
        if self.words.is_empty() {
            self.words = alloc::vec![0; Self::WORDS];
        }
        if self.has(id, self.latest()) {
            return;
        }
        if self.count == Self::WINDOW {
            self.make_room();
        }
        self.count += 1;
        let (start, words) = self.latest();
        for place in places(id) {
            let (word, bit) = locate(place, words);
            if let Some(word) = self.words.get_mut(start + word) {
                *word |= bit;
            }
        }
    }

    fn make_room(&mut self) {
        self.count = 0;
        let (earlier, latest) = self.words.split_at_mut(Self::HALF);
        for (earlier, latest) in earlier.iter_mut().zip(latest) {
            // Folded, what was anywhere in the whole is where it would have been in the half.
            *earlier = if self.is_split { *latest } else { *earlier | *latest };
            *latest = 0;
        }
        self.is_split = true;
    }
}

/// The word and the bit of a place, in so many words.
const fn locate(place: usize, words: usize) -> (usize, u64) {
    let place = place % (words * 64);
    (place / 64, 1 << (place % 64))
}

/// Where the bits of a transaction are. Peers draw some of their bits only, so all are mixed (splitmix64).
fn places(TransactionId(id): TransactionId) -> [usize; 3] {
    let mut hash = id
        .iter()
        .fold(0_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5));
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    [hash, hash >> 20, hash >> 40].map(|bits| (bits & 0x7fff) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many, of printable characters, as some peers draw them, or of any bytes.
    fn ids(count: usize, is_text: bool) -> Vec<TransactionId> {
        let mut random = crate::random::Random::new(&crate::random::Seed::from_name("replay"));
        let draw = |_| {
            let mut bytes = [0; 12];
            random.fill(&mut bytes);
            TransactionId(bytes.map(|byte| if is_text { b'A' + byte % 26 } else { byte }))
        };
        (0..count).map(draw).collect()
    }

    #[test]
    fn what_was_recorded_is_known_through_4096_later_ones() {
        for is_text in [false, true] {
            let mut memory = ReplayMemory::default();
            let ids = ids(14_000, is_text);
            let (ids, strange) = ids.split_at(13_000);
            assert!(!memory.knows(ids[0]) && memory.words.capacity() == 0);
            for (place, id) in ids.iter().enumerate() {
                memory.record(*id);
                memory.record(*id);
                for back in [0, 1, 2000, 4095, 4096] {
                    assert!(place < back || memory.knows(ids[place - back]), "{place}, {back}");
                }
                let refused = || strange.iter().filter(|id| memory.knows(**id)).count();
                match place {
                    4095 => assert!(refused() < 60, "{}", refused()),
                    12_287 => assert!(refused() < 330, "{}", refused()),
                    _ => {}
                }
            }
            assert_eq!(memory.words.capacity() * 8, 4096);
        }
    }
}
