//! Both ends use one pair, whatever becomes of a later nomination and of its answer.

use std::sync::Arc;
use std::time::Duration;

use nilas::sim::{NatConfig, Pair, PairSetup, Passing, SideName, Verdict, Wire};
use nilas::{
    ApplicationSelects, ComponentId, Config, Instant, PairId, PairView, Renomination, Seed, SelectionDecision,
    SelectionPolicy, SelectionView,
};

use crate::help::{ms, requests, secs};

const DRAFTS: [Renomination; 2] = [Renomination::Draft2016, Renomination::Draft2026];

/// What is lost, while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// Requests that nominate.
    Nominations,
    /// Answers of the controlled side on the pair that is nominated.
    AnswersThere,
    /// All answers of the controlled side.
    Answers,
    /// All that the controlling side sends.
    WayOut,
    /// All that the controlled side sends.
    WayBack,
    /// All that the controlled side sends on the pair that is nominated.
    WayBackThere,
}

const LOSSES: [Lost; 6] =
    [Lost::Nominations, Lost::AnswersThere, Lost::Answers, Lost::WayOut, Lost::WayBack, Lost::WayBackThere];

/// Why another pair is nominated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Application,
    Policy,
    /// The pair in use dies.
    Failover,
    /// A NAT shows the controlling side under another address.
    OwnAddress,
    /// A NAT shows the controlled side under another address.
    PeerAddress,
}

/// Moves away from the first pair at this time.
#[derive(Debug)]
struct MoveAt(Instant);

impl SelectionPolicy for MoveAt {
    fn decide(&self, view: &SelectionView<'_>) -> SelectionDecision {
        match view.others.first() {
            Some(other) if view.now >= self.0 && view.since < self.0 => SelectionDecision::Move(other.pair),
            Some(_) if view.now < self.0 => SelectionDecision::KeepUntil(self.0),
            _ => SelectionDecision::Keep,
        }
    }
}

fn selected(pair: &Pair, side: SideName) -> Option<PairView<'_>> {
    pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP)
}

fn other(pair: &Pair) -> Option<PairId> {
    let used = selected(pair, SideName::L)?;
    pair.l.agent.pairs().find(|one| one.is_valid && one.base != used.base).map(|one| one.id)
}

/// L, which controls, and R are connected by the pair of the first interface of L, and know that the second one works.
fn connected(seed: u64, draft: Renomination, why: Why) -> Pair {
    let mut setup = PairSetup::new(Seed::from_number(seed)).addresses(2, 1).renomination(draft);
    if why == Why::Application {
        let policy = Arc::new(ApplicationSelects);
        setup = setup.config(Config::default().with_selection_policy(policy));
    }
    let move_at = crate::help::at(4_000 + 37 * seed);
    if why == Why::Policy {
        setup.l.config = Config::default().with_selection_policy(Arc::new(MoveAt(move_at)));
    }
    let hidden = match why {
        Why::OwnAddress => Some(&mut setup.l),
        Why::PeerAddress => Some(&mut setup.r),
        Why::Application | Why::Policy | Why::Failover => None,
    };
    if let Some(side) = hidden {
        side.addresses = vec!["10.0.0.2".parse().unwrap()];
        side.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
    }
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)), "seed {seed}");
    pair.run_to(move_at - ms(1));
    pair
}

fn begin(pair: &mut Pair, why: Why) {
    let now = pair.now();
    let side = if why == Why::PeerAddress { SideName::R } else { SideName::L };
    match why {
        Why::Application => {
            let other = other(pair).expect("another pair is valid");
            pair.l.agent.nominate(now, other).unwrap();
        }
        Why::Policy => {}
        Why::Failover => {
            let ip = selected(pair, SideName::L).unwrap().base.ip();
            let host = pair.host(SideName::L);
            pair.network.set_interface_up(host, ip, false).unwrap();
        }
        Why::OwnAddress | Why::PeerAddress => {
            let nat = pair.nats[&side][0];
            pair.network.rebind_to(nat, ["192.0.2.9".parse().unwrap()]).unwrap();
            match side {
                SideName::L => pair.l.agent.network_changed(now),
                SideName::R => pair.r.agent.network_changed(now),
            }
        }
    }
    pair.drain(side);
}

/// Loses so much of that from the first nomination on that leaves after `from`, for this time.
fn lose(pair: &mut Pair, lost: Lost, share: u64, time: Duration) {
    let (l, from) = (pair.host(SideName::L), pair.now());
    let until = from + time;
    let there = other(pair).and_then(|id| pair.l.agent.pairs().find(|one| one.id == id)).map(|one| one.base);
    pair.network.set_hook(move |packet: &Passing<'_>| {
        let is_out = packet.from == l;
        let is_lost = || match (lost, Wire::decode(packet.payload)) {
            (Lost::Nominations, Wire::Request(request)) => request.use_candidate || request.nomination.is_some(),
            (Lost::Answers, Wire::Success { .. }) => !is_out,
            (Lost::AnswersThere, Wire::Success { .. }) => !is_out && there.is_none_or(|at| at == packet.destination),
            (Lost::WayOut, _) => is_out,
            (Lost::WayBack, _) => !is_out,
            (Lost::WayBackThere, _) => !is_out && there.is_none_or(|at| at == packet.destination),
            _ => false,
        };
        let dice = packet
            .payload
            .iter()
            .fold(packet.now.as_nanos() as u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let is_due = packet.now < until && (dice >> 32) % 100 < share && is_lost();
        if is_due { Verdict::Drop } else { Verdict::Pass }
    });
}

/// The values that L has nominated by, each counted once, in any minute.
fn nominations_a_minute(pair: &Pair) -> usize {
    let mut firsts: Vec<(u32, Instant)> = Vec::new();
    for (at, request, _) in requests(&pair.l.sent) {
        if let Some(value) = request.nomination.filter(|value| firsts.iter().all(|(known, _)| known != value)) {
            firsts.push((value, at));
        }
    }
    let within = |at: Instant| firsts.iter().filter(|(_, one)| *one >= at && *one < at + secs(60)).count();
    firsts.iter().map(|(_, at)| within(*at)).max().unwrap_or_default()
}

fn assert_one_pair(pair: &Pair, what: &str) {
    let [l, r] = [SideName::L, SideName::R].map(|side| selected(pair, side).expect(what));
    assert!(pair.agrees(), "{what}: L uses {} to {}, R {} to {}", l.base, l.remote_address, r.base, r.remote_address);
    for side in [SideName::L, SideName::R] {
        let nominated: Vec<_> =
            pair.peer(side).agent.pairs().filter(|one| one.is_nominated).map(|one| one.id).collect();
        let used = selected(pair, side).map(|one| one.id);
        assert_eq!(nominated, Vec::from_iter(used), "{what}: {side:?} has left the others");
    }
    let count = nominations_a_minute(pair);
    assert!(count <= 20, "{what}: {count} nominations in a minute");
}

fn run(why: Why, lost: Lost, draft: Renomination, time: Duration, seed: u64) {
    let what = format!("{why:?}, {lost:?} lost for {time:?}, {draft:?}, seed {seed}");
    let mut pair = connected(seed, draft, why);
    lose(&mut pair, lost, 100, time);
    begin(&mut pair, why);
    pair.run_for(time + secs(if why == Why::Failover { 75 } else { 15 }));
    assert_one_pair(&pair, &what);
    pair.run_for(secs(30));
    assert_one_pair(&pair, &what);
}

fn all_losses(why: Why) {
    for (number, lost) in LOSSES.into_iter().enumerate() {
        for draft in DRAFTS {
            for (place, time) in [ms(500), secs(5), secs(20)].into_iter().enumerate() {
                run(why, lost, draft, time, (3 * number + place) as u64);
            }
        }
    }
}

/// Req: renom2-3-a
#[test]
fn both_ends_use_one_pair_whatever_is_lost_of_a_nomination_by_the_application() {
    all_losses(Why::Application);
}

/// Req: renom2-3-a
#[test]
fn both_ends_use_one_pair_whatever_is_lost_of_a_nomination_by_policy() {
    all_losses(Why::Policy);
}

/// Req: renom2-3-a
#[test]
fn both_ends_use_one_pair_whatever_is_lost_of_a_nomination_because_the_pair_in_use_died() {
    all_losses(Why::Failover);
}

/// Req: renom2-3-a
#[test]
fn both_ends_use_one_pair_whatever_is_lost_of_a_nomination_because_an_address_has_changed() {
    all_losses(Why::OwnAddress);
    all_losses(Why::PeerAddress);
}

/// Req: renom2-3-a
#[test]
fn both_ends_use_one_pair_after_sixty_per_cent_of_one_way_were_lost() {
    for seed in 0..12 {
        for why in [Why::Application, Why::Policy, Why::Failover] {
            for lost in [Lost::WayOut, Lost::WayBack] {
                let draft = DRAFTS[seed as usize % 2];
                let mut pair = connected(seed, draft, why);
                lose(&mut pair, lost, 60, secs(20));
                begin(&mut pair, why);
                pair.run_for(secs(95));
                assert_one_pair(&pair, &format!("{why:?}, 60 % of {lost:?} lost, seed {seed}"));
            }
        }
    }
}

/// Req: renom2-3-a
#[test]
fn a_nomination_that_is_never_answered_is_followed_by_one_of_the_pair_that_is_kept() {
    for draft in DRAFTS {
        let mut pair = connected(1, draft, Why::Application);
        let kept = selected(&pair, SideName::L).unwrap().base;
        // Only the answers of that pair are lost, and for ever: the peer has moved there.
        lose(&mut pair, Lost::AnswersThere, 100, secs(3600));
        begin(&mut pair, Why::Application);
        pair.run_for(secs(1));
        assert_ne!(selected(&pair, SideName::R).unwrap().remote_address, kept, "it has moved");
        pair.run_for(secs(5));
        assert_eq!(selected(&pair, SideName::R).unwrap().remote_address, kept);
        assert_one_pair(&pair, "kept");
        let values: Vec<_> = requests(&pair.l.sent)
            .into_iter()
            .filter_map(|(_, request, sent)| Some((request.nomination?, sent.source == kept)))
            .collect();
        assert!(values.is_sorted_by_key(|(value, _)| *value), "{values:?}");
        assert_eq!(values.last(), Some(&(3, true)), "{values:?}");
        pair.run_for(secs(600));
        assert_one_pair(&pair, "ten minutes later");
    }
}

/// Req: 8445-7.3.1.5-c
#[test]
fn whoever_may_not_use_a_pair_any_more_refuses_its_nomination_and_both_keep_the_other() {
    for draft in DRAFTS {
        let mut pair = connected(2, draft, Why::Application);
        begin(&mut pair, Why::Application);
        pair.run_for(secs(3));
        // On the pair that is in use now, R hears no answers for so long that its consent ends.
        let there = selected(&pair, SideName::L).unwrap().base;
        let l = pair.host(SideName::L);
        pair.network.set_hook(move |packet: &Passing<'_>| {
            let is_answer = matches!(Wire::decode(packet.payload), Wire::Success { .. });
            if packet.from == l && packet.source == there && is_answer { Verdict::Drop } else { Verdict::Pass }
        });
        pair.run_for(secs(120));
        pair.network.clear_hook();
        pair.run_for(secs(120));
        assert_one_pair(&pair, &format!("{draft:?}"));
    }
}

/// Nominates another pair in every component while something is lost.
fn run_everywhere(setup: PairSetup, lost: Lost, time: Duration, what: &str) {
    let mut setup = setup;
    setup.l.config = Config::default().with_selection_policy(Arc::new(ApplicationSelects));
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(10)), "{what}");
    pair.run_for(secs(3));
    lose(&mut pair, lost, 100, time);
    let used: Vec<_> =
        pair.l.agent.pairs().filter(|one| one.is_selected).map(|one| (one.stream, one.component, one.base)).collect();
    let now = pair.now();
    for (stream, component, base) in &used {
        let others = || pair.l.agent.pairs().filter(|one| (one.stream, one.component) == (*stream, *component));
        let other = others().find(|one| one.is_valid && one.base != *base).map(|one| one.id).expect(what);
        pair.l.agent.nominate(now, other).unwrap();
    }
    pair.drain(SideName::L);
    pair.run_for(time + secs(20));
    for (stream, component, _) in &used {
        let ends = [SideName::L, SideName::R].map(|side| {
            let used = pair.peer(side).agent.selected_pair(*stream, *component).expect(what);
            (used.base, used.remote_address)
        });
        assert_eq!(ends[0], (ends[1].1, ends[1].0), "{what}: {stream}, {component}");
    }
    for side in [SideName::L, SideName::R] {
        let nominated: Vec<_> = pair.peer(side).agent.pairs().filter(|one| one.is_nominated).collect();
        assert!(nominated.iter().all(|one| one.is_selected), "{what}: {side:?}");
        assert_eq!(nominated.len(), used.len(), "{what}: {side:?}");
    }
}

/// Req: renom2-3-a
/// Req: 8445-8.2-a
#[test]
fn both_ends_use_one_pair_with_lite_peers_beside_relays_and_in_every_component() {
    for (number, lost) in [Lost::AnswersThere, Lost::Answers, Lost::WayOut, Lost::WayBack].into_iter().enumerate() {
        for draft in DRAFTS {
            for time in [secs(5), secs(20)] {
                let setup = || PairSetup::new(Seed::from_number(number as u64)).addresses(2, 1).renomination(draft);
                let what = |kind| format!("{kind}, {lost:?} lost for {time:?}, {draft:?}");
                let mut lite = setup();
                lite.r.config = Config::default().with_lite(true);
                run_everywhere(lite, lost, time, &what("lite"));
                let mut streams = setup();
                (streams.streams, streams.l.components, streams.r.components) = (2, 2, 2);
                run_everywhere(streams, lost, time, &what("two streams of two components"));
                run_everywhere(setup().with_turn([198, 18, 0, 1].into()), lost, time, &what("relays"));
            }
        }
    }
}
