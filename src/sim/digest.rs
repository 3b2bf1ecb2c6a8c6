//! A digest of two agents and of the network between them that is the same for states from which the same can happen.
//!
//! It is made of the `Debug` text of all that matters; a new field of a stream, a component or a pair is part of it
//! without further ado, and one of the agent itself does not compile before it is. It has these abstractions:
//!
//! - **Time** is relative: each instant is told by its distance from the clock, which is not part of the state. What lies more
//!   than a minute back is long ago.
//! - **Drawn names** are told by their place: transaction IDs, the keys of transactions and username fragments are numbered in
//!   the order in which the agents keep them, so that states are one which differ only in what was drawn. Integrity and
//!   FINGERPRINT of packets follow from the rest, and are left out.
//! - **What is yet to be drawn** is left out: states are one that differ in the future of their random numbers alone, and so
//!   is the instant of the next regular consent check, which is drawn.
//! - **What follows from others** is left out: indexes, which the simulator counts anew after every step.
//! - **Statistics** are left out: counters of pairs and components, measured loss, the logs of the simulator. The smoothed
//!   round-trip time is not.
//! - **Order in the air** is left out: the packets in flight are a set, because the explorer lets any of them come next, and
//!   so is when they are due.
//! - **History of storage** is left out: free slots, and timers that no longer hold.
//!
//! Two states of one digest may differ in such a thing and by it go on in different ways: then one of the ways is not seen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::pair::Pair;
use crate::Agent;
use crate::agent::DrawnNames;
use crate::checklist::TransactionKey;
use crate::stun::TransactionId;
use crate::types::{Handle, Instant};

/// Fields that are left out wherever they are.
const LEFT_OUT: [&str; 16] = [
    "stats",
    "traffic",
    "timers",
    "free",
    "next_serial",
    "regular_at",
    "loss",
    "checks",
    "by_transaction",
    "spare",
    "first_later_pair",
    "pairs_made",
    // Of candidates, which have names.
    "extensions",
    "spelling",
    "foundation",
    "slots",
];
/// What lies further back than this is long ago, in nanoseconds.
const LONG_AGO: i64 = 60_000_000_000;

/// Numbers for drawn names.
#[derive(Debug, Default)]
struct Names {
    transactions: BTreeMap<TransactionId, usize>,
    keys: Vec<TransactionKey>,
    ufrags: Vec<String>,
}

impl Names {
    fn transaction(&mut self, id: TransactionId) -> usize {
        let next = self.transactions.len();
        *self.transactions.entry(id).or_insert(next)
    }

    fn ufrag(&mut self, text: &str) {
        if !self.ufrags.iter().any(|known| known == text) {
            self.ufrags.push(text.into());
        }
    }
}

/// One side, digested: it is the same until something happens to the side or time passes.
#[derive(Clone, Debug)]
pub(super) struct SideDigest {
    hash: u64,
    drawn: Arc<DrawnNames>,
}

/// Digests a drained pair, with the buffers that it needs.
#[derive(Debug, Default)]
pub(super) struct Digester {
    text: String,
    out: Vec<u8>,
}

impl Digester {
    /// Digests all of it.
    pub(super) fn digest(&mut self, pair: &Pair) -> u64 {
        self.digest_with(pair, [None, None]).0
    }

    /// The same, where some sides are known to be as they were.
    pub(super) fn digest_with(&mut self, pair: &Pair, known: [Option<SideDigest>; 2]) -> (u64, [SideDigest; 2]) {
        let mut side = 0;
        let sides = known.map(|known| {
            let peer = if side == 0 { &pair.l } else { &pair.r };
            let digest = known.unwrap_or_else(|| self.digest_side(&peer.agent, pair.now()));
            side += 1;
            digest
        });
        let mut names = Names::default();
        self.out.clear();
        for side in &sides {
            side.drawn.ufrags.iter().for_each(|ufrag| names.ufrag(ufrag));
            for id in &side.drawn.transactions {
                let number = names.transaction(*id);
                self.out.extend(number.to_be_bytes());
            }
            for ufrag in &side.drawn.ufrags {
                let number = names.ufrags.iter().position(|known| known == ufrag).unwrap_or_default();
                self.out.extend(number.to_be_bytes());
            }
            self.out.extend(side.hash.to_be_bytes());
        }
        self.text.clear();
        let _ = write!(self.text, "{:?}", pair.signals());
        pair.network.write_state(&mut self.text);
        for server in &pair.servers {
            server.write_state(&mut self.text);
        }
        canon(&self.text, pair.now(), &names, &mut self.out);
        self.add_flights(pair, &mut names);
        (hash(&self.out), sides)
    }

    /// One side alone, with names that are its own: the numbers of both sides' names stand beside it.
    fn digest_side(&mut self, agent: &Agent, now: Instant) -> SideDigest {
        self.text.clear();
        self.out.clear();
        let drawn = agent.write_state(&mut self.text);
        let mut names = Names::default();
        names.keys.clone_from(&drawn.keys);
        drawn.ufrags.iter().for_each(|ufrag| names.ufrag(ufrag));
        canon(&self.text, now, &names, &mut self.out);
        SideDigest { hash: hash(&self.out), drawn: Arc::new(drawn) }
    }

    /// The packets in flight as a set; those of unknown transactions are numbered by what else is in them.
    fn add_flights(&mut self, pair: &Pair, names: &mut Names) {
        let mut flights: Vec<(Vec<u8>, Vec<TransactionId>)> = pair
            .network
            .in_flight_with_addresses()
            .map(|(source, destination, payload)| {
                let (mut bytes, mut unknown) = (Vec::new(), Vec::new());
                let mut head = String::new();
                let _ = write!(head, "{source}>{destination}:");
                bytes.extend(head.as_bytes());
                canon_packet(payload, names, &mut unknown, &mut bytes);
                (bytes, unknown)
            })
            .collect();
        flights.sort();
        for (bytes, unknown) in flights {
            self.out.extend(bytes);
            for id in unknown {
                let number = names.transaction(id);
                self.out.extend(number.to_be_bytes());
            }
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'/')
}

/// Appends a `Debug` text with relative time and numbered names, and without what is left out.
fn canon(text: &str, now: Instant, names: &Names, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        if !is_word(first) {
            let end = rest.bytes().position(is_word).unwrap_or(rest.len());
            out.extend(rest.as_bytes().get(..end).unwrap_or_default());
            rest = skip(rest, end);
            continue;
        }
        let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = behind;
        if let Some(value) = behind.strip_prefix(": ") {
            // The name of a field.
            out.extend(word.as_bytes());
            if LEFT_OUT.contains(&word) {
                rest = skip(value, length_of_value(value));
            }
        } else if let Some(number) = behind.strip_prefix(" { nanos: ").filter(|_| word == "Instant") {
            let (nanos, end) = number.split_once(" }").unwrap_or((number, ""));
            let distance = nanos.parse::<i64>().unwrap_or(i64::MIN).saturating_sub(now.as_nanos());
            out.push(b'@');
            out.extend(distance.max(-LONG_AGO).to_be_bytes());
            rest = end;
        } else if let Some(fields) = behind.strip_prefix(" { slot: ").filter(|_| word == "TransactionKey") {
            let (fields, end) = fields.split_once(" }").unwrap_or((fields, ""));
            let (slot, serial) = fields.split_once(", serial: ").unwrap_or((fields, ""));
            let key = slot.parse().ok().zip(serial.parse().ok());
            let key = key.map(|(slot, serial)| TransactionKey::new(slot, serial));
            let number = key.and_then(|key| names.keys.iter().position(|known| *known == key));
            out.push(b'#');
            out.extend(number.unwrap_or(usize::MAX).to_be_bytes());
            rest = end;
        } else if let Some(number) = names.ufrags.iter().position(|ufrag| ufrag == word) {
            out.push(b'~');
            out.extend(number.to_be_bytes());
        } else {
            out.extend(word.as_bytes());
        }
    }
}

/// A text without the values of these fields.
pub(super) fn without(text: &str, fields: &[&str]) -> String {
    let mut text = String::from(text);
    for field in fields {
        let name = std::format!(" {field}: ");
        let mut parts = text.split(name.as_str());
        let mut kept = String::from(parts.next().unwrap_or_default());
        for part in parts {
            kept.push_str(&name);
            kept.push_str(skip(part, length_of_value(part)));
        }
        text = kept;
    }
    text
}

fn skip(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or("")
}

/// How long the value is that a text begins with.
fn length_of_value(text: &str) -> usize {
    let mut depth = 0_u32;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' if depth == 0 => return place,
            b'}' | b')' | b']' => depth -= 1,
            b',' if depth == 0 => return place,
            _ => {}
        }
    }
    text.len()
}

/// Appends a packet without what follows from the rest.
fn canon_packet(payload: &[u8], names: &Names, unknown: &mut Vec<TransactionId>, out: &mut Vec<u8>) {
    let header: Option<&[u8; 20]> = payload.first_chunk();
    let Some(header) =
        header.filter(|header| header.starts_with(&[header[0] & 0x3f]) && header[4..8] == [0x21, 0x12, 0xa4, 0x42])
    else {
        // Data in a channel may be a message in turn.
        match payload.split_at_checked(4) {
            Some((channel, inside)) if channel.first().is_some_and(|first| first & 0xc0 == 0x40) => {
                out.extend(channel);
                canon_packet(inside, names, unknown, out);
            }
            Some(_) | None => out.extend(payload),
        }
        return;
    };
    out.extend(&header[..2]);
    let mut id = [0; 12];
    id.copy_from_slice(&header[8..]);
    match names.transactions.get(&TransactionId(id)) {
        Some(number) => out.extend(number.to_be_bytes()),
        None => unknown.push(TransactionId(id)),
    }
    let mut rest = payload.get(20..).unwrap_or(&[]);
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        let [kind, length] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
        let length = usize::from(length);
        let value = behind.get(..length).unwrap_or(behind);
        rest = behind.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        match kind {
            // MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256, FINGERPRINT.
            0x0008 | 0x001c | 0x8028 => continue,
            // USERNAME.
            0x0006 => {
                out.extend(head);
                let text = std::str::from_utf8(value).unwrap_or("");
                for part in text.split(':') {
                    match names.ufrags.iter().position(|ufrag| ufrag == part) {
                        Some(number) => out.extend(number.to_be_bytes()),
                        None => out.extend(part.as_bytes()),
                    }
                    out.push(b':');
                }
            }
            // DATA.
            0x0013 => canon_packet(value, names, unknown, out),
            _ => {
                out.extend(head);
                out.extend(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::PairSetup;
    use crate::{Config, Seed};
    use std::time::Duration;

    fn text(text: &str, now: i64) -> Vec<u8> {
        let mut out = Vec::new();
        canon(text, Instant::from_nanos(now), &Names::default(), &mut out);
        out
    }

    #[test]
    fn instants_are_relative_and_fields_are_left_out_with_all_that_is_in_them() {
        let of = |nanos: i64, lost: u32| {
            std::format!("Some(A {{ at: Instant {{ nanos: {nanos} }}, stats: S {{ x: [{lost}, (1, 2)] }}, b: 3 }})")
        };
        assert_eq!(text(&of(7, 1), 5), text(&of(107, 2), 105));
        assert_ne!(text(&of(7, 1), 5), text(&of(8, 1), 5));
        assert_ne!(text("A { b: 3 }", 0), text("A { b: 4 }", 0));
    }

    #[test]
    fn two_worlds_that_differ_in_time_and_in_what_was_drawn_have_one_digest() {
        let digest = |name: &str, later: u64| {
            let config = Config::default();
            let mut setup = PairSetup::new(Seed::from_name(name)).config(config);
            setup.epoch = Instant::from_nanos(i64::try_from(later).unwrap());
            let mut pair = setup.build();
            pair.run_for(Duration::from_millis(10));
            let first = Digester::default().digest(&pair);
            pair.run_for(Duration::from_millis(20));
            (first, Digester::default().digest(&pair))
        };
        let (first, second) = digest("a", 0);
        assert_ne!(first, second);
        // The tiebreakers are drawn, too, and packets tell them: what follows from them is not the same.
        assert_eq!(digest("a", 1_000_000_007), (first, second));
    }
}
