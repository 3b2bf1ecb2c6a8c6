//! Errors of the host when it sends, and what they mean for the paths.
//!
//! They act on paths that have worked, and are watched: those in use, and those in reserve. What is still tried, a pair in
//! check or a server that is asked, goes on being tried as planned; its repetitions are all the probes that it needs.

use core::net::SocketAddr;

use smallvec::SmallVec;

use super::Agent;
use crate::send_failure::SendFailure;
use crate::types::address::canonical;
use crate::types::{Instant, PairId, Path, Transport};

impl Agent {
    /// Says that the host could not send a datagram that [`poll_transmit`](Self::poll_transmit) or [`send`](Self::send) gave
    /// out, and that nothing is known of why: the same as [`handle_send_failure`](Self::handle_send_failure) with
    /// [`SendFailure::Unreachable`].
    pub fn handle_send_error(&mut self, now: Instant, source: SocketAddr, destination: SocketAddr) {
        self.handle_send_failure(now, source, destination, SendFailure::Unreachable);
    }

    /// Says that the host could not send a datagram over UDP that [`poll_transmit`](Self::poll_transmit) or
    /// [`send`](Self::send) gave out from `source` to `destination`, and why.
    ///
    /// * [`Local`](SendFailure::Local), which nobody outside can make up, acts at once: a path in use is lost until it answers
    ///   again, and data goes on one in reserve that leaves from another address; a path in reserve is given up for the time
    ///   being.
    /// * [`Unreachable`](SendFailure::Unreachable), which anybody can forge, is a hint: the path is probed at once and, if
    ///   that is not answered, once more after one RTO. Data moves only when the second one was not answered for as long
    ///   either. There is at most one such round a second for each path. The RTO is 500 ms, or one and a half round
    ///   trips if that is longer.
    ///
    /// A relayed path is one from the socket to the TURN server. What is no path in use or in reserve is not affected: a pair
    /// in check and a server that is asked are tried on as planned. The end of a TCP connection is told by
    /// [`handle_connection`](Self::handle_connection).
    pub fn handle_send_failure(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        failure: SendFailure,
    ) {
        self.observe(now);
        let ends = (canonical(source), canonical(destination));
        let hit: SmallVec<[PairId; 2]> = self.watched().filter(|id| self.ends(*id) == Some(ends)).collect();
        for id in hit {
            self.take_send_failure(id, failure);
        }
    }

    /// Takes what an ICMP message says that a TURN server has got: that a peer is unreachable from its relay.
    #[cfg_attr(not(feature = "turn"), expect(dead_code, reason = "there are no relays"))]
    pub(super) fn take_relayed_icmp(&mut self, relayed: SocketAddr, peer: SocketAddr, kind: u8, code: u8) {
        // Of too long a datagram, the path can be right.
        let is_unreachable = if peer.is_ipv4() { kind == 3 && code != 4 } else { kind == 1 };
        if !is_unreachable {
            return;
        }
        let is_it = |path: &Path| (path.transport, path.base, path.remote) == (Transport::Udp, relayed, peer);
        let hit: SmallVec<[PairId; 2]> =
            self.watched().filter(|id| self.set.get(*id).is_some_and(|pair| is_it(&pair.path))).collect();
        for id in hit {
            self.take_send_failure(id, SendFailure::Unreachable);
        }
    }

    fn take_send_failure(&mut self, id: PairId, failure: SendFailure) {
        let now = self.now;
        match failure {
            SendFailure::Unreachable => {
                if let Some(consent) = self.consent_mut(id) {
                    consent.take_hint(now);
                }
            }
            SendFailure::Local if self.is_in_reserve(id) => self.lapse(id),
            SendFailure::Local => {
                if self.consent_mut(id).is_some_and(|consent| consent.cut(now)) {
                    self.is_dirty = true;
                    self.ask_spares_of(id);
                }
            }
        }
    }

    /// Whether a pair is neither in use nor what was agreed.
    fn is_in_reserve(&self, id: PairId) -> bool {
        let place = self.set.get(id).map(|pair| (pair.stream, pair.component));
        let component = place.and_then(|place| self.component(place));
        component.is_some_and(|one| one.selection.in_use() != Some(id) && one.nomination.pair() != Some(id))
    }

    /// The addresses between which the datagrams of a pair go over UDP, to the server where one relays.
    fn ends(&self, id: PairId) -> Option<(SocketAddr, SocketAddr)> {
        let leaving = self.leaving(&self.set.get(id)?.path)?;
        (leaving.transport == Transport::Udp).then_some((leaving.source, leaving.destination))
    }

    /// Whether the datagrams of one pair leave from another address than those of the other.
    pub(super) fn leaves_elsewhere(&self, one: PairId, other: PairId) -> bool {
        let source = |id: PairId| Some(self.leaving(&self.set.get(id)?.path)?.source.ip());
        source(one).zip(source(other)).is_some_and(|(one, other)| one != other)
    }
}
