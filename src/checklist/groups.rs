//! Foundation groups: the pairs, over all checklists, of which one check tells about the others (RFC 8445 §6.1.2.6).

use alloc::collections::{BTreeMap, BTreeSet};

use crate::types::PairId;

/// Foundation of a pair: that of its local and of its remote candidate, as numbers (RFC 8445 §6.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairFoundation {
    pub(crate) local: u32,
    pub(crate) remote: u32,
}

/// The pairs of one foundation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: BTreeSet<PairId>,
    /// How many of them are Waiting or In-Progress.
    pub(crate) busy: usize,
    /// How many of them are Frozen.
    pub(crate) frozen: usize,
    /// How many of them are Succeeded.
    pub(crate) succeeded: usize,
}

/// All groups of a checklist set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<PairFoundation, Group>,
    /// Groups with frozen members of which none is Waiting or In-Progress: a list that runs dry unfreezes one of each.
    idle: BTreeSet<PairFoundation>,
}

impl Groups {
    pub(crate) fn get(&self, key: PairFoundation) -> Option<&Group> {
        self.groups.get(&key)
    }

    /// All of them.
    #[cfg(feature = "sim")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PairFoundation, &Group)> {
        self.groups.iter().map(|(key, group)| (*key, group))
    }

    /// Changes a group, and notes whether it has become idle.
    pub(crate) fn update(&mut self, key: PairFoundation, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(key).or_default();
        change(group);
        let is_idle = group.busy == 0 && group.frozen > 0;
        let is_over = group.members.is_empty();
        if is_over {
            self.groups.remove(&key);
        }
        if is_idle {
            self.idle.insert(key);
        } else {
            self.idle.remove(&key);
        }
    }

    /// The groups that nobody is busy with, in order of their keys.
    pub(crate) const fn idle(&self) -> &BTreeSet<PairFoundation> {
        &self.idle
    }
}
