//! The alphabet of the simulator in the hands of other harnesses, and as strategies.

use std::net::SocketAddr;
use std::time::Duration;

use nilas::sim::{Attribute, Call, Op, Saying, SideName, Voice, Wire};
use nilas::{Agent, Credentials, Instant};
use proptest::prelude::*;

use crate::script::{BEST, LOCAL, Script, socket};
use crate::solo::Solo;

/// A harness around one agent, L, that plays the letters for which it has room.
pub(crate) trait Stage {
    fn agent(&mut self) -> &mut Agent;
    fn now(&self) -> Instant;
    fn run_for(&mut self, time: Duration);
    fn drain(&mut self);
    /// Says something to the agent as its peer.
    fn say(&mut self, saying: &Saying);

    fn perform(&mut self, op: &Op) {
        match op {
            Op::Advance(time) => self.run_for(Duration::from_millis(u64::from(*time))),
            Op::Call(SideName::L, call) => {
                let now = self.now();
                call.perform(self.agent(), now);
                self.drain();
            }
            Op::Say(SideName::L, saying) => self.say(saying),
            _ => {}
        }
    }
}

/// What a peer says, with the latest requests of all that an agent has sent.
fn speak(
    saying: &Saying,
    (ours, theirs): (&Credentials, &Credentials),
    (from, seen): (SocketAddr, SocketAddr),
    id: [u8; 12],
    requests: impl DoubleEndedIterator<Item = (SocketAddr, Wire)>,
) -> Option<(SocketAddr, Vec<u8>)> {
    let asked: Vec<_> = requests.rev().filter_map(|(to, wire)| Some((to, wire.request()?.id))).take(6).collect();
    saying.write(&Voice { ours, theirs, from, seen, id, asked: &asked })
}

impl Stage for Solo {
    fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn run_for(&mut self, time: Duration) {
        Self::run_for(self, time);
    }

    fn drain(&mut self) {
        Self::drain(self);
    }

    fn say(&mut self, saying: &Saying) {
        let id = self.id();
        let requests = self.out.iter().map(|out| (out.destination, out.wire()));
        let said = speak(saying, (&self.ours(), &self.theirs), (self.remote, self.local), id, requests);
        if let Some((source, bytes)) = said {
            self.receive_from(source, &bytes);
        }
    }
}

impl Stage for Script {
    fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn run_for(&mut self, time: Duration) {
        Self::run_for(self, time);
    }

    fn drain(&mut self) {
        Self::drain(self);
    }

    fn say(&mut self, saying: &Saying) {
        let (ours, theirs, id) = self.parties();
        let requests = self.sent.iter().map(|out| (out.destination, out.wire.clone()));
        let said = speak(saying, (&ours, &theirs), (socket(BEST), socket(LOCAL)), id, requests);
        if let Some((source, bytes)) = said {
            self.hear(&source.to_string(), &bytes);
        }
    }
}

pub(crate) fn attribute() -> impl Strategy<Value = Attribute> {
    let tiebreaker = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    prop_oneof![
        4 => prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()].prop_map(Attribute::Priority),
        3 => tiebreaker.clone().prop_map(Attribute::Controlling),
        3 => tiebreaker.prop_map(Attribute::Controlled),
        2 => Just(Attribute::UseCandidate),
        2 => (any::<bool>(), prop_oneof![0_u32..6, any::<u32>()]).prop_map(|(late, value)| Attribute::Value(late, value)),
        1 => (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..12)).prop_map(|(kind, value)| Attribute::Other(kind, value)),
    ]
}

/// What a peer without manners says.
pub(crate) fn saying() -> impl Strategy<Value = Saying> {
    let attributes = proptest::collection::vec(attribute(), 0..4).prop_map(|mut list| {
        // Most checks have what they need.
        list.insert(0, Attribute::Priority(77));
        list
    });
    let code = prop_oneof![3 => Just(None), 3 => Just(Some(487)), 1 => (300_u16..700).prop_map(Some)];
    let mapped = prop::option::weighted(0.8, 6000_u16..6012);
    prop_oneof![
        5 => (0_u8..12, attributes, any::<bool>())
            .prop_map(|(port, attributes, sha256)| Saying::Check { port, attributes, sha256 }),
        5 => (0_u8..6, 0_u8..12, code, mapped)
            .prop_map(|(which, port, code, mapped)| Saying::Answer { which, port, code, mapped }),
        1 => Just(Saying::Indication),
        1 => any::<u8>().prop_map(Saying::Data),
    ]
}

/// What an application may do that goes on with its session.
pub(crate) fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::NetworkChanged),
        any::<bool>().prop_map(Call::Idle),
        (0_u8..8).prop_map(Call::Nominate),
        (0_u8..8).prop_map(Call::RemovePair),
        (0_u8..8).prop_map(Call::SendFails),
        (0_u16..1200).prop_map(Call::Send),
        Just(Call::SendBatch),
        any::<bool>().prop_map(Call::Withhold),
        Just(Call::ToggleStream),
        (6000_u16..6012).prop_map(Call::AddRemote),
    ]
}

/// What may happen to one agent.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        11 => saying().prop_map(|saying| Op::Say(SideName::L, saying)),
        3 => (0_u32..3000).prop_map(Op::Advance),
        3 => call().prop_map(|call| Op::Call(SideName::L, call)),
    ]
}

/// What may happen to packets in flight.
pub(crate) fn packet_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u32..400).prop_map(Op::Advance),
        2 => any::<u8>().prop_map(Op::Deliver),
        2 => any::<u8>().prop_map(Op::Drop),
        1 => any::<u8>().prop_map(Op::Duplicate),
        2 => (any::<u8>(), 0_u16..1500).prop_map(|(which, time)| Op::Delay(which, time)),
    ]
}
