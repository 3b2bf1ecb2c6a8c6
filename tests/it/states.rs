//! Connection and gathering states, their reasons, and the order of their events.

use nilas::sim::{Link, Pair, PairSetup, SideName, Wire};
use nilas::{
    AddLocalCandidateError, AddRemoteCandidateError, AddStreamError, Agent, ComponentId, Config, ConnectionState,
    Credentials, Event, GatheringState, RemoteDescription, Role, Seed, SendError, SetRemoteDescriptionError,
    StateReason, Transport,
};

use crate::help::{at, ms, secs, setup, silent_setup, states};
use crate::script::{BEST, LOCAL, Script, socket};

use ConnectionState::{Checking, Closed, Completed, Connected, Disconnected, Failed, New};

/// What is told of states and selections, shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Selected(bool),
    Stream(ConnectionState, ConnectionState, StateReason),
    All(ConnectionState, ConnectionState, StateReason),
}

/// What a side was told, with times; an event is dated when it happened and polled in the same instant.
fn told(pair: &Pair, side: SideName) -> Vec<(nilas::Instant, Told)> {
    let mut found = Vec::new();
    for (polled, event) in &pair.peer(side).events {
        let (date, told) = match event {
            Event::SelectedPairChanged { pair, at, .. } => (at, Told::Selected(pair.is_some())),
            Event::StreamStateChanged { previous, current, at, reason, .. } => {
                (at, Told::Stream(*previous, *current, *reason))
            }
            Event::ConnectionStateChanged { previous, current, at, reason, .. } => {
                (at, Told::All(*previous, *current, *reason))
            }
            _ => continue,
        };
        assert_eq!(date, polled);
        found.push((*date, told));
    }
    found
}

/// S001
/// Req: wpc-event-a
/// Req: wpc-pairchange-a
/// Req: wpc-tstate-c
#[test]
fn each_step_tells_of_the_pair_then_of_the_stream_then_of_all() {
    let mut pair = setup("order").build();
    pair.run_for(secs(60));
    for (side, selected) in [(SideName::L, at(100)), (SideName::R, at(75))] {
        use StateReason::{CandidatesKnown, PairSelected, PairValid};
        let expected = [
            (at(0), Told::Stream(New, Checking, CandidatesKnown)),
            (at(0), Told::All(New, Checking, CandidatesKnown)),
            (at(50), Told::Stream(Checking, Connected, PairValid)),
            (at(50), Told::All(Checking, Connected, PairValid)),
            (selected, Told::Selected(true)),
            (selected, Told::Stream(Connected, Completed, PairSelected)),
            (selected, Told::All(Connected, Completed, PairSelected)),
        ];
        assert_eq!(told(&pair, side), expected, "{side:?}");
    }
}

/// Req: wpc-event-a
/// Req: wpc-pairchange-a
#[test]
fn no_event_repeats_a_state_and_each_continues_the_one_before() {
    for seed in 0..40 {
        let link = Link { loss: 0.3, jitter: ms(50), duplicate: 0.2, ..Link::with_delay(ms(20)) };
        let mut setup = PairSetup::new(Seed::from_number(seed)).addresses(2, 2).link(link);
        setup.streams = 2;
        let mut pair = setup.build();
        pair.run_for(secs(30));
        for side in [SideName::L, SideName::R] {
            let mut streams = [New; 2];
            let mut all = New;
            let mut selected = [None; 2];
            for (_, event) in &pair.peer(side).events {
                match event {
                    Event::StreamStateChanged { stream, previous, current, .. } => {
                        let index = pair.streams().iter().position(|one| one == stream).unwrap();
                        assert_ne!(previous, current);
                        assert_eq!(std::mem::replace(&mut streams[index], *current), *previous, "seed {seed}");
                    }
                    Event::ConnectionStateChanged { previous, current, .. } => {
                        assert_ne!(previous, current);
                        assert_eq!(std::mem::replace(&mut all, *current), *previous, "seed {seed}");
                        assert_eq!(all, ConnectionState::aggregate(streams.into_iter()), "seed {seed}");
                    }
                    Event::SelectedPairChanged { stream, pair: now, .. } => {
                        let index = pair.streams().iter().position(|one| one == stream).unwrap();
                        assert_ne!(std::mem::replace(&mut selected[index], *now), *now, "seed {seed}");
                    }
                    _ => {}
                }
            }
            assert_eq!((all, pair.peer(side).agent.state()), (Completed, Completed), "seed {seed}");
        }
    }
}

/// Req: wpc-tstate-b
/// Req: wpc-tstate-d
#[test]
fn a_peer_that_is_only_known_by_its_check_starts_the_checking() {
    let mut pair = setup("prflx").left(|l| l.signals_candidates = false).build();
    assert_eq!(
        pair.r.agent.stream_state(pair.stream()),
        Some((New, StateReason::WaitingForRemoteCandidates)),
        "credentials alone start nothing"
    );
    pair.run_to(at(24));
    assert_eq!(pair.r.agent.state(), New);
    pair.run_to(at(25));
    assert_eq!(pair.r.agent.stream_state(pair.stream()), Some((Checking, StateReason::CandidatesKnown)));
    assert!(pair.run_until_selected(secs(1)));
    // The nomination comes together with the answer to the first check.
    assert_eq!(states(&pair, SideName::R), [Checking, Completed]);
}

/// S009
/// Req: 8863-4-b
/// Req: 8863-5-a
/// Req: 8863-4-d
/// Req: wpc-tstate-e
#[test]
fn without_remote_candidates_the_state_stays_new_until_their_end_is_known_and_patience_is_over() {
    for signals_end in [false, true] {
        let silent = |side: &mut nilas::sim::SideSetup| {
            (side.signals_candidates, side.signals_end) = (false, signals_end);
        };
        let mut pair = setup("no candidates").left(silent).right(silent).build();
        pair.run_to(at(39_499));
        assert_eq!(pair.l.agent.stream_state(pair.stream()), Some((New, StateReason::WaitingForRemoteCandidates)));
        pair.run_for(secs(600));
        if signals_end {
            assert_eq!(told(&pair, SideName::L).len(), 2);
            assert_eq!(pair.l.reached(Failed), Some(at(39_500)));
            assert_eq!(pair.l.agent.stream_state(pair.stream()), Some((Failed, StateReason::NoRemoteCandidates)));
        } else {
            assert_eq!((pair.l.agent.state(), told(&pair, SideName::L).len()), (New, 0));
        }
    }
}

/// Req: 8863-4-c
/// Req: 8863-5-a
#[test]
fn a_check_of_the_peer_within_the_patience_saves_a_session_whose_candidates_are_useless() {
    let mut pair = setup("useless")
        .left(|l| l.signals_end = true)
        .right(|r| {
            r.signals_candidates = false;
            r.start = secs(10);
            r.extra_candidates = vec!["candidate:1 1 udp 1 2001:db8::9 9 typ host".parse().unwrap()];
        })
        .build();
    pair.run_to(at(9_999));
    assert_eq!(pair.l.agent.pairs().count(), 0);
    assert!(!pair.l.agent.state().is_connected() && pair.l.agent.state() != Failed);
    assert!(pair.run_until_selected(secs(1)));
    assert!(pair.agrees());
}

/// S008
#[test]
fn without_local_candidates_an_agent_waits_for_them() {
    let mut pair = setup("no locals").right(|r| r.start = secs(120)).build();
    pair.run_to(at(119_999));
    assert_eq!(pair.r.agent.stream_state(pair.stream()), Some((Checking, StateReason::WaitingForLocalCandidates)));
    assert_eq!(states(&pair, SideName::R), [Checking]);
    assert!(pair.run_until_selected(secs(1)));
    assert!(pair.agrees());
}

/// S156
/// Req: wpc-tstate-e
#[test]
fn gathering_that_ends_with_nothing_fails_at_once() {
    let mut pair = setup("nothing gathered").right(|r| r.addresses.clear()).build();
    pair.run_for(ms(1));
    assert_eq!(pair.r.agent.stream_state(pair.stream()), Some((Failed, StateReason::NoLocalCandidates)));
    assert_eq!(pair.r.reached(Failed), Some(at(0)));
    assert_eq!(pair.r.agent.gathering_state(), GatheringState::Complete);
    assert_ne!(pair.l.agent.state(), Failed);
}

/// Req: wpc-tstate-c
/// Req: wpc-tstate-d
#[test]
fn a_selected_pair_is_connected_until_both_ends_of_candidates_are_known() {
    let mut pair = setup("ends").right(|r| r.signals_end = false).build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(secs(100));
    for side in [SideName::L, SideName::R] {
        let reason = pair.peer(side).agent.stream_state(pair.stream());
        assert_eq!(reason, Some((Connected, StateReason::PairSelected)), "{side:?}");
    }
    let (now, stream) = (pair.now(), pair.stream());
    pair.r.agent.end_of_local_candidates(now, stream).unwrap();
    pair.r.agent.end_of_local_candidates(now, stream).unwrap();
    pair.drain(SideName::R);
    pair.l.agent.end_of_remote_candidates(now, stream).unwrap();
    pair.l.agent.end_of_remote_candidates(now, stream).unwrap();
    pair.drain(SideName::L);
    for side in [SideName::L, SideName::R] {
        assert_eq!(states(&pair, side), [Checking, Connected, Completed], "{side:?}");
        assert_eq!(pair.peer(side).reached(Completed), Some(now));
    }
}

/// Req: wpc-tstate-f
#[test]
fn exhausted_pairs_are_a_disconnection_while_more_candidates_may_come() {
    let mut pair = setup("exhausted").right(|r| r.signals_end = false).build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(100));
    let reason = pair.l.agent.stream_state(pair.stream());
    assert_eq!(reason, Some((Disconnected, StateReason::PairsExhausted)));
    assert_eq!(pair.l.reached(Disconnected), Some(at(39_500)));
    pair.network.mend_both(l, r);
    let (now, stream) = (pair.now(), pair.stream());
    pair.r.add_socket(now, stream, ComponentId::RTP, socket("203.0.113.1:7000")).unwrap();
    pair.drain(SideName::R);
    assert!(pair.run_until_selected(secs(1)));
    assert_eq!(states(&pair, SideName::L), [Checking, Disconnected, Checking, Connected]);
}

/// S002
/// Req: wpc-tstate-e
/// Req: 8863-4-d
#[test]
fn failure_is_told_with_its_reason_when_patience_ends_and_not_earlier() {
    let mut pair = setup("failure").config(Config::default().with_pac_timer(Some(secs(50)))).build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(100));
    for side in [SideName::L, SideName::R] {
        use StateReason::{CandidatesKnown, ChecksFailed, PairsExhausted};
        let expected = [
            (at(0), Told::Stream(New, Checking, CandidatesKnown)),
            (at(0), Told::All(New, Checking, CandidatesKnown)),
            (at(39_500), Told::Stream(Checking, Disconnected, PairsExhausted)),
            (at(39_500), Told::All(Checking, Disconnected, PairsExhausted)),
            (at(50_000), Told::Stream(Disconnected, Failed, ChecksFailed)),
            (at(50_000), Told::All(Disconnected, Failed, ChecksFailed)),
        ];
        assert_eq!(told(&pair, side), expected, "{side:?}");
    }
}

/// Req: wpc-tstate-i
/// Req: wpc-event-a
#[test]
fn a_closed_agent_tells_once_and_neither_sends_nor_answers() {
    let mut pair = silent_setup("close").build();
    assert!(pair.run_until_selected(secs(1)));
    let (now, stream) = (pair.now(), pair.stream());
    let before = (told(&pair, SideName::R).len(), pair.r.sent.len());
    pair.r.agent.close(now);
    pair.drain(SideName::R);
    pair.r.agent.close(now);
    pair.drain(SideName::R);
    let events: Vec<_> = told(&pair, SideName::R)[before.0..].iter().map(|(_, told)| *told).collect();
    let reason = StateReason::ClosedByApplication;
    assert_eq!(
        events,
        [Told::Selected(false), Told::Stream(Completed, Closed, reason), Told::All(Completed, Closed, reason)]
    );
    assert!(pair.r.agent.selected_pair(stream, ComponentId::RTP).is_none());
    assert_eq!(pair.r.agent.poll_timeout(), None);
    // A check after the end.
    let request = pair.l.sent.iter().find(|sent| Wire::decode(&sent.payload).request().is_some()).unwrap().clone();
    pair.network.send(pair.host(SideName::L), request.source, request.destination, &request.payload);
    pair.run_for(secs(60));
    assert_eq!(pair.r.sent.len(), before.1, "nothing is answered");
    assert_eq!(pair.r.agent.stats().dropped(nilas::DropReason::Closed), 1);
    assert_eq!(pair.send(SideName::R, b"data"), Err(SendError::Closed));
}

/// Req: wpc-tstate-i
#[test]
fn a_closed_agent_refuses_every_command() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    script.agent.close(script.now);
    script.drain();
    let Script { agent, stream, now, .. } = &mut script;
    let candidate = "candidate:3 1 udp 1 198.51.100.3 5000 typ host".parse().unwrap();
    let other = Credentials::new("else", "password/of/the/peer/0123").unwrap();
    assert_eq!(agent.add_stream(1), Err(AddStreamError::Closed));
    assert_eq!(
        agent.add_socket(*now, *stream, ComponentId::RTP, Transport::Udp, socket("203.0.113.1:6000")),
        Err(AddLocalCandidateError::Closed)
    );
    assert_eq!(agent.add_remote_candidate(*now, *stream, candidate), Err(AddRemoteCandidateError::Closed));
    assert_eq!(
        agent.set_remote_description(*now, *stream, &RemoteDescription::new(other)),
        Err(SetRemoteDescriptionError::Closed)
    );
    script.run_for(secs(60));
    assert_eq!(script.requests_to(BEST).len(), 1, "the check before the end is not repeated");
}

/// Req: wpc-tstate-i
#[test]
fn an_agent_that_is_closed_before_anything_happened_goes_from_new_to_closed() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("new")).unwrap();
    assert_eq!(agent.state(), New);
    agent.close(at(5));
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    let expected = Event::ConnectionStateChanged {
        previous: New,
        current: Closed,
        at: at(5),
        reason: StateReason::ClosedByApplication,
    };
    assert_eq!(events, [expected]);
}

/// Req: wpc-gatherer-a
/// Req: wpc-gatherer-b
#[test]
fn gathering_is_complete_after_the_last_candidate_and_its_end_were_handed_out() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("gathering")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    assert_eq!(agent.gathering_state(), GatheringState::New);
    agent.add_socket(at(1), stream, ComponentId::RTP, Transport::Udp, socket(LOCAL)).unwrap();
    agent.add_socket(at(2), stream, ComponentId::RTP, Transport::Udp, socket("203.0.113.2:5000")).unwrap();
    agent.end_of_local_candidates(at(3), stream).unwrap();
    agent.end_of_local_candidates(at(4), stream).unwrap();
    let mut events = Vec::new();
    while let Some(event) = agent.poll_event() {
        events.push(match event {
            Event::LocalCandidate { .. } => "candidate",
            Event::EndOfCandidates { .. } => "end",
            Event::GatheringStateChanged { current: GatheringState::Gathering, .. } => "gathering",
            Event::GatheringStateChanged { current: GatheringState::Complete, at: date, .. } => {
                assert_eq!(date, at(3));
                "complete"
            }
            _ => "other",
        });
    }
    assert_eq!(events, ["gathering", "candidate", "candidate", "end", "complete"]);
    let refused = agent.add_socket(at(5), stream, ComponentId::RTP, Transport::Udp, socket("203.0.113.3:5000"));
    assert_eq!(refused, Err(AddLocalCandidateError::AfterEndOfCandidates));
    assert_eq!(agent.gathering_state(), GatheringState::Complete);
}
