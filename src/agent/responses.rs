//! Answers to our checks, and what follows from them (RFC 8445 §7.2.5).

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::time::Duration;

use super::Agent;
use super::input::Arrival;
use super::stream_data::Stream;
use crate::candidate::address::judge;
use crate::candidate::{Candidate, CandidateKind, Foundation, LocalCandidate, Priority};
use crate::check::client::{self, Verdict};
use crate::checklist::Repeat;
use crate::checklist::{
    CandidatePairState, NewPair, PairFoundation, PairPriority, Purpose, Transaction, TransactionKey, Update, Why,
};
use crate::gather::masked;
use crate::stats::DropReason;
use crate::stun::Message;
use crate::types::address::{canonical, in_scope_of};
use crate::types::{CandidateId, ComponentId, PairId, Path, Role, StreamId, Tiebreaker, after};

impl Agent {
    /// Finds what a response answers, authenticates it, judges it, and lets it take effect.
    pub(super) fn handle_response(&mut self, arrival: Arrival, message: Message<'_>) -> Result<(), DropReason> {
        let (key, transaction) = self.set.asked(message.id).ok_or(DropReason::UnknownTransaction)?;
        if !message.has_valid_fingerprint() {
            return Err(DropReason::BadFingerprint);
        }
        // The pair of an old transaction may be gone; the transaction ends by itself.
        let asked = self.set.get(transaction.start.pair).ok_or(DropReason::LateResponse)?;
        let (asked, pair) = (asked.path, asked);
        let stream = self.stream(pair.stream).ok_or(DropReason::UnknownTransaction)?;
        let start = &transaction.start;
        let peer = stream.remote_in(start.generation, start.peer).ok_or(DropReason::UnknownTransaction)?;
        let response = message.authenticate(&peer.key);
        self.stats.integrity_checks += 1;
        // One that is forged is as if it had never come: the check goes on (RFC 8489 §9.1.4).
        let response = response.ok_or(DropReason::BadIntegrity)?;
        let verdict = client::examine(&response, self.is_same_way(&arrival.path, &asked));
        if verdict == Verdict::Unusable {
            return Err(DropReason::UnusableResponse);
        }
        let Some(transaction) = self.set.end(key) else { return Ok(()) };
        self.stats.responses_received += u64::from(transaction.start.purpose != Purpose::Consent);
        self.set.record_response(self.now, &transaction, matches!(verdict, Verdict::Success(_)));
        let place = self.set.get(transaction.start.pair).map(|pair| (pair.stream, pair.component));
        place.into_iter().for_each(|place| self.note_heard(place));
        if let Verdict::Success(_) = verdict {
            self.prove_connection(&arrival.path);
        }
        if transaction.start.purpose != Purpose::Consent && self.is_past(transaction.start.pair) {
            // What a check of the previous generation asked has no meaning any more.
            return Ok(());
        }
        match verdict {
            Verdict::Success(mapped) if transaction.start.purpose == Purpose::Consent => {
                self.handle_consent(&transaction, canonical(mapped));
            }
            Verdict::Success(mapped) => self.handle_success(&transaction, canonical(mapped)),
            Verdict::RoleConflict => self.handle_role_conflict(key, &transaction),
            Verdict::Forbidden => self.handle_refusal(&transaction),
            Verdict::ServerError => self.handle_server_error(key, &transaction),
            Verdict::Failure | Verdict::Unusable => self.handle_failure(key, &transaction),
        }
        Ok(())
    }

    fn handle_success(&mut self, transaction: &Transaction, mapped: SocketAddr) {
        let id = transaction.start.pair;
        if self.set.get(id).is_some_and(|pair| pair.is_barred) {
            // A late answer does not bring back what consent has ended for (RFC 7675 §5.1).
            return;
        }
        let is_nominating = self.set.get(id).is_some_and(|pair| self.is_nominating(pair));
        self.set.succeed(id, is_nominating);
        // Whatever comes of it, the list has one check less to wait for.
        self.is_dirty = true;
        let given_up = self.given_up_before(id);
        let Some(valid) = self.valid_pair(id, transaction.start.priority, mapped) else { return };
        self.make_valid(id, valid);
        for better in given_up {
            // The network has come, and may be there for them, too.
            self.set.wait_again(better);
        }
        let has_nominated = transaction.start.use_candidate && transaction.start.role == Role::Controlling;
        if has_nominated && self.role == Role::Controlling {
            self.conclude_nomination(transaction, valid);
            self.note_mapping(valid, mapped, false);
        } else {
            self.follow_nomination(id);
        }
    }

    /// The pair of the address that the peer saw and the one that was checked: the pair itself, another one of the
    /// checklist, or a new one (RFC 8445 §7.2.5.3.2).
    pub(super) fn valid_pair(&mut self, checked: PairId, announced: u32, mapped: SocketAddr) -> Option<PairId> {
        let checked = self.set.get(checked)?;
        let (id, stream, component, remote, path) =
            (checked.id, checked.stream, checked.component, checked.remote, checked.path);
        let (checked_local, twin) = (checked.local, checked.twin.filter(|twin| self.set.get(*twin).is_some()));
        // What the peer sees of a link-local address has no scope of ours.
        let mapped = in_scope_of(path.base, mapped);
        if !is_worth_noting(mapped, path.base) {
            // An address that nobody can have says nothing; the path works all the same.
            return Some(twin.unwrap_or(id));
        }
        if mapped == path.base {
            return Some(twin.map_or(id, |twin| self.show_as(twin, checked_local)));
        }
        let locals = &self.stream(stream)?.locals;
        let found = locals
            .find(component, path.transport, mapped, path.base)
            .map(|local| (local.id, local.base, local.foundation));
        let (local, base, foundation) = match found {
            Some(found) => found,
            None => self.add_peer_reflexive(id, announced, mapped)?,
        };
        let checked_base = path.base;
        let path = Path { base, ..path };
        if let Some(twin) = twin.filter(|_| base == checked_base) {
            // The NAT gave us another address since: the pair is the same, seen otherwise.
            return Some(self.show_as(twin, local));
        }
        if self.set.find(&path) == Some(id) && local == checked_local {
            // The peer sees the address that stands for the base.
            return Some(id);
        }
        if let Some(other) = self.set.find(&path).filter(|other| *other != id) {
            let known = self.set.get(other).filter(|other| !other.is_barred)?;
            if known.state.get() != CandidatePairState::Succeeded {
                let is_nominating = self.is_nominating(known);
                self.set.trigger(other);
                self.set.succeed(other, is_nominating);
            }
            return Some(other);
        }
        let data = self.stream(stream)?;
        let local_priority = data.locals.get(local)?.candidate.priority();
        let theirs = data.remotes.get(remote)?;
        let priority = PairPriority::compute(self.role, local_priority, theirs.candidate.priority());
        let group = PairFoundation { local: foundation, remote: theirs.foundation };
        let generation = data.generation;
        let new = NewPair { stream, component, generation, local, remote, path, priority, group };
        let Some(valid) = self.set.insert_valid(&new) else {
            // The path works all the same: it is taken for that of the base.
            self.stats.pairs_refused += 1;
            return Some(id);
        };
        self.set.set_twin(id, valid);
        Some(valid)
    }

    /// Gives the pair that stands for a path the local candidate that the peer sees by now: there is one such pair for each
    /// path, however often a NAT changes its mind.
    fn show_as(&mut self, twin: PairId, local: CandidateId) -> PairId {
        let Some(pair) = self.set.get(twin).filter(|pair| pair.local != local) else { return twin };
        let Some((priority, _)) = self.rate(pair.stream, local, pair.remote) else { return twin };
        let place = (pair.stream, pair.component);
        let to = Update { local: Some(local), priority: Some(priority), ..Update::default() };
        self.set.update(twin, to);
        self.set.sort_valid(place);
        twin
    }

    /// Notes under which address the peer sees the path that we have nominated. To the peer another one is another pair, which
    /// is nominated if that can be. A lite peer follows by nothing else: consent checks, which have a pace of their own, may
    /// bring it any number of nominations.
    pub(super) fn note_mapping(&mut self, valid: PairId, mapped: SocketAddr, is_consent: bool) {
        let Some(pair) = self.set.get(valid) else { return };
        let (place, base) = ((pair.stream, pair.component), pair.path.base);
        let mapped = in_scope_of(base, mapped);
        if !is_worth_noting(mapped, base) {
            return;
        }
        let checked = self.set.checked_by(valid);
        let is_ours = self.role == Role::Controlling;
        let Some(component) =
            self.component(place).filter(|component| is_ours && component.nomination.attempt().is_none())
        else {
            return;
        };
        if component.nomination.pair().and_then(|nominated| self.set.checked_by(nominated)) != checked {
            return;
        }
        let now = self.now;
        let is_unlimited = is_consent && self.stream(place.0).is_some_and(|data| data.is_remote_lite);
        let Some((component, checked)) = self.component_mut(place).zip(checked) else { return };
        let is_another = component.nomination.observe(now, checked, mapped, is_unlimited);
        if is_another && self.can_renominate(place.0) {
            self.start_nomination(place, valid, false);
            self.is_dirty = true;
        }
    }

    /// Adds the address that the peer saw as a candidate of ours (RFC 8445 §7.2.5.3.1).
    fn add_peer_reflexive(
        &mut self,
        checked: PairId,
        announced: u32,
        mapped: SocketAddr,
    ) -> Option<(CandidateId, SocketAddr, u32)> {
        let limit = self.config.max_peer_reflexive;
        let checked = self.set.get(checked)?;
        let (stream, component, path) = (checked.stream, checked.component, checked.path);
        let (transport, base) = (path.transport, path.base);
        let kind = CandidateKind::PeerReflexive;
        let count = |data: &Stream| data.locals.iter().filter(|local| local.candidate.kind() == kind).count();
        if count(self.stream(stream)?) >= limit {
            self.forget_unused_reflexive(stream);
        }
        let locals = &self.stream(stream)?.locals;
        if count(self.stream(stream)?) >= limit {
            // The path works all the same: it is taken for that of the base.
            let host = locals.at_base(component, transport, base).map(|host| (host.id, host.base, host.foundation));
            self.stats.peer_reflexive_refused += 1;
            return host;
        }
        let shown = locals.at_base(component, transport, base).and_then(LocalCandidate::shown);
        let id = self.next_candidate_id();
        let foundation = self.local_foundation(kind, base.ip(), None, transport);
        let priority = Priority::new(announced)?;
        let number = Foundation::numbered("", foundation);
        let mut candidate = Candidate::new(kind, component, number, priority, mapped)
            .with_related_address(shown.unwrap_or_else(|| masked(base)));
        let tcp_type = self.stream(stream)?.locals.at_base(component, transport, base);
        if let Some(tcp_type) = tcp_type.and_then(|host| host.candidate.tcp_type()) {
            candidate = candidate.with_tcp_type(tcp_type);
        }
        self.stream_mut(stream)?.locals.add_reflexive(id, candidate, mapped, base, foundation);
        Some((id, base, foundation))
    }

    /// Forgets the addresses under which a NAT has shown us once, and that no pair has any more.
    fn forget_unused_reflexive(&mut self, stream: StreamId) {
        let set = &self.set;
        let used: BTreeSet<CandidateId> =
            set.iter().filter(|pair| pair.stream == stream).map(|pair| pair.local).collect();
        let Some(data) = self.streams.iter_mut().find(|data| data.id == stream) else { return };
        data.locals.retain(|local| local.candidate.kind() != CandidateKind::PeerReflexive || used.contains(&local.id));
    }

    /// Puts a pair on the valid list that the check of `checked` has shown to work.
    pub(super) fn make_valid(&mut self, checked: PairId, valid: PairId) {
        let now = self.now;
        let Some(place) = self.set.get(valid).map(|pair| (pair.stream, pair.component)) else { return };
        let is_new = self.set.validate(now, checked, valid);
        self.follow_move(checked, valid);
        if !is_new {
            return;
        }
        if let Some(data) = self.stream_mut(place.0) {
            // Whatever was thought of the stream: a pair works.
            data.failure = None;
        }
        if let Some(component) = self.component_mut(place) {
            component.nomination.pair_valid(now);
        }
    }

    /// Whether a pair is of the generation before the current one.
    pub(super) fn is_past(&self, id: PairId) -> bool {
        let pair = self.set.get(id);
        pair.is_some_and(|pair| self.stream(pair.stream).is_none_or(|data| data.generation != pair.generation))
    }

    /// Takes the role opposite to the one that was claimed, and checks again (RFC 8445 §7.2.5.1).
    fn handle_role_conflict(&mut self, key: TransactionKey, transaction: &Transaction) {
        if self.role == transaction.start.role {
            self.tiebreaker = Tiebreaker::new(self.random.u64());
            self.take_role(transaction.start.role.opposite());
        }
        if matches!(transaction.start.purpose, Purpose::Consent | Purpose::Probe) {
            return;
        }
        let id = transaction.start.pair;
        if self.set.get(id).is_none_or(|pair| pair.state.get() == CandidatePairState::Succeeded) {
            return;
        }
        self.check_again(key, transaction, Repeat::RoleConflict);
    }

    /// Checks a pair again because the peer had a problem, up to a limit: one that always has is no peer.
    fn check_again(&mut self, key: TransactionKey, transaction: &Transaction, why: Repeat) {
        if self.set.may_repeat(transaction.start.pair, why) {
            self.trigger(transaction.start.pair);
        } else {
            self.handle_failure(key, transaction);
        }
    }

    /// Ends consent where the peer has refused a check of whatever kind: nothing is sent there any more (RFC 7675 §5.2).
    fn handle_refusal(&mut self, transaction: &Transaction) {
        let id = transaction.start.pair;
        let Some(pair) = self.set.get(id) else { return };
        let is_asked = transaction.start.purpose == Purpose::Consent;
        let in_use = pair.produced.filter(|_| !is_asked).unwrap_or(id);
        if is_asked || self.set.get(in_use).is_some_and(|pair| pair.is_valid) {
            self.end_consent(in_use, true);
            return;
        }
        let _ = self.set.drop(id, Why::ConsentLost);
        self.is_dirty = true;
    }

    fn handle_server_error(&mut self, key: TransactionKey, transaction: &Transaction) {
        if !matches!(transaction.start.purpose, Purpose::Consent | Purpose::Probe) {
            self.check_again(key, transaction, Repeat::ServerError);
        }
    }

    /// Gives a pair up, unless a newer check of it is on its way.
    fn handle_failure(&mut self, key: TransactionKey, transaction: &Transaction) {
        let Some(pair) = self.set.get(transaction.start.pair) else { return };
        match transaction.start.purpose {
            Purpose::Nomination if self.is_nominating(pair) => self.refuse_nomination((pair.stream, pair.component)),
            Purpose::Nomination => {}
            Purpose::Check if pair.state.transaction() == Some(key) => self.fail_pair(transaction.start.pair),
            Purpose::Check | Purpose::Consent | Purpose::Probe => {}
        }
    }

    /// Records that a check of this pair failed.
    pub(super) fn fail_pair(&mut self, id: PairId) {
        let _ = self.set.drop(id, Why::Failed);
        self.is_dirty = true;
    }

    /// Records that no check of this pair was answered in time.
    pub(super) fn time_out_pair(&mut self, id: PairId) {
        self.set.record_timeout(id);
        self.fail_pair(id);
    }

    /// Deals with a check that was not answered in time: it is sent again, or, where the session depends on it, made anew
    /// so that its back-off does not count.
    pub(super) fn handle_silence(&mut self, key: TransactionKey) {
        let Some(transaction) = self.set.transaction(key) else { return };
        let (id, purpose) = (transaction.start.pair, transaction.start.purpose);
        let Some(pair) = self.set.get(id) else {
            self.set.end(key);
            return;
        };
        let is_current = match purpose {
            Purpose::Nomination => self
                .component((pair.stream, pair.component))
                .and_then(|component| component.nomination.attempt())
                .is_some_and(|attempt| attempt.checked == id && attempt.latest == Some(key)),
            Purpose::Check => pair.state.transaction() == Some(key),
            // Never repeated.
            Purpose::Consent | Purpose::Probe => false,
        };
        if is_current && !self.is_urgent(pair) {
            self.outbox.repeats.push_back(key);
            return;
        }
        let (place, urgent_since) = ((pair.stream, pair.component), pair.urgent_since);
        if is_current && !self.is_loss(key) {
            return;
        }
        self.set.cancel(key);
        if !is_current {
            return;
        }
        let patience = self.config.schedule().patience();
        let is_over = urgent_since.is_some_and(|since| after(since, patience) <= self.now);
        match purpose {
            Purpose::Nomination if self.is_affirming(place) => self.trigger(id),
            Purpose::Nomination if is_over || self.has_better_hope(place) => self.fail_nomination(place),
            Purpose::Check if is_over => self.time_out_pair(id),
            Purpose::Nomination | Purpose::Check | Purpose::Consent | Purpose::Probe => self.trigger(id),
        }
    }

    /// Whether an urgent check that was not answered for half of its time counts as lost: the peer was heard meanwhile, or
    /// after an earlier one, so that the network works and loses packets. Otherwise it is waited for as long again.
    fn is_loss(&mut self, key: TransactionKey) -> bool {
        let Some(transaction) = self.set.transaction(key) else { return true };
        let (id, sent_at) = (transaction.start.pair, transaction.first_sent);
        let end = after(sent_at, transaction.start.rto);
        let Some(place) = self.set.get(id).map(|pair| (pair.stream, pair.component)) else { return true };
        let Some(component) = self.component_mut(place) else { return true };
        component.is_lossy |= component.heard_at.is_some_and(|heard| heard > sent_at);
        if component.is_lossy || end <= self.now {
            return true;
        }
        self.set.wait_until(key, end);
        false
    }

    /// Notes that the peer was heard on some pair of a component.
    pub(super) fn note_heard(&mut self, place: (StreamId, ComponentId)) {
        let now = self.now;
        if let Some(component) = self.component_mut(place) {
            component.heard_at = Some(now);
        }
    }

    /// Whether the nomination in progress is that of the pair which the component has: it goes on until it is answered, or
    /// consent ends.
    fn is_affirming(&self, place: (StreamId, ComponentId)) -> bool {
        let attempt = self.component(place).and_then(|component| component.nomination.attempt());
        attempt.is_some_and(|attempt| attempt.is_affirming)
    }

    /// The time after which an urgent check of this pair is repeated.
    pub(super) fn urgent_rto(&self, round_trip: Option<Duration>) -> Duration {
        self.config.rto.max(answered_within(round_trip))
    }

    /// Whether half of that time is enough for an answer.
    pub(super) fn may_be_lost_early(&self, round_trip: Option<Duration>) -> bool {
        answered_within(round_trip) <= self.config.rto / 2
    }
}

/// The time in which an answer comes if nothing is lost.
fn answered_within(round_trip: Option<Duration>) -> Duration {
    let measured = round_trip.unwrap_or_default();
    // One slow answer must not put the next check off for long.
    measured.saturating_add(measured / 2).min(Duration::from_secs(3))
}

/// Whether a mapped address says anything of ours: it is the base, or one that a NAT can have given to it.
fn is_worth_noting(mapped: SocketAddr, base: SocketAddr) -> bool {
    mapped == base || mapped.port() != 0 && judge(mapped.ip(), base.ip()).is_ok()
}
