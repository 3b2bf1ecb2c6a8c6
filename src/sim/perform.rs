//! Plays the letters of the alphabet on a pair of agents.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::vec::Vec;

use super::call::Call;
use super::host::{Direction, FirewallRule, PeerMatch};
use super::nat::NatId;
use super::op::{Fault, Op, Poll};
use super::pair::Pair;
use super::saying::{Saying, Voice};
use super::setup::SideName;
use super::wire::Wire;
use crate::types::after;
use crate::{ComponentId, StreamId, Transport};

impl Pair {
    /// Plays one letter of the alphabet. A call waits to be polled until time passes or something arrives, so that several
    /// calls, and polls in any order, may stand between two moments.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn perform(&mut self, op: &Op) {
        let now = self.now();
        match op {
            Op::Advance(time) => {
                self.drain_all();
                self.run_for(Duration::from_millis(u64::from(*time)));
            }
            Op::Tick => {
                self.drain_all();
                let at = self.next_step().unwrap_or(now);
                self.step_to(at);
            }
            Op::Sleep(time) => {
                self.drain_all();
                self.step_to(after(now, Duration::from_millis(u64::from(*time))));
            }
            Op::Deliver(_) | Op::Drop(_) | Op::Duplicate(_) | Op::Delay(..) => {
                self.drain_all();
                op.disturb(&mut self.network);
                self.step_to(now);
            }
            Op::Call(side, call) => self.call(*side, *call),
            Op::Poll(side, poll) => self.poll(*side, *poll),
            Op::Fault(fault) => {
                self.drain_all();
                self.suffer(*fault);
            }
            Op::Say(side, saying) => {
                self.drain_all();
                self.say(*side, saying);
            }
        }
    }

    fn drain_all(&mut self) {
        self.drain(SideName::L);
        self.drain(SideName::R);
    }

    fn call(&mut self, side: SideName, call: Call) {
        let now = self.now();
        let stream = self.peer(side).agent.streams().next();
        match (call, stream) {
            (Call::AddSocket(which), Some(stream)) => self.add_another_socket(side, stream, which),
            (Call::Restart, Some(stream)) => {
                if self.may_restart(side, stream) {
                    self.begin_restart(side, stream);
                }
            }
            (Call::Rollback, Some(stream)) => {
                if self.peer(side).agent.is_restarting(stream) && self.withdraw_description(side, stream) {
                    call.perform(&mut self.peer_mut(side).agent, now);
                }
            }
            (Call::Gather, Some(_)) if !self.is_closed(side) => self.gather(side),
            _ => call.perform(&mut self.peer_mut(side).agent, now),
        }
        self.note_sockets(side);
    }

    /// Whether the application of a side has ended the session.
    #[must_use]
    pub fn is_closed(&self, side: SideName) -> bool {
        self.peer(side).agent.was_closed()
    }

    fn add_another_socket(&mut self, side: SideName, stream: StreamId, which: u8) {
        let now = self.now();
        let ips: Vec<IpAddr> = self.network.addresses(self.host(side)).collect();
        let Some(ip) = usize::from(which / 8).checked_rem(ips.len()).and_then(|place| ips.get(place)) else { return };
        let address = SocketAddr::new(*ip, 5100 + u16::from(which % 8));
        let agent = &mut self.peer_mut(side).agent;
        if agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address).is_ok() {
            let _ = agent.end_of_local_candidates(now, stream);
        }
    }

    /// Notes the addresses of sockets that were given to the agent itself.
    fn note_sockets(&mut self, side: SideName) {
        let peer = self.peer_mut(side);
        let hosts: Vec<SocketAddr> = peer
            .agent
            .streams()
            .flat_map(|stream| peer.agent.local_candidates(stream))
            .filter(|local| local.candidate.kind() == crate::CandidateKind::Host)
            .map(|local| local.base)
            .collect();
        hosts.into_iter().for_each(|address| peer.note_socket(address));
    }

    fn poll(&mut self, side: SideName, poll: Poll) {
        let now = self.now();
        let (peer, network) = match side {
            SideName::L => (&mut self.l, &mut self.network),
            SideName::R => (&mut self.r, &mut self.network),
        };
        match poll {
            Poll::Transmit => peer.poll_transmit(now, network, usize::MAX),
            Poll::Small(room) => peer.poll_transmit(now, network, usize::from(room)),
            Poll::Event => peer.poll_event(now),
            Poll::Connection => peer.poll_connection(network),
            Poll::Time => peer.agent.handle_timeout(now),
        }
    }

    fn nat(&self, side: SideName, which: u8) -> Option<NatId> {
        let nats = self.nats.get(&side)?;
        nats.get(usize::from(which).checked_rem(nats.len())?).copied()
    }

    fn suffer(&mut self, fault: Fault) {
        let [l, r] = [SideName::L, SideName::R].map(|side| self.host(side));
        match fault {
            Fault::InterfaceDown(side, which) => {
                let ips = self.interfaces(side);
                if let Some(ip) = usize::from(which).checked_rem(ips.len()).and_then(|place| ips.get(place)) {
                    let _ = self.network.set_interface_up(self.host(side), *ip, false);
                }
            }
            Fault::InterfacesUp(side) => {
                for ip in self.interfaces(side) {
                    let _ = self.network.set_interface_up(self.host(side), ip, true);
                }
            }
            Fault::Rebind(side, which) => {
                if let Some(nat) = self.nat(side, which) {
                    let _ = self.network.rebind(nat);
                }
            }
            Fault::Move(side, which) => {
                if let Some(nat) = self.nat(side, which) {
                    let number = if side == SideName::L { 1 } else { 2 };
                    let _ = self.network.rebind_to(nat, [IpAddr::from([192, 0, 3, 2 * (which % 100) + number])]);
                }
            }
            Fault::Cut(side) => {
                let (from, to) = if side == SideName::L { (l, r) } else { (r, l) };
                self.network.cut(from, to);
            }
            Fault::Mend => self.network.mend_both(l, r),
            Fault::Loss(percent) => {
                let loss = f64::from(percent.min(100)) / 100.0;
                self.network.change_default_link(|link| link.loss = loss);
            }
            Fault::Jitter(time) => {
                self.network.change_default_link(|link| link.jitter = Duration::from_millis(u64::from(time)));
            }
            Fault::BlockUdp(side) => {
                for direction in [Direction::In, Direction::Out] {
                    let _ = self.network.block(self.host(side), FirewallRule { direction, peer: PeerMatch::Any });
                }
            }
            Fault::FreezeStreams(side) => self.network.freeze_streams(self.host(side)),
            Fault::ResetStreams(side) => self.network.reset_streams(self.host(side)),
            Fault::ServerDies(_)
            | Fault::ServersRevive
            | Fault::ServerForgets(_)
            | Fault::ServerForgetsChannels(_)
            | Fault::ServerRotatesNonce(_)
            | Fault::ServerRefuses(..)
            | Fault::ServerLies(..) => self.suffer_server(fault),
        }
    }

    fn suffer_server(&mut self, fault: Fault) {
        let (Fault::ServerDies(which)
        | Fault::ServerForgets(which)
        | Fault::ServerForgetsChannels(which)
        | Fault::ServerRotatesNonce(which)
        | Fault::ServerRefuses(which, ..)
        | Fault::ServerLies(which, ..)) = fault
        else {
            self.servers.iter_mut().for_each(|server| server.set_alive(true));
            return;
        };
        let place = usize::from(which).checked_rem(self.servers.len());
        let Some(server) = place.and_then(|place| self.servers.get_mut(place)) else { return };
        if let Fault::ServerRefuses(_, method, code, times) = fault {
            server.fail(method, code, u32::from(times));
        } else if let Fault::ServerLies(_, method, code, times) = fault {
            server.fail_unauthenticated(method, code, u32::from(times));
        } else if matches!(fault, Fault::ServerDies(_)) {
            server.set_alive(false);
        } else if matches!(fault, Fault::ServerForgets(_)) {
            server.forget_allocations();
        } else if matches!(fault, Fault::ServerForgetsChannels(_)) {
            server.forget_channels();
        } else {
            server.rotate_nonce();
        }
    }

    /// All addresses of a side's machine, be they up or not.
    fn interfaces(&self, side: SideName) -> Vec<IpAddr> {
        self.network.all_addresses(self.host(side)).collect()
    }

    /// Lets a side hear what its peer should not have said.
    fn say(&mut self, side: SideName, saying: &Saying) {
        const ASKED: usize = 6;
        let stream = self.stream();
        let (listener, speaker) = (self.peer(side), self.peer(side.other()));
        let ours = listener.agent.local_credentials(stream);
        let theirs = speaker.agent.local_credentials(stream);
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
        let Some(way) = speaker.agent.pairs().next().map(|pair| (pair.base, pair.remote_address)) else { return };
        let requests =
            listener.sent.iter().rev().filter_map(|sent| Some((sent, Wire::decode(&sent.payload).request()?.id)));
        let asked: Vec<_> = requests.take(ASKED).map(|(sent, id)| (sent.destination, id)).collect();
        let mut id = [0xee; 12];
        let (_, number) = id.split_at_mut(4);
        number.copy_from_slice(&self.network.sent().to_be_bytes());
        let voice = Voice { ours, theirs, from: way.0, seen: way.1, id, asked: &asked };
        let Some((from, bytes)) = saying.write(&voice) else { return };
        let host = self.host(side.other());
        // An answer may be meant to come from an address that is not one of the speaker's: then it comes from its own.
        let is_own = self.network.addresses(host).any(|ip| ip == from.ip());
        let source = if is_own { from } else { way.0 };
        self.network.send(host, source, way.1, &bytes);
    }
}
