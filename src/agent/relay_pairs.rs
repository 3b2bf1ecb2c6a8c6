//! Pairs of relayed candidates, and what they need of the server: permissions and channels (RFC 8656 §9, §12).
//!
//! A pair of a relayed candidate takes no turn before the server has a permission for the peer: checks that the server
//! throws away would only be waited for. A channel is bound once a pair is in use (RFC 8445 §12.1).

use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::Agent;
use super::relay::{Relay, RelayId};
use crate::checklist::{CandidatePairState, Why};
use crate::types::{PairId, Path, PathHealth};

impl Agent {
    /// Whether a message may leave on a path: through a relay only with the permission of its server (RFC 8656 §11.1).
    pub(super) fn can_leave(&self, path: &Path) -> bool {
        if self.relays.is_empty() {
            return true;
        }
        self.relays.at(path.base).is_none_or(|relay| relay.allocation.is_permitted(self.now, path.remote.ip()))
    }

    /// Asks for the permission that a new pair needs, and lets it take no turn before.
    pub(super) fn prepare_relayed_pair(&mut self, pair: PairId) {
        let Some(path) = self.set.get(pair).map(|pair| pair.path) else { return };
        if self.relays.is_empty() || self.can_leave(&path) {
            return;
        }
        let Some(id) = self.relays.by_address.get(&path.base).copied() else { return };
        let wants = |relay: &mut Relay| relay.allocation.permit(path.remote.ip());
        if self.relays.list.get_mut(&id).is_some_and(wants) {
            let _ = self.set.drop(pair, Why::AwaitsPermission);
        } else {
            self.refuse_pair(pair);
        }
        self.relays.touch(id);
    }

    /// Fails a pair whose packets the server does not let through.
    pub(super) fn refuse_pair(&mut self, id: PairId) {
        let Some(pair) = self.set.get(id) else { return };
        if pair.is_valid || pair.state.get() == CandidatePairState::Succeeded {
            self.give_up_path(id, true);
        } else {
            let _ = self.set.drop(id, Why::Failed);
        }
        self.is_dirty = true;
    }

    pub(super) fn relayed_pairs(&self, id: RelayId, ip: IpAddr) -> SmallVec<[PairId; 4]> {
        let Some(relay) = self.relays.list.get(&id) else { return SmallVec::new() };
        let is_of =
            |path: &Path| path.remote.ip() == ip && relay.candidates.iter().any(|(address, _)| *address == path.base);
        self.set.iter().filter(|pair| is_of(&pair.path)).map(|pair| pair.id).collect()
    }

    /// Binds channels to the peers of the pairs in use (RFC 8445 §12.1), and forgets relays that nobody waits for.
    pub(super) fn follow_relayed_use(&mut self) {
        if self.relays.is_empty() || self.is_closed {
            return;
        }
        for path in self.relayed_paths_in_use() {
            let Some(id) = self.relays.by_address.get(&path.base).copied() else { continue };
            if let Some(relay) = self.relays.list.get_mut(&id) {
                relay.allocation.bind(self.now, path.remote);
            }
            self.relays.touch(id);
        }
        self.question_silent_relays();
        let is_orphan = |relay: &Relay| {
            let is_open = |task| self.gatherer.is_open(task);
            relay.task.is_some_and(|task| !is_open(task))
        };
        let orphans: SmallVec<[RelayId; 4]> =
            self.relays.list.iter().filter(|(_, relay)| is_orphan(relay)).map(|(id, _)| *id).collect();
        for id in orphans {
            self.release_relay(id);
        }
    }

    /// Asks the servers of relayed pairs whose peer has fallen silent: the allocation may be gone, or what it lets through.
    fn question_silent_relays(&mut self) {
        let is_silent = |one: &&super::stream_data::Component| {
            matches!(one.selection.told_health(), Some(PathHealth::Suspect | PathHealth::Lost))
        };
        let components = self.streams.iter().flat_map(|stream| &stream.components).filter(is_silent);
        let paths: SmallVec<[Path; 2]> = components
            .filter_map(|component| self.set.get(component.selection.in_use()?))
            .map(|pair| pair.path)
            .filter(|path| self.relays.is_relayed(path.base))
            .collect();
        let all: SmallVec<[RelayId; 4]> = self.relays.list.keys().copied().collect();
        for id in all {
            let is_of = |path: &&Path| self.relays.by_address.get(&path.base) == Some(&id);
            let silent: SmallVec<[SocketAddr; 1]> = paths.iter().filter(is_of).map(|path| path.remote).collect();
            let now = self.now;
            let Some(relay) = self.relays.list.get_mut(&id).filter(|relay| relay.silent != silent) else { continue };
            relay.question_at = (!silent.is_empty()).then_some(now);
            relay.silent = silent;
            self.relays.touch(id);
        }
        // Some of it may be due at once.
        self.expire_relays();
    }

    fn relayed_paths_in_use(&self) -> SmallVec<[Path; 2]> {
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        let used = components.flat_map(|component| {
            [component.selection.selected(), component.selection.previous(), component.selection.in_use()]
        });
        let paths = used.flatten().filter_map(|id| self.set.get(id)).map(|pair| pair.path);
        paths.filter(|path| self.relays.is_relayed(path.base)).collect()
    }

    /// Lets permissions lapse of peers that no pair needs any more, and channels of those that are not in use.
    pub(super) fn say_what_is_needed(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let is_base = |base: SocketAddr| relay.candidates.iter().any(|(address, _)| *address == base);
        let pairs = self.set.iter().filter(|pair| is_base(pair.path.base));
        let is_alive = |pair: &&crate::checklist::CandidatePair| {
            let is_sought = self.stream(pair.stream).is_some_and(|data| data.search.is_some());
            pair.is_valid || is_sought || !matches!(pair.state.get(), CandidatePairState::Failed)
        };
        let addresses: SmallVec<[IpAddr; 8]> = pairs.filter(is_alive).map(|pair| pair.path.remote.ip()).collect();
        let in_use = self.relayed_paths_in_use().into_iter().filter(|path| is_base(path.base));
        let peers: SmallVec<[SocketAddr; 2]> = in_use.map(|path| path.remote).collect();
        if let Some(relay) = self.relays.list.get_mut(&id) {
            relay.allocation.keep_only(&addresses, &peers);
        }
    }
}
