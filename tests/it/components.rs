//! Streams of several components, and agents of several streams.

use nilas::sim::{Pair, PairSetup, Passing, SideName, Verdict};
use nilas::{ComponentId, ConnectionState, Event, SendError, StateReason};

use crate::help::{at, ms, secs, setup};

use ConnectionState::{Completed, Failed};

const BOTH: [SideName; 2] = [SideName::L, SideName::R];

fn two_components(name: &str) -> PairSetup {
    setup(name).left(|l| l.components = 2).right(|r| r.components = 2)
}

fn two_streams(name: &str) -> PairSetup {
    let mut setup = setup(name);
    setup.streams = 2;
    setup
}

/// The second component, or the second stream, has port 5001 on both sides.
fn treat_second(pair: &mut Pair, verdict: Verdict) {
    pair.network.set_hook(
        move |packet: &Passing<'_>| {
            if packet.destination.port() == 5001 { verdict.clone() } else { Verdict::Pass }
        },
    );
}

fn selections(pair: &Pair, side: SideName) -> Vec<(nilas::Instant, u16, bool)> {
    let selection = |event: &Event| match event {
        Event::SelectedPairChanged { component, pair, at, .. } => Some((*at, component.get(), pair.is_some())),
        _ => None,
    };
    pair.peer(side).events.iter().filter_map(|(_, event)| selection(event)).collect()
}

/// Req: 8445-8.1.2-b
/// Req: 8445-12.1-a
#[test]
fn a_stream_selects_when_all_its_components_are_nominated_and_not_earlier() {
    let mut pair = two_components("slow second").build();
    treat_second(&mut pair, Verdict::Delay(ms(300)));
    let stream = pair.stream();
    pair.run_to(at(300));
    for side in BOTH {
        let agent = &pair.peer(side).agent;
        let nominated = agent.pairs().filter(|pair| pair.is_nominated).map(|pair| pair.component.get());
        assert_eq!(nominated.collect::<Vec<_>>(), [1], "{side:?}");
        assert!(agent.selected_pair(stream, ComponentId::RTP).is_none());
        assert!(agent.usable_pair(stream, ComponentId::RTP).is_some_and(|pair| pair.is_nominated));
        assert_eq!(agent.state(), ConnectionState::Checking, "one component cannot carry data");
    }
    pair.send(SideName::L, b"on the nominated pair").unwrap();
    pair.run_for(secs(3));
    assert_eq!(pair.r.received.len(), 1);
    for side in BOTH {
        let selections = selections(&pair, side);
        let [(first, 1, true), (second, 2, true)] = selections[..] else { panic!("{selections:?}") };
        assert_eq!(first, second, "both at once");
        assert_eq!(pair.peer(side).reached(Completed), Some(first));
    }
    assert!(pair.agrees());
}

/// Req: 8445-8.1.2-b
#[test]
fn a_session_is_completed_when_all_its_streams_are() {
    let mut pair = two_streams("slow stream").build();
    treat_second(&mut pair, Verdict::Delay(ms(300)));
    pair.run_to(at(300));
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    for side in BOTH {
        let agent = &pair.peer(side).agent;
        assert!(agent.selected_pair(first, ComponentId::RTP).is_some(), "a stream does not wait for another");
        assert!(agent.selected_pair(second, ComponentId::RTP).is_none());
        assert_eq!(agent.stream_state(first).map(|(state, _)| state), Some(Completed));
        assert_ne!(agent.state(), Completed);
    }
    pair.run_for(secs(3));
    assert!(pair.agrees());
    for side in BOTH {
        let peer = pair.peer(side);
        let (completed, _) = peer
            .events
            .iter()
            .rfind(|(_, event)| matches!(event, Event::StreamStateChanged { current: Completed, .. }))
            .unwrap();
        assert_eq!(peer.reached(Completed), Some(*completed));
    }
}

/// Req: 8445-12.1-c
/// Req: 8445-8.1.2-d
#[test]
fn a_component_that_fails_takes_the_whole_stream_with_it() {
    let mut pair = two_components("second fails").build();
    treat_second(&mut pair, Verdict::Drop);
    pair.run_to(at(10_000));
    pair.send(SideName::L, b"before").unwrap();
    pair.run_for(secs(90));
    let stream = pair.stream();
    for side in BOTH {
        let reason = pair.peer(side).agent.stream_state(stream);
        assert_eq!(reason, Some((Failed, StateReason::ChecksFailed)), "{side:?}");
        assert_eq!(selections(&pair, side), [], "{side:?}");
        let failures = pair.peer(side).events.iter().filter(
            |(_, event)| matches!(event, Event::StreamStateChanged { stream: one, current: Failed, .. } if *one == stream),
        );
        assert_eq!(failures.count(), 1);
    }
    for component in [ComponentId::RTP, ComponentId::RTCP] {
        let now = pair.now();
        let sent = pair.l.agent.send(now, stream, component, b"after", &mut Vec::new());
        assert_eq!(sent.map(|_| ()), Err(SendError::Failed), "{component}");
    }
    assert_eq!(pair.r.received.len(), 1);
}

/// Req: 8445-8.1.2-d
#[test]
fn a_stream_that_fails_is_named_and_leaves_the_other_alive() {
    let mut pair = two_streams("stream fails").build();
    treat_second(&mut pair, Verdict::Drop);
    pair.run_for(secs(100));
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    for side in BOTH {
        let agent = &pair.peer(side).agent;
        assert_eq!(agent.stream_state(first), Some((Completed, StateReason::PairSelected)), "{side:?}");
        assert_eq!(agent.stream_state(second), Some((Failed, StateReason::ChecksFailed)), "{side:?}");
        assert_eq!(agent.state(), Failed);
        let failed = pair.peer(side).events.iter().filter_map(|(_, event)| match event {
            Event::StreamStateChanged { stream, current: Failed, .. } => Some(*stream),
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [second]);
    }
    let now = pair.now();
    assert!(pair.l.agent.send(now, second, ComponentId::RTP, b"x", &mut Vec::new()).is_err());
    pair.send(SideName::L, b"still here").unwrap();
    pair.run_for(secs(1));
    assert_eq!(pair.r.received.last().map(|data| (data.stream, &*data.payload)), Some((first, &b"still here"[..])));
}

/// S128
#[test]
fn a_component_that_the_peer_lacks_is_left_out() {
    let mut pair = setup("fewer").left(|l| l.components = 2).build();
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(60));
    assert_eq!((pair.l.agent.state(), pair.r.agent.state()), (Completed, Completed));
    assert!(pair.agrees());
    let (now, stream) = (pair.now(), pair.stream());
    let sent = pair.l.agent.send(now, stream, ComponentId::RTCP, b"x", &mut Vec::new());
    assert_eq!(sent.map(|_| ()), Err(SendError::NoPair));
}

/// Req: 8445-8.1.2-b
#[test]
fn two_streams_of_two_components_agree_in_a_rough_network() {
    use nilas::sim::Link;
    for seed in 0..40 {
        let link = Link { loss: 0.2, jitter: ms(40), duplicate: 0.1, ..Link::with_delay(ms(20)) };
        let mut setup = PairSetup::new(nilas::Seed::from_number(seed)).addresses(2, 2).link(link);
        (setup.streams, setup.l.components, setup.r.components) = (2, 2, 2);
        let mut pair = setup.build();
        pair.run_for(secs(40));
        assert!(pair.agrees(), "seed {seed}");
        for side in BOTH {
            assert_eq!(pair.peer(side).agent.state(), Completed, "seed {seed}");
            let nominated = pair.peer(side).agent.pairs().filter(|pair| pair.is_nominated);
            assert_eq!(nominated.count(), 4, "seed {seed}: one of each component");
        }
    }
}
