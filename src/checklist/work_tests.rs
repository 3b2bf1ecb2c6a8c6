//! How the work grows with the number of pairs.

use core::net::SocketAddr;

use super::tests::SCHEDULE;
use super::{ChecklistSet, Insert, NewPair, PairFoundation, PairPriority, Update, Why};
use crate::candidate::Priority;
use crate::types::{CandidateId, ComponentId, PairId, Path, Role, StreamId, Transport, work};
use alloc::vec::Vec;

fn rank(role: Role, n: u32) -> PairPriority {
    let of = |value| Priority::new(value).unwrap();
    PairPriority::compute(role, of(1000 + n % 97), of(1 + n))
}

/// So many pairs on one list, of so many foundations.
fn filled(pairs: u32, foundations: u32) -> (ChecklistSet, Vec<PairId>) {
    let mut set = ChecklistSet::new(20_000, SCHEDULE);
    let stream = StreamId(0);
    set.add_list(stream, 1);
    let base: SocketAddr = ([192, 0, 2, 1], 5000).into();
    let ids = (0..pairs).filter_map(|n| {
        let remote = SocketAddr::from((core::net::Ipv4Addr::from(0x0a00_0000 + n), 6000));
        let new = NewPair {
            stream,
            component: ComponentId::RTP,
            generation: 0,
            local: CandidateId(0),
            remote: CandidateId(n.into()),
            path: Path { transport: Transport::Udp, base, remote, flow: None },
            priority: rank(Role::Controlling, n),
            group: PairFoundation { local: 1, remote: n % foundations },
        };
        set.insert(&new, Insert::Formed, |_| false).map(|(id, _)| id)
    });
    let ids = ids.collect();
    (set, ids)
}

/// What ten times the pairs cost, in times the work.
fn growth(foundations: u32, act: impl Fn(&mut ChecklistSet, &[PairId])) -> u64 {
    let [few, many] = [1000, 10_000].map(|pairs| {
        let (mut set, ids) = filled(pairs, foundations);
        work::take();
        act(&mut set, &ids);
        work::take().max(1)
    });
    many / few
}

fn flip(set: &mut ChecklistSet, ids: &[PairId]) {
    for id in ids {
        let Some(remote) = set.get(*id).map(|pair| pair.remote) else { continue };
        let priority = Some(rank(Role::Controlled, u32::try_from(remote.0).unwrap()));
        set.update(*id, Update { priority, ..Update::default() });
    }
}

#[test]
fn ten_times_the_pairs_cost_no_more_than_twelve_times_the_work() {
    for foundations in [1, 50, 20_000] {
        let settle = |set: &mut ChecklistSet, _: &[PairId]| set.settle_fresh();
        assert!(growth(foundations, settle) <= 12, "first states, {foundations}");
        let flip_settled = |set: &mut ChecklistSet, ids: &[PairId]| {
            set.settle_fresh();
            work::take();
            flip(set, ids);
        };
        assert!(growth(foundations, flip_settled) <= 12, "roles, {foundations}");
        let flip_failed = |set: &mut ChecklistSet, ids: &[PairId]| {
            for id in ids {
                let _ = set.drop(*id, Why::Failed);
            }
            work::take();
            flip(set, ids);
        };
        assert!(growth(foundations, flip_failed) <= 12, "roles of failed pairs, {foundations}");
    }
}
