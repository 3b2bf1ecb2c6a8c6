//! Which pairs are watched beside the one in use, and at what cadence.

use smallvec::SmallVec;

use super::{Cadence, Consent, Selection};
use crate::checklist::ChecklistSet;
use crate::types::{ComponentId, PairId, PathHealth, StreamId};

/// Pairs that are to be watched, the one in use first, with the cadence of their consent checks; `None` if the peer would not
/// answer, or nobody wants to know.
pub(crate) type Wanted = SmallVec<[(PairId, Option<Cadence>); 3]>;

/// How pairs stand by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standby {
    /// The cadence of the pair in use, and of the nominated one.
    pub(crate) active: Option<Cadence>,
    /// That of others.
    pub(crate) standby: Cadence,
    /// Most others.
    pub(crate) most: usize,
    /// Others stand by all the time: a pair can be nominated again. Else only once the pair in use is given up.
    pub(crate) is_always: bool,
    /// Nothing but the pair in use is watched.
    pub(crate) is_alone: bool,
}

impl Selection {
    /// The pairs of a component that are to be watched while this one is in use.
    pub(crate) fn wanted(
        &self,
        checks: &ChecklistSet,
        component: (StreamId, ComponentId),
        (in_use, nominated): (PairId, Option<PairId>),
        how: Standby,
    ) -> Wanted {
        let mut wanted = Wanted::new();
        wanted.push((in_use, how.active));
        if how.is_alone || self.previous.is_some() {
            return wanted;
        }
        if let Some(nominated) = nominated.filter(|nominated| *nominated != in_use) {
            // It is what was agreed, and data goes back to it when it answers.
            wanted.push((nominated, how.active));
        }
        let is_given_up = |consent: &Consent| consent.health() == PathHealth::Lost || consent.is_unreachable();
        if nominated.is_some() && (how.is_always || self.consent(in_use).is_some_and(is_given_up)) {
            let standby = standby_pairs(checks, component, in_use, &wanted, how.most);
            wanted.extend(standby.into_iter().map(|id| (id, Some(how.standby))));
        }
        wanted
    }
}

/// The pairs to keep in reserve: those that share the least with the one in use, then the best.
fn standby_pairs(
    checks: &ChecklistSet,
    component: (StreamId, ComponentId),
    in_use: PairId,
    watched: &Wanted,
    most: usize,
) -> SmallVec<[PairId; 2]> {
    let Some(used) = checks.get(in_use).map(|pair| pair.path) else { return SmallVec::new() };
    let mut found: SmallVec<[(u8, PairId); 4]> = SmallVec::new();
    for id in checks.valid(component) {
        let Some(pair) = checks.get(*id).filter(|pair| !pair.is_barred) else { continue };
        let is_known = watched.iter().any(|(one, _)| checks.is_same_path(*one, *id))
            || found.iter().any(|(_, one)| checks.is_same_path(*one, *id));
        if is_known {
            continue;
        }
        let is_shared = [pair.path.base.ip() == used.base.ip(), pair.path.remote.ip() == used.remote.ip()];
        found.push((is_shared.into_iter().map(u8::from).sum(), *id));
    }
    // The valid list is in order of priority, and the sort is stable.
    found.sort_by_key(|(shared, _)| *shared);
    found.into_iter().take(most).map(|(_, id)| id).collect()
}
