//! What the application was told of candidates and pairs, so that events suffice to rebuild the tables of both.
//!
//! Nothing is told where it happens. The tables note what was touched; the ledger compares that with what it has told last,
//! and tells the difference: before any other event is queued, and before events are polled. So no change can be forgotten,
//! several changes between two looks are one, and what finds no room in the queue is told later.
//!
//! ```text
//!   tables --- what was touched ---> ledger --- differences ---> events
//!                                      |  ^
//!                                      +--+ what was told
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Agent;
use super::outbox::Outgoing;
use super::stream_data::Stream;
use crate::candidate::{Candidate, CandidateKind, LocalCandidate};
use crate::checklist::{CandidatePair, CandidatePairState};
use crate::event::Event;
use crate::types::{CandidateId, PairId, StreamId};

/// What was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    streams: BTreeMap<StreamId, Page>,
    pairs: BTreeMap<PairId, Pair>,
}

/// What was told of the candidates of a stream.
#[derive(Clone, Debug, Default)]
struct Page {
    /// The state of the tables that was told last.
    edition: Option<Edition>,
    locals: BTreeMap<CandidateId, Local>,
    remotes: BTreeMap<CandidateId, Remote>,
}

/// Names a state of the tables of candidates of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edition {
    generation: u32,
    locals: u64,
    remotes: u64,
}

#[derive(Clone, Debug)]
struct Local {
    candidate: Candidate,
    base: SocketAddr,
    url: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Remote {
    candidate: Candidate,
    is_signalled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    local: CandidateId,
    remote: CandidateId,
    state: CandidatePairState,
    is_valid: bool,
    is_nominated: bool,
}

/// There is no room for further events.
#[derive(Clone, Copy, Debug)]
struct Full;

impl Edition {
    fn of(data: &Stream) -> Self {
        Self { generation: data.generation, locals: data.locals.revision(), remotes: data.remotes.revision() }
    }
}

impl Local {
    /// Whether this is what there is. The priority of a candidate that waits to be signalled is still open, and is told with
    /// that: each socket that is added may change those of all before it.
    fn is_as(&self, local: &LocalCandidate) -> bool {
        let kind = local.candidate.kind();
        let is_open = local.announced_in.is_none() && !local.is_hidden && kind != CandidateKind::PeerReflexive;
        let is_same = if is_open {
            let mut known = self.candidate.clone();
            known.priority = local.candidate.priority;
            known == local.candidate
        } else {
            self.candidate == local.candidate
        };
        is_same && (self.base, &self.url) == (local.base, &local.url)
    }
}

impl Page {
    /// Tells the candidates that are new or have changed.
    fn tell(&mut self, data: &Stream, tell: &mut impl FnMut(Event) -> Result<(), Full>) -> Result<(), Full> {
        let stream = data.id;
        for local in data.locals.iter() {
            let (id, base) = (local.id, local.base);
            let told = self.locals.get(&id);
            if told.is_some_and(|told| told.is_as(local)) {
                continue;
            }
            let (candidate, url) = (local.candidate.clone(), local.url.clone());
            let (boxed, url_told) = (Box::new(candidate.clone()), url.clone());
            tell(match told {
                None => Event::LocalCandidateAdded { stream, id, candidate: boxed, base, url: url_told },
                Some(_) => Event::LocalCandidateChanged { stream, id, candidate: boxed, base, url: url_told },
            })?;
            self.locals.insert(id, Local { candidate, base, url });
        }
        for remote in data.remotes.iter() {
            let (id, is_signalled) = (remote.id, remote.is_signalled);
            let told = self.remotes.get(&id);
            if told.is_some_and(|told| (&told.candidate, told.is_signalled) == (&remote.candidate, is_signalled)) {
                continue;
            }
            let candidate = Box::new(remote.candidate.clone());
            tell(match (told.map(|told| told.is_signalled), is_signalled) {
                (None, true) => Event::RemoteCandidateAdded { stream, id, candidate },
                (None, false) => Event::RemoteCandidateDiscovered { stream, id, candidate },
                (Some(false), true) => Event::RemoteCandidateMerged { stream, id, candidate },
                (Some(_), _) => Event::RemoteCandidateChanged { stream, id, candidate },
            })?;
            self.remotes.insert(id, Remote { candidate: remote.candidate.clone(), is_signalled });
        }
        Ok(())
    }

    /// Tells the candidates that are gone; without tables, all.
    fn tell_gone(
        &mut self,
        stream: StreamId,
        data: Option<&Stream>,
        tell: &mut impl FnMut(Event) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let is_local = |id: &CandidateId| data.is_some_and(|data| data.locals.get(*id).is_some());
        let gone: Vec<CandidateId> = self.locals.keys().copied().filter(|id| !is_local(id)).collect();
        for id in gone {
            tell(Event::LocalCandidateRemoved { stream, id })?;
            self.locals.remove(&id);
        }
        let is_remote = |id: &CandidateId| data.is_some_and(|data| data.remotes.get(*id).is_some());
        let gone: Vec<CandidateId> = self.remotes.keys().copied().filter(|id| !is_remote(id)).collect();
        for id in gone {
            tell(Event::RemoteCandidateRemoved { stream, id })?;
            self.remotes.remove(&id);
        }
        Ok(())
    }
}

impl Ledger {
    /// How many pairs were told whose end was not.
    #[cfg(feature = "sim")]
    pub(super) fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// Tells what has become of a pair, and whether it is nominated; `None` if it is gone.
    fn tell_pair(
        &mut self,
        id: PairId,
        pair: Option<(&CandidatePair, bool)>,
        tell: &mut impl FnMut(Event) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let Some((pair, is_nominated)) = pair else {
            if self.pairs.contains_key(&id) {
                tell(Event::PairRemoved { pair: id })?;
                self.pairs.remove(&id);
            }
            return Ok(());
        };
        let (local, remote, state) = (pair.local, pair.remote, pair.state.get());
        if !self.pairs.contains_key(&id) {
            let (stream, component) = (pair.stream, pair.component);
            tell(Event::PairAdded { pair: id, stream, component, local, remote })?;
        }
        let told = self.pairs.entry(id).or_insert(Pair {
            local,
            remote,
            state: CandidatePairState::Frozen,
            is_valid: false,
            is_nominated: false,
        });
        if (told.local, told.remote) != (local, remote) {
            tell(Event::PairCandidatesChanged { pair: id, local, remote })?;
            (told.local, told.remote) = (local, remote);
        }
        if told.state != state {
            tell(Event::PairStateChanged { pair: id, state })?;
            told.state = state;
        }
        if told.is_valid != pair.is_valid {
            tell(Event::PairValidityChanged { pair: id, is_valid: pair.is_valid })?;
            told.is_valid = pair.is_valid;
        }
        if told.is_nominated != is_nominated {
            tell(if is_nominated {
                Event::PairNominated { pair: id }
            } else {
                Event::PairNominationLost { pair: id }
            })?;
            told.is_nominated = is_nominated;
        }
        Ok(())
    }
}

impl Agent {
    /// Tells what has changed in the tables, if somebody wants to know.
    pub(super) fn report_tables(&mut self) {
        if self.config.pair_events {
            // What finds no room is told when there is some.
            let _ = self.compare_tables();
        }
    }

    fn compare_tables(&mut self) -> Result<(), Full> {
        let most = self.most_events();
        let events = &mut self.outbox.events;
        let tell = &mut |event: Event| {
            let is_told = events.push(most, Outgoing::Event(event)) == 0;
            is_told.then_some(()).ok_or(Full)
        };
        let ledger = &mut self.ledger;
        for data in &self.streams {
            let page = ledger.streams.entry(data.id).or_default();
            if page.edition != Some(Edition::of(data)) {
                page.tell(data, tell)?;
            }
        }
        while let Some(id) = self.set.next_change() {
            let pair = self.set.get(id).map(|pair| {
                let component =
                    Stream::find(&self.streams, pair.stream).and_then(|data| data.component(pair.component));
                (pair, component.is_some_and(|component| component.nomination.shows(id)))
            });
            let told = ledger.tell_pair(id, pair, tell);
            if ledger.pairs.contains_key(&id) {
                self.set.note_told(id);
            }
            told?;
            self.set.forget_change();
        }
        // A candidate outlives its pairs.
        for data in &self.streams {
            let Some(page) = ledger.streams.get_mut(&data.id) else { continue };
            if page.edition != Some(Edition::of(data)) {
                page.tell_gone(data.id, Some(data), tell)?;
                page.edition = Some(Edition::of(data));
            }
        }
        if ledger.streams.len() > self.streams.len() {
            let streams = &self.streams;
            let is_there = |id: &StreamId| Stream::find(streams, *id).is_some();
            let gone: Vec<StreamId> = ledger.streams.keys().copied().filter(|id| !is_there(id)).collect();
            for id in gone {
                if let Some(page) = ledger.streams.get_mut(&id) {
                    page.tell_gone(id, None, tell)?;
                }
                ledger.streams.remove(&id);
            }
        }
        Ok(())
    }
}
