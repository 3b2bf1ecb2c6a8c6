//! What the application decides about pairs itself (RFC 8445 §8.1.1, W3C WebRTC extensions, `RTCIceTransport`).

use super::error::UnknownPair;
use super::{Agent, NominateError, UnknownStream};
use crate::types::{ComponentId, Instant, PairId, Path, Role, StreamId};

impl Agent {
    /// Nominates a valid pair, whatever the policies say (RFC 8445 §8.1.1). Nominating the one that is being nominated, or
    /// is nominated, changes nothing.
    ///
    /// Where both sides take several nominations, see [`Renomination`](crate::Renomination), this may be done at any time,
    /// and the [`SelectionPolicy`](crate::SelectionPolicy) leaves the pair alone as long as it works, until
    /// [`select_automatically`](Self::select_automatically).
    ///
    /// # Errors
    /// * [`NotValid`](NominateError::NotValid) if there is no such pair, it is not valid, or it is not of the current generation.
    /// * [`Controlled`](NominateError::Controlled) if the peer nominates.
    /// * [`AlreadyNominated`](NominateError::AlreadyNominated) if the component has another nominated pair, and the two sides
    ///   have not agreed on [`Renomination`](crate::Renomination).
    pub fn nominate(&mut self, now: Instant, pair: PairId) -> Result<(), NominateError> {
        self.observe(now);
        let found = self.set.get(pair).filter(|pair| pair.is_valid).ok_or(NominateError::NotValid(pair))?;
        if self.role == Role::Controlled {
            return Err(NominateError::Controlled);
        }
        let place = (found.stream, found.component);
        // The pair from before a restart is used until there is another, and is not to be chosen.
        let component = self.component(place).filter(|_| self.set.valid(place).contains(&pair));
        let component = component.ok_or(NominateError::NotValid(pair))?;
        let is_final = component.nomination.was_made() && !self.can_renominate(place.0);
        // The same path may be valid under two names.
        let is_nominated = component.nomination.pair().is_some_and(|nominated| self.set.is_same_path(nominated, pair));
        if is_final && !is_nominated {
            return Err(NominateError::AlreadyNominated);
        }
        let is_attempted =
            component.nomination.attempt().is_some_and(|attempt| self.set.is_same_path(attempt.valid, pair));
        if is_nominated && component.nomination.attempt().is_some() && !is_attempted {
            // The one in progress would take its place. If that has left, the peer is told which one counts.
            self.drop_attempt(place);
            self.is_dirty = true;
        } else if !is_nominated && !is_attempted {
            self.start_nomination(place, pair, true);
        }
        let pair = self
            .component(place)
            .and_then(|component| component.nomination.pair())
            .filter(|_| is_nominated)
            .unwrap_or(pair);
        if let Some(component) = self.component_mut(place) {
            component.nomination.pin(Some(pair));
        }
        Ok(())
    }

    /// Hands the choice of the selected pair of a component back to the policies, after [`nominate`](Self::nominate) has
    /// taken it from them.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn select_automatically(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
    ) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        if let Some(component) = data.component_mut(component) {
            component.nomination.pin(None);
        }
        self.is_dirty = true;
        Ok(())
    }

    /// Removes a pair for good: it is not checked or used any more, and checks of the peer on its path are answered without
    /// consequence. A restart forgets this. If it was selected, the best valid pair that is left is used.
    ///
    /// # Errors
    /// [`UnknownPair`] if there is no such pair.
    pub fn remove_pair(&mut self, now: Instant, pair: PairId) -> Result<(), UnknownPair> {
        self.observe(now);
        let found = self.set.get(pair).ok_or(UnknownPair(pair))?;
        let (stream, path) = (found.stream, found.path);
        if let Some(data) = self.stream_mut(stream) {
            data.vetoed.push(path);
        }
        self.forget_pairs(|one| one.stream == stream && one.path == path);
        self.is_dirty = true;
        Ok(())
    }

    /// Says whether the agent may remove a pair by itself: to make room for another one, or because another one was
    /// nominated. A protected pair goes on being checked, and goes only with its candidates or by
    /// [`remove_pair`](Self::remove_pair).
    ///
    /// # Errors
    /// [`UnknownPair`] if there is no such pair.
    pub fn protect_pair(&mut self, now: Instant, pair: PairId, is_protected: bool) -> Result<(), UnknownPair> {
        self.observe(now);
        if self.set.protect(pair, is_protected) { Ok(()) } else { Err(UnknownPair(pair)) }
    }

    /// Whether the application has removed the pair on this path.
    pub(super) fn is_vetoed(&self, stream: StreamId, path: Path) -> bool {
        self.stream(stream).is_some_and(|data| data.vetoed.contains(&path))
    }
}
