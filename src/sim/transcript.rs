//! What two agents have sent and told, and when, as text that means the same whatever the code behind it looks like.
//!
//! A [`Transcript`] has a line for each datagram, request for a connection, event and piece of received data, with its instant.
//! The lines are made of what is public: bytes, addresses, numbers, and words that stand here for each variant. How a type or
//! a field is called does not show in them, and neither do the names of pairs, candidates and connections: those are told by
//! addresses, or counted in the order in which they come up. A [`Recording`] is the digest of a transcript, short enough to be
//! kept: one for each side, and besides the whole one for each [window](Recording) of time, with the number of datagrams and the
//! kinds of events in it, so that two of them say where, and in what, they differ.
//!
//! ```
//! use nilas::sim::{Recording, Scene};
//!
//! let recording = Scene::new(4).run().record();
//! let kept: Recording = recording.to_string().parse()?;
//! assert_eq!(kept.difference(&recording), None);
//! # Ok::<(), nilas::sim::ParseRecordingError>(())
//! ```

mod recording;
mod scribe;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

pub use recording::{ParseRecordingError, Recording};
use scribe::{Scribe, hex};

use super::pair::Pair;
use super::peer::Peer;
use crate::types::Instant;

/// What two agents have sent and told; see the module for what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The lines of each side, in the order of time.
    sides: [Vec<Line>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Nanoseconds from the start.
    at: i64,
    kind: Kind,
    text: String,
}

/// The kind of a line, in the order of the lines of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Datagram,
    /// A letter of [`EVENTS`].
    Other(char),
}

/// Kinds of lines that are no datagrams, each with its letter in recordings.
const EVENTS: [(char, &str); 36] = [
    ('o', "connection to open"),
    ('q', "connection to close"),
    ('w', "received data"),
    ('l', "local candidate"),
    ('e', "end of candidates"),
    ('g', "gathering state changed"),
    ('r', "name to register"),
    ('n', "name to resolve"),
    ('x', "candidate error"),
    ('S', "selected pair changed"),
    ('h', "path health changed"),
    ('C', "consent ended"),
    ('t', "stream state changed"),
    ('T', "connection state changed"),
    ('R', "role changed"),
    ('m', "too many remote candidates"),
    ('p', "pacing limited"),
    ('c', "connection ended"),
    ('L', "relay lost"),
    ('f', "relay released"),
    ('i', "relay told of ICMP"),
    ('a', "local candidate added"),
    ('b', "local candidate changed"),
    ('d', "local candidate removed"),
    ('A', "remote candidate added"),
    ('D', "remote candidate discovered"),
    ('M', "remote candidate merged"),
    ('B', "remote candidate changed"),
    ('E', "remote candidate removed"),
    ('P', "pair added"),
    ('s', "pair state changed"),
    ('k', "candidates of a pair changed"),
    ('v', "validity of a pair changed"),
    ('N', "pair nominated"),
    ('O', "nomination of a pair lost"),
    ('Q', "pair removed"),
];

/// The word for a kind of line.
fn word(letter: char) -> &'static str {
    EVENTS.iter().find(|(known, _)| *known == letter).map_or("something", |(_, word)| word)
}

impl Transcript {
    /// All that two agents have sent and told since their logs were [forgotten](Pair::forget_logs) last.
    #[must_use]
    pub fn of(pair: &Pair) -> Self {
        let epoch = Instant::from_nanos(pair.now().as_nanos().saturating_sub(nanos(pair.elapsed())));
        Self { sides: [Self::of_side(&pair.l, epoch), Self::of_side(&pair.r, epoch)] }
    }

    fn of_side(peer: &Peer, epoch: Instant) -> Vec<Line> {
        let mut scribe = Scribe::new(epoch, &peer.paths);
        let mut lines = Vec::new();
        let datagram = Kind::Datagram;
        for sent in &peer.sent {
            let class = sent.traffic_class.octet();
            let mut text = format!("{} > {} {class} ", sent.source, sent.destination);
            hex(&mut text, &sent.payload);
            lines.push(Line { at: scribe.at(sent.at), kind: datagram, text });
        }
        // Connections are named in the order in which they were asked for, and those accepted in that of what was sent.
        for (at, request) in &peer.connections {
            let (letter, text) = scribe.request(request);
            lines.push(Line { at: scribe.at(*at), kind: Kind::Other(letter), text });
        }
        for (at, id, bytes) in &peer.streamed {
            let mut text = format!("on {} ", scribe.connection(*id));
            hex(&mut text, bytes);
            lines.push(Line { at: scribe.at(*at), kind: datagram, text });
        }
        for (at, event) in &peer.events {
            let (letter, text) = scribe.event(event);
            lines.push(Line { at: scribe.at(*at), kind: Kind::Other(letter), text });
        }
        for data in &peer.received {
            let mut text = format!("{}.{} ", data.stream, data.component);
            if let Some((to, from)) = data.arrived {
                let _ = write!(text, "{to} < {from} ");
            }
            hex(&mut text, &data.payload);
            lines.push(Line { at: scribe.at(data.at), kind: Kind::Other('w'), text });
        }
        // Stable: lines of one kind stay as they came.
        lines.sort_by_key(|line| (line.at, matches!(line.kind, Kind::Other(_))));
        lines
    }

    /// What is kept of it.
    #[must_use]
    pub fn record(&self) -> Recording {
        Recording::of(&self.sides)
    }
}

impl fmt::Display for Transcript {
    /// One line for each datagram, event, request and piece of data, in the order of time, to be compared line by line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [l, r] = &self.sides;
        let mut all: Vec<(&str, &Line)> = l.iter().map(|line| ("L", line)).collect();
        all.extend(r.iter().map(|line| ("R", line)));
        all.sort_by_key(|(_, line)| line.at);
        for (side, line) in all {
            let (seconds, rest) = (line.at.div_euclid(1_000_000_000), line.at.rem_euclid(1_000_000_000));
            let kind = match line.kind {
                Kind::Datagram => "sent",
                Kind::Other(letter) => word(letter),
            };
            writeln!(f, "{seconds}.{rest:09} {side} {kind}: {}", line.text)?;
        }
        Ok(())
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
