//! ICE restart (RFC 8445 §9): what a generation is, and how one takes the place of another.
//!
//! A restart has two steps, because the peer has to be asked. [`Agent::prepare_restart`] makes credentials for the next
//! generation and changes nothing else; taking the peer's new credentials commits it, and
//! [`Agent::rollback_restart`] forgets it. After the commit, the pair in use carries data, and is kept alive with the old
//! credentials, until the new generation has selected one:
//!
//! ```text
//!                 prepare                  the peer's credentials               selected, 3 s later
//!   generation n ---------> n, n+1 pending ----------------------> n+1, n in use ------------------> n+1
//!        ^                       |
//!        +------- rollback ------+
//! ```
//!
//! Checks of all generations in view are answered; only those of the current one have consequences, and those of the
//! pending one are remembered.

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use super::outbox::Outgoing;
use super::stream_data::{EarlyCheck, Keyed, Stream};
use super::{Agent, RemoteDescription, UnknownStream};
use crate::candidate::{CandidateKind, LocalCandidate, RemoteCandidates};
use crate::credentials::Credentials;
use crate::stun::IntegrityKey;
use crate::types::{CandidateId, ComponentId, GatheringState, Instant, PairId, Path, StreamId, after};

/// A generation that the peer has not agreed to yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) generation: u32,
    pub(crate) local: Keyed,
    /// Checks of a peer that was faster than its signalling.
    pub(crate) early: Vec<EarlyCheck>,
    /// Its local candidates are complete.
    pub(crate) has_ended: bool,
    /// The first candidate that was gathered for it.
    pub(crate) first_candidate: CandidateId,
}

/// The generation before the current one, as long as its pairs are in use.
#[derive(Clone, Debug)]
pub(crate) struct Previous {
    pub(crate) generation: u32,
    pub(crate) local: Keyed,
    pub(crate) remote: SmallVec<[Keyed; 1]>,
    pub(crate) remotes: RemoteCandidates,
    /// The paths that were in use until the new generation had its own: the peer may send on them a little longer.
    pub(crate) paths: SmallVec<[Path; 1]>,
    /// When it is forgotten; `None` while its pairs are in use.
    pub(crate) until: Option<Instant>,
}

/// Which generation of a stream something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epoch {
    Previous,
    Current,
    Pending,
}

impl Stream {
    /// The generation in view whose local username fragment this is: which one, its number, and our credentials in it.
    pub(crate) fn addressed(&self, ufrag: &[u8]) -> Option<(Epoch, u32, &Keyed)> {
        let pending = self.pending.as_ref().map(|pending| (Epoch::Pending, pending.generation, &pending.local));
        let previous = self.previous.as_ref().map(|previous| (Epoch::Previous, previous.generation, &previous.local));
        let mut in_view =
            [Some((Epoch::Current, self.generation, &self.local)), pending, previous].into_iter().flatten();
        in_view.find(|(.., keyed)| keyed.ufrag().as_bytes() == ufrag)
    }

    /// Our credentials in a generation in view.
    pub(crate) fn local_in(&self, generation: u32) -> Option<&Keyed> {
        if generation == self.generation {
            return Some(&self.local);
        }
        let pending = self.pending.as_ref().filter(|pending| pending.generation == generation);
        let previous = self.previous.as_ref().filter(|previous| previous.generation == generation);
        pending.map(|pending| &pending.local).or(previous.map(|previous| &previous.local))
    }

    /// The peer's credentials in a generation in view.
    pub(crate) fn remote_in(&self, generation: u32, peer: u8) -> Option<&Keyed> {
        let remote = if generation == self.generation {
            &self.remote
        } else {
            &self.previous.as_ref().filter(|previous| previous.generation == generation)?.remote
        };
        remote.get(usize::from(peer))
    }

    /// The peer's candidates in a generation in view.
    pub(crate) fn remotes_in(&self, generation: u32) -> Option<&RemoteCandidates> {
        if generation == self.generation {
            return Some(&self.remotes);
        }
        self.previous.as_ref().filter(|previous| previous.generation == generation).map(|previous| &previous.remotes)
    }

    /// Records that the peer has a candidate at another address now: it has opened its connection anew.
    pub(crate) fn readdress(&mut self, remote: CandidateId, path: Path) {
        let is_current = path.flow.is_none_or(|flow| flow.generation == self.generation);
        let remotes =
            if is_current { Some(&mut self.remotes) } else { self.previous.as_mut().map(|one| &mut one.remotes) };
        if let Some(remotes) = remotes {
            remotes.readdress(remote, path.remote);
        }
    }

    /// Whether this is the peer's username fragment in the generation before.
    pub(crate) fn is_past_peer(&self, ufrag: &[u8]) -> bool {
        let is_it = |of: &Keyed| of.ufrag().as_bytes() == ufrag;
        self.previous.as_ref().is_some_and(|previous| previous.remote.iter().any(is_it))
    }

    pub(crate) fn key_in(&self, generation: u32) -> Option<&IntegrityKey> {
        self.local_in(generation).map(|keyed| &keyed.key)
    }
}

impl Agent {
    /// How long checks of the previous generation are answered after the new one has its selected pairs (RFC 8445 §8.3.1).
    const LINGER: Duration = Duration::from_secs(3);

    /// Prepares an ICE restart of a stream (RFC 8445 §9): makes new credentials, which have to be signalled, and hands the
    /// local candidates to signalling again, as events with the new generation.
    ///
    /// Nothing else changes until the peer's new credentials come with
    /// [`set_remote_description`](Self::set_remote_description), or [`rollback_restart`](Self::rollback_restart). Sockets
    /// may be added again; [`end_of_local_candidates`](Self::end_of_local_candidates) has to be said again. Preparing a
    /// restart that is prepared already gives the same credentials.
    ///
    /// A restart that the peer has asked for is prepared in the same way, before its description is taken.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn prepare_restart(&mut self, now: Instant, stream: StreamId) -> Result<Credentials, UnknownStream> {
        self.observe(now);
        let data = self.stream(stream).ok_or(UnknownStream(stream))?;
        if let Some(pending) = &data.pending {
            return Ok(pending.local.credentials.clone());
        }
        let credentials = Credentials::generate(&mut self.random);
        let first_candidate = CandidateId(self.next_candidate);
        let Some(data) = self.stream_mut(stream) else { return Err(UnknownStream(stream)) };
        let generation = data.next_generation;
        // Each takes a call of the application, which draws credentials: nobody makes four billion of them.
        data.next_generation = data.next_generation.saturating_add(1);
        data.pending = Some(Pending {
            generation,
            local: Keyed::new(credentials.clone()),
            early: Vec::new(),
            has_ended: false,
            first_candidate,
        });
        let has_candidates = data.locals.iter().next().is_some();
        data.gathering = if has_candidates { GatheringState::Gathering } else { GatheringState::New };
        let is_signalled =
            |local: &LocalCandidate| local.candidate.kind() != CandidateKind::PeerReflexive && !local.is_hidden;
        let locals: SmallVec<[CandidateId; 8]> =
            data.locals.iter().filter(|local| is_signalled(local)).map(|local| local.id).collect();
        for id in locals {
            self.queue(Outgoing::LocalCandidate { stream, id, generation });
        }
        self.update_gathering();
        Ok(credentials)
    }

    /// Forgets a restart that was prepared: the session is untouched. Without one, nothing changes.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn rollback_restart(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        if let Some(pending) = data.pending.take() {
            data.gathering = data.gathering_before_restart();
            // What was gathered for the generation that never comes is a candidate of this one, and still to be signalled.
            let added = data.locals.reassign(pending.generation, data.generation, pending.first_candidate);
            let generation = data.generation;
            let is_of = |outgoing: &Outgoing| outgoing.is_of(stream, pending.generation);
            if let Some(held) = data.held.as_mut() {
                held.retain(|outgoing| !is_of(outgoing));
            }
            self.outbox.events.retain(|outgoing| !is_of(outgoing));
            // After the end of the candidates no other is signalled (RFC 8838 §13): the peer learns of it by its checks.
            let is_late = self.stream(stream).is_some_and(|data| data.is_gathered() && data.renomination.is_none());
            for id in added {
                if is_late {
                    self.announce(stream, id, generation);
                } else {
                    self.queue_candidate_of(stream, id, generation);
                }
            }
            self.update_gathering();
        }
        Ok(())
    }

    /// Whether a restart of this stream is prepared and neither committed nor rolled back.
    #[must_use]
    pub fn is_restarting(&self, stream: StreamId) -> bool {
        self.stream(stream).is_some_and(|data| data.pending.is_some())
    }

    /// The generation of a stream: how many restarts it has been through, those that were rolled back included.
    #[must_use]
    pub fn generation(&self, stream: StreamId) -> Option<u32> {
        self.stream(stream).map(|data| data.generation)
    }

    /// Lets the pending generation take the place of the current one (RFC 8445 §9).
    pub(super) fn commit_restart(&mut self, stream: StreamId, remote: &RemoteDescription) {
        let Some(pending) = self.stream_mut(stream).and_then(|data| data.pending.take()) else { return };
        let mut in_use: SmallVec<[(ComponentId, PairId); 2]> = self
            .stream(stream)
            .into_iter()
            .flat_map(|data| &data.components)
            .filter_map(|component| Some((component.id, self.in_use(stream, component)?)))
            .collect();
        // A pair that was in use before the last restart, too, keeps its credentials; those in between go.
        let previous = self.stream(stream).and_then(|data| data.previous.as_ref()).map(|previous| previous.generation);
        let generation_of = |id: PairId| self.set.get(id).map(|pair| pair.generation);
        let keeps_previous = previous.is_some() && in_use.iter().any(|(_, id)| generation_of(*id) == previous);
        if keeps_previous {
            let set = &self.set;
            in_use.retain(|(_, id)| set.get(*id).map(|pair| pair.generation) == previous);
        }
        for (component, id) in &in_use {
            let check = self.set.get(*id).and_then(|pair| pair.state.transaction());
            self.set.delist(*id);
            self.leave_queues((stream, *component), *id, check);
        }
        let mut kept: SmallVec<[PairId; 2]> = in_use.iter().map(|(_, id)| *id).collect();
        kept.sort_unstable();
        self.forget_pairs(|pair| pair.stream == stream && kept.binary_search(&pair.id).is_err());
        self.set.clear_valid(stream);
        let Some(data) = self.stream_mut(stream) else { return };
        let local = core::mem::replace(&mut data.local, pending.local);
        let before = core::mem::take(&mut data.remote);
        let remotes = core::mem::take(&mut data.remotes);
        let generation = core::mem::replace(&mut data.generation, pending.generation);
        if !keeps_previous {
            data.previous =
                Some(Previous { generation, local, remote: before, remotes, paths: SmallVec::new(), until: None });
        }
        data.early = pending.early;
        if pending.has_ended {
            data.ended_generation = Some(pending.generation);
        }
        data.has_all_remotes = false;
        data.pairs_made = 0;
        data.failure = None;
        data.search = None;
        data.nomination_failed = false;
        data.has_told_limit = false;
        data.removed.clear();
        let view = [Some(data.generation), data.previous.as_ref().map(|previous| previous.generation)];
        data.revoked.keep(|generation| view.contains(&Some(generation)));
        data.vetoed.clear();
        data.unresolved.clear();
        data.is_revoked = false;
        for component in &mut data.components {
            let place = in_use.binary_search_by_key(&component.id, |(id, _)| *id).ok();
            component.restart(place.and_then(|place| in_use.get(place)).map(|(_, pair)| *pair));
        }
        self.start_checks(stream, remote);
    }

    /// Forgets the previous generation some time after nothing uses it any more.
    pub(super) fn expire_previous(&mut self, stream: StreamId) {
        let until = after(self.now, Self::LINGER);
        let now = self.now;
        let Some(data) = self.stream(stream) else { return };
        let Some(generation) = data.previous.as_ref().map(|previous| previous.generation) else { return };
        // The peer may go on to call us by our old name on a new pair.
        let is_known_so = |id: PairId| self.set.get(id).is_some_and(|pair| pair.known_as == generation);
        let is_used = data.components.iter().any(|component| {
            component.selection.previous().is_some() || component.selection.in_use().is_some_and(is_known_so)
        });
        let Some(previous) = self.stream_mut(stream).and_then(|data| data.previous.as_mut()) else { return };
        if is_used {
            previous.until = None;
            return;
        }
        if *previous.until.get_or_insert(until) <= now {
            if let Some(data) = self.stream_mut(stream) {
                let current = data.generation;
                data.previous = None;
                data.revoked.keep(|generation| generation == current);
            }
        }
    }
}
