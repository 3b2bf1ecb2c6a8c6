//! What is kept of a transcript: digests and counts, one for each window of time.

use std::fmt::{self, Write};
use std::format;
use std::str::FromStr;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::{EVENTS, Kind, Line};
use crate::sim::SideName;

/// The digest of a [`Transcript`](super::Transcript), to be kept as text, one line for each side.
///
/// Windows are half a second long in the first four seconds, then two seconds until 20 s, ten until 100 s, and 100 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    sides: [SideRecording; 2],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SideRecording {
    digest: u64,
    windows: Vec<Window>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    datagrams: usize,
    /// The letters of all else.
    events: String,
    digest: u16,
}

/// Lengths of windows, each so many times, in nanoseconds.
const WINDOWS: [(i64, usize); 4] =
    [(500_000_000, 8), (2_000_000_000, 8), (10_000_000_000, 8), (100_000_000_000, usize::MAX)];

/// Where a window begins and ends, in seconds.
pub(super) fn bounds(window: usize) -> (f64, f64) {
    let (mut begin, mut window) = (0.0, window);
    for (length, count) in WINDOWS {
        let length = Duration::from_nanos(length.unsigned_abs()).as_secs_f64();
        if let Some(rest) = window.checked_sub(count) {
            begin += length * f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            window = rest;
        } else {
            let begin = begin + length * f64::from(u32::try_from(window).unwrap_or(u32::MAX));
            return (begin, begin + length);
        }
    }
    (begin, begin)
}

pub(super) fn window_of(at: i64) -> usize {
    let (mut rest, mut place) = (at.max(0), 0_usize);
    for (length, count) in WINDOWS {
        let whole = usize::try_from(rest / length).unwrap_or(usize::MAX);
        if whole < count {
            return place + whole;
        }
        rest -= length * i64::try_from(count).unwrap_or(i64::MAX);
        place += count;
    }
    place
}

/// FNV-1a: the same on every platform, in every version.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl SideRecording {
    fn of(lines: &[Line]) -> Self {
        let mut whole = Fnv::new();
        let mut windows: Vec<(Window, Fnv)> = Vec::new();
        for line in lines {
            let place = window_of(line.at);
            while windows.len() <= place {
                windows.push((Window::default(), Fnv::new()));
            }
            let Some((window, hash)) = windows.get_mut(place) else { continue };
            // The lines of two windows do not meet, so that the digest of one tells what is in it.
            let mut one = Fnv::new();
            one.add(&line.at.to_be_bytes());
            let mut letter = [0; 4];
            match line.kind {
                Kind::Datagram => window.datagrams += 1,
                Kind::Other(kind) => {
                    window.events.push(kind);
                    one.add(kind.encode_utf8(&mut letter).as_bytes());
                }
            }
            one.add(line.text.as_bytes());
            hash.add(&one.0.to_be_bytes());
            whole.add(&one.0.to_be_bytes());
        }
        let folded = |hash: u64| {
            let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
            u16::from_be_bytes([a ^ c ^ e ^ g, b ^ d ^ f ^ h])
        };
        let windows = windows.into_iter().map(|(window, hash)| {
            let is_empty = window == Window::default();
            Window { digest: if is_empty { 0 } else { folded(hash.0) }, ..window }
        });
        Self { digest: whole.0, windows: windows.collect() }
    }

    /// In what it differs from one that was kept; `self` is from before.
    fn difference(&self, now: &Self) -> Option<String> {
        if self == now {
            return None;
        }
        let (empty, count) = (Window::default(), self.windows.len().max(now.windows.len()));
        let pair = |place| (self.windows.get(place).unwrap_or(&empty), now.windows.get(place).unwrap_or(&empty));
        let differing: Vec<usize> = (0..count).filter(|place| pair(*place).0 != pair(*place).1).collect();
        let Some(&first) = differing.first() else { return Some("somewhere".into()) };
        let (before, now) = pair(first);
        let (begin, end) = bounds(first);
        let mut text = format!("first within {begin:.1} s to {end:.1} s: ");
        if before.datagrams == now.datagrams {
            let _ = write!(text, "{} datagrams before and now", now.datagrams);
        } else {
            let _ = write!(text, "{} datagrams before, {} now", before.datagrams, now.datagrams);
        }
        let changes: Vec<String> = EVENTS
            .iter()
            .filter_map(|(letter, word)| {
                let count = |events: &str| events.chars().filter(|one| one == letter).count();
                let (before, now) = (count(&before.events), count(&now.events));
                let times = before.abs_diff(now);
                let times = if times == 1 { String::new() } else { format!("{times} times ") };
                (before != now).then(|| format!("{}{times}{word}", if now > before { "+" } else { "-" }))
            })
            .collect();
        if changes.is_empty() {
            let is_same = before.events == now.events;
            text += if is_same { "; the same kinds of events" } else { "; the same events in another order" };
        } else {
            let _ = write!(text, "; events: {}", changes.join(", "));
        }
        let others = differing.len() - 1;
        if others > 0 {
            let _ = write!(text, "; {others} later windows differ");
        }
        Some(text)
    }
}

impl Recording {
    pub(super) fn of(sides: &[Vec<Line>; 2]) -> Self {
        Self { sides: sides.each_ref().map(|lines| SideRecording::of(lines)) }
    }

    /// Where and in what another one differs first, in words; `self` is the one from before.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        let of = |(side, (before, now)): (SideName, (&SideRecording, &SideRecording))| {
            Some(format!("{side:?}: {}", before.difference(now)?))
        };
        let sides = [SideName::L, SideName::R].into_iter().zip(self.sides.iter().zip(&now.sides));
        let texts: Vec<String> = sides.filter_map(of).collect();
        (!texts.is_empty()).then(|| texts.join("\n  "))
    }

    /// How many datagrams and how many events are in it.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let windows = || self.sides.iter().flat_map(|side| &side.windows);
        (windows().map(|window| window.datagrams).sum(), windows().map(|window| window.events.len()).sum())
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, side) in [("L", &self.sides[0]), ("R", &self.sides[1])] {
            write!(f, "{name} {:016x}", side.digest)?;
            for window in &side.windows {
                if *window == Window::default() {
                    f.write_str(" -")?;
                } else {
                    write!(f, " {}:{}:{:04x}", window.datagrams, window.events, window.digest)?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// What is not a [`Recording`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a recording")]
#[non_exhaustive]
pub struct ParseRecordingError;

impl FromStr for Recording {
    type Err = ParseRecordingError;

    fn from_str(text: &str) -> Result<Self, ParseRecordingError> {
        let mut lines = text.lines();
        let mut side = |name: &str| {
            let mut words = lines.next()?.split(' ');
            if words.next()? != name {
                return None;
            }
            let digest = u64::from_str_radix(words.next()?, 16).ok()?;
            let windows = words.map(|word| {
                if word == "-" {
                    return Some(Window::default());
                }
                let mut parts = word.split(':');
                let (datagrams, events, digest) = (parts.next()?, parts.next()?, parts.next()?);
                let digest = u16::from_str_radix(digest, 16).ok()?;
                Some(Window { datagrams: datagrams.parse().ok()?, events: events.into(), digest })
            });
            Some(SideRecording { digest, windows: windows.collect::<Option<_>>()? })
        };
        let (l, r) = side("L").zip(side("R")).ok_or(ParseRecordingError)?;
        Ok(Self { sides: [l, r] })
    }
}
