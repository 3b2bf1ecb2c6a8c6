//! The counts and indexes of the checklists, made anew from the pairs and compared.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::{Checklist, ChecklistSet, Turn};
use crate::checklist::{CandidatePair, CandidatePairState, PairFoundation};

impl ChecklistSet {
    /// Says what does not agree with the pairs.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let listed = self.iter().filter(|pair| pair.group.is_some()).count();
        compare("pairs on lists", listed, self.listed)?;
        if listed > self.limit {
            return Err(format!("{listed} pairs are on lists that take {}", self.limit));
        }
        self.pairs.audit()?;
        self.transactions.audit()?;
        for pair in self.iter().filter(|pair| pair.group.is_some()) {
            compare("pairs of one path", Some(pair.id), self.find(&pair.path))?;
        }
        for (path, id) in &self.by_path {
            let is_it = self.get(*id).is_some_and(|pair| pair.path == *path);
            compare("pairs found by path", is_it, true)?;
        }
        self.lists.iter().try_for_each(|list| self.audit_list(list))?;
        self.audit_groups()
    }

    fn audit_list(&self, list: &Checklist) -> Result<(), String> {
        use CandidatePairState::{Failed, Frozen, InProgress, Waiting};
        let on_list = || self.iter().filter(|pair| pair.stream == list.stream && pair.group.is_some());
        let takes_turns = |pair: &&CandidatePair| !pair.is_held;
        let turns = |state| {
            let mut turns: Vec<Turn> =
                on_list().filter(|pair| pair.state.get() == state).filter(takes_turns).map(Turn::of).collect();
            turns.sort_unstable();
            turns
        };
        compare("listed", on_list().count(), list.listed)?;
        compare("waiting", turns(Waiting), list.waiting.0.iter().copied().collect())?;
        compare("frozen", turns(Frozen), list.frozen.0.iter().copied().collect())?;
        let is_held = |pair: &&CandidatePair| pair.is_held && matches!(pair.state.get(), Frozen | Waiting);
        compare("held", on_list().filter(is_held).count(), list.held)?;
        let is_awaited = |pair: &&CandidatePair| pair.state.get() == InProgress && !pair.is_retired;
        compare("in progress", on_list().filter(is_awaited).count(), list.in_progress)?;
        let mut failed: Vec<_> = list.failed.iter().collect();
        failed.sort_unstable();
        let mut expected: Vec<_> = on_list().filter(|pair| pair.state.get() == Failed).map(|pair| pair.id).collect();
        expected.sort_unstable();
        compare("failed", expected, failed)?;
        let mut triggered: Vec<_> = list.triggered.iter().collect();
        triggered.sort_unstable();
        let mut expected: Vec<_> = on_list().filter(|pair| pair.is_queued).map(|pair| pair.id).collect();
        expected.sort_unstable();
        compare("triggered", expected, triggered)
    }

    fn audit_groups(&self) -> Result<(), String> {
        use CandidatePairState::{Failed, Frozen, InProgress, Succeeded, Waiting};
        let mut expected: BTreeMap<PairFoundation, (usize, usize, usize, usize)> = BTreeMap::new();
        for pair in self.iter() {
            let Some(key) = pair.group else { continue };
            let (members, frozen, busy, succeeded) = expected.entry(key).or_default();
            *members += 1;
            match pair.state.get() {
                Frozen => *frozen += 1,
                InProgress if pair.is_retired => {}
                Waiting | InProgress => *busy += 1,
                Succeeded => *succeeded += 1,
                Failed => {}
            }
        }
        let found: BTreeMap<PairFoundation, (usize, usize, usize, usize)> = self
            .groups
            .iter()
            .map(|(key, group)| (key, (group.members.len(), group.frozen, group.busy, group.succeeded)))
            .collect();
        compare("groups", &expected, &found)?;
        let is_idle = |(_, frozen, busy, _): &(usize, usize, usize, usize)| *frozen > 0 && *busy == 0;
        let idle = expected.iter().filter(|(_, counts)| is_idle(counts)).map(|(key, _)| *key).collect();
        compare("idle groups", &idle, self.groups.idle())
    }
}

fn compare<T: PartialEq + core::fmt::Debug>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: {found:?}, and {expected:?} by the pairs")) }
}
