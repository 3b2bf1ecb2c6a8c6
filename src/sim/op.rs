//! The alphabet: everything that may happen to two agents, one letter at a time.
//!
//! A list of [`Op`]s is a scenario. [`Pair::perform`](super::Pair::perform) plays it, [`Op::decode`] makes one of the bytes of
//! a fuzzer, and [`regression_test`] prints one as a test. A letter never fails: what makes no sense at the moment, such as the
//! removal of a pair that is not there, does nothing. So every list is a scenario, and every list with something left out.
//!
//! Whoever has an agent in another harness plays the parts of the alphabet that it has room for: a [`Call`] is
//! [performed](Call::perform) on any agent, and a [`Saying`] is [written](Saying::write) for any agent.
//!
//! ```
//! use nilas::Seed;
//! use nilas::sim::{Call, Op, PairSetup, SideName};
//!
//! let mut pair = PairSetup::new(Seed::from_name("example")).build();
//! let mut input: &[u8] = b"whatever a fuzzer comes up with";
//! while let Some(op) = Op::decode(&mut input) {
//!     pair.perform(&op);
//! }
//! pair.perform(&Op::Call(SideName::L, Call::Close));
//! ```

use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::call::Call;
use super::network::Network;
use super::saying::Saying;
use super::server::ServerMethod;
use super::setup::SideName;

/// Something that may happen.
///
/// Packets, pairs, candidates, servers and the like are named by a number: the place in their list, counted around, so that
/// every number names one if there is any. Packets in flight are counted in the order in which they are due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// So many milliseconds pass, with all that is due in them.
    Advance(u32),
    /// Time passes until something is due.
    Tick,
    /// So many milliseconds pass in which both machines sleep: nobody looks at anything.
    Sleep(u32),
    /// A packet in flight arrives now.
    Deliver(u8),
    /// A packet in flight is lost.
    Drop(u8),
    /// A packet in flight arrives now, and a copy of it later.
    Duplicate(u8),
    /// A packet in flight takes so many milliseconds longer: others overtake it.
    Delay(u8, u16),
    /// An application calls its agent.
    Call(SideName, Call),
    /// A side is polled for one thing alone, before the next time that all is polled.
    Poll(SideName, Poll),
    /// The network, a machine or a server misbehaves.
    Fault(Fault),
    /// A side hears something that its peer, which knows all credentials, should not have said.
    Say(SideName, Saying),
}

/// What a side is polled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Poll {
    /// A datagram.
    Transmit,
    /// A datagram, into a buffer with so many bytes of room.
    Small(u16),
    /// An event.
    Event,
    /// What is to be done about a connection.
    Connection,
    /// Nothing: it is told the time, early.
    Time,
}

/// What goes wrong outside of the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An interface of a side goes down.
    InterfaceDown(SideName, u8),
    /// All interfaces of a side are up again.
    InterfacesUp(SideName),
    /// A NAT of a side forgets everything.
    Rebind(SideName, u8),
    /// A NAT of a side gets another public address.
    Move(SideName, u8),
    /// Nothing more arrives from this side at the other.
    Cut(SideName),
    /// Both ways are open again.
    Mend,
    /// The link loses so many packets out of a hundred.
    Loss(u8),
    /// The link takes up to so many milliseconds longer, each packet its own time.
    Jitter(u16),
    /// A firewall lets no UDP in or out of a side.
    BlockUdp(SideName),
    /// The connections of a side die without a word.
    FreezeStreams(SideName),
    /// The connections of a side are reset.
    ResetStreams(SideName),
    /// A server is silent.
    ServerDies(u8),
    /// All servers answer again.
    ServersRevive,
    /// A server has forgotten all allocations.
    ServerForgets(u8),
    /// A server has forgotten all channels.
    ServerForgetsChannels(u8),
    /// A server wants another nonce.
    ServerRotatesNonce(u8),
    /// A server answers so many requests of a method with an error.
    ServerRefuses(u8, ServerMethod, u16, u8),
    /// The same, with an answer that anybody could have sent.
    ServerLies(u8, ServerMethod, u16, u8),
}

/// What a decoder reads from: bytes, and zeros behind them.
#[derive(Debug)]
pub(super) struct Bytes<'a, 'b>(pub(super) &'a mut &'b [u8]);

impl Bytes<'_, '_> {
    pub(super) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        *self.0 = rest;
        *first
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes([self.u8(), self.u8(), self.u8(), self.u8()])
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u8() % 2 == 1
    }

    pub(super) fn of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let place = usize::from(self.u8()) % (others.len() + 1);
        place.checked_sub(1).and_then(|place| others.get(place)).copied().unwrap_or(first)
    }

    fn side(&mut self) -> SideName {
        self.of(SideName::L, &[SideName::R])
    }

    fn time(&mut self) -> u32 {
        match self.u8() % 8 {
            0..3 => u32::from(self.u8()),
            3..6 => 10 * u32::from(self.u8()),
            6 => u32::from(self.u16() % 10_000),
            _ => u32::from(self.u16()),
        }
    }
}

impl Op {
    /// Takes the next letter from bytes; `None` if there are no more. Every sequence of bytes is a scenario.
    #[must_use]
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        if input.is_empty() {
            return None;
        }
        let mut bytes = Bytes(input);
        Some(match bytes.u8() {
            0..60 => Self::Advance(bytes.time()),
            60..90 => Self::Tick,
            90..92 => Self::Sleep(bytes.time()),
            92..102 => Self::Deliver(bytes.u8()),
            102..117 => Self::Drop(bytes.u8()),
            117..125 => Self::Duplicate(bytes.u8()),
            125..135 => Self::Delay(bytes.u8(), bytes.u16() % 3000),
            135..185 => {
                let side = bytes.side();
                Self::Call(side, Call::decode(&mut bytes))
            }
            185..200 => {
                let side = bytes.side();
                Self::Poll(side, Poll::decode(&mut bytes))
            }
            200..225 => Self::Fault(Fault::decode(&mut bytes)),
            225..=255 => {
                let side = bytes.side();
                Self::Say(side, Saying::decode(&mut bytes))
            }
        })
    }
}

impl Op {
    /// Does to the packets in flight what the letter says; `false` if it is about something else. What arrives by it waits
    /// for [`Network::pop_delivery`].
    pub fn disturb(&self, network: &mut Network) -> bool {
        let (Self::Deliver(which) | Self::Drop(which) | Self::Duplicate(which) | Self::Delay(which, _)) = self else {
            return false;
        };
        let place = usize::from(*which).checked_rem(network.in_flight().count());
        let Some(packet) = place.and_then(|place| network.in_flight().nth(place)).map(|(packet, ..)| packet) else {
            return true;
        };
        if let Self::Delay(_, time) = self {
            network.postpone(packet, Duration::from_millis(u64::from(*time)));
        } else if matches!(self, Self::Drop(_)) {
            network.discard(packet);
        } else {
            if matches!(self, Self::Duplicate(_)) {
                network.copy(packet);
            }
            network.expedite(packet);
        }
        true
    }
}

impl Poll {
    fn decode(bytes: &mut Bytes<'_, '_>) -> Self {
        match bytes.u8() % 6 {
            0 | 1 => Self::Transmit,
            2 => Self::Small(bytes.u16() % 700),
            3 => Self::Event,
            4 => Self::Connection,
            _ => Self::Time,
        }
    }
}

impl Fault {
    fn decode(bytes: &mut Bytes<'_, '_>) -> Self {
        match bytes.u8() % 24 {
            0 | 1 => Self::InterfaceDown(bytes.side(), bytes.u8()),
            2 | 3 => Self::InterfacesUp(bytes.side()),
            4..7 => Self::Rebind(bytes.side(), bytes.u8()),
            7 => Self::Move(bytes.side(), bytes.u8()),
            8 | 9 => Self::Cut(bytes.side()),
            10..12 => Self::Mend,
            12 => Self::Loss(bytes.u8() % 80),
            13 => Self::Jitter(bytes.u16() % 500),
            14 => Self::BlockUdp(bytes.side()),
            15 => Self::FreezeStreams(bytes.side()),
            16 => Self::ResetStreams(bytes.side()),
            17 => Self::ServerDies(bytes.u8()),
            18 => Self::ServersRevive,
            19 => Self::ServerForgets(bytes.u8()),
            20 => Self::ServerForgetsChannels(bytes.u8()),
            21 => Self::ServerRotatesNonce(bytes.u8()),
            kind => {
                let (which, times) = (bytes.u8(), 1 + bytes.u8() % 4);
                let methods = [
                    ServerMethod::Allocate,
                    ServerMethod::Refresh,
                    ServerMethod::CreatePermission,
                    ServerMethod::ChannelBind,
                ];
                let method = bytes.of(ServerMethod::Binding, &methods);
                let code = bytes.of(400, &[401, 403, 420, 437, 438, 441, 442, 486, 500, 508]);
                match kind {
                    22 => Self::ServerRefuses(which, method, code, times),
                    _ => Self::ServerLies(which, method, code, times),
                }
            }
        }
    }
}

/// Prints a scenario as a test: `make` is the expression that makes the [`Pair`](super::Pair) or the
/// [`World`](super::World), on which `end` is called with the name `ops`.
///
/// ```
/// use nilas::sim::{Op, regression_test};
///
/// let text = regression_test("it_is_so", "PairSetup::new(Seed::from_number(7)).build()", "run(&ops)", &[Op::Tick]);
/// assert!(text.contains("let ops = [Tick];"));
/// ```
#[must_use]
pub fn regression_test(name: &str, make: &str, end: &str, ops: &[Op]) -> String {
    let letters: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
    let short = letters.join(", ");
    let list = if short.len() < 80 { short } else { format!("\n        {},\n    ", letters.join(",\n        ")) };
    format!(
        "#[test]\nfn {name}() {{\n    \
         #[allow(unused_imports, reason = \"printed\")]\n    \
         use nilas::sim::{{Attribute::*, Call::*, Fault::*, Op::*, Poll::*, Saying::*, ServerMethod::*, SideName::*}};\n    \
         let ops = [{list}];\n    \
         {make}.{end};\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_begins_a_letter_and_short_input_is_filled_with_zeros() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let mut input: &[u8] = &[first, second];
                assert!(Op::decode(&mut input).is_some());
            }
        }
        assert_eq!(Op::decode(&mut &[][..]), None);
    }

    #[test]
    fn a_scenario_is_decoded_letter_by_letter_and_the_same_each_time() {
        let bytes: Vec<u8> = (0..4000_u32).map(|n| u8::try_from((n * n + 7 * n) % 251).unwrap()).collect();
        let all = || {
            let mut input = bytes.as_slice();
            core::iter::from_fn(|| Op::decode(&mut input)).collect::<Vec<_>>()
        };
        assert!(all().len() > 500 && all() == all());
    }

    #[test]
    fn a_printed_test_has_one_line_for_each_letter_of_a_long_scenario() {
        let ops = [Op::Advance(7), Op::Fault(Fault::Rebind(SideName::R, 1)), Op::Delay(3, 200)];
        let many: Vec<Op> = ops.iter().cycle().take(9).cloned().collect();
        let text = regression_test("name", "make()", "run(&ops)", &many);
        assert_eq!(text.lines().filter(|line| line.trim() == "Fault(Rebind(R, 1)),").count(), 3);
        assert!(text.ends_with("    make().run(&ops);\n}\n"));
    }
}
