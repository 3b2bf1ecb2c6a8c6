//! One agent against a peer whose every message is written by hand.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use nilas::sim::{MessageBuilder, Wire, WireRequest};
use nilas::{
    Agent, ComponentId, Config, Credentials, Datagram, Event, Instant, PairView, Received, RemoteDescription, Role,
    Seed, StreamId, Transport,
};

use crate::help::{at, silent};

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A datagram that the agent has sent.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    pub(crate) at: Instant,
    pub(crate) destination: SocketAddr,
    pub(crate) wire: Wire,
}

/// An agent, and what its peer says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) agent: Agent,
    pub(crate) stream: StreamId,
    pub(crate) now: Instant,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) sent: Vec<Out>,
    ours: Credentials,
    theirs: Credentials,
    next_id: u8,
    taken: usize,
}

pub(crate) const LOCAL: &str = "203.0.113.1:5000";
pub(crate) const BEST: &str = "198.51.100.1:5000";
pub(crate) const OTHER: &str = "198.51.100.2:5000";

impl Script {
    /// An agent with one socket, whose peer signals two host candidates, `BEST` and `OTHER`, and no end of them.
    pub(crate) fn new(
        role: Role,
        config: Config,
        describe: impl FnOnce(RemoteDescription) -> RemoteDescription,
    ) -> Self {
        let mut agent = Agent::new(silent(config), role, Seed::from_name("script")).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let ours = agent.local_credentials(stream).unwrap().clone();
        let theirs = Credentials::new("peer", "password/of/the/peer/0123").unwrap();
        let (events, sent) = (Vec::new(), Vec::new());
        let mut script = Self { agent, stream, now: at(0), events, sent, ours, theirs, next_id: 0, taken: 0 };
        script.agent.add_socket(at(0), stream, ComponentId::RTP, Transport::Udp, socket(LOCAL)).unwrap();
        let candidates =
            ["1 1 udp 2130706431 198.51.100.1 5000 typ host", "2 1 udp 2130706175 198.51.100.2 5000 typ host"];
        let candidates = candidates.map(|line| format!("candidate:{line}").parse().unwrap()).to_vec();
        let remote = describe(RemoteDescription::new(script.theirs.clone()).with_candidates(candidates));
        script.agent.set_remote_description(at(0), stream, &remote).unwrap();
        script.drain();
        script
    }

    pub(crate) fn drain(&mut self) {
        let mut buffer = Vec::new();
        loop {
            let mut is_done = true;
            while let Some(event) = self.agent.poll_event() {
                self.events.push((self.now, event));
                is_done = false;
            }
            while let Some(transmit) = self.agent.poll_transmit(self.now, &mut buffer) {
                let wire = Wire::decode(&buffer);
                self.sent.push(Out { at: self.now, destination: transmit.destination, wire });
                buffer.clear();
                is_done = false;
            }
            if is_done {
                return;
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// What the agent has sent since the last call.
    pub(crate) fn take(&mut self) -> Vec<Out> {
        let new = self.sent.split_off(self.taken);
        self.sent.extend(new.iter().cloned());
        self.taken = self.sent.len();
        new
    }

    /// Our credentials, those of the peer, and the ID of its next check.
    pub(crate) fn parties(&mut self) -> (Credentials, Credentials, [u8; 12]) {
        self.next_id = self.next_id.wrapping_add(1);
        (self.ours.clone(), self.theirs.clone(), [self.next_id; 12])
    }

    pub(crate) fn hear(&mut self, from: &str, bytes: &[u8]) -> bool {
        let (source, destination) = (socket(from), socket(LOCAL));
        let datagram = Datagram::new(source, destination, bytes);
        let is_handled = matches!(self.agent.handle_datagram(self.now, &datagram), Received::Handled);
        self.drain();
        is_handled
    }

    /// A check of the peer, not sent yet.
    pub(crate) fn write_check(&mut self, claims: Role, use_candidate: bool) -> Vec<u8> {
        self.write_check_with(claims, |message| if use_candidate { message.use_candidate() } else { message })
    }

    /// The same with whatever attributes in it.
    pub(crate) fn write_check_with(
        &mut self,
        claims: Role,
        add: impl FnOnce(MessageBuilder) -> MessageBuilder,
    ) -> Vec<u8> {
        self.next_id += 1;
        let message = MessageBuilder::binding_request([self.next_id; 12])
            .username(self.ours.ufrag.as_str(), self.theirs.ufrag.as_str())
            .priority(1_862_270_975);
        let message = match claims {
            Role::Controlling => message.controlling(7),
            Role::Controlled => message.controlled(7),
        };
        add(message).integrity(&self.ours.password).fingerprint().build()
    }

    /// The peer, in the opposite role, checks. Gives the message, to be sent again.
    pub(crate) fn check(&mut self, from: &str, use_candidate: bool) -> Vec<u8> {
        let bytes = self.write_check(self.agent.role().opposite(), use_candidate);
        assert!(self.hear(from, &bytes), "a check of the peer was refused");
        bytes
    }

    /// The agent's requests to one address, as they were sent.
    pub(crate) fn requests_to(&self, to: &str) -> Vec<(Instant, WireRequest)> {
        let to = socket(to);
        let sent = self.sent.iter().filter(|out| out.destination == to);
        sent.filter_map(|out| Some((out.at, out.wire.request()?.clone()))).collect()
    }

    /// The peer answers a check that went to `from`, as if it had come from `mapped`.
    pub(crate) fn answer_as(&mut self, from: &str, id: [u8; 12], mapped: &str) -> bool {
        let mapped: SocketAddrV4 = mapped.parse().unwrap();
        let bytes =
            MessageBuilder::binding_success(id).mapped_v4(mapped).integrity(&self.theirs.password).fingerprint();
        self.hear(from, &bytes.build())
    }

    /// The peer refuses a check that went to `from`.
    pub(crate) fn refuse(&mut self, from: &str, id: [u8; 12], code: u16) -> bool {
        let bytes = MessageBuilder::binding_error(id, code).integrity(&self.theirs.password).fingerprint();
        self.hear(from, &bytes.build())
    }

    /// The peer answers the latest check that went to `from`.
    pub(crate) fn answer(&mut self, from: &str) {
        let id = self.requests_to(from).last().expect("a check was sent").1.id;
        assert!(self.answer_as(from, id, LOCAL), "an answer was refused");
    }

    /// Runs until the agent has checked this address, and answers.
    pub(crate) fn answer_next(&mut self, from: &str) {
        let before = self.requests_to(from).len();
        for _ in 0..1000 {
            if self.requests_to(from).len() > before {
                self.answer(from);
                return;
            }
            self.run_for(Duration::from_millis(10));
        }
        panic!("no check to {from}");
    }

    pub(crate) fn pair_to(&self, remote: &str) -> PairView<'_> {
        let remote = socket(remote);
        self.agent.pairs().find(|pair| pair.remote.socket_address() == Some(remote)).expect("the pair exists")
    }

    /// Where data goes by selection.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.agent.selected_pair(self.stream, ComponentId::RTP)?.remote.socket_address()
    }

    /// How often the selected pair has changed.
    pub(crate) fn selections(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::SelectedPairChanged { .. })).count()
    }
}
