//! Nomination, selection, and the states that follow (RFC 8445 §8, RFC 8838 §8, RFC 8863).
//!
//! Commands and datagrams only mark the agent as changed; what follows from all of them together is evaluated before
//! anything is polled. So the order of calls between two polls does not matter.

use smallvec::SmallVec;

use super::Agent;
use super::facts::{StreamFacts, stream_state};
use super::stream_data::{Component, Stream};
use crate::candidate::CandidateKind;
use crate::checklist::{CandidatePair, ChecklistSet, ChecklistState, Transaction, Why};
use crate::config::limits;
use crate::event::Event;
use crate::nomination::{
    Answered, Attempt, BetterPairs, Followed, Nomination, NominationChoice, NominationDecision, NominationView,
    ValidPair,
};
use crate::types::{ComponentId, ConnectionState, PairId, PathHealth, Role, StateReason, StreamId, after};

type Place = (StreamId, ComponentId);

impl Agent {
    /// How often conclusions are drawn from conclusions before one goes on at the next poll.
    const MOST_PASSES: usize = limits::PASSES;

    /// Draws the conclusions from what has changed, and from what they change, until nothing changes any more.
    pub(super) fn evaluate(&mut self) {
        for pass in 0..Self::MOST_PASSES {
            if !core::mem::take(&mut self.is_dirty) {
                return;
            }
            self.draw_conclusions(pass == 0);
        }
        // What is left stays marked, and the timer is due for it.
        debug_assert!(!self.is_dirty, "conclusions change what they are drawn from, without end");
    }

    fn draw_conclusions(&mut self, is_first: bool) {
        self.conclude_gathering();
        self.set.settle_fresh();
        for index in 0..self.streams.len() {
            let Some(stream) = self.streams.get(index).map(|stream| stream.id) else { continue };
            self.pair_with_lite(stream);
            self.decide_nominations(stream, is_first);
            self.choose_fallbacks(stream);
            self.follow_readdressed(stream);
            self.decide_selections(stream);
            self.affirm_nominations(stream);
            self.conclude_list(stream);
            self.follow_use(stream);
            self.plan_retries(stream);
            self.plan_search(stream);
            self.report_health(stream);
        }
        self.spread_consent();
        self.tidy_connections();
        self.follow_relayed_use();
        self.report_states();
        self.report_tables();
    }

    /// Asks the policy about components with a valid pair and no nominated one (RFC 8445 §8.1.1). Only the first time may it
    /// think over what it has decided: one that never agrees with itself would be asked for ever.
    fn decide_nominations(&mut self, stream: StreamId, may_reconsider: bool) {
        if self.role == Role::Controlled || self.is_closed || self.config.lite {
            return;
        }
        let Some(data) = self.stream(stream).filter(|data| data.failure.is_none() && !data.nomination_failed) else {
            return;
        };
        let can_renominate = data.renomination.is_some();
        let are_candidates_complete = data.are_candidates_complete();
        let open: SmallVec<[ComponentId; 2]> = data
            .components
            .iter()
            .filter(|component| component.nomination.is_open(can_renominate, may_reconsider))
            .filter(|component| !self.set.valid((stream, component.id)).is_empty())
            .map(|component| component.id)
            .collect();
        for component in open {
            let place = (stream, component);
            let valid = self.valid_pairs(place);
            let Some(best) = valid.first() else { continue };
            let Some(first_valid_at) =
                self.component(place).and_then(|component| component.nomination.first_valid_at())
            else {
                continue;
            };
            let view = NominationView {
                now: self.now,
                first_valid_at,
                better: self.better_pairs(place, best),
                are_candidates_complete,
                valid: &valid,
            };
            let decision = self.config.nomination.decide(&view);
            let mut decide_at = None;
            match decision {
                NominationDecision::Nominate(pair) if valid.iter().any(|one| one.pair == pair) => {
                    let attempt = self.component(place).and_then(|component| component.nomination.attempt());
                    if attempt.is_none_or(|attempt| attempt.valid != pair) {
                        self.start_nomination(place, pair, false);
                    }
                }
                NominationDecision::WaitUntil(at) => {
                    decide_at = Some(at).filter(|at| *at > self.now);
                    self.drop_attempt(place);
                }
                NominationDecision::Nominate(_) | NominationDecision::Wait => self.drop_attempt(place),
            }
            if let Some(component) = self.component_mut(place) {
                component.nomination.wait_until(decide_at);
            }
        }
    }

    /// What may still come of pairs that are better than the best valid one.
    fn better_pairs(&self, place: Place, best: &ValidPair) -> BetterPairs {
        let (mut is_any, mut until) = (false, None);
        for pair in self.set.better_pending(place, best.priority) {
            is_any = true;
            let check = self.set.check_of(pair.id);
            let Some((check, round_trip)) = check.zip(best.round_trip_time) else { return BetterPairs::Unchecked };
            let expected = after(check.first_sent, round_trip.saturating_add(self.pacer.ta()));
            until = until.max(Some(expected).filter(|expected| *expected > self.now));
        }
        match until {
            Some(until) => BetterPairs::AnswersExpectedUntil(until),
            None if is_any => BetterPairs::Silent,
            None => BetterPairs::None,
        }
    }

    fn valid_pairs(&self, place: Place) -> SmallVec<[ValidPair; 4]> {
        let Some(data) = self.stream(place.0) else { return SmallVec::new() };
        let view = |pair: &CandidatePair| {
            Some(ValidPair {
                pair: pair.id,
                priority: pair.priority,
                local: data.locals.get(pair.local)?.candidate.kind(),
                remote: data.remotes.get(pair.remote)?.candidate.kind(),
                round_trip_time: pair.stats.current_round_trip_time,
            })
        };
        self.set.valid(place).iter().filter_map(|id| self.set.get(*id)).filter_map(view).collect()
    }

    /// Repeats the check that made a pair valid, this time with USE-CANDIDATE (RFC 8445 §8.1.1). The policy thinks no more
    /// about a nomination that the application has forced.
    pub(super) fn start_nomination(&mut self, place: Place, valid: PairId, is_forced: bool) {
        let Some(checked) = self.set.checked_by(valid) else { return };
        let shown = self.stream(place.0).zip(self.set.get(valid)).and_then(|(data, pair)| data.locals.get(pair.local));
        let shown = shown.map(|local| local.address);
        let now = self.now;
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let (before, is_new) = component.nomination.begin(now, checks, (checked, valid), is_forced, shown);
        before.into_iter().for_each(|before| checks.dequeue(before));
        checks.renew_urgency(checked);
        self.stats.nominations += u64::from(is_new);
        self.trigger(checked);
    }

    /// Stops to nominate.
    pub(super) fn drop_attempt(&mut self, place: Place) {
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let Some(carried) = component.nomination.give_up() else { return };
        checks.dequeue(carried);
        self.is_dirty = true;
    }

    /// Whether the nomination in progress is given up for another pair: the next valid one, or, of a component that has its
    /// pair, the one in use or one in reserve, if they do better.
    pub(super) fn has_better_hope(&self, place: Place) -> bool {
        let Some(component) = self.component(place) else { return false };
        let Some(attempt) = component.nomination.attempt().filter(Attempt::is_late) else { return false };
        let is_another = |id: &PairId| !self.set.is_same_path(*id, attempt.valid);
        let answers = |id: PairId| self.consent(id).is_none_or(|consent| consent.health() == PathHealth::Healthy);
        match component.nomination.pair() {
            Some(nominated) if is_another(&nominated) => {
                answers(nominated) || component.selection.standby().any(|id| is_another(&id) && answers(id))
            }
            Some(_) => false,
            None => self.set.valid(place).iter().any(is_another) && !self.config.strict_nomination,
        }
    }

    /// Nominates the pair again that a component keeps, if a nomination of another one has left that the peer has never
    /// answered: it may have followed. Who answers has followed this one, which has the higher value.
    pub(super) fn affirm_nominations(&mut self, stream: StreamId) {
        if self.role == Role::Controlled || self.is_closed || self.config.lite || !self.can_renominate(stream) {
            return;
        }
        let Some(data) = self.stream(stream) else { return };
        let is_open = |component: &&Component| {
            component.nomination.attempt().is_none()
                && component.selection.previous().is_none()
                && component.nomination.is_unconfirmed()
        };
        let open = data.components.iter().filter(is_open);
        let open: SmallVec<[(ComponentId, PairId); 2]> =
            open.filter_map(|component| Some((component.id, component.nomination.pair()?))).collect();
        for (component, kept) in open {
            self.start_nomination((stream, component), kept, false);
        }
    }

    /// Takes a pair whose nomination failed off the valid list (RFC 8445 §7.2.5.3.4).
    pub(super) fn fail_nomination(&mut self, place: Place) {
        let Some(component) = self.component(place) else { return };
        let (Some(attempt), nominated) = (component.nomination.attempt(), component.nomination.pair()) else { return };
        self.drop_attempt(place);
        self.is_dirty = true;
        if let Some(nominated) = nominated {
            // It was only repeated, or meant to replace another: what was agreed stays, and the peer is told so.
            if !self.set.is_same_path(nominated, attempt.valid) {
                self.lapse(attempt.valid);
            }
            return;
        }
        let gone = self.set.names_of(attempt.valid);
        let _ = self.set.drop(attempt.checked, Why::Failed);
        for id in gone {
            self.leave_use(place, id);
            self.set.forget_valid_pair(id);
            if id != attempt.checked {
                self.forget_pair(id);
            }
        }
        self.give_up_nominating(place.0);
        self.is_dirty = true;
    }

    /// Notes that a nomination has failed, if that is the end of the stream.
    pub(super) fn give_up_nominating(&mut self, stream: StreamId) {
        if self.config.strict_nomination {
            if let Some(data) = self.stream_mut(stream) {
                data.nomination_failed = true;
            }
        }
    }

    /// Records that the peer refuses the nomination in progress, which answers it.
    pub(super) fn refuse_nomination(&mut self, place: Place) {
        if let Some(component) = self.component_mut(place) {
            component.nomination.refused();
        }
        self.fail_nomination(place);
    }

    /// Lets an answer to a nomination of ours take effect, by a check that has made this pair valid (RFC 8445 §7.2.5.3.4).
    pub(super) fn conclude_nomination(&mut self, transaction: &Transaction, valid: PairId) {
        let Some(place) = self.set.get(valid).map(|pair| (pair.stream, pair.component)) else { return };
        let (now, can_renominate) = (self.now, self.can_renominate(place.0));
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let carried = component.nomination.attempt();
        let answered = component.nomination.answered(now, checks, transaction, valid, can_renominate);
        if let Some(attempt) = carried.filter(|_| component.nomination.attempt().is_none()) {
            checks.dequeue(attempt.checked);
        }
        match answered {
            Answered::Nothing => {}
            Answered::TellAgain(other) => self.start_nomination(place, other, false),
            Answered::Nominated { before } => {
                component.selection.forget_suspicion();
                before.into_iter().for_each(|before| checks.note_names(before));
                checks.note(valid);
                if can_renominate {
                    self.shelve(place);
                } else {
                    self.retire(place, |_, _| false);
                }
            }
        }
    }

    /// Lets the peer's nomination of a pair take effect once our own check of it has succeeded (RFC 8445 §7.3.1.5).
    pub(super) fn follow_nomination(&mut self, checked: PairId) {
        if self.role == Role::Controlling {
            return;
        }
        let Some(place) = self.set.get(checked).map(|pair| (pair.stream, pair.component)) else { return };
        let (now, choice) = (self.now, self.nomination_choice(place.0));
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let before = component.nomination.pair();
        match component.nomination.follow(now, checks, checked, choice) {
            Followed::Nothing => {}
            Followed::Outdated => checks.note_names(checked),
            Followed::Noted(valid) => checks.note(valid),
            Followed::Nominated { pair, by } => {
                component.selection.forget_suspicion();
                checks.note(pair);
                before.into_iter().for_each(|before| checks.note_names(before));
                let Some(priority) = checks.get(pair).map(|pair| pair.priority) else { return };
                if self.can_renominate(place.0) {
                    self.shelve(place);
                } else {
                    // Other pairs that may still be selected: better ones of a peer that may nominate them all, and later
                    // nominations.
                    self.retire(place, |pair, nomination| {
                        nomination.asked(pair.id).is_some_and(|other| other.order > by.order)
                            || !by.is_deliberate && pair.priority > priority
                    });
                }
                self.is_dirty = true;
            }
        }
    }

    /// A component, and the checklists.
    pub(super) fn component_with_checks(&mut self, place: Place) -> Option<(&mut Component, &mut ChecklistSet)> {
        Some((Stream::find_mut(&mut self.streams, place.0)?.component_mut(place.1)?, &mut self.set))
    }

    /// Whether a component of this stream may be nominated more than once.
    pub(super) fn can_renominate(&self, stream: StreamId) -> bool {
        self.stream(stream).is_some_and(|data| data.renomination.is_some())
    }

    /// Which of several nominations counts. Where there are values, only those get here that rank above all before.
    pub(super) fn nomination_choice(&self, stream: StreamId) -> NominationChoice {
        if self.can_renominate(stream) { NominationChoice::Last } else { self.config.nomination_choice }
    }

    /// Stops to check the other pairs of a component (RFC 8445 §8.1.2).
    fn retire(&mut self, place: Place, keep: impl Fn(&CandidatePair, &Nomination) -> bool) {
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let keep = |pair: &CandidatePair| pair.is_protected || keep(pair, &component.nomination);
        let gone = checks.drop_others(place, Why::Superseded, keep);
        gone.into_iter().for_each(|pair| self.let_go(pair));
    }

    /// Puts off the checks of the other pairs of a component. Another one may be nominated later, so that none is forgotten.
    fn shelve(&mut self, place: Place) {
        let gone = self.set.drop_others(place, Why::Postponed, |_| false);
        debug_assert!(gone.is_empty(), "who is put off is kept");
    }

    /// Changes the role, and with it the order of all pairs and the duty to nominate (RFC 8445 §7.3.1.1).
    pub(super) fn take_role(&mut self, role: Role) {
        if core::mem::replace(&mut self.role, role) == role {
            return;
        }
        self.emit(Event::RoleChanged { role, at: self.now });
        self.refresh_pairs(|_| true);
        let places: SmallVec<[Place; 4]> = self
            .streams
            .iter()
            .flat_map(|stream| stream.components.iter().map(|component| (stream.id, component.id)))
            .collect();
        for place in places {
            let Some((component, checks)) = self.component_with_checks(place) else { continue };
            let carried = component.nomination.take_role(role == Role::Controlled);
            carried.into_iter().for_each(|carried| checks.dequeue(carried));
        }
    }

    /// Completes or fails the checklist of a stream, and selects (RFC 8445 §8.1.2, RFC 8838 §8, RFC 8863 §4).
    fn conclude_list(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream) else { return };
        let can_renominate = data.renomination.is_some();
        let components = data.effective_components();
        let is_completed = components.iter().all(|component| component.nomination.pair().is_some());
        let lacks_valid = components.iter().any(|component| self.set.valid((stream, component.id)).is_empty());
        let failure = self.failure(stream, lacks_valid);
        let count = components.len();
        let state = match (is_completed, failure) {
            (true, _) => ChecklistState::Completed,
            (false, Some(_)) => ChecklistState::Failed,
            (false, None) => ChecklistState::Running,
        };
        self.set.conclude(stream, state, can_renominate);
        let at = self.now;
        let is_closed = self.is_closed;
        let Some(data) = self.stream_mut(stream) else { return };
        data.failure = failure.filter(|_| !is_completed);
        let mut changes: SmallVec<[(ComponentId, Option<PairId>); 2]> = SmallVec::new();
        let mut outdated: SmallVec<[PairId; 2]> = SmallVec::new();
        for (index, component) in data.components.iter_mut().enumerate() {
            let nominated = component.nomination.pair().filter(|_| is_completed && index < count);
            let (has_changed, before) = component.selection.select(nominated, is_closed);
            outdated.extend(before);
            if has_changed {
                changes.push((component.id, component.selection.selected()));
            }
        }
        for (component, pair) in changes {
            self.emit(Event::SelectedPairChanged { stream, component, pair, at });
        }
        for pair in outdated {
            let path = self.set.get(pair).map(|pair| pair.path);
            if let Some(previous) = self.stream_mut(stream).and_then(|data| data.previous.as_mut()) {
                previous.paths.extend(path);
            }
            self.forget_pair(pair);
        }
        self.expire_previous(stream);
    }

    /// Why a list has failed, if it has.
    fn failure(&self, stream: StreamId, lacks_valid: bool) -> Option<StateReason> {
        let data = self.stream(stream)?;
        if data.failure.is_some() {
            return data.failure;
        }
        let has_locals = data.locals.iter().any(|local| !local.is_hidden);
        let is_gathered = data.is_gathered();
        if is_gathered && !has_locals {
            return Some(StateReason::NoLocalCandidates);
        }
        let is_patient =
            data.remote.is_empty() || data.pac_deadline.is_some() || self.set.is_paused() || self.awaits_relay(stream);
        if is_patient {
            return None;
        }
        if self.config.lite {
            return self.silence(data);
        }
        if data.nomination_failed {
            return Some(StateReason::NominationFailed);
        }
        let is_exhausted = self.set.list(stream).is_some_and(crate::checklist::Checklist::is_exhausted);
        if !(lacks_valid && is_exhausted && is_gathered && data.has_all_remotes) {
            return None;
        }
        if data.components.iter().any(|component| component.selection.has_lost_consent()) {
            return Some(StateReason::ConsentExpired);
        }
        Some(match (data.pairs_made, data.remotes.is_empty()) {
            (0, true) => StateReason::NoRemoteCandidates,
            (0, false) => StateReason::NoCompatiblePair,
            _ => StateReason::ChecksFailed,
        })
    }

    /// Tells the states that have changed, each stream's before that of all (webrtc-pc §5.6).
    fn report_states(&mut self) {
        let at = self.now;
        for index in 0..self.streams.len() {
            let Some(data) = self.streams.get(index) else { continue };
            let (current, reason) = stream_state(&self.facts(data));
            let Some(data) = self.streams.get_mut(index) else { continue };
            data.reason = reason;
            let previous = core::mem::replace(&mut data.state, current);
            if previous != current {
                let stream = data.id;
                self.emit(Event::StreamStateChanged { stream, previous, current, at, reason });
            }
        }
        let current = if self.is_closed {
            ConnectionState::Closed
        } else {
            ConnectionState::aggregate(self.streams.iter().map(|stream| stream.state))
        };
        let previous = core::mem::replace(&mut self.state, current);
        if previous != current {
            let decided = self.streams.iter().find(|stream| stream.state == current).or(self.streams.first());
            let reason = match decided {
                Some(stream) => stream.reason,
                None if self.is_closed => StateReason::ClosedByApplication,
                None => StateReason::NotStarted,
            };
            self.emit(Event::ConnectionStateChanged { previous, current, at, reason });
        }
    }

    fn facts(&self, data: &Stream) -> StreamFacts {
        let components = data.effective_components();
        let is_restarting = components.iter().any(|component| component.selection.previous().is_some());
        StreamFacts {
            is_closed: self.is_closed,
            failure: data.failure,
            has_remote_candidates: !data.remotes.is_empty(),
            has_remote_credentials: !data.remote.is_empty(),
            has_announced_candidates: data.locals.iter().any(|local| local.is_announced_in(data.generation)),
            is_usable: components
                .iter()
                .all(|component| self.in_use(data.id, component).is_some() && !component.selection.is_lost()),
            was_usable: components.iter().any(|component| component.nomination.first_valid_at().is_some()),
            is_selected: components.iter().all(|component| component.selection.selected().is_some()) && !is_restarting,
            is_restarting,
            is_restarted: data.generation > 0,
            is_lost: !is_restarting && components.iter().any(|component| component.selection.is_lost()),
            has_lost_consent: components.iter().any(|component| component.selection.has_lost_consent()),
            is_complete: data.are_candidates_complete(),
            // What the peer does not know yet may still work, and so may what is nominated, however often that is repeated.
            is_exhausted: data.pairs_made > 0
                && components.iter().all(|component| component.nomination.attempt().is_none())
                && data.locals.iter().filter(|local| !local.is_hidden).all(|local| {
                    local.is_announced_in(data.generation) || local.candidate.kind() == CandidateKind::PeerReflexive
                })
                && !self.config.lite
                && self.set.list(data.id).is_some_and(crate::checklist::Checklist::is_exhausted)
                && !self.awaits_relay(data.id),
        }
    }
}
