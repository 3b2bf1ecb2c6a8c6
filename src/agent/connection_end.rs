//! The end of connections of TCP candidates: which are closed because they are of no use any more, what becomes of the
//! pairs of one that is lost, and which are opened again (RFC 6544 §8, §11.1).

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use super::Agent;
use crate::candidate::TcpType;
use crate::checklist::{CandidatePair, CandidatePairState, Purpose, Transaction, TransactionKey, Why};
use crate::connection::ConnectionEnd;
use crate::event::Event;
use crate::tcp::{Carrier, Connection, Owner, Stage};
use crate::types::{CONSENT_EXPIRY, ConnectionId, PairId, Path, PathHealth, after};

impl Agent {
    /// How long a connection that no pair needs stays: late answers, and data of the peer. Where consent was taken back, it
    /// stays as long as the peer may go without asking for it.
    const GRACE: Duration = Duration::from_secs(3);

    /// Closes a connection in the place of which there is another one; the check that waits for it is made anew.
    pub(super) fn supersede(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.close(self.now, id) else { return };
        if let Some(key) = connection.carrier().and_then(|carrier| carrier.waiting) {
            let pair = self.set.end(key).map(|transaction| transaction.start.pair);
            pair.into_iter().for_each(|pair| self.trigger(pair));
        }
    }

    /// Opens the connection of a pair in use anew on which nothing comes any more, if it is ours to open: the network may
    /// have lost it without a word.
    pub(super) fn replace_dead_connection(&mut self, id: PairId, health: PathHealth) {
        let path = self.set.get(id).map(|pair| pair.path);
        if health != PathHealth::Lost || !self.tcp_type(id).is_some_and(TcpType::is_opening) {
            return;
        }
        if let Some(dead) = path.and_then(|path| self.connections.find_open(&path)).map(|connection| connection.id) {
            self.end_connection(dead, ConnectionEnd::Dead);
        }
    }

    /// Ends a connection, and draws the consequences.
    pub(super) fn end_connection(&mut self, id: ConnectionId, reason: ConnectionEnd) {
        let is_ours = !matches!(reason, ConnectionEnd::Failed | ConnectionEnd::Lost);
        let ended = if is_ours { self.connections.close(self.now, id) } else { self.connections.remove(self.now, id) };
        let Some(connection) = ended else { return };
        if let Owner::Server(enquiry) = &connection.owner {
            self.end_enquiry(enquiry);
            return;
        }
        #[cfg(feature = "turn")]
        if let Owner::Relay(relay, _) = connection.owner {
            self.disconnect_relay(relay);
            return;
        }
        let Some(carrier) = connection.carrier() else { return };
        if let Some(key) = carrier.waiting {
            // It counts as lost with its pair below.
            self.set.end(key);
        }
        self.emit(Event::ConnectionEnded {
            connection: id,
            stream: carrier.stream,
            component: carrier.component,
            local: connection.local,
            remote: connection.remote,
            reason,
            at: self.now,
        });
        if reason == ConnectionEnd::TimedOut {
            for id in self.pairs_on(&carrier.path) {
                self.set.record_timeout(id);
            }
        }
        self.lose_path(&carrier.path);
        if let Some(former) = carrier.former {
            self.lose_path(&former);
        }
        if reason == ConnectionEnd::NotStun {
            self.fail_remote(carrier);
        }
    }

    /// Fails all pairs with a remote candidate that is no ICE agent (RFC 6544 §7.1).
    fn fail_remote(&mut self, carrier: &Carrier) {
        let remote = self.set.find(&carrier.path).and_then(|id| self.set.get(id)).map(|pair| pair.remote);
        let is_hit = |pair: &&CandidatePair| pair.stream == carrier.stream && Some(pair.remote) == remote;
        let hit: Vec<PairId> = self.set.iter().filter(is_hit).map(|pair| pair.id).collect();
        self.set.invalidate_all(&hit);
        for id in hit {
            let is_waiting = |pair: &CandidatePair| pair.state.get() == CandidatePairState::Waiting;
            if self.set.get(id).is_some_and(is_waiting) {
                let _ = self.set.drop(id, Why::Failed);
            }
            self.discard(id);
        }
    }

    pub(super) fn pairs_on(&self, path: &Path) -> SmallVec<[PairId; 2]> {
        self.set.all_on(path).collect()
    }

    /// Deals with the pairs of a path whose connection is gone. One that is in use is suspected, and gets its connection
    /// back if it is for us to open it; any other has failed.
    fn lose_path(&mut self, path: &Path) {
        self.is_dirty = true;
        let now = self.now;
        let kept: SmallVec<[PairId; 2]> =
            self.watched().filter(|id| self.set.get(*id).is_some_and(|pair| pair.path == *path)).collect();
        for id in self.pairs_on(path) {
            if let Some(key) = self.set.get(id).and_then(|pair| pair.state.transaction()) {
                self.set.end(key);
                self.fail_pair(id);
            } else if kept.is_empty() {
                self.discard(id);
            }
        }
        let Some(id) = kept.first().copied() else { return };
        if let Some(consent) = self.consent_mut(id) {
            consent.suspect(now);
        }
        if self.tcp_type(id).is_some_and(TcpType::is_opening) {
            self.connections.plan_redial(now, *path);
        }
        self.resume_nomination(path);
    }

    /// Nominates once more where the connection was lost before the answer came.
    pub(super) fn resume_nomination(&mut self, path: &Path) {
        let attempts: SmallVec<[PairId; 1]> = self
            .streams
            .iter()
            .flat_map(|stream| &stream.components)
            .filter_map(|component| Some(component.nomination.attempt()?.checked))
            .filter(|id| self.set.get(*id).is_some_and(|pair| pair.path == *path))
            .collect();
        attempts.into_iter().for_each(|id| self.trigger(id));
    }

    /// Takes a pair off the valid list that nobody uses and that does not work any more.
    fn discard(&mut self, id: PairId) {
        self.set.forget_valid_pair(id);
        let Some(pair) = self.set.get(id) else { return };
        let place = (pair.stream, pair.component);
        let (state, is_listed) = (pair.state.get(), pair.group.is_some());
        self.leave_use(place, id);
        if !is_listed {
            self.forget_pair(id);
        } else if state == CandidatePairState::Succeeded {
            self.fail_pair(id);
        }
    }

    /// Gives up a nomination over TCP that was not answered: it is not repeated there (RFC 8489 §6.2.2).
    pub(super) fn handle_lost_nomination(&mut self, key: TransactionKey, transaction: &Transaction) {
        if transaction.start.purpose != Purpose::Nomination || !transaction.start.is_reliable {
            return;
        }
        let Some(pair) = self.set.get(transaction.start.pair) else { return };
        let place = (pair.stream, pair.component);
        let attempt = self.component(place).and_then(|component| component.nomination.attempt());
        if attempt.is_some_and(|attempt| attempt.latest == Some(key)) {
            self.fail_nomination(place);
        }
    }

    /// Does what is due about connections.
    pub(super) fn expire_connections(&mut self) {
        while let Some(id) = self.connections.poll_due(self.now) {
            let Some(connection) = self.connections.get(id) else { continue };
            let in_use = self.watched_paths();
            let reason = match (connection.stage, connection.carrier()) {
                (Stage::Queued | Stage::Opening, _) => ConnectionEnd::TimedOut,
                (Stage::Open, Some(carrier)) if carrier.path.flow.is_none() => ConnectionEnd::Silent,
                (Stage::Open, Some(carrier)) if !self.is_wanted(carrier, &in_use) => ConnectionEnd::Unused,
                (Stage::Open, _) => continue,
            };
            self.end_connection(id, reason);
        }
        while let Some(path) = self.connections.poll_redial(self.now) {
            let in_use = self.watched().find(|id| self.set.get(*id).is_some_and(|pair| pair.path == path));
            match in_use {
                Some(_) if self.connections.find(&path).is_some() => {}
                Some(id) if self.dial(id).is_some() => {}
                Some(_) | None => self.connections.forget_redial(&path),
            }
        }
    }

    /// The paths of the pairs that are watched, in order.
    fn watched_paths(&self) -> SmallVec<[Path; 2]> {
        let mut paths: SmallVec<[Path; 2]> =
            self.watched().filter_map(|id| self.set.get(id)).map(|pair| pair.path).collect();
        paths.sort_unstable();
        paths
    }

    /// Whether a connection carries a pair that is in use, or may yet be (RFC 6544 §8).
    fn is_wanted(&self, carrier: &Carrier, in_use: &[Path]) -> bool {
        let mut carried = [Some(carrier.path), carrier.former].into_iter().flatten();
        if carried.any(|path| in_use.binary_search(&path).is_ok()) {
            return true;
        }
        let Some(pair) = self.set.find(&carrier.path).and_then(|id| self.set.get(id)) else {
            // A check that came before the credentials of its peer makes a pair later.
            let data = self.stream(carrier.stream);
            let waits = |data: &super::Stream| {
                let pending = data.pending.as_ref().map(|pending| pending.early.as_slice()).unwrap_or_default();
                data.early.iter().chain(pending).any(|early| early.path == carrier.path)
            };
            return data.is_some_and(waits);
        };
        let produced = pair.produced.and_then(|id| self.set.get(id));
        let is_open = self.component((pair.stream, pair.component)).is_some_and(|one| one.nomination.pair().is_none());
        let is_busy = pair.is_queued || self.is_nominating(pair) || self.consent(pair.id).is_some();
        is_busy || produced.is_some_and(|valid| self.consent(valid.id).is_some()) || is_open
    }

    /// Gives connections that nobody needs a while to live.
    pub(super) fn tidy_connections(&mut self) {
        if self.connections.is_idle() {
            return;
        }
        let in_use = self.watched_paths();
        self.connections.keep_redials(|path| in_use.binary_search(path).is_ok());
        self.tidy_enquiries();
        for id in self.connections.ids() {
            let Some(connection) = self.connections.get(id) else { continue };
            let Some(carrier) = connection.carrier() else { continue };
            if carrier.path.flow.is_none() || connection.stage != Stage::Open {
                continue;
            }
            let is_wanted = self.is_wanted(carrier, &in_use);
            if is_wanted || !connection.is_limited() {
                let data = self.stream(carrier.stream);
                let is_revoked = carrier
                    .path
                    .flow
                    .zip(data)
                    .is_some_and(|(flow, data)| data.revoked.holds(flow.generation, &carrier.path));
                let grace = if is_revoked { CONSENT_EXPIRY } else { Self::GRACE };
                let until = after(self.now, grace);
                self.connections.set_deadline(id, (!is_wanted).then_some(until));
            }
        }
    }

    /// Ends the connections of a candidate that is gone.
    pub(super) fn drop_connections(&mut self, which: impl Fn(&Carrier) -> bool) {
        let is_hit = |id: &ConnectionId| self.connections.get(*id).and_then(Connection::carrier).is_some_and(&which);
        let mut gone: Vec<ConnectionId> = self.connections.ids().into_iter().filter(is_hit).collect();
        self.connections.sort_for_the_end(&mut gone);
        gone.into_iter().for_each(|id| self.end_connection(id, ConnectionEnd::Unused));
    }

    /// Closes all connections of candidates. Those of relays go when their servers were told.
    pub(super) fn close_connections(&mut self) {
        let mut all = self.connections.ids();
        self.connections.sort_for_the_end(&mut all);
        for id in all {
            let is_ours = |owner: &Owner| matches!(owner, Owner::Candidates(_) | Owner::Server(_));
            if self.connections.get(id).is_some_and(|connection| is_ours(&connection.owner)) {
                self.connections.close(self.now, id);
            }
        }
    }
}
