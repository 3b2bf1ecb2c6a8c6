//! What two agents that have connected go through: each trial is something that one of them has to bear, with what has to be so
//! afterwards.
//!
//! A trial runs on a clone of the [`Pair`] at rest, where the set-up has what it is about. So each of them begins in the same state,
//! and none of them is in the way of another.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::vec::Vec;

use super::call::Call;
use super::op::Op;
use super::pair::Pair;
use super::peer::Sent;
use super::server::ServerMethod;
use super::setup::{PairSetup, SideName, SideSetup};
use super::trace::PacketFate;
use super::wire::Wire;
use crate::{Agent, CandidateKind, ComponentId, PairView, Renomination, Role, SendFailure, StreamId};

/// Who is tried.
#[derive(Debug)]
pub(super) struct Trials<'a> {
    setup: &'a PairSetup,
    pair: &'a Pair,
    streams: &'a [StreamId],
}

const BOTH: [SideName; 2] = [SideName::L, SideName::R];

impl<'a> Trials<'a> {
    /// Two agents at rest, which are connected in all these streams.
    pub(super) const fn new(setup: &'a PairSetup, pair: &'a Pair, streams: &'a [StreamId]) -> Self {
        Self { setup, pair, streams }
    }

    /// Goes through all that there is something about.
    ///
    /// # Panics
    /// If something is not as it has to be.
    pub(super) fn run(&self) {
        self.hear_replays();
        self.repeat_nominations();
        for side in BOTH {
            self.move_once(side);
            self.move_for_long(side);
            self.fail_to_send(side);
            self.take_candidates_back(side);
        }
        self.lie_about_refreshes();
        self.come_late();
        self.ask_with_long_names();
    }

    const fn side(&self, side: SideName) -> &SideSetup {
        match side {
            SideName::L => &self.setup.l,
            SideName::R => &self.setup.r,
        }
    }

    fn components(&self) -> impl Iterator<Item = ComponentId> + use<> {
        (1..=self.setup.l.components.min(self.setup.r.components)).filter_map(ComponentId::new)
    }

    /// Whether UDP between the two machines is all that there is, and both ask for consent.
    fn is_plain(&self) -> bool {
        let is_plain = |side: &SideSetup| {
            let config = &side.config;
            side.tcp.is_empty() && side.servers.is_empty() && config.consent && !config.lite
        };
        is_plain(&self.setup.l) && is_plain(&self.setup.r) && self.setup.servers.is_empty()
    }

    fn is_connected(pair: &Pair, side: SideName, stream: StreamId) -> bool {
        pair.peer(side).agent.stream_state(stream).is_some_and(|(state, _)| state.is_connected())
    }

    /// Both sides are connected, and send on one pair.
    fn assert_connected(&self, what: &str, pair: &Pair) {
        for stream in self.streams {
            for side in BOTH {
                let state = pair.peer(side).agent.stream_state(*stream);
                assert!(Self::is_connected(pair, side, *stream), "{what}: {side:?} is {state:?}");
            }
            for component in self.components() {
                assert!(pair.agrees_on(*stream, component), "{what}: the ends of two pairs are selected");
            }
        }
    }

    fn selected(pair: &Pair, side: SideName, stream: StreamId) -> Option<PairView<'_>> {
        pair.peer(side).agent.selected_pair(stream, ComponentId::RTP)
    }

    /// Somebody else has seen the nominations of both sides, and sends them again from an address of his: data goes where it
    /// went (RFC 8445 §19.1).
    fn hear_replays(&self) {
        const OF_EACH: usize = 4;
        let mut pair = self.pair.clone();
        let (host, ip) = (pair.network.add_host("somebody"), IpAddr::from([203, 0, 113, 99]));
        if pair.network.add_interface(host, ip).is_err() {
            return;
        }
        let before = pair.clone();
        for side in BOTH {
            // What its peer has never heard is no replay.
            let is_heard = |sent: &&Sent| matches!(pair.network.fate(sent.packet), Some(PacketFate::Delivered { .. }));
            let is_nomination =
                |sent: &&Sent| Wire::decode(&sent.payload).request().is_some_and(|one| one.use_candidate);
            let seen: Vec<&Sent> = before.peer(side).sent.iter().filter(is_nomination).filter(is_heard).collect();
            // The first ones, and the last ones.
            let last = seen.iter().skip(seen.len().saturating_sub(OF_EACH));
            for (number, one) in (0_u16..).zip(seen.iter().take(OF_EACH).chain(last)) {
                let source = SocketAddr::new(ip, 7000 + number);
                pair.network.send(host, source, one.destination, &one.payload);
            }
        }
        pair.run_for(Duration::from_secs(2));
        for (side, stream) in BOTH.into_iter().flat_map(|side| self.streams.iter().map(move |stream| (side, *stream))) {
            let [is, was] = [&pair, &before]
                .map(|pair| Self::selected(pair, side, stream).map(|pair| (pair.base, pair.remote_address)));
            assert!(is.is_none_or(|(_, remote)| remote.ip() != ip), "{side:?} follows a replay");
            assert_eq!(is, was, "{side:?} has moved for a replay");
        }
    }

    /// Consent checks of the pair that was nominated and is used nominate it again, and no others do: some peers go by them.
    fn repeat_nominations(&self) {
        let mut pair = self.pair.clone();
        let is_lasting = self.setup.l.renomination != Some(Renomination::Draft2016);
        if !is_lasting || !self.is_plain_for_nominations() {
            return;
        }
        pair.run_for(Duration::from_secs(10));
        pair.forget_logs();
        pair.run_for(Duration::from_secs(10));
        let (stream, controlling) = (pair.stream(), pair.l.agent.role() == Role::Controlling);
        let side = if controlling { SideName::L } else { SideName::R };
        let Some(selected) = Self::selected(&pair, side, stream) else { return };
        let way = (selected.base, selected.remote_address);
        for sent in &pair.peer(side).sent {
            let Wire::Request(request) = Wire::decode(&sent.payload) else { continue };
            if (sent.source, sent.destination) == way {
                assert!(request.use_candidate, "a consent check of the selected pair does not nominate it");
            }
        }
    }

    /// Whether nothing unsettles the address under which a side is seen.
    fn is_plain_for_nominations(&self) -> bool {
        let is_public = |side: &SideSetup| side.nats.is_empty() && side.tcp.is_empty() && side.config.consent;
        is_public(&self.setup.l) && is_public(&self.setup.r) && self.setup.shared_nats.is_empty()
    }

    /// Whether the peer of a side hears it wherever it comes from, and can answer.
    fn is_heard_anywhere(&self, side: SideName) -> bool {
        let is_behind = !self.side(side).nats.is_empty();
        self.is_plain() && is_behind && self.side(side.other()).nats.is_empty() && self.setup.shared_nats.is_empty()
    }

    fn change_address(pair: &mut Pair, side: SideName, number: u8) {
        let Some(nat) = pair.nats.get(&side).and_then(|nats| nats.first()).copied() else { return };
        let last = if side == SideName::L { 1 } else { 2 };
        let _ = pair.network.rebind_to(nat, [IpAddr::from([192, 0, number, last])]);
    }

    /// A NAT gets another address: data follows with the next consent check, and as soon as the old address is known to be
    /// silent both ends have one pair.
    fn move_once(&self, side: SideName) {
        if !self.is_heard_anywhere(side) {
            return;
        }
        let mut pair = self.pair.clone();
        Self::change_address(&mut pair, side, 4);
        pair.run_for(Duration::from_secs(15));
        self.assert_connected("a NAT has another address", &pair);
    }

    /// A NAT gets another address every few seconds: nobody nominates for each of them, and nobody is lost.
    fn move_for_long(&self, side: SideName) {
        if !self.is_heard_anywhere(side) || self.pair.peer(side).agent.role() != Role::Controlling {
            return;
        }
        let mut pair = self.pair.clone();
        for number in 0..90 {
            Self::change_address(&mut pair, side, 10 + number);
            pair.run_for(Duration::from_secs(7));
        }
        pair.run_for(Duration::from_secs(60));
        self.assert_connected("a NAT has other addresses all the time", &pair);
    }

    /// The host cannot send on the path in use: data leaves from another address at once, if there is one.
    fn fail_to_send(&self, side: SideName) {
        let mut pair = self.pair.clone();
        let (now, stream) = (pair.now(), pair.stream());
        if !self.is_plain() || self.setup.l.renomination.is_none() {
            return;
        }
        let Some(failed) = Self::selected(&pair, side, stream).map(|one| (one.base, one.remote_address)) else {
            return;
        };
        let agent = &pair.peer(side).agent;
        let is_other = |one: &PairView<'_>| {
            let is_it = one.component == ComponentId::RTP && one.stream == stream;
            is_it && one.is_valid && one.base.ip() != failed.0.ip()
        };
        let is_spared = agent.pairs().any(|one| is_other(&one));
        pair.peer_mut(side).agent.handle_send_failure(now, failed.0, failed.1, SendFailure::Local);
        pair.drain(side);
        let mut agent = pair.peer(side).agent.clone();
        let sent = agent.send(now, stream, ComponentId::RTP, b"\x80data".as_slice(), &mut Vec::new());
        let source = sent.ok().map(|transmit| transmit.source);
        assert!(!is_spared || source.is_some_and(|source| source.ip() != failed.0.ip()), "data leaves where it cannot");
        pair.run_for(Duration::from_secs(60));
        self.assert_connected("a send error that passes", &pair);
    }

    /// The application takes back all candidates of the peer: the peer stops to send (RFC 7675 §5.2).
    fn take_candidates_back(&self, side: SideName) {
        let (mut pair, stream) = (self.pair.clone(), self.pair.stream());
        // Where pairs are nominated again, another one that had not worked until then may take the place.
        if !self.is_plain() || self.setup.l.renomination.is_some() {
            return;
        }
        for _ in 0..pair.peer(side).agent.remote_candidates(stream).count() {
            pair.perform(&Op::Call(side, Call::RemoveRemote(0)));
        }
        pair.drain(side);
        pair.run_for(Duration::from_secs(45));
        let (now, other) = (pair.now(), side.other());
        let sent =
            pair.peer(other).agent.clone().send(now, stream, ComponentId::RTP, b"\x80".as_slice(), &mut Vec::new());
        assert!(sent.is_err(), "{other:?} sends to {side:?}, which knows no candidate of it: {sent:?}");
    }

    /// Somebody answers the Refresh requests in the place of the servers: relays stay until their lifetime ends.
    fn lie_about_refreshes(&self) {
        let is_relayed = |side| {
            Self::selected(self.pair, side, self.pair.stream())
                .is_some_and(|one| one.local.kind() == CandidateKind::Relayed)
        };
        let has_consent = self.setup.l.config.consent && self.setup.r.config.consent;
        if !BOTH.into_iter().any(is_relayed) || !has_consent {
            return;
        }
        for code in [401, 438] {
            let mut pair = self.pair.clone();
            for server in &mut pair.servers {
                server.fail_unauthenticated(ServerMethod::Refresh, code, 3);
            }
            pair.run_for(Duration::from_secs(700));
            self.assert_connected("forged answers to Refresh requests", &pair);
        }
    }

    /// The network comes after every check was given up, and candidates may still come.
    fn come_late(&self) {
        // Whoever is not checked sends nothing that would keep its NATs open.
        let are_signalled = self.setup.l.signals_candidates && self.setup.r.signals_candidates;
        if !self.is_plain() || !are_signalled || !self.setup.shared_nats.is_empty() {
            return;
        }
        let mut setup = self.setup.clone();
        (setup.l.signals_end, setup.r.signals_end) = (false, false);
        let mut pair = setup.build();
        let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
        pair.network.cut_both(l, r);
        pair.run_for(Duration::from_secs(60));
        pair.network.mend_both(l, r);
        assert!(pair.run_until_selected(Duration::from_secs(60)), "a network that comes late is not used");
    }

    /// A server whose texts make requests longer than the buffers of the sides: nobody asks for the same again and again.
    fn ask_with_long_names(&self) {
        if self.setup.servers.is_empty() {
            return;
        }
        let mut pair = self.setup.clone().build();
        for server in &mut pair.servers {
            server.set_realm(&"r".repeat(700));
        }
        for side in BOTH {
            pair.peer_mut(side).limit_room(Agent::MAX_DATAGRAM);
        }
        pair.run_for(Duration::from_secs(20));
    }
}
