//! Which nominations were seen before: of so many that remembering each would take tens of kilobytes.

use alloc::boxed::Box;
use core::fmt;

use crate::config::limits;
use crate::stun::TransactionId;
use crate::types::Random;

/// A memory of transactions: what was recorded is known through at least [`WINDOW`](Self::WINDOW) later ones, without
/// exception; of others a few are taken for known.
///
/// Nothing is allocated before the first is recorded, and 4 kB from then on. How many strange ones seem known grows with what
/// is remembered: 1 in 1,000 after 2,000, 4 in 100 after 4,096, and 9.5 in 100 however many follow.
#[derive(Clone, Default)]
pub(crate) struct ReplayMemory(Option<Box<Ledger>>);

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayMemory(..)")
    }
}

impl ReplayMemory {
    /// Through how many later ones a transaction is known at the least.
    pub(crate) const WINDOW: usize = limits::REPLAY_WINDOW;

    /// Whether a transaction was recorded, or seems to have been.
    pub(crate) fn knows(&self, id: TransactionId) -> bool {
        self.0.as_ref().is_some_and(|ledger| ledger.knows(ledger.hash(id)))
    }

    /// Records a transaction. One that is among the latest already, such as a request that comes twice, takes no room.
    ///
    /// The secret that is needed at first follows from what `random` would draw, and does not tell it.
    pub(crate) fn record(&mut self, id: TransactionId, random: &Random) {
        let ledger = self.0.get_or_insert_with(|| {
            let mut seed = [0; 32];
            random.clone().fill(&mut seed);
            let secret = digest(&[&seed, b"nominations that were seen"]);
            Box::new(Ledger::new(secret))
        });
        ledger.record(ledger.hash(id));
    }
}

/// Each transaction is a number, its cell, in one of 32 sections. The cells of a section are kept in ascending order, each
/// as its distance from the one before (a Rice code: the quotient in unary, the remainder in binary) and its generation in two
/// bits. That is 7 bits for each in the long run, where a Bloom filter of the same accuracy takes twice as many for the
/// generations.
///
/// A section drops its oldest generation when it begins a new one: three full ones are the window. The sections take turns at
/// that, so that no more than half a generation is kept beyond the window on the average.
///
/// Where the codes have no room, neighbouring cells of a section become one, which forgets nothing; the sections take turns at
/// that, too. With few transactions the cells are a thousand times as many as in the long run, where their number is such that
/// the codes fit. Should they not, by bad luck, a section of half the cells makes 3 more in 1,000 strange ones seem known.
#[derive(Clone)]
struct Ledger {
    /// The codes of all sections without gaps between them, and zeros.
    words: [u64; Self::WORDS],
    /// Makes cells from transactions: whoever chooses those must not be able to choose these.
    secret: [u8; 16],
    /// How many bits each section takes.
    lengths: [u16; Self::SECTIONS],
    /// How many were recorded, modulo the generations.
    count: u16,
    /// How often neighbouring cells of a section were made one.
    merges: u16,
}

const _: () = {
    assert!(size_of::<Ledger>() <= 4096, "4 kB are promised");
    assert!(Ledger::SPAN * Ledger::GENERATIONS == Ledger::ROUND as usize, "the count runs over between generations");
    assert!(Ledger::SPAN * (Ledger::GENERATIONS - 1) >= ReplayMemory::WINDOW, "so is the window");
};

/// What a code says, and where the next one begins.
#[derive(Clone, Copy)]
struct Entry {
    cell: u64,
    generation: u64,
    end: usize,
}

/// Where a cell is or would be: what comes next, the bit where that begins, and the least cell that it can have.
struct Place {
    found: Option<Entry>,
    at: usize,
    least: u64,
}

impl Ledger {
    const WORDS: usize = 501;
    const SECTIONS: usize = 32;
    const GENERATIONS: usize = 4;
    /// How many transactions a generation has: all but one, and that is the window.
    const SPAN: usize = 1366;
    /// After how many the generations have come round.
    const ROUND: u16 = 4 * 1366;
    /// By how many transactions a section is ahead of the one before.
    const AHEAD: usize = Self::SPAN / 32;
    /// How many cells a section has in the long run, and in times of that (as a power of two) with few transactions.
    const CELLS: u64 = 1536;
    const FINER: usize = 10;
    /// Bits of a remainder in the long run.
    const REMAINDER: usize = 3;
    const TAG: usize = 2;

    const fn new(secret: [u8; 16]) -> Self {
        Self { words: [0; Self::WORDS], secret, lengths: [0; Self::SECTIONS], count: 0, merges: 0 }
    }

    fn hash(&self, TransactionId(id): TransactionId) -> u64 {
        digest::<8>(&[&id, &self.secret]).iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }

    /// The section of a hash and its cell there.
    fn cell(&self, hash: u64) -> (usize, u64) {
        let section = usize::try_from(hash & 0xffff).unwrap_or_default() % Self::SECTIONS;
        let finest = ((hash >> 32) * (Self::CELLS << Self::FINER)) >> 32;
        (section, finest >> self.merges_of(section))
    }

    /// How often the cells of a section were halved.
    fn merges_of(&self, section: usize) -> usize {
        (usize::from(self.merges) + Self::SECTIONS - 1 - section) / Self::SECTIONS
    }

    /// How many bits of a distance are in binary.
    fn remainder(&self, section: usize) -> usize {
        (Self::REMAINDER + Self::FINER).saturating_sub(self.merges_of(section))
    }

    /// How many transactions ago a section was at the start of its first generation.
    fn age(&self, section: usize) -> usize {
        usize::from(self.count) + section * Self::AHEAD
    }

    /// The generation that a section is at.
    fn generation(&self, section: usize) -> u64 {
        (self.age(section) / Self::SPAN % Self::GENERATIONS) as u64
    }

    fn length(&self, section: usize) -> usize {
        self.lengths.get(section).copied().unwrap_or_default().into()
    }

    fn used(&self) -> usize {
        self.lengths.iter().copied().map(usize::from).sum()
    }

    /// The first bit of a section.
    fn start(&self, section: usize) -> usize {
        self.lengths.iter().take(section).copied().map(usize::from).sum()
    }

    fn knows(&self, hash: u64) -> bool {
        let (section, cell) = self.cell(hash);
        self.find(section, cell).found.is_some_and(|entry| entry.cell == cell)
    }

    fn record(&mut self, hash: u64) {
        while !self.insert(hash) {
            self.merge_neighbours();
        }
    }

    /// Puts a transaction into its section; `false` if it has no room.
    fn insert(&mut self, hash: u64) -> bool {
        let (section, cell) = self.cell(hash);
        let (generation, remainder) = (self.generation(section), self.remainder(section));
        let Place { found, at, least } = self.find(section, cell);
        match found.filter(|entry| entry.cell == cell) {
            Some(entry) if entry.generation == generation => return true,
            Some(entry) => self.put(entry.end - Self::TAG, Self::TAG, generation),
            None => {
                let end = found.map_or(at, |next| next.end);
                let own = code_length(cell - least, remainder);
                let next = found.map_or(0, |next| code_length(next.cell - cell - 1, remainder));
                let growth = own + next - (end - at);
                let used = self.used();
                if used + growth > Self::WORDS * 64 {
                    return false;
                }
                self.shift_up(end, used, growth);
                let after = self.write(at, cell - least, generation, remainder);
                if let Some(next) = found {
                    self.write(after, next.cell - cell - 1, next.generation, remainder);
                }
                self.set_length(section, self.length(section) + growth);
            }
        }
        self.count = (self.count + 1) % Self::ROUND;
        for section in 0..Self::SECTIONS {
            if self.age(section) % Self::SPAN == 0 {
                self.rewrite(section, Some(self.generation(section)), 0);
            }
        }
        true
    }

    /// Makes one cell of two in the section whose turn it is.
    fn merge_neighbours(&mut self) {
        self.rewrite(usize::from(self.merges) % Self::SECTIONS, None, 1);
        self.merges += 1;
    }

    /// Writes a section anew without a generation, or with cells that are merged so often. It gets no longer.
    fn rewrite(&mut self, section: usize, dropped: Option<u64>, merges: usize) {
        let (start, used, now) = (self.start(section), self.used(), self.generation(section));
        let end = start + self.length(section);
        let remainder = self.remainder(section);
        let age = |generation: &u64| now.wrapping_sub(*generation) % Self::GENERATIONS as u64;
        let (mut from, mut least) = (start, 0);
        let (mut to, mut least_written) = (start, 0);
        // What is read is written when the next is known, which may be the same cell.
        let mut held: Option<Entry> = None;
        while from < end {
            let mut next = self.read(from, least, remainder);
            (from, least) = (next.end, next.cell + 1);
            if dropped == Some(next.generation) {
                continue;
            }
            next.cell >>= merges;
            if let Some(same) = held.as_mut().filter(|held| held.cell == next.cell) {
                // Of two that are one now the later counts.
                same.generation = core::cmp::min_by_key(same.generation, next.generation, age);
            } else if let Some(done) = held.replace(next) {
                to = self.write(to, done.cell - least_written, done.generation, remainder.saturating_sub(merges));
                least_written = done.cell + 1;
            }
        }
        if let Some(done) = held {
            to = self.write(to, done.cell - least_written, done.generation, remainder.saturating_sub(merges));
        }
        self.shift_down(end, to, used);
        self.set_length(section, to - start);
    }

    /// The first entry of a section that is not below a cell.
    fn find(&self, section: usize, cell: u64) -> Place {
        let (mut at, remainder) = (self.start(section), self.remainder(section));
        let end = at + self.length(section);
        let mut least = 0;
        while at < end {
            let entry = self.read(at, least, remainder);
            if entry.cell >= cell {
                return Place { found: Some(entry), at, least };
            }
            (at, least) = (entry.end, entry.cell + 1);
        }
        Place { found: None, at, least }
    }

    /// Reads the code at a bit, whose distance counts from `least`.
    fn read(&self, at: usize, least: u64, remainder: usize) -> Entry {
        let mut one = at;
        let mut zeros = self.take(one, 64).trailing_zeros();
        while zeros == 64 && one < Self::WORDS * 64 {
            one += 64;
            zeros = self.take(one, 64).trailing_zeros();
        }
        one += zeros as usize;
        let rest = self.take(one + 1, remainder + Self::TAG);
        let distance = ((one - at) as u64) << remainder | rest & mask(remainder);
        Entry { cell: least + distance, generation: rest >> remainder, end: one + 1 + remainder + Self::TAG }
    }

    /// Writes a code at a bit; gives the bit behind it.
    fn write(&mut self, at: usize, distance: u64, generation: u64, remainder: usize) -> usize {
        let one = at + zeros(distance, remainder);
        let mut zero = at;
        while zero < one {
            let bits = (one - zero).min(64);
            self.put(zero, bits, 0);
            zero += bits;
        }
        let low = distance & mask(remainder);
        let bits = 1 + remainder + Self::TAG;
        self.put(one, bits, 1 | low << 1 | generation << (1 + remainder));
        one + bits
    }

    fn set_length(&mut self, section: usize, length: usize) {
        if let Some(place) = self.lengths.get_mut(section) {
            *place = u16::try_from(length).unwrap_or(u16::MAX);
        }
    }

    /// Moves the bits from `from` to `end` up by so many.
    fn shift_up(&mut self, from: usize, end: usize, by: usize) {
        let mut left = end;
        while left > from {
            let bits = (left - from).min(64);
            left -= bits;
            self.put(left + by, bits, self.take(left, bits));
        }
    }

    /// Moves the bits from `from` to `end` down to `to`, and fills up with zeros.
    fn shift_down(&mut self, from: usize, to: usize, end: usize) {
        let by = from - to;
        let mut at = to;
        while at < end {
            let bits = (end - at).min(64);
            let moved = self.take(at + by, bits);
            self.put(at, bits, moved);
            at += bits;
        }
    }

    /// Up to 64 bits; zeros behind the end.
    fn take(&self, at: usize, bits: usize) -> u64 {
        let word = |index: usize| self.words.get(index).copied().unwrap_or_default();
        let (index, offset) = (at / 64, at % 64);
        let low = word(index) >> offset;
        let both = if offset == 0 { low } else { low | word(index + 1) << (64 - offset) };
        both & mask(bits)
    }

    /// Puts 1 to 64 bits in the place of others.
    fn put(&mut self, at: usize, bits: usize, value: u64) {
        let (index, offset) = (at / 64, at % 64);
        if let Some(word) = self.words.get_mut(index) {
            *word = *word & !(mask(bits) << offset) | value << offset;
        }
        if offset + bits > 64 {
            if let Some(word) = self.words.get_mut(index + 1) {
                *word = *word & !(mask(bits) >> (64 - offset)) | value >> (64 - offset);
            }
        }
    }
}

/// The first bytes of the SHA-256 of these parts.
fn digest<const BYTES: usize>(parts: &[&[u8]]) -> [u8; BYTES] {
    use sha2::Digest;
    let whole = parts.iter().fold(sha2::Sha256::new(), |hasher, part| hasher.chain_update(part)).finalize();
    let mut bytes = whole.into_iter();
    [(); BYTES].map(|()| bytes.next().unwrap_or_default())
}

/// With how many zeros the code of a distance begins.
fn zeros(distance: u64, remainder: usize) -> usize {
    usize::try_from(distance >> remainder).unwrap_or(usize::MAX)
}

/// How many bits the code of a distance takes.
fn code_length(distance: u64, remainder: usize) -> usize {
    zeros(distance, remainder) + 1 + remainder + Ledger::TAG
}

/// So many ones.
const fn mask(bits: usize) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::types::Seed;

    fn random(name: &str) -> Random {
        Random::new(&Seed::from_name(name))
    }

    fn hashes_of(name: &str, count: usize) -> Vec<u64> {
        let mut random = random(name);
        (0..count).map(|_| random.u64()).collect()
    }

    /// Records all, and looks whether those of the window are known: the earliest always, all of them now and then.
    fn record_all(hashes: &[u64], name: &str) -> Ledger {
        let mut ledger = Ledger::new([0; 16]);
        for (place, hash) in hashes.iter().enumerate() {
            ledger.record(*hash);
            let earliest = place.saturating_sub(ReplayMemory::WINDOW);
            let window = if place % 1371 == 0 { &hashes[earliest..=place] } else { &hashes[earliest..=earliest] };
            assert!(window.iter().all(|hash| ledger.knows(*hash)), "{name}, {place}");
        }
        assert!(ledger.words.iter().skip(ledger.used() / 64 + 1).all(|word| *word == 0));
        ledger
    }

    #[test]
    fn what_was_recorded_is_known_through_4096_later_ones() {
        for name in ["one", "two", "three"] {
            record_all(&hashes_of(name, 14_000), name);
        }
    }

    #[test]
    fn of_strange_ones_less_than_one_in_ten_seems_known() {
        let hashes = hashes_of("refusals", 36_000);
        let strange = hashes_of("strange", 36_000);
        let mut ledger = Ledger::new([0; 16]);
        let mut known = Vec::new();
        let mut known_later = 0;
        for (place, (hash, other)) in hashes.iter().zip(&strange).enumerate() {
            ledger.record(*hash);
            if [1000, 2000, 4096, 5000].contains(&(place + 1)) {
                known.push(strange.iter().take(5000).filter(|hash| ledger.knows(**hash)).count());
            }
            known_later += usize::from(place >= 20_000 && ledger.knows(*other));
        }
        std::println!("of 5,000 strange ones seem known after 1,000, 2,000, 4,096 and 5,000: {known:?}");
        std::println!(
            "of 16,000 after 20,000 to 36,000: {known_later}; {} merges, {} bits",
            ledger.merges,
            ledger.used()
        );
        assert!(known.iter().zip([5, 10, 250, 490]).all(|(known, most)| *known <= most), "{known:?}");
        assert!(known_later < 1600, "{known_later}");
    }

    #[test]
    fn where_the_cells_have_no_room_nothing_is_forgotten() {
        let hashes = hashes_of("crowd", 9000);
        // All in one section; all in one half of each; the first and the last cell; all in neighbouring cells.
        type Crowd = fn((usize, u64)) -> u64;
        let crowds: [Crowd; 4] = [
            |(_, hash)| hash & !31,
            |(_, hash)| hash >> 1,
            |(_, hash)| if hash & 1 << 40 == 0 { hash & 31 } else { !31 | hash & 31 },
            |(place, hash)| (place as u64) << 42 | hash & 31,
        ];
        for (number, crowd) in crowds.into_iter().enumerate() {
            let crowded: Vec<_> = hashes.iter().copied().enumerate().map(crowd).collect();
            record_all(&crowded, &alloc::format!("{number}"));
        }
    }

    #[test]
    fn a_transaction_that_comes_twice_takes_no_room() {
        let mut ledger = record_all(&hashes_of("twice", 5000), "twice");
        ledger.record(7);
        let (used, count) = (ledger.used(), ledger.count);
        ledger.record(7);
        assert_eq!((used, count), (ledger.used(), ledger.count));
    }

    #[test]
    fn who_chooses_the_transactions_does_not_choose_where_they_go() {
        let ids = |count: u32| {
            (0..count).map(|n| TransactionId([[0; 8].as_slice(), &n.to_be_bytes()].concat().try_into().unwrap()))
        };
        let memory = |name: &str| {
            let mut memory = ReplayMemory::default();
            assert!(memory.0.is_none() && !memory.knows(TransactionId([0; 12])));
            ids(1).for_each(|id| memory.record(id, &random(name)));
            memory.0.unwrap()
        };
        let [one, other] = ["one", "other"].map(memory);
        let crowd: Vec<_> = ids(32_000).filter(|id| one.cell(one.hash(*id)).0 == 0).collect();
        assert!((800..1200).contains(&crowd.len()), "{}", crowd.len());
        for section in 0..Ledger::SECTIONS {
            let there = crowd.iter().filter(|id| other.cell(other.hash(**id)).0 == section).count();
            assert!((10..60).contains(&there), "{section}: {there}");
        }
    }
}
