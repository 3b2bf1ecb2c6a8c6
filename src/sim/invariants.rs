//! What holds for an agent whenever it was polled until it was quiet.
//!
//! Every step of a [`Pair`](super::Pair) ends with these checks, and so may any other loop around an agent: in tests of its
//! own, under a fuzzer, beside peers of another kind. [`Invariants`] is told of each datagram that the agent gives out, and
//! looks at the agent when it is at rest:
//!
//! * [`poll_timeout`](Agent::poll_timeout) is `None` or in the future.
//! * Polling again gives nothing, be it after a repeated [`handle_timeout`](Agent::handle_timeout), or an early one, and with
//!   all conclusions drawn anew: no state, event or end waits for a call that has nothing to do with it, and nothing changes
//!   inside.
//! * New checks and requests to servers are Ta apart; consent has a schedule of its own.
//! * Every queue and index agrees with the pairs, and names only what is there. The selected pair has not failed.
//! * Pairs, candidates, transactions, waiting events, and nominations per minute are bounded.

use std::collections::{BTreeSet, VecDeque};
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use bytes::BufMut;

use super::digest::without;
use super::wire::Wire;
use crate::types::{Instant, after};
use crate::{Agent, ComponentId};

/// Looks after one agent; see the [module](self).
///
/// ```
/// use nilas::sim::Invariants;
/// use nilas::{Agent, Config, Instant, Role, Seed};
///
/// let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("example"))?;
/// let mut invariants = Invariants::new();
/// let now = Instant::ZERO;
/// let mut buffer = Vec::new();
/// while let Some(transmit) = agent.poll_transmit(now, &mut buffer) {
///     invariants.note_sent(now, &agent, &buffer[..transmit.len]);
///     buffer.clear();
/// }
/// while agent.poll_event().is_some() {}
/// invariants.check(now, &agent);
/// # Ok::<(), nilas::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    transactions: BTreeSet<[u8; 12]>,
    last_start: Option<Instant>,
    /// How many nominations there had been, and when that was, for the last ten minutes.
    nominations: VecDeque<(Instant, u64)>,
    checks: u32,
    /// How many bytes of room the buffers have into which the agent writes, if not as many as it likes.
    pub(super) room: Option<usize>,
}

impl Invariants {
    /// Most outputs of one agent at one instant: what waits is bounded, and nothing that is polled brings more without end.
    pub const MOST_OUTPUTS: usize = 10_000;
    /// Most nominations that an agent begins in a minute for each of its components.
    pub const MOST_NOMINATIONS: u64 = 60;
    /// The same in ten minutes.
    pub const MOST_NOMINATIONS_FOR_LONG: u64 = 90;

    /// So many times an agent is looked through closely.
    const CLOSELY: u32 = 300;

    /// Has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { transactions: BTreeSet::new(), last_start: None, nominations: VecDeque::new(), checks: 0, room: None }
    }

    /// Notes a datagram that the agent has just given out; application data is none of interest.
    ///
    /// # Panics
    /// If a new check or a new request to a server leaves within Ta of the one before.
    pub fn note_sent(&mut self, now: Instant, agent: &Agent, datagram: &[u8]) {
        let Some(id) = request_id(unwrapped(datagram)) else { return };
        if !self.transactions.insert(id) || agent.is_consent_check(id) {
            return;
        }
        let earliest = self.last_start.map(|at| after(at, agent.least_ta()));
        assert!(earliest.is_none_or(|at| at <= now), "two transactions started within Ta, the second at {now:?}");
        self.last_start = Some(now);
    }

    /// Checks the agent, which was polled until it was quiet.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check(&mut self, now: Instant, agent: &Agent) {
        let next = agent.poll_timeout();
        assert!(next.is_none_or(|at| at > now), "a drained agent wants to be called at {next:?}, not after {now:?}");
        let (pairs, most) = (agent.pairs().count(), agent.most_pairs());
        assert!(pairs <= most, "{pairs} pairs are more than {most}");
        for stream in agent.streams() {
            let of_stream = || agent.pairs().filter(|pair| pair.stream == stream && pair.is_selected);
            let components: BTreeSet<ComponentId> = of_stream().map(|pair| pair.component).collect();
            assert_eq!(of_stream().count(), components.len(), "one selected pair for each component");
        }
        self.check_nominations(now, agent);
        // Large agents are looked through less often, and so are those that have been at rest for long.
        self.checks = self.checks.wrapping_add(1);
        let rest = if self.checks > Self::CLOSELY { 16 } else { 1 };
        let one_in = rest * (1 + u32::try_from(pairs / 8).unwrap_or(u32::MAX / 32));
        if self.checks % one_in == 0 {
            let found = agent.audit();
            assert!(found.is_ok(), "at {now:?}: {}", found.err().unwrap_or_default());
            let early = next.filter(|_| self.checks / one_in % 2 == 1);
            let middle = early.map(|next| after(now, next.saturating_duration_since(now) / 2));
            assert_quiet(now, middle.unwrap_or(now), agent, self.room.unwrap_or(usize::MAX));
        }
    }

    fn check_nominations(&mut self, now: Instant, agent: &Agent) {
        let count = agent.stats().nominations;
        let is_within = |at: Instant, secs| after(at, Duration::from_secs(secs)) >= now;
        while self.nominations.front().is_some_and(|(at, _)| !is_within(*at, 600)) {
            self.nominations.pop_front();
        }
        if self.nominations.back().is_none_or(|(_, known)| *known != count) {
            self.nominations.push_back((now, count));
        }
        let components = (agent.components() as u64).max(1);
        for (secs, most) in [(60, Self::MOST_NOMINATIONS), (600, Self::MOST_NOMINATIONS_FOR_LONG)] {
            let before =
                self.nominations.iter().find(|(at, _)| is_within(*at, secs)).map_or(count, |(_, count)| *count);
            assert!(count - before <= most * components, "{} nominations in {secs} s", count - before);
        }
    }
}

/// Counts whatever an agent keeps count of anew: every index, counter and list of its pairs, transactions and connections.
///
/// # Errors
/// What contradicts what, in words: a bug of this crate.
pub fn audit(agent: &Agent) -> Result<(), String> {
    agent.audit()
}

/// Whether this is a consent check that the agent has just given out: those have a schedule of their own (RFC 7675 §5.1).
#[must_use]
pub fn is_consent_check(agent: &Agent, datagram: &[u8]) -> bool {
    request_id(unwrapped(datagram)).is_some_and(|id| agent.is_consent_check(id))
}

/// Fails unless the agent has nothing to say at this instant, which is not later than its next deadline.
fn assert_quiet(now: Instant, at: Instant, agent: &Agent, room: usize) {
    let mut again = agent.clone();
    again.handle_timeout(at);
    again.look_again();
    let mut buffer = Vec::new();
    let sent =
        again.poll_transmit(at, &mut (&mut buffer).limit(room)).map(|transmit| (transmit, Wire::decode(&buffer)));
    assert!(sent.is_none(), "at {now:?} it waits for a call: at {at:?} it sends {sent:?}");
    let request = again.poll_connection();
    assert!(request.is_none(), "at {now:?} it waits for a call: at {at:?} it wants {request:?}");
    let event = again.poll_event();
    assert!(event.is_none(), "at {now:?} it waits for a call: at {at:?} it tells {event:?}");
    // One that turns out to be too early only wakes the caller in vain.
    let (before, after) = (agent.poll_timeout(), again.poll_timeout());
    let is_late = after.is_some_and(|after| before.is_none_or(|before| before > after));
    assert!(!is_late, "at {now:?} a timer waits for a call, made at {at:?}: {before:?} becomes {after:?}");
    if at == now && !agent.was_closed() {
        // Nor is there a conclusion to draw that it does not tell. Left out are marks of what was looked at, and what is
        // reckoned anew each time from the clock.
        let [before, after] = [agent, &again].map(|agent| {
            let mut text = String::new();
            let _ = agent.write_state(&mut text);
            without(&text, &["is_noted", "search", "deadline", "decide_at"])
        });
        assert!(before == after, "at {now:?} it waits for a call: {}", difference(&before, &after));
    }
}

/// Where two texts part.
fn difference(before: &str, after: &str) -> String {
    let same = before.bytes().zip(after.bytes()).take_while(|(one, other)| one == other).count();
    let [before, after] = [before, after].map(|text| {
        let (start, end) = (same.saturating_sub(200), (same + 60).min(text.len()));
        text.get(start..end).unwrap_or(text)
    });
    format!("{before:?} becomes {after:?}")
}

/// What a datagram to a TURN server carries; the datagram itself if that is nothing.
fn unwrapped(datagram: &[u8]) -> &[u8] {
    const SEND: [u8; 2] = [0x00, 0x16];
    const DATA: [u8; 2] = [0x00, 0x13];
    if datagram.first().is_some_and(|first| (0x40..0x80).contains(first)) {
        return datagram.get(4..).unwrap_or_default();
    }
    if datagram.get(..2) != Some(&SEND) {
        return datagram;
    }
    let mut rest = datagram.get(20..).unwrap_or_default();
    while let Some((&[a, b, high, low], value)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if [a, b] == DATA {
            return value.get(..length).unwrap_or_default();
        }
        rest = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    datagram
}

/// The transaction ID, if it is a Binding or an Allocate request: a check, or one of gathering.
fn request_id(message: &[u8]) -> Option<[u8; 12]> {
    let is_paced = matches!(message, [0, 1 | 3, _, _, 0x21, 0x12, 0xa4, 0x42, ..]);
    message.get(8..20).filter(|_| is_paced)?.try_into().ok()
}
