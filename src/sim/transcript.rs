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

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::format;
use std::net::SocketAddr;
use std::str::FromStr;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use super::pair::Pair;
use super::peer::Peer;
use super::setup::SideName;
use crate::types::Instant;
use crate::{
    CandidateId, CandidatePairState, ConnectionId, ConnectionRequest, ConnectionSecurity, ConnectionState, Event,
    GatheringState, PairId, PathHealth, Role, StateReason,
};

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

/// Numbers for names, in the order in which they come up.
#[derive(Debug, Default)]
struct Names {
    pairs: Vec<PairId>,
    candidates: Vec<CandidateId>,
    connections: Vec<ConnectionId>,
}

fn number<T: PartialEq>(known: &mut Vec<T>, name: T) -> usize {
    if let Some(place) = known.iter().position(|one| *one == name) {
        return place + 1;
    }
    known.push(name);
    known.len()
}

/// Writes the lines of one side.
struct Scribe<'a> {
    epoch: Instant,
    paths: &'a BTreeMap<PairId, (SocketAddr, SocketAddr)>,
    names: Names,
}

impl Scribe<'_> {
    fn at(&self, at: Instant) -> i64 {
        at.as_nanos().saturating_sub(self.epoch.as_nanos())
    }

    fn some_at(&self, at: Option<Instant>) -> String {
        at.map_or_else(|| "never".into(), |at| self.at(at).to_string())
    }

    fn pair(&mut self, pair: PairId) -> String {
        let number = number(&mut self.names.pairs, pair);
        match self.paths.get(&pair) {
            Some((base, remote)) => format!("pair {number} {base} > {remote}"),
            None => format!("pair {number}"),
        }
    }

    fn candidate(&mut self, id: CandidateId) -> usize {
        number(&mut self.names.candidates, id)
    }

    fn connection(&mut self, id: ConnectionId) -> usize {
        number(&mut self.names.connections, id)
    }

    fn request(&mut self, request: &ConnectionRequest) -> (char, String) {
        match request {
            ConnectionRequest::Open { id, local, remote, security } => {
                let name = match security {
                    ConnectionSecurity::Plain => "",
                    ConnectionSecurity::Tls { server_name } => server_name,
                };
                ('o', format!("{} {local} > {remote} {name}", self.connection(*id)))
            }
            ConnectionRequest::Close { id } => ('q', self.connection(*id).to_string()),
        }
    }

    fn event(&mut self, event: &Event) -> (char, String) {
        match event {
            Event::LocalCandidate { stream, id, generation, candidate } => {
                ('l', format!("stream {stream}, {}, generation {generation}: {candidate}", self.candidate(*id)))
            }
            Event::EndOfCandidates { stream, generation, ufrag } => {
                ('e', format!("stream {stream}, generation {generation}, {ufrag}"))
            }
            Event::GatheringStateChanged { previous, current, at } => {
                ('g', format!("{} > {} at {}", gathering(*previous), gathering(*current), self.at(*at)))
            }
            Event::RegisterName { name, address } => ('r', format!("{name} {address}")),
            Event::ResolveName { name } => ('n', name.to_string()),
            Event::IceCandidateError { url, base, code, text, at } => {
                let base = base.map_or_else(|| "none".into(), |base| base.to_string());
                ('x', format!("{url} from {base}: {code} {text} at {}", self.at(*at)))
            }
            Event::SelectedPairChanged { stream, component, pair, at } => {
                let pair = pair.map_or_else(|| "none".into(), |pair| self.pair(pair));
                ('S', format!("{stream}.{component}: {pair} at {}", self.at(*at)))
            }
            Event::PathHealthChanged {
                stream,
                component,
                pair,
                health,
                at,
                answered_at,
                heard_at,
                sent_at,
                next_state_at,
            } => {
                let (pair, health) = (self.pair(*pair), health_word(*health));
                let (sent, next) = (self.some_at(*sent_at), self.some_at(*next_state_at));
                let (at, answered, heard) = (self.at(*at), self.at(*answered_at), self.at(*heard_at));
                let times = format!("{at}, answered {answered}, heard {heard}, sent {sent}, next {next}");
                ('h', format!("{stream}.{component}: {pair} {health} at {times}"))
            }
            Event::ConsentEnded { stream, component, pair, answered_at, at, is_revoked } => {
                let (pair, answered) = (self.pair(*pair), self.some_at(*answered_at));
                let how = if *is_revoked { "revoked" } else { "expired" };
                ('C', format!("{stream}.{component}: {pair} {how} at {}, answered {answered}", self.at(*at)))
            }
            Event::StreamStateChanged { stream, previous, current, at, reason } => {
                ('t', format!("{stream}: {}", self.change(*previous, *current, *at, *reason)))
            }
            Event::ConnectionStateChanged { previous, current, at, reason } => {
                ('T', self.change(*previous, *current, *at, *reason))
            }
            Event::RoleChanged { role, at } => {
                let role = match role {
                    Role::Controlling => "controlling",
                    Role::Controlled => "controlled",
                };
                ('R', format!("{role} at {}", self.at(*at)))
            }
            Event::TooManyRemoteCandidates { stream, limit } => ('m', format!("{stream}: more than {limit}")),
            Event::PacingLimited { stream, proposed, used } => {
                ('p', format!("{stream}: {} ns, and not {} ns", used.as_nanos(), proposed.as_nanos()))
            }
            Event::ConnectionEnded { connection, stream, component, local, remote, reason, at } => {
                let number = self.connection(*connection);
                ('c', format!("{stream}.{component}: {number} {local} > {remote} {reason} at {}", self.at(*at)))
            }
            Event::RelayLost { stream, component, url, base, code, text, at } => {
                ('L', format!("{stream}.{component}: {url} from {base}: {code} {text} at {}", self.at(*at)))
            }
            Event::RelayReleased { url, base, at } => ('f', format!("{url} from {base} at {}", self.at(*at))),
            Event::RelayIcmp { stream, component, peer, kind, code, at } => {
                ('i', format!("{stream}.{component}: {peer} {kind} {code} at {}", self.at(*at)))
            }
            Event::LocalCandidateAdded { stream, id, candidate, base, url } => {
                let url = url.as_deref().unwrap_or_default();
                ('a', format!("{stream}: {} {candidate} from {base} {url}", self.candidate(*id)))
            }
            Event::LocalCandidateChanged { stream, id, candidate, base, url } => {
                let url = url.as_deref().unwrap_or_default();
                ('b', format!("{stream}: {} {candidate} from {base} {url}", self.candidate(*id)))
            }
            Event::LocalCandidateRemoved { stream, id } => ('d', format!("{stream}: {}", self.candidate(*id))),
            Event::RemoteCandidateAdded { stream, id, candidate } => {
                ('A', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateDiscovered { stream, id, candidate } => {
                ('D', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateMerged { stream, id, candidate } => {
                ('M', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateChanged { stream, id, candidate } => {
                ('B', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateRemoved { stream, id } => ('E', format!("{stream}: {}", self.candidate(*id))),
            Event::PairAdded { pair, stream, component, local, remote } => {
                let (pair, local, remote) = (self.pair(*pair), self.candidate(*local), self.candidate(*remote));
                ('P', format!("{stream}.{component}: {pair}, {local} > {remote}"))
            }
            Event::PairStateChanged { pair, state } => {
                let state = match state {
                    CandidatePairState::Frozen => "frozen",
                    CandidatePairState::Waiting => "waiting",
                    CandidatePairState::InProgress => "in progress",
                    CandidatePairState::Succeeded => "succeeded",
                    CandidatePairState::Failed => "failed",
                };
                ('s', format!("{} {state}", self.pair(*pair)))
            }
            Event::PairCandidatesChanged { pair, local, remote } => {
                let (pair, local, remote) = (self.pair(*pair), self.candidate(*local), self.candidate(*remote));
                ('k', format!("{pair}, {local} > {remote}"))
            }
            Event::PairValidityChanged { pair, is_valid } => {
                ('v', format!("{} {}", self.pair(*pair), if *is_valid { "valid" } else { "not valid" }))
            }
            Event::PairNominated { pair } => ('N', self.pair(*pair)),
            Event::PairNominationLost { pair } => ('O', self.pair(*pair)),
            Event::PairRemoved { pair } => ('Q', self.pair(*pair)),
        }
    }

    fn change(&self, previous: ConnectionState, current: ConnectionState, at: Instant, reason: StateReason) -> String {
        format!("{} > {} at {}: {}", state(previous), state(current), self.at(at), reason_word(reason))
    }
}

const fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::New => "new",
        ConnectionState::Checking => "checking",
        ConnectionState::Connected => "connected",
        ConnectionState::Completed => "completed",
        ConnectionState::Disconnected => "disconnected",
        ConnectionState::Failed => "failed",
        ConnectionState::Closed => "closed",
    }
}

const fn gathering(state: GatheringState) -> &'static str {
    match state {
        GatheringState::New => "new",
        GatheringState::Gathering => "gathering",
        GatheringState::Complete => "complete",
    }
}

const fn health_word(health: PathHealth) -> &'static str {
    match health {
        PathHealth::Healthy => "healthy",
        PathHealth::Suspect => "suspect",
        PathHealth::Lost => "lost",
    }
}

const fn reason_word(reason: StateReason) -> &'static str {
    match reason {
        StateReason::NotStarted => "not started",
        StateReason::WaitingForRemoteCandidates => "waiting for remote candidates",
        StateReason::WaitingForLocalCandidates => "waiting for local candidates",
        StateReason::CandidatesKnown => "candidates known",
        StateReason::PairValid => "pair valid",
        StateReason::PairSelected => "pair selected",
        StateReason::Restarting => "restarting",
        StateReason::PairsExhausted => "pairs exhausted",
        StateReason::ChecksFailed => "checks failed",
        StateReason::PathLost => "path lost",
        StateReason::ConsentExpired => "consent expired",
        StateReason::NoCompatiblePair => "no compatible pair",
        StateReason::NoLocalCandidates => "no local candidates",
        StateReason::NoRemoteCandidates => "no remote candidates",
        StateReason::NothingHeard => "nothing heard",
        StateReason::NominationFailed => "nomination failed",
        StateReason::ClosedByApplication => "closed by the application",
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.reserve(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().unwrap_or('?'));
        }
    }
}

impl Transcript {
    /// All that two agents have sent and told since their logs were [forgotten](Pair::forget_logs) last.
    #[must_use]
    pub fn of(pair: &Pair) -> Self {
        let epoch = Instant::from_nanos(pair.now().as_nanos().saturating_sub(nanos(pair.elapsed())));
        Self { sides: [Self::of_side(&pair.l, epoch), Self::of_side(&pair.r, epoch)] }
    }

    fn of_side(peer: &Peer, epoch: Instant) -> Vec<Line> {
        let mut scribe = Scribe { epoch, paths: &peer.paths, names: Names::default() };
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
        Recording { sides: self.sides.each_ref().map(|lines| SideRecording::of(lines)) }
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

/// The digest of a [`Transcript`], to be kept as text, one line for each side.
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
fn bounds(window: usize) -> (f64, f64) {
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

fn window_of(at: i64) -> usize {
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

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::sim::PairSetup;

    fn pair() -> Pair {
        let mut pair = PairSetup::new(Seed::from_name("transcript")).build();
        pair.run_for(Duration::from_secs(12));
        let _ = pair.send(SideName::L, b"data");
        pair.run_for(Duration::from_secs(1));
        pair
    }

    #[test]
    fn every_byte_address_instant_and_event_is_in_a_recording() {
        let pair = pair();
        let before = Transcript::of(&pair).record();
        let differs = |change: &dyn Fn(&mut Pair), wanted: &str| {
            let mut other = pair.clone();
            change(&mut other);
            let difference = before.difference(&Transcript::of(&other).record());
            assert!(difference.as_ref().is_some_and(|text| text.contains(wanted)), "{wanted}: {difference:?}");
        };
        differs(&|pair| pair.l.sent[3].payload[30] ^= 1, "L: first within");
        differs(&|pair| pair.r.sent[3].source.set_port(1), "R: first within");
        differs(&|pair| pair.r.sent[3].destination.set_port(1), "R: first within");
        differs(&|pair| pair.r.sent[3].traffic_class = crate::TrafficClass::from_octet(4), "the same kinds of events");
        differs(&|pair| pair.l.sent[0].at = Instant::from_nanos(1), "datagrams before and now");
        differs(&|pair| drop(pair.l.sent.pop()), "datagrams before, ");
        differs(&|pair| drop(pair.r.events.pop()), "events: -");
        differs(&|pair| pair.l.events[2].0 = Instant::from_nanos(2), "L: first within 0.0 s to 0.5 s");
        differs(&|pair| pair.r.received[0].payload.push(1), "first within 12.0 s to 14.0 s");
        differs(&|pair| pair.r.received.push(pair.r.received[0].clone()), "+received data");
        let later = |pair: &mut Pair| {
            for (_, event) in &mut pair.l.events {
                if let Event::SelectedPairChanged { at, .. } = event {
                    *at = Instant::from_nanos(at.as_nanos() + 1);
                }
            }
        };
        differs(&later, "L: first within 0.0 s");
    }

    #[test]
    fn recordings_are_read_as_they_are_written() {
        let recording = Transcript::of(&pair()).record();
        assert_eq!(recording.to_string().parse(), Ok(recording));
        for bad in ["", "L 12", "L 12\nL 13", "L 12 4\nR 12", "L 12 4::z\nR 12", "L x\nR 1"] {
            assert_eq!(bad.parse::<Recording>(), Err(ParseRecordingError), "{bad}");
        }
    }

    #[test]
    fn windows_follow_one_another_without_a_gap() {
        for window in 0..60 {
            let ((begin, end), (next, _)) = (bounds(window), bounds(window + 1));
            assert!(begin < end && (end - next).abs() < 1e-9, "{window}");
            let at = nanos(Duration::from_secs_f64(begin));
            assert_eq!((window_of(at), window_of(at - 1)), (window, window.saturating_sub(1)));
        }
    }

    #[test]
    fn each_kind_of_line_has_a_letter_of_its_own() {
        for (place, (letter, name)) in EVENTS.iter().enumerate() {
            let others = || EVENTS.iter().take(place);
            assert!(others().all(|(other, word)| other != letter && word != name), "{letter}");
        }
    }
}
