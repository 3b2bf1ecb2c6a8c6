//! Output follows from input alone, and does not depend on how an agent is polled.

use nilas::sim::Wire;
use nilas::{ConnectionState, Event, Instant, Role};

use crate::duo::{Duo, Style, Transcript, script};
use crate::help::ms;
use crate::solo::{Out, Solo};

const SCRIPTS: u64 = 100;

fn plain(seed: u64, late: bool) -> Transcript {
    Duo::run(seed, &script(seed, late), Style::default())
}

fn has_connected(transcript: &Transcript) -> bool {
    let is_it =
        |event: &Event| matches!(event, Event::ConnectionStateChanged { current, .. } if current.is_connected());
    transcript.events.iter().all(|events| events.iter().any(is_it))
}

/// The first difference, which says more than two long lists.
fn assert_same(name: &str, one: &Transcript, other: &Transcript) {
    for side in [0, 1] {
        let wires = |out: &[Out]| -> Vec<(Instant, String)> {
            out.iter().map(|out| (out.at, format!("{} {} {:?}", out.source, out.destination, out.wire()))).collect()
        };
        for (number, pair) in wires(&one.out[side]).iter().zip(&wires(&other.out[side])).enumerate() {
            assert_eq!(pair.0, pair.1, "{name}: datagram {number} of side {side}");
        }
        for (number, pair) in one.events[side].iter().zip(&other.events[side]).enumerate() {
            assert_eq!(pair.0, pair.1, "{name}: event {number} of side {side}");
        }
    }
    assert_eq!(one, other, "{name}");
}

/// S164
/// Req: 8489-5-c
#[test]
fn the_same_seed_and_script_give_the_same_bytes_and_another_seed_other_ids() {
    let mut connected = 0;
    for seed in 0..SCRIPTS {
        let first = plain(seed, true);
        assert_same(&format!("script {seed}"), &first, &plain(seed, true));
        connected += u64::from(has_connected(&first));
        let other = Duo::run(seed + 1000, &script(seed, true), Style::default());
        let ids = |transcript: &Transcript| -> Vec<[u8; 12]> {
            let all = transcript.out.iter().flatten();
            all.filter_map(|out| out.wire().request().map(|request| request.id)).collect()
        };
        let (ours, theirs) = (ids(&first), ids(&other));
        assert!(!ours.is_empty() && ours.iter().all(|id| !theirs.contains(id)), "script {seed}");
    }
    assert!(connected > SCRIPTS * 9 / 10, "the scripts let {connected} connect");
}

/// S167
/// Req: 8489-6.2.1-a
#[test]
fn early_and_repeated_timeouts_and_polls_change_nothing() {
    for seed in 0..SCRIPTS {
        let expected = plain(seed, true);
        for tick in [None, Some(ms(20 + seed % 97))] {
            let style = Style { tick, repeats: true, ..Style::default() };
            let other = Duo::run(seed, &script(seed, true), style);
            assert_same(&format!("script {seed}, {style:?}"), &expected, &other);
        }
    }
}

/// S166
#[test]
fn the_order_of_polls_changes_nothing_that_the_peer_sees() {
    for seed in 0..SCRIPTS {
        for late in [false, true] {
            let expected = plain(seed, late);
            let style = Style { events_first: true, ..Style::default() };
            let other = Duo::run(seed, &script(seed, late), style);
            assert_same(&format!("script {seed}"), &expected, &other);
        }
    }
}

/// S166
#[test]
fn polling_twice_gives_nothing_twice() {
    let mut solo = Solo::checking(Role::Controlling);
    solo.answer();
    for _ in 0..3 {
        let (out, events) = (solo.out.len(), solo.events.len());
        solo.drain();
        solo.agent.handle_timeout(solo.now);
        solo.drain();
        assert_eq!((solo.out.len(), solo.events.len()), (out, events));
    }
}

/// S167
#[test]
fn between_two_deadlines_there_is_nothing_to_do() {
    let mut solo = Solo::checking(Role::Controlling);
    let mut deadlines = Vec::new();
    for _ in 0..200 {
        let Some(next) = solo.agent.poll_timeout() else { break };
        assert!(next > solo.now);
        let just_before = next + std::time::Duration::ZERO;
        solo.now = Instant::from_nanos(just_before.as_nanos() - 1);
        let before = (solo.out.len(), solo.events.len());
        solo.agent.handle_timeout(solo.now);
        solo.drain();
        assert_eq!((solo.out.len(), solo.events.len()), before, "nothing is due before {next:?}");
        assert_eq!(solo.agent.poll_timeout(), Some(next));
        solo.now = next;
        solo.agent.handle_timeout(next);
        solo.drain();
        deadlines.push(next);
    }
    // All repetitions, the end of the check, and the PAC timer with it; five minutes in which the pair is checked again, and
    // the time that the last of these checks is waited for.
    let expected: Vec<_> = [500].into_iter().chain((1500..=367_500).step_by(2000)).map(crate::help::at).collect();
    assert_eq!(deadlines, expected);
    assert_eq!(solo.agent.state(), ConnectionState::Disconnected);
}

/// S167
#[test]
fn time_that_goes_back_changes_nothing() {
    let mut solo = Solo::checking(Role::Controlling);
    solo.run_for(ms(700));
    let (digest, future) = (solo.digest(), solo.future());
    let sent = solo.out.len();
    let mut buffer = Vec::new();
    for earlier in [Instant::ZERO, crate::help::at(400), Instant::from_nanos(i64::MIN)] {
        solo.agent.handle_timeout(earlier);
        assert!(solo.agent.poll_transmit(earlier, &mut buffer).is_none());
        solo.drain();
    }
    assert_eq!((solo.digest(), solo.future(), solo.out.len()), (digest, future, sent));
}

/// Req: 8489-6.2.1-a
#[test]
fn a_caller_that_comes_late_sends_one_repetition_and_not_all_that_were_missed() {
    let mut solo = Solo::checking(Role::Controlling);
    solo.now = crate::help::at(10_000);
    solo.agent.handle_timeout(solo.now);
    solo.drain();
    assert_eq!(solo.out.len(), 2);
    let is_same = |out: &Out| matches!(out.wire(), Wire::Request(_)) && out.bytes == solo.out[0].bytes;
    assert!(solo.out.iter().all(is_same));
}

#[test]
fn a_buffer_without_room_gets_nothing_and_nothing_is_lost() {
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.hand_in(solo.remote, solo.local, &bytes);
    let mut small = [0_u8; nilas::Agent::MAX_DATAGRAM - 1];
    assert!(solo.agent.poll_transmit(solo.now, &mut small.as_mut_slice()).is_none());
    assert_eq!(solo.agent.poll_timeout(), Some(solo.now));
    let sent = solo.out.len();
    solo.drain();
    assert_eq!(solo.out.len(), sent + 1);
}

/// S167
/// Req: 8445-6.1.2.6-a
#[test]
fn a_timeout_between_two_commands_does_not_part_what_is_judged_together() {
    let run = |is_called: bool| {
        let mut solo = Solo::new(Role::Controlling);
        solo.describe(Vec::new());
        // One foundation; the better candidate comes last.
        for (port, priority) in [(6000, 1000), (6001, 2000), (6002, 3000)] {
            let (kind, rtp) = (nilas::CandidateKind::Host, nilas::ComponentId::RTP);
            let priority = nilas::Priority::new(priority).unwrap();
            let to = std::net::SocketAddr::new(solo.remote.ip(), port);
            let candidate = nilas::Candidate::new(kind, rtp, "1".parse().unwrap(), priority, to);
            solo.agent.add_remote_candidate(solo.now, solo.stream, candidate).map(drop).unwrap();
            if is_called {
                solo.agent.handle_timeout(solo.now);
            }
        }
        solo.drain();
        solo.future()
    };
    let expected = run(false);
    assert!(!expected.is_empty());
    assert_eq!(run(true), expected);
}
