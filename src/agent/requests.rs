//! Checks of the peer, and what follows from them (RFC 8445 §7.3).

use alloc::vec::Vec;

use super::Agent;
use super::input::Arrival;
use super::restart::Epoch;
use super::stream_data::{EarlyCheck, Nominating};
use crate::candidate::{Candidate, CandidateKind, Priority, RemoteCandidate};
use crate::check::server::{self, Check, Verdict};
use crate::checklist::{CandidatePairState, Insert};
use crate::credentials::Ufrag;
use crate::nomination::{Heard, Request};
use crate::stats::DropReason;
use crate::stun::{ErrorReply, Message, TransactionId};
use crate::types::{CandidateId, PairId, Role, StreamId, Transport};

impl Agent {
    /// Authenticates a request, judges it, answers it, and lets it take effect, in this order (RFC 8489 §9.1.3).
    pub(super) fn handle_request(&mut self, mut arrival: Arrival, message: Message<'_>) -> Result<(), DropReason> {
        let id = message.id;
        let stream = self.stream(arrival.stream).ok_or(DropReason::UnknownDestination)?;
        if self.is_withheld(arrival.stream) {
            return Err(DropReason::Withheld);
        }
        if !self.is_admitted(&arrival.path) {
            // An answer would say that the path works.
            return Err(DropReason::ExcludedSource);
        }
        let ufrags = message.ufrags();
        if !message.has_valid_fingerprint() {
            return Err(DropReason::BadFingerprint);
        }
        if message.username.is_none() || !message.has_integrity() {
            self.reply_unauthenticated(arrival, id, ErrorReply::BadRequest);
            return Err(DropReason::MissingCredentials);
        }
        let addressed = ufrags.and_then(|(to, from)| Some((from, stream.addressed(to)?)));
        let Some((from, (epoch, generation, local))) = addressed else {
            self.reply_unauthenticated(arrival, id, ErrorReply::Unauthenticated);
            return Err(DropReason::UnknownUfrag);
        };
        arrival.generation = generation;
        let peer = stream.peer(from);
        if epoch == Epoch::Current && peer.is_none() && !stream.remote.is_empty() {
            // Once the peer's descriptions are known, nobody else is answered (RFC 8827 §9.3).
            return Err(DropReason::UnknownPeer);
        }
        let is_mixed = epoch == Epoch::Previous && !stream.is_past_peer(from) && !self.config.lite;
        let is_revoked = stream.is_revoked;
        let renomination = stream.renomination.filter(|_| epoch == Epoch::Current);
        let request = message.authenticate(&local.key);
        self.stats.integrity_checks += 1;
        let Some(request) = request else {
            self.reply_unauthenticated(arrival, id, ErrorReply::Unauthenticated);
            return Err(DropReason::BadIntegrity);
        };
        arrival.path = self.own(arrival);
        let integrity = Some(request.integrity());
        if is_mixed {
            // The credentials are of two generations, as libwebrtc sends them from its new ports. A success would pass for a path
            // that works, on which it refuses our checks with the right ones; this code makes it begin anew with ours.
            self.reply(arrival, id, integrity, Some(ErrorReply::BadRequest))?;
            return Err(DropReason::UnknownPeer);
        }
        // Not a lite agent's business, nor that of a generation that is about to go (RFC 8445 §7.3.1.1, §9).
        let repairs_roles = !self.config.lite && epoch != Epoch::Previous;
        let check = match server::examine(&request, self.role, self.tiebreaker, repairs_roles, renomination) {
            Verdict::Accept(check) => check,
            Verdict::Refuse(error) => {
                let is_conflict = error == ErrorReply::RoleConflict;
                self.reply(arrival, id, integrity, Some(error))?;
                return if is_conflict { Ok(()) } else { Err(DropReason::BadRequest) };
            }
        };
        let data = self.stream(arrival.stream);
        if is_revoked || data.is_some_and(|data| data.revoked.holds(generation, &arrival.path)) {
            return self.reply(arrival, id, integrity, Some(ErrorReply::Forbidden));
        }
        if renomination.is_some() && self.has_given_up(arrival) {
            return self.reply(arrival, id, integrity, Some(ErrorReply::Forbidden));
        }
        self.reply(arrival, id, integrity, None)?;
        if check.switch {
            self.take_role(self.role.opposite());
        }
        match epoch {
            Epoch::Current => self.take_effect(arrival, peer, from, id, check),
            Epoch::Pending => self.remember_early(arrival, from, id, check),
            // A lite agent, which sends no checks that could teach it better, takes them as they are.
            Epoch::Previous if self.config.lite && peer.is_some() => self.take_effect(arrival, peer, from, id, check),
            // Only consent is at stake in the generation that is about to go.
            Epoch::Previous => self.record_previous_life(arrival),
        }
        Ok(())
    }

    /// Whether a check comes on a pair that this agent, while controlled, never uses again: consent on it has ended here, which
    /// the peer need not have noticed. A success would have the peer stay there, or nominate it, where another pair may do
    /// (RFC 7675 §5.2, RFC 8445 §7.3.1.5).
    fn has_given_up(&self, arrival: Arrival) -> bool {
        let pair = self.known_pair(arrival).filter(|_| self.role == Role::Controlled && !self.config.lite);
        pair.and_then(|id| self.set.get(id)).is_some_and(|pair| pair.is_barred)
    }

    fn take_effect(&mut self, arrival: Arrival, peer: Option<u8>, from: &[u8], id: TransactionId, check: Check) {
        let Some(peer) = peer else {
            self.remember_early(arrival, from, id, check);
            return;
        };
        let Some(pair) = self.known_pair(arrival).filter(|_| !self.config.lite) else {
            self.learn(arrival.stream, peer, &early_check(arrival, &[], id, check));
            return;
        };
        if let Some(remote) = self.set.get(pair).map(|pair| pair.remote) {
            self.assign(arrival.stream, remote, peer);
        }
        self.apply(pair, check.priority, check.claimed, nominating(check, id), !check.nominates);
    }

    fn record_previous_life(&mut self, arrival: Arrival) {
        let previous =
            self.component((arrival.stream, arrival.component)).and_then(|component| component.selection.previous());
        if let Some(pair) = previous.filter(|id| self.set.get(*id).is_some_and(|pair| pair.path == arrival.path)) {
            self.record_life(pair);
        }
    }

    /// The pair along whose path something came.
    fn known_pair(&self, arrival: Arrival) -> Option<PairId> {
        self.set.find(&arrival.path)
    }

    /// Keeps what a check before the peer's credentials will mean, once for each address (RFC 8445 §7.3).
    fn remember_early(&mut self, arrival: Arrival, from: &[u8], id: TransactionId, check: Check) {
        let limit = self.config.max_early_checks;
        let Some(stream) = self.stream_mut(arrival.stream) else { return };
        let early = match stream.pending.as_mut().filter(|pending| pending.generation == arrival.generation) {
            Some(pending) => &mut pending.early,
            None => &mut stream.early,
        };
        let is_same = |early: &EarlyCheck| (early.path, &*early.ufrag) == (arrival.path, from);
        let known = early.iter().position(is_same);
        if let Some(early) = known.and_then(|place| early.get_mut(place)) {
            early.priority = check.priority;
            early.claimed = check.claimed;
            early.has_plain_check |= !check.nominates;
            early.nomination = nominating(check, id).or(early.nomination);
        } else if early.len() < limit && from.len() <= Ufrag::MAX_LEN {
            early.push(early_check(arrival, from, id, check));
        } else {
            self.stats.early_checks_forgotten += 1;
        }
    }

    /// Lets a check take effect for which there is no pair yet.
    pub(super) fn learn(&mut self, stream: StreamId, peer: u8, check: &EarlyCheck) {
        if self.config.lite {
            self.accept(stream, peer, check);
            return;
        }
        let Some(remote) = self.remote_of(stream, peer, check) else { return };
        let Some(data) = self.stream(stream) else { return };
        let base = data.locals.at_base(check.component, check.path.transport, check.path.base);
        let Some(local) = base.map(|local| local.id) else { return };
        if let Some(data) = self.stream_mut(stream) {
            // Its priority is about to be used, and stands from here on.
            data.locals.fix_priority(local);
        }
        let Some(pair) = self.form(stream, local, remote, Insert::Triggered) else { return };
        self.apply(pair, check.priority, check.claimed, check.nomination, check.has_plain_check);
    }

    /// The remote candidate that a check came from, a new peer-reflexive one if need be (RFC 8445 §7.3.1.3).
    pub(super) fn remote_of(&mut self, stream: StreamId, peer: u8, check: &EarlyCheck) -> Option<CandidateId> {
        let limit = self.config.max_peer_reflexive;
        let (data, source) = (self.stream(stream)?, check.path.remote);
        if let Some(known) = data.remotes.find(check.component, check.path.transport, source).map(|known| known.id) {
            self.assign(stream, known, peer);
            return Some(known);
        }
        if source.port() == 0 || !self.is_admitted(&check.path) {
            return None;
        }
        if self.is_removed(stream, source) || self.config.is_prohibited(source.port()) {
            return None;
        }
        // Whoever nominates, or was nominated and has moved, has our answer already, and believes that we follow.
        let is_full = data.remotes.counts().1 >= limit;
        let is_awaited = check.nomination.is_some() || self.is_of_nominated(stream, check);
        if is_full && !(is_awaited && self.forget_failed_reflexive(stream)) {
            self.stats.peer_reflexive_refused += 1;
            return None;
        }
        let priority = Priority::new(check.priority)?;
        let id = self.next_candidate_id();
        let (foundation, name) = self.remote_foundations.unique();
        let kind = CandidateKind::PeerReflexive;
        let mut candidate = Candidate::new(kind, check.component, name, priority, source);
        if check.path.transport == Transport::Tcp {
            // What fits the one that it has found (RFC 6544 §7.2).
            let local = self.stream(stream)?.locals.at_base(check.component, Transport::Tcp, check.path.base)?;
            candidate = candidate.with_tcp_type(local.candidate.tcp_type()?.opposite());
        }
        let remote = RemoteCandidate { id, candidate, address: source, foundation, peer, is_signalled: false };
        self.stream_mut(stream)?.remotes.add(remote);
        self.is_dirty = true;
        Some(id)
    }

    /// Makes room for a peer-reflexive candidate: one goes whose pairs have all failed, the oldest; `false` if there is none.
    fn forget_failed_reflexive(&mut self, stream: StreamId) -> bool {
        let Some(data) = self.stream(stream) else { return false };
        let has_failed = |id: &PairId| {
            self.set.get(*id).is_none_or(|pair| {
                let is_failed =
                    pair.state.get() == CandidatePairState::Failed && !pair.is_valid && pair.produced.is_none();
                // The peer is seen under another address since, and was nominated there before this one could fail.
                // A lite agent goes by the last nomination, and by nothing that was before.
                let may_be_left = pair.is_alias || self.config.lite;
                let is_left = may_be_left && !self.set.names_of(*id).iter().any(|name| self.is_relied_on(*name));
                (is_failed || is_left)
                    // What the peer nominated once and has left is of no use.
                    && !(self.is_nominated(pair) || self.is_nominating(pair) || pair.is_barred || pair.is_protected)
            })
        };
        let seen: Vec<CandidateId> =
            data.remotes.iter().filter(|remote| !remote.is_signalled).map(|remote| remote.id).collect();
        let victim = seen.into_iter().find(|id| self.pairs_of_remote(stream, *id).iter().all(has_failed));
        let Some(victim) = victim else { return false };
        self.forget_pairs(|pair| (pair.stream, pair.remote) == (stream, victim));
        self.stream_mut(stream).is_some_and(|data| data.remotes.remove(victim).is_some())
    }

    /// Whether a pair is nominated, selected, or watched.
    fn is_relied_on(&self, id: PairId) -> bool {
        let Some(pair) = self.set.get(id) else { return false };
        let Some(component) = self.component((pair.stream, pair.component)) else { return false };
        let places = [
            component.nomination.pair(),
            component.selection.selected(),
            component.selection.previous(),
            component.selection.in_use(),
        ];
        places.contains(&Some(id)) || component.selection.is_standby(id)
    }

    /// Lets the checks to a candidate use the credentials of the peer that was heard from there last
    /// (RFC 8445 §7.3.1.4).
    fn assign(&mut self, stream: StreamId, remote: CandidateId, peer: u8) {
        if let Some(data) = self.stream_mut(stream) {
            data.remotes.assign(remote, peer);
        }
    }

    /// Lets a check take effect on its pair: it is checked in turn, and perhaps nominated (RFC 8445 §7.3.1.4, §7.3.1.5).
    fn apply(&mut self, id: PairId, priority: u32, claimed: Role, nominating: Option<Nominating>, is_plain: bool) {
        let now = self.now;
        let order = self.nominations + 1;
        let is_controlled = self.role == Role::Controlled;
        let Some(place) = self.set.get(id).map(|pair| (pair.stream, pair.component)) else { return };
        let is_deliberate = self.stream(place.0).is_some_and(|data| data.is_ice2 || data.renomination.is_some());
        let Some(component) = self.component(place) else { return };
        let can_renominate = self.can_renominate(place.0);
        let is_outdated = |one: &Nominating| can_renominate && component.nomination.is_outdated(id, one.value);
        let nominating = nominating.filter(|one| is_controlled && !is_outdated(one));
        let heard_before = self.set.record_request(id, now, priority);
        let request = Request {
            nominating: nominating.map(|one| (one.transaction, one.value)),
            is_plain: is_plain && claimed == Role::Controlling,
            is_deliberate,
        };
        let heard = self.component_mut(place).map_or(Heard::Nothing, |one| one.nomination.heard(id, request, order));
        if heard != Heard::Nothing {
            self.nominations = order;
        }
        self.record_life(id);
        self.record_reply(id);
        self.note_heard(place);
        self.notice_alarm(id, heard_before);
        if heard_before.is_none() {
            // Our own check may have been faster than the first one of the peer.
            if let Some(valid) = self.set.get(id).and_then(|pair| pair.produced) {
                self.follow_move(id, valid);
            }
        }
        if self.has_come_back(id) {
            // What its answers have shown was before the peer had left it.
            self.give_up_path(self.set.get(id).and_then(|pair| pair.produced).unwrap_or(id), false);
        }
        if self.set.get(id).is_none_or(|pair| pair.state.get() != CandidatePairState::Succeeded) {
            self.trigger(id);
        } else if heard == Heard::NominatedAgain && nominating.is_some_and(|one| one.value.is_none()) {
            // Nothing tells whether it was sent before or after the nomination by which the pair was left. Where a NAT has
            // forgotten the address since, no answer to a check of our own will come.
            self.outbox.queue_probe(id);
        } else if heard != Heard::Nothing {
            self.follow_nomination(id);
        }
    }

    /// Queues a triggered check, and stops the one in progress. A pair whose consent has ended is not checked any more.
    pub(super) fn trigger(&mut self, id: PairId) {
        self.set.trigger(id);
        if let Some(stream) = self.set.get(id).filter(|pair| !pair.is_barred).map(|pair| pair.stream) {
            if let Some(data) = self.stream_mut(stream) {
                // A failed list runs again (RFC 8445 §7.3.1.4).
                data.failure = None;
            }
        }
        self.is_dirty = true;
    }
}

/// What a check nominates by; only a controlling peer nominates (RFC 8445 §7.1.2).
fn nominating(check: Check, transaction: TransactionId) -> Option<Nominating> {
    let nominating = Nominating { transaction, value: check.value };
    (check.nominates && check.claimed == Role::Controlling).then_some(nominating)
}

fn early_check(arrival: Arrival, from: &[u8], id: TransactionId, check: Check) -> EarlyCheck {
    EarlyCheck {
        generation: arrival.generation,
        component: arrival.component,
        path: arrival.path,
        ufrag: from.into(),
        priority: check.priority,
        claimed: check.claimed,
        nomination: nominating(check, id),
        has_plain_check: !check.nominates,
    }
}
