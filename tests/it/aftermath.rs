//! Effects that come long after what caused them, or that only the next step depends on.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use nilas::sim::{
    Direction, FirewallRule, Link, NatConfig, Pair, PairSetup, PeerMatch, Sent, ServerMethod, SideName, Wire,
    WireRequest,
};
use nilas::{
    BetterPairs, Candidate, CandidateKind, CandidatePairState, ComponentId, Config, ConnectionState, Event, Instant,
    NominationDecision, NominationPolicy, NominationView, PairId, PathHealth, Priority, RemoteCandidateOutcome,
    RemoteDescription, Renomination, Role, SelectionDecision, SelectionPolicy, SelectionView, TcpType, TypePreferences,
};

use crate::help::{ms, requests, secs, setup};
use crate::lone::{Lone, remote};
use crate::script::{BEST, OTHER, Script};
use crate::solo::{Outcome, Solo, address, host};

const DRAFT: Renomination = Renomination::Draft2016;

fn connected(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(2));
    pair
}

/// A host candidate of the peer with this local preference.
fn host_of(preference: u16, text: &str) -> Candidate {
    let priority = Priority::compute(126, preference, ComponentId::RTP);
    Candidate::new(
        CandidateKind::Host,
        ComponentId::RTP,
        text.replace([':', '.'], "").parse().unwrap(),
        priority,
        address(text),
    )
}

/// Suspicion counts from the check that was lost, however long before it the last answer came.
///
/// S096
/// Req: 7675-5.1-b
#[test]
fn a_check_that_is_lost_while_idle_costs_an_idle_path_nothing() {
    let config = Config::default().with_idle_interval(secs(60));
    let mut pair = connected(setup("idle loss").config(config));
    for side in [SideName::L, SideName::R] {
        let now = pair.now();
        if side == SideName::L { &mut pair.l } else { &mut pair.r }.agent.set_idle(now, true);
        pair.drain(side);
    }
    pair.run_for(secs(90));
    let hosts = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(hosts.0, hosts.1);
    let before = (pair.l.sent.len(), pair.r.sent.len());
    assert!(pair.run_until(secs(61), |pair| pair.l.sent.len() > before.0 && pair.r.sent.len() > before.1));
    pair.run_for(secs(3));
    pair.network.mend_both(hosts.0, hosts.1);
    pair.run_for(secs(60));
    for peer in [&pair.l, &pair.r] {
        assert_eq!(peer.reached(ConnectionState::Failed), None);
        assert_eq!(peer.agent.state(), ConnectionState::Completed);
        assert!(!peer.events.iter().any(|(_, event)| matches!(event, Event::ConsentEnded { .. })));
        assert!(
            peer.events
                .iter()
                .any(|(_, event)| { matches!(event, Event::PathHealthChanged { health: PathHealth::Suspect, .. }) })
        );
    }
}

/// Every restart keeps the pair in use until the next one is selected: none of them counts for ever.
///
/// Req: 8445-6.1.2.5-a
#[test]
fn twenty_restarts_fit_into_a_limit_of_three_pairs() {
    let mut pair = connected(setup("restarts").config(Config::default().with_max_pairs(3)));
    let stream = pair.stream();
    for round in 1..=20 {
        let side = if round % 2 == 0 { SideName::L } else { SideName::R };
        pair.restart(side, stream);
        let is_done = |pair: &Pair| {
            let of = |side: SideName| {
                let agent = &pair.peer(side).agent;
                (agent.generation(stream), agent.selected_pair(stream, ComponentId::RTP).is_some())
            };
            of(SideName::L) == (Some(round), true) && of(SideName::R) == (Some(round), true)
        };
        assert!(pair.run_until(secs(3), is_done), "restart {round}");
        pair.run_for(secs(2));
        assert_eq!(pair.l.agent.state(), ConnectionState::Completed, "restart {round}");
    }
}

/// Notes what it is told, and waits.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Vec<(Instant, BetterPairs)>>,
    wanted: Mutex<Option<PairId>>,
}

impl NominationPolicy for Recorder {
    fn decide(&self, view: &NominationView<'_>) -> NominationDecision {
        self.seen.lock().unwrap().push((view.now, view.better));
        self.wanted.lock().unwrap().map_or(NominationDecision::Wait, NominationDecision::Nominate)
    }
}

/// Req: 8445-8.1.1-b
#[test]
fn the_policy_is_told_until_when_the_answer_of_a_better_pair_is_due() {
    let recorder = Arc::new(Recorder::default());
    let mut solo = Solo::with(Role::Controlling, Config::default().with_nomination_policy(recorder.clone()));
    solo.describe(vec![host_of(100, "203.0.113.1:6000")]);
    let first = solo.last();
    solo.run_for(ms(50));
    let better = host_of(200, "203.0.113.2:6000");
    assert!(matches!(
        solo.agent.add_remote_candidate(solo.now, solo.stream, better),
        Ok(RemoteCandidateOutcome::Added(_))
    ));
    solo.drain();
    let checked_at = solo.now;
    assert_eq!(solo.last().destination, address("203.0.113.2:6000"));
    solo.run_for(ms(10));
    let answer = solo.success(first.request().id, first.source);
    assert_eq!(solo.receive(&answer), Outcome::Handled);
    // A round trip of 60 ms, and Ta.
    let due = checked_at + ms(60 + 50);
    let now = solo.now;
    assert_eq!(recorder.seen.lock().unwrap().last(), Some(&(now, BetterPairs::AnswersExpectedUntil(due))));
    // By default it is waited for, and nominated.
    let mut solo = Solo::with(Role::Controlling, Config::default());
    solo.describe(vec![host_of(100, "203.0.113.1:6000")]);
    let first = solo.last();
    solo.run_for(ms(50));
    let _ = solo.agent.add_remote_candidate(solo.now, solo.stream, host_of(200, "203.0.113.2:6000")).unwrap();
    solo.drain();
    let second = solo.last();
    solo.run_for(ms(10));
    let answer = solo.success(first.request().id, first.source);
    solo.receive(&answer);
    solo.run_for(ms(50));
    let answer = solo.success(second.request().id, second.source);
    solo.receive_from(second.destination, &answer);
    solo.run_for(ms(200));
    let nominating: Vec<_> = solo
        .take_requests()
        .into_iter()
        .filter(|(_, request)| request.use_candidate)
        .map(|(out, _)| out.destination)
        .collect();
    assert!(!nominating.is_empty() && nominating.iter().all(|to| *to == second.destination), "{nominating:?}");
}

/// Req: 8445-8.1.1-b
#[test]
fn a_nomination_policy_that_names_a_pair_that_is_not_valid_is_not_followed() {
    let recorder = Arc::new(Recorder::default());
    let config = Config::default().with_nomination_policy(recorder.clone());
    let mut script = Script::new(Role::Controlling, config, |description| description);
    *recorder.wanted.lock().unwrap() = Some(script.pair_to(BEST).id);
    script.answer_next(OTHER);
    script.run_for(secs(2));
    assert!(!recorder.seen.lock().unwrap().is_empty());
    for to in [BEST, OTHER] {
        assert!(script.requests_to(to).iter().all(|(_, request)| !request.use_candidate), "{to}");
    }
    // Once it is valid, it is.
    let (_, check) = script.requests_to(BEST).last().unwrap().clone();
    assert!(script.answer_as(BEST, check.id, crate::script::LOCAL));
    script.run_for(ms(200));
    assert!(script.requests_to(BEST).iter().any(|(_, request)| request.use_candidate));
}

/// Moves to a pair that it was not offered.
#[derive(Debug, Default)]
struct Wrong {
    wanted: Mutex<Option<PairId>>,
    offered: Mutex<Vec<(PairId, Vec<PairId>)>>,
}

impl SelectionPolicy for Wrong {
    fn decide(&self, view: &SelectionView<'_>) -> SelectionDecision {
        let others = view.others.iter().map(|other| other.pair).collect();
        self.offered.lock().unwrap().push((view.current.pair, others));
        self.wanted.lock().unwrap().map_or(SelectionDecision::Keep, SelectionDecision::Move)
    }
}

#[test]
fn a_selection_policy_that_names_a_pair_that_it_was_not_offered_is_not_followed() {
    let policy = Arc::new(Wrong::default());
    let config = Config::default().with_selection_policy(policy.clone());
    let mut setup = setup("wrong move").addresses(2, 1).renomination(DRAFT).left(|l| l.config = config);
    // What cannot be reached never becomes valid.
    setup.r.addresses.push("203.0.113.77".parse().unwrap());
    let mut pair = setup.build();
    let host = pair.host(SideName::R);
    pair.network.set_interface_up(host, "203.0.113.77".parse().unwrap(), false).unwrap();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(1));
    let unreachable: IpAddr = "203.0.113.77".parse().unwrap();
    let dead = pair.l.agent.pairs().find(|pair| pair.remote_address.ip() == unreachable).expect("it is known").id;
    *policy.wanted.lock().unwrap() = Some(dead);
    let (now, asked, moves) = (pair.now(), policy.offered.lock().unwrap().len(), pair.l.selections());
    pair.l.agent.network_changed(now);
    pair.drain(SideName::L);
    pair.run_for(secs(60));
    assert!(policy.offered.lock().unwrap().len() > asked, "it was asked");
    assert_eq!(pair.l.selections(), moves);
    assert!(pair.agrees());
    let nominates = |(at, request, sent): &(Instant, WireRequest, Sent)| {
        *at >= now && request.use_candidate && sent.destination.ip() == unreachable
    };
    assert!(!requests(&pair.l.sent).iter().any(nominates), "nor is it nominated");
}

#[test]
fn the_loss_of_a_path_is_measured() {
    for (loss, expected) in [(0.0, 0..=0), (0.1, 80..=320)] {
        let mut setup = setup("loss").config(Config::default().with_detection(secs(25)));
        setup.link = Link::with_loss(loss);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(30)));
        let stream = pair.stream();
        let report = |pair: &Pair| pair.l.agent.path_report(stream, ComponentId::RTP).expect("a path is in use").loss;
        assert_eq!(report(&pair), None, "after so few checks nobody can tell");
        pair.run_for(secs(3600));
        // A check is lost on its way or on that of its answer.
        let measured = report(&pair).expect("it is known by now");
        assert!(expected.contains(&measured), "{measured} thousandths at {loss} each way");
    }
}

/// Req: 8445-6.1.4.2-a
/// Req: 8445-8.1.2-a
#[test]
fn a_completed_list_checks_no_pair_that_waits() {
    let mut solo = Solo::with(Role::Controlled, Config::default());
    let addresses = ["203.0.113.1:6000", "203.0.113.2:6000", "203.0.113.3:6000", "203.0.113.4:6000"];
    // It does not say that it is of RFC 8445: it may nominate every pair with its first check (RFC 5245).
    let candidates = addresses.iter().zip([400, 300, 200, 100]).map(|(text, local)| host_of(local, text));
    let description = RemoteDescription::new(solo.theirs.clone()).with_candidates(candidates.collect());
    solo.agent.set_remote_description(solo.now, solo.stream, &description).unwrap();
    solo.drain();
    assert_eq!(solo.last().destination, address(addresses[0]));
    // The peer nominates with its first check, the worst pair.
    let check = solo.check().use_candidate();
    let check = solo.seal(check);
    solo.receive_from(address(addresses[3]), &check);
    solo.run_for(ms(50));
    assert_eq!(solo.last().destination, address(addresses[3]));
    let answer = solo.success(solo.last().request().id, solo.local);
    solo.receive_from(address(addresses[3]), &answer);
    assert_eq!(solo.agent.session_state(), nilas::ChecklistState::Completed);
    let waiting = |solo: &Solo| {
        addresses[1..3].iter().filter(|text| solo.state_of(address(text)) == Some(CandidatePairState::Waiting)).count()
    };
    assert_eq!(waiting(&solo), 2, "a peer that nominates like this may still prefer them");
    solo.take();
    solo.run_for(secs(10));
    let checked: Vec<_> = solo.take_requests().into_iter().map(|(out, _)| out.destination).collect();
    assert!(checked.iter().all(|to| *to == address(addresses[0]) || *to == address(addresses[3])), "{checked:?}");
    assert_eq!(waiting(&solo), 2);
}

#[test]
fn a_change_of_the_network_does_not_begin_checks_anew_that_are_on_their_way() {
    let mut solo = Solo::checking(Role::Controlling);
    let id = solo.last().request().id;
    solo.run_for(ms(100));
    solo.agent.network_changed(solo.now);
    solo.drain();
    solo.run_for(secs(2));
    let ids: Vec<_> = solo.out.iter().map(|out| out.request().id).collect();
    assert!(ids.len() >= 2 && ids.iter().all(|one| *one == id), "the same check, repeated");
    assert_eq!(solo.state(), Some(CandidatePairState::InProgress));
}

/// Two agents that take several nominations; an address of R can be reached by nobody.
fn with_a_dead_address(name: &str) -> (Pair, IpAddr) {
    let dead: IpAddr = "203.0.113.1".parse().unwrap();
    let mut setup = setup(name).addresses(2, 1).renomination(DRAFT);
    setup.r.addresses = vec![dead, "203.0.113.2".parse().unwrap()];
    let mut pair = setup.build();
    let r = pair.host(SideName::R);
    pair.network.set_interface_up(r, dead, false).unwrap();
    assert!(pair.run_until_selected(secs(10)));
    (pair, dead)
}

#[test]
fn a_new_remote_candidate_has_the_failed_pairs_checked_again_at_once() {
    let (mut pair, dead) = with_a_dead_address("new candidate");
    pair.run_for(secs(600));
    // By now a minute passes between two rounds: one is just over.
    let probes = |pair: &Pair| requests(&pair.l.sent).iter().filter(|(.., sent)| sent.destination.ip() == dead).count();
    let before = probes(&pair);
    assert!(pair.run_until(secs(70), |pair| probes(pair) > before));
    pair.run_for(secs(5));
    let (before, now, stream) = (probes(&pair), pair.now(), pair.stream());
    let added = pair.l.agent.add_remote_candidate(now, stream, host_of(50, "203.0.113.99:7777")).unwrap();
    assert!(matches!(added, RemoteCandidateOutcome::Added(_)));
    pair.drain(SideName::L);
    pair.run_for(secs(2));
    assert!(probes(&pair) > before, "the network has changed, it seems");
}

#[test]
fn a_pair_in_reserve_that_is_needed_is_asked_twice() {
    let mut pair = connected(setup("twice").addresses(2, 1).renomination(DRAFT));
    let used = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap().base;
    pair.run_for(secs(30));
    let host = pair.host(SideName::L);
    pair.network.set_interface_up(host, used.ip(), false).unwrap();
    let suspect = |pair: &Pair| {
        pair.l.events.iter().find_map(|(at, event)| {
            matches!(event, Event::PathHealthChanged { health: PathHealth::Suspect, .. }).then_some(*at)
        })
    };
    assert!(pair.run_until(secs(12), |pair| suspect(pair).is_some()));
    let at = suspect(&pair).unwrap();
    pair.run_for(secs(1));
    let asked: Vec<_> =
        requests(&pair.l.sent).into_iter().filter(|(when, _, sent)| *when >= at && sent.source != used).collect();
    assert!(asked.len() >= 2, "{} checks", asked.len());
    let gap = asked[1].0.saturating_duration_since(asked[0].0);
    // The peer hears two of them sooner than it would in a round of its reserve.
    assert!(gap >= ms(50) && gap <= ms(250), "{gap:?}");
}

fn told(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::TooManyRemoteCandidates { .. })).count()
}

#[test]
fn too_many_remote_candidates_are_told_at_the_first_refusal_and_again_after_a_restart() {
    let mut lone = Lone::simple(Config::default().with_max_remote_candidates(2));
    let add = |lone: &mut Lone, n: u16| {
        let outcome = lone.add(0, remote(&format!("f{n}"), 1, 50, &format!("192.0.2.1:{}", 6000 + n)));
        lone.take_events();
        outcome
    };
    for n in 0..2 {
        assert!(matches!(add(&mut lone, n), RemoteCandidateOutcome::Added(_)));
    }
    for n in 2..5 {
        assert_eq!(add(&mut lone, n), RemoteCandidateOutcome::TooMany);
        assert_eq!(told(&lone.events), 1, "after refusal {}", n - 1);
    }
    let (now, stream) = (lone.now, lone.streams[0]);
    lone.agent.prepare_restart(now, stream).unwrap();
    lone.peer = nilas::Credentials::new("new0", "password/of/the/peer/11").unwrap();
    lone.describe();
    lone.events.clear();
    for n in 10..14 {
        let _ = add(&mut lone, n);
    }
    assert_eq!(told(&lone.events), 1);
}

/// Req: 8489-6.3-a
#[test]
fn an_answer_with_a_nomination_of_a_wrong_length_is_good_all_the_same() {
    for kind in [0x0030, 0xc001] {
        let mut solo = Solo::with(Role::Controlling, Config::default());
        solo.describe_as(Some(Renomination::Draft2026), vec![host("203.0.113.1:6000")]);
        let id = solo.last().request().id;
        let std::net::SocketAddr::V4(mapped) = solo.local else { panic!("IPv4") };
        let answer = nilas::sim::MessageBuilder::binding_success(id).mapped_v4(mapped).attribute(kind, &[1, 2]);
        let answer = solo.seal_response(answer);
        assert_eq!(solo.receive(&answer), Outcome::Handled, "{kind:#06x}");
        assert_eq!(solo.state(), Some(CandidatePairState::Succeeded), "{kind:#06x}");
    }
}

/// MESSAGE-INTEGRITY has 20 bytes (RFC 8489 §14.5): what is longer is not trusted for its beginning.
#[test]
fn an_integrity_attribute_of_24_bytes_whose_first_20_are_right_is_refused() {
    let mut solo = Solo::checking(Role::Controlling);
    let ours = solo.ours();
    let check = solo.check();
    let sealed = check.clone().integrity(&ours.password).build();
    let mac = &sealed[sealed.len() - 20..];
    let mut value = mac.to_vec();
    value.extend([0; 4]);
    let bytes = check.attribute(0x0008, &value).fingerprint().build();
    let before = solo.agent.pairs().map(|pair| pair.stats.requests_received).sum::<u64>();
    solo.take();
    let outcome = solo.receive(&bytes);
    assert_eq!(solo.agent.pairs().map(|pair| pair.stats.requests_received).sum::<u64>(), before, "{outcome:?}");
    let answers: Vec<_> = solo.take().iter().map(|out| out.wire()).collect();
    assert!(answers.iter().all(|wire| !matches!(wire, Wire::Success { .. })), "{answers:?}");
}

#[test]
fn answers_are_counted() {
    let mut solo = Solo::checking(Role::Controlling);
    assert_eq!(solo.agent.stats().responses_received, 0);
    let id = solo.last().request().id;
    let answer = solo.error(id, 487);
    solo.receive(&answer);
    solo.run_for(ms(50));
    assert_eq!(solo.agent.stats().responses_received, 1, "an error is an answer");
    let answer = solo.success(solo.last().request().id, solo.local);
    solo.receive(&answer);
    assert_eq!(solo.agent.stats().responses_received, 2);
    solo.receive(&answer);
    assert_eq!(solo.agent.stats().responses_received, 2, "one that comes twice counts once");
}

/// The selected path works in one direction only; R notices, since its checks are answered in vain, and asks its reserve.
/// L suspects its own path by that, and not only by its next check.
#[test]
fn a_peer_that_asks_its_reserve_out_of_turn_makes_us_doubt_the_path_in_use() {
    let (mut earlier, mut rounds) = (0, 0);
    for seed in 0..10_u64 {
        let mut setup = setup(&format!("alarm {seed}")).addresses(2, 1).renomination(DRAFT);
        // R asks often, L seldom: R is the first to notice.
        setup.l.config = Config::default().with_consent_interval(secs(20));
        setup.r.config = Config::default().with_consent_interval(secs(5));
        let mut pair = connected(setup);
        pair.run_for(secs(40) + ms(731 * seed));
        let used = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap().base.ip();
        let since = pair.now();
        pair.network.set_hook(move |passing| {
            let is_lost = passing.destination.ip() == used;
            if is_lost { nilas::sim::Verdict::Drop } else { nilas::sim::Verdict::Pass }
        });
        pair.run_for(secs(20));
        let suspected = |peer: &nilas::sim::Peer| {
            peer.events.iter().find_map(|(at, event)| {
                let is_it = matches!(event, Event::PathHealthChanged { health: PathHealth::Suspect, .. });
                (is_it && *at > since).then_some(*at)
            })
        };
        let (Some(l), Some(r)) = (suspected(&pair.l), suspected(&pair.r)) else { continue };
        rounds += 1;
        earlier += usize::from(l.saturating_duration_since(r) <= secs(1) && l > r);
        assert!(pair.run_until(secs(10), Pair::agrees), "seed {seed}");
    }
    assert!(rounds >= 8 && earlier * 10 >= rounds * 7, "{earlier} of {rounds}");
}

#[test]
fn failed_tcp_pairs_are_left_out_of_the_rounds() {
    let mut setup = setup("tcp rounds").renomination(DRAFT);
    setup.l.tcp = vec![TcpType::Active];
    setup.r.tcp = vec![TcpType::Passive];
    let mut pair = setup.build();
    // Whatever is sent over TCP is lost.
    let (host, peer) = (pair.host(SideName::R), PeerMatch::Any);
    pair.network.block_streams(host, FirewallRule { direction: Direction::In, peer }).unwrap();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(60));
    let is_failed_tcp =
        |pair: &nilas::PairView<'_>| pair.local.tcp_type().is_some() && pair.state == CandidatePairState::Failed;
    let checks = |pair: &Pair| {
        let failed = pair.l.agent.pairs().filter(|one| is_failed_tcp(one));
        failed.map(|one| one.stats.requests_sent).collect::<Vec<_>>()
    };
    let before = (pair.l.connections.len(), checks(&pair));
    assert!(!before.1.is_empty());
    pair.run_for(secs(1200));
    assert_eq!((pair.l.connections.len(), checks(&pair)), before);
}

/// Whether the peer, which does not say that it is of RFC 8445, is followed to a pair of lower priority that it has nominated
/// after a better one. It is where it has checked the pair without nominating it: then it nominates deliberately. All that comes
/// before its description, the checks of the lower pair as given: who it claims to be, and whether it nominates.
fn is_followed(checks: &[(Role, u64, bool)]) -> bool {
    let mut solo = Solo::with(Role::Controlled, Config::default());
    let (better, lower) = (address("203.0.113.1:6000"), address("203.0.113.2:6000"));
    let first = solo.check_as(Role::Controlling, u64::MAX).use_candidate();
    let first = solo.seal(first);
    solo.receive_from(better, &first);
    for (role, tiebreaker, nominates) in checks {
        let check = solo.check_as(*role, *tiebreaker);
        let check = solo.seal(if *nominates { check.use_candidate() } else { check });
        assert_eq!(solo.receive_from(lower, &check), Outcome::Handled);
    }
    assert_eq!(solo.agent.role(), Role::Controlled);
    solo.take();
    let candidates = vec![host_of(200, "203.0.113.1:6000"), host_of(100, "203.0.113.2:6000")];
    let description = RemoteDescription::new(solo.theirs.clone()).with_candidates(candidates);
    solo.agent.set_remote_description(solo.now, solo.stream, &description).unwrap();
    solo.drain();
    for _ in 0..4 {
        solo.run_for(ms(60));
        for (out, request) in solo.take_requests() {
            let answer = solo.success(request.id, out.source);
            solo.receive_from(out.destination, &answer);
        }
    }
    let selected = solo.agent.selected_pair(solo.stream, ComponentId::RTP).expect("both were nominated");
    selected.remote_address == lower
}

/// Req: 8445-7.3.1.4-a
#[test]
fn of_early_checks_of_one_address_the_latest_role_counts_and_whether_one_was_plain() {
    use Role::{Controlled, Controlling};
    assert!(!is_followed(&[(Controlling, 9, true)]), "it may nominate whatever it checks");
    assert!(is_followed(&[(Controlling, 9, false), (Controlling, 9, true)]));
    assert!(is_followed(&[(Controlling, 9, true), (Controlling, 9, false)]), "in whatever order they come");
    // It has claimed another role before, and gets its way in the end.
    assert!(is_followed(&[(Controlled, 0, false), (Controlling, u64::MAX, true)]));
}

/// Req: 8445-7.2.5.2-a
#[test]
fn the_check_under_way_goes_on_when_the_network_changes() {
    let mut solo = Solo::checking(Role::Controlling);
    let first = solo.last().request().id;
    solo.run_for(ms(20));
    solo.agent.network_changed(solo.now);
    solo.drain();
    solo.run_for(secs(3));
    let ids: Vec<[u8; 12]> = solo.take_requests().into_iter().map(|(_, request)| request.id).collect();
    assert!(ids.len() > 2 && ids.iter().all(|id| *id == first), "{ids:?}");
}

/// The rounds over failed pairs, which have become rare, begin anew with a new candidate of the peer.
#[test]
fn a_new_remote_candidate_has_failed_pairs_checked_again_at_once() {
    let dead: IpAddr = "203.0.113.2".parse().unwrap();
    let setup = setup("rounds").addresses(1, 2).renomination(DRAFT).left(|l| l.signals_end = false);
    let mut pair = setup.right(|r| r.signals_end = false).build();
    let host = pair.host(SideName::R);
    pair.network.set_interface_up(host, dead, false).unwrap();
    assert!(pair.run_until_selected(secs(3)));
    let last = |pair: &Pair| {
        let to_dead = |(_, _, sent): &(Instant, WireRequest, Sent)| sent.destination.ip() == dead;
        requests(&pair.l.sent).into_iter().rfind(to_dead).expect("it is checked").0
    };
    pair.run_for(secs(3600));
    let before = last(&pair);
    assert!(pair.run_until(secs(3600), |pair| last(pair) > before));
    pair.run_for(secs(30));
    let (now, stream) = (pair.now(), pair.stream());
    pair.l.agent.add_remote_candidate(now, stream, host_of(7, "203.0.113.9:6000")).map(drop).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(5));
    assert!(last(&pair) >= now);
}

/// A NAT shows another mapping on the path in use: two valid pairs are one path, and the policy has no choice between them.
#[test]
fn a_selection_policy_is_not_offered_the_path_that_is_in_use() {
    let policy = Arc::new(Wrong::default());
    let config = Config::default().with_selection_policy(policy.clone());
    let mut setup = setup("one path").renomination(DRAFT).left(|l| l.config = config);
    setup.l.addresses = vec!["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()];
    setup.l.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
    let mut pair = connected(setup);
    let nat = pair.nats[&SideName::L][0];
    let ways = |pair: &Pair, id: PairId| pair.l.agent.pair(id).map(|one| (one.base, one.remote_address));
    for last in 2..5 {
        pair.network.rebind_to(nat, [IpAddr::from([192, 0, 2, last])]).unwrap();
        pair.run_for(secs(15));
        policy.offered.lock().unwrap().clear();
        let now = pair.now();
        pair.l.agent.network_changed(now);
        pair.drain(SideName::L);
        pair.run_for(secs(10));
        let offered = policy.offered.lock().unwrap().clone();
        assert!(offered.iter().any(|(_, others)| !others.is_empty()), "there is another path");
        for (current, others) in offered {
            let current = ways(&pair, current);
            assert!(current.is_none() || !others.iter().any(|other| ways(&pair, *other) == current));
        }
    }
}

/// Where reflexive candidates are preferred, one that is learned late raises the valid pair whose path it has.
///
/// Req: 8445-6.1.2.4-a
#[test]
fn a_valid_pair_that_gets_a_higher_candidate_is_the_one_that_data_goes_on() {
    let preferences =
        TypePreferences { peer_reflexive: 121, server_reflexive: 120, host: 100, ..TypePreferences::default() };
    let config =
        Config::default().with_type_preferences(preferences).with_nomination_policy(Arc::new(Recorder::default()));
    let mut solo = Solo::with(Role::Controlling, config);
    solo.add_socket("198.51.100.2:5000");
    solo.describe(vec![host("203.0.113.1:6000")]);
    solo.run_for(ms(120));
    for (out, request) in solo.take_requests() {
        let answer = solo.success(request.id, out.source);
        solo.receive_at(out.destination, out.source, &answer);
    }
    let used = |solo: &Solo| solo.agent.usable_pair(solo.stream, ComponentId::RTP).expect("both are valid").base;
    let first = used(&solo);
    let other = if first == solo.local { address("198.51.100.2:5000") } else { solo.local };
    solo.agent.add_server_reflexive(solo.now, solo.stream, other, address("192.0.2.9:7000"), None).unwrap();
    solo.drain();
    assert_eq!(used(&solo), other);
}

/// A server that never says yes holds the pairs of its relay up, and nobody else.
///
/// Req: 8445-7.2.1-a
#[test]
fn a_relayed_pair_is_not_in_progress_before_its_permission() {
    let turn: IpAddr = "192.0.2.100".parse().unwrap();
    let mut pair = setup("held").with_turn(turn).right(|r| r.servers.clear()).build();
    let (l, server) = (pair.host(SideName::L), pair.servers[0].host());
    let (far, near) = (pair.host(SideName::R), pair.host(SideName::L));
    pair.network.cut_both(far, near);
    // Everything comes through but the permissions.
    pair.network.set_hook(move |passing| {
        let is_permission = passing.from == l && passing.to == Some(server) && passing.payload.starts_with(&[0, 0x08]);
        if is_permission { nilas::sim::Verdict::Drop } else { nilas::sim::Verdict::Pass }
    });
    pair.run_for(secs(3));
    assert_eq!(pair.servers[0].count(ServerMethod::CreatePermission), 0);
    let relayed: Vec<_> = pair.l.agent.pairs().filter(|pair| pair.local.kind() == CandidateKind::Relayed).collect();
    assert!(!relayed.is_empty());
    for pair in relayed {
        let is_held = matches!(pair.state, CandidatePairState::Waiting | CandidatePairState::Frozen);
        assert!(is_held && pair.stats.requests_sent == 0, "{:?} {}", pair.state, pair.stats.requests_sent);
    }
}
