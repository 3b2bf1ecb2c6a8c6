//! ICE restarts: two steps, and the old pair in use between them.

use nilas::sim::{MessageBuilder, Pair, SideName, Wire};
use nilas::{
    ComponentId, Config, ConnectionState, Credentials, Datagram, DropReason, Event, Received, RemoteDescription, Role,
    StateReason, StreamId,
};

use crate::help::{ms, requests, secs, setup, states};
use crate::solo::{Solo, address};

fn connected(name: &str) -> Pair {
    let mut pair = setup(name).build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(secs(1));
    pair
}

fn credentials(pair: &Pair, side: SideName, stream: StreamId) -> Credentials {
    pair.peer(side).agent.local_credentials(stream).unwrap().clone()
}

/// Whether both sides have selected a pair of this generation.
fn is_selected_in(pair: &Pair, generation: u32) -> bool {
    [&pair.l, &pair.r].iter().all(|peer| {
        let stream = pair.stream();
        peer.agent.generation(stream) == Some(generation)
            && peer.agent.stream_state(stream).is_some_and(|(_, reason)| reason == StateReason::PairSelected)
    })
}

/// Runs with data both ways every 10 ms until both sides are in this generation; counts what got lost.
fn run_with_data(pair: &mut Pair, generation: u32) -> usize {
    let before = [pair.l.received.len(), pair.r.received.len()];
    let mut sent = 0;
    while !is_selected_in(pair, generation) {
        assert!(sent < 2000, "the restart has not ended after 20 s");
        for side in [SideName::L, SideName::R] {
            pair.send(side, b"data").expect("data can be sent throughout");
        }
        sent += 1;
        pair.run_for(ms(10));
    }
    pair.run_for(ms(500));
    2 * sent - (pair.l.received.len() - before[0]) - (pair.r.received.len() - before[1])
}

/// S112
/// S119
/// Req: 8445-9-b
/// Req: 8445-9-c
/// Req: 8839-4.4.3.1-a
/// Req: proj-restart-b
/// Req: 8445-12.1-c
/// Req: wpc-tstate-h
#[test]
fn a_restart_changes_all_credentials_and_loses_no_data() {
    for side in [SideName::L, SideName::R] {
        let mut pair = connected("restart");
        let stream = pair.stream();
        let before = [SideName::L, SideName::R].map(|side| credentials(&pair, side, stream));
        let old = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id;
        let socket = pair.l.sockets()[0];
        pair.restart(side, stream);
        assert_eq!(run_with_data(&mut pair, 1), 0, "data got lost");
        let after = [SideName::L, SideName::R].map(|side| credentials(&pair, side, stream));
        assert!(before.iter().zip(&after).all(|(old, new)| old.ufrag != new.ufrag && old.password != new.password));
        let new = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap();
        assert!(new.id != old && new.base == socket);
        assert!(pair.l.agent.pair(old).is_none(), "the old pair is gone");
        assert!(pair.agrees());
        use ConnectionState::{Checking, Completed, Connected};
        for side in [SideName::L, SideName::R] {
            assert_eq!(states(&pair, side), [Checking, Connected, Completed, Connected, Completed]);
            assert_eq!(pair.peer(side).selections(), 2);
        }
        assert_eq!((pair.l.agent.role(), pair.r.agent.role()), (Role::Controlling, Role::Controlled));
        pair.run_for(secs(4));
        let bytes = MessageBuilder::binding_request([5; 12])
            .username(before[1].ufrag.as_str(), before[0].ufrag.as_str())
            .priority(1)
            .controlling(1)
            .integrity(&before[1].password)
            .fingerprint()
            .build();
        let datagram = Datagram::new(new_source(&pair), pair.r.sockets()[0], &bytes);
        let now = pair.now();
        assert_eq!(pair.r.agent.handle_datagram(now, &datagram), Received::Dropped(DropReason::UnknownUfrag));
    }
}

fn new_source(pair: &Pair) -> std::net::SocketAddr {
    pair.l.sockets()[0]
}

/// S113
#[test]
fn a_restart_that_is_rolled_back_leaves_the_session_untouched() {
    let mut pair = connected("rollback");
    let (now, stream) = (pair.now(), pair.stream());
    let before = credentials(&pair, SideName::L, stream);
    let prepared = pair.l.agent.prepare_restart(now, stream).unwrap();
    assert_eq!(pair.l.agent.prepare_restart(now, stream), Ok(prepared.clone()));
    assert!(prepared.ufrag != before.ufrag && pair.l.agent.is_restarting(stream));
    pair.run_for(secs(20));
    let now = pair.now();
    pair.l.agent.rollback_restart(now, stream).unwrap();
    assert!(!pair.l.agent.is_restarting(stream));
    pair.run_for(secs(60));
    assert_eq!(credentials(&pair, SideName::L, stream), before);
    use ConnectionState::{Checking, Completed, Connected};
    assert_eq!(states(&pair, SideName::L).last(), Some(&Completed));
    assert!(states(&pair, SideName::R) == [Checking, Connected, Completed] && pair.l.selections() == 1);
    assert!(pair.agrees());
}

/// S114
/// Req: proj-restart-a
/// Req: 7675-5.1-j
#[test]
fn until_the_answer_comes_the_old_pair_is_used_and_kept_alive() {
    let mut setup = setup("slow answer");
    setup.r.description_delay = secs(8);
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(10)));
    let stream = pair.stream();
    let old = credentials(&pair, SideName::R, stream);
    let before = pair.l.sent.len();
    let start = pair.now();
    pair.restart(SideName::L, stream);
    assert_eq!(run_with_data(&mut pair, 1), 0);
    assert!(pair.now() >= start + secs(8));
    let consent = requests(&pair.l.sent[before..]).into_iter().filter(|(_, request, _)| {
        request.username.as_deref().is_some_and(|name| name.starts_with(old.ufrag.as_str().as_bytes()))
    });
    assert!(consent.count() >= 1, "consent is asked for with the old credentials");
    assert!(pair.agrees());
}

/// Req: 8445-9-a
#[test]
fn both_sides_may_restart_at_the_same_time() {
    let mut setup = setup("glare");
    setup.l.description_delay = ms(40);
    setup.r.description_delay = ms(70);
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(1)));
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    pair.restart(SideName::R, stream);
    assert_eq!(run_with_data(&mut pair, 1), 0);
    assert!(pair.agrees());
}

/// S117
/// Req: wpc-tstate-h
/// Req: wpc-tstate-j
#[test]
fn a_restart_connects_while_checking_connected_lost_and_failed() {
    use ConnectionState::{Checking, Completed, Disconnected, Failed};
    for state in [Checking, Completed, Disconnected, Failed] {
        let mut pair = setup("whenever").build();
        let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
        let stream = pair.stream();
        if state == Checking {
            pair.run_for(ms(10));
        } else {
            assert!(pair.run_until_selected(secs(1)));
        }
        if matches!(state, Disconnected | Failed) {
            pair.run_for(secs(40));
            pair.network.cut_both(l, r);
            assert!(pair.run_until(secs(60), |pair| pair.l.agent.state() == state && pair.r.agent.state() == state));
            pair.network.mend_both(l, r);
        }
        pair.restart(SideName::L, stream);
        assert!(pair.run_until(secs(5), |pair| is_selected_in(pair, 1)), "from {state}");
        assert!(pair.agrees());
        if matches!(state, Disconnected | Failed) {
            let of_l = states(&pair, SideName::L);
            assert!(of_l.windows(2).any(|two| two == [state, Checking]) && of_l.ends_with(&[Completed]), "{of_l:?}");
        }
        // What stands above ICE goes on where it was: the stream, its name, and its socket are the same.
        pair.send(SideName::L, b"still here").unwrap();
        pair.send(SideName::R, b"still here").unwrap();
        pair.run_for(ms(50));
        assert!(pair.l.received.last().is_some_and(|data| data.stream == stream && data.payload == b"still here"));
        assert!(pair.r.received.last().is_some_and(|data| data.stream == stream && data.payload == b"still here"));
    }
}

/// S118
/// Req: 8445-9-a
#[test]
fn the_restart_of_one_stream_leaves_the_other_alone() {
    let mut setup = setup("two streams");
    setup.streams = 2;
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(2)));
    let [first, second] = [pair.streams()[0], pair.streams()[1]];
    let other = pair.l.agent.selected_pair(second, ComponentId::RTP).unwrap().id;
    let untouched = credentials(&pair, SideName::L, second);
    pair.restart(SideName::R, first);
    assert!(pair.run_until(secs(3), |pair| is_selected_in(pair, 1)));
    pair.run_for(secs(60));
    assert_eq!(pair.l.agent.selected_pair(second, ComponentId::RTP).unwrap().id, other);
    assert_eq!(credentials(&pair, SideName::L, second), untouched);
    assert_eq!(pair.l.agent.generation(second), Some(0));
    let of_second = |event: &Event| matches!(event, Event::StreamStateChanged { stream, .. } if *stream == second);
    assert_eq!(pair.l.events.iter().filter(|(_, event)| of_second(event)).count(), 3);
}

/// Req: 8838-9-d
#[test]
fn candidates_that_overtake_their_description_are_not_lost() {
    let mut setup = setup("overtaken");
    setup.l.description_delay = ms(300);
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(2)));
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    assert_eq!(run_with_data(&mut pair, 1), 0);
    let signalled = pair.r.agent.remote_candidates(stream).filter(|remote| remote.is_signalled).count();
    assert_eq!(signalled, 1);
}

#[test]
fn many_restarts_in_a_row_end_with_one_pair() {
    let mut pair = connected("many");
    let stream = pair.stream();
    for generation in 1..=20 {
        let side = if generation % 3 == 0 { SideName::R } else { SideName::L };
        pair.restart(side, stream);
        if generation % 2 == 0 {
            assert_eq!(run_with_data(&mut pair, generation), 0);
        } else {
            pair.run_for(ms(20));
        }
    }
    assert!(pair.run_until(secs(5), |pair| is_selected_in(pair, 20)));
    pair.run_for(secs(50));
    assert!(pair.agrees());
    assert_eq!(pair.l.agent.pairs().count(), 1);
    let checks = pair.l.sent.iter().filter(|sent| matches!(Wire::decode(&sent.payload), Wire::Request(_))).count();
    assert!(checks < 200, "{checks} checks");
}

/// S037
/// Req: 8445-9-c
#[test]
fn roles_that_were_switched_stay_over_restarts_of_either_side() {
    for seed in 0..8 {
        let setup = nilas::sim::PairSetup::new(nilas::Seed::from_number(seed));
        let mut pair = setup.roles(Role::Controlling, Role::Controlling).build();
        assert!(pair.run_until_selected(secs(2)));
        pair.run_for(secs(1));
        let roles = (pair.l.agent.role(), pair.r.agent.role());
        assert_eq!(roles.1, roles.0.opposite());
        let switches = role_changes(&pair);
        assert!(switches >= 1);
        let stream = pair.stream();
        for (generation, side) in [(1, SideName::L), (2, SideName::R)] {
            pair.restart(side, stream);
            assert_eq!(run_with_data(&mut pair, generation), 0);
            assert_eq!((pair.l.agent.role(), pair.r.agent.role()), roles, "seed {seed}");
        }
        assert_eq!(role_changes(&pair), switches, "seed {seed}: the conflict is not repeated");
        assert!(pair.agrees());
    }
}

fn role_changes(pair: &Pair) -> usize {
    let events = pair.l.events.iter().chain(&pair.r.events);
    events.filter(|(_, event)| matches!(event, Event::RoleChanged { .. })).count()
}

/// Req: 8445-12.2-a
#[test]
fn data_that_the_peer_still_sends_on_the_pair_from_before_is_taken_for_3_seconds() {
    let mut pair = setup("slow to leave").addresses(1, 1).build();
    assert!(pair.run_until_selected(secs(1)));
    let stream = pair.stream();
    let (here, there) = (pair.l.sockets()[0], pair.r.sockets()[0]);
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(3), |pair| is_selected_in(pair, 1)));
    let id = pair.l.agent.remote_candidates(stream).next().unwrap().id;
    let mut agent = pair.l.agent.clone();
    // The new generation does not know that address any more; only the pair from before does.
    agent.remove_remote_candidate(pair.now(), stream, id).unwrap();
    while agent.poll_event().is_some() {}
    let datagram = Datagram::new(there, here, b"\x80still here");
    let taken = agent.handle_datagram(pair.now(), &datagram);
    assert!(matches!(taken, Received::Data { pair: None, .. }), "{taken:?}");
    let late = pair.now() + secs(4);
    agent.network_changed(late);
    agent.handle_timeout(late);
    while agent.poll_event().is_some() {}
    let dropped = agent.handle_datagram(late, &datagram);
    assert_eq!(dropped, Received::Dropped(DropReason::UnvalidatedSource));
}

/// Req: 8445-9-c
#[test]
fn a_check_that_mixes_the_credentials_of_two_generations_is_refused() {
    let mut pair = connected("mixed");
    let stream = pair.stream();
    let before = [SideName::L, SideName::R].map(|side| credentials(&pair, side, stream));
    pair.restart(SideName::L, stream);
    pair.run_for(ms(200));
    let after = credentials(&pair, SideName::L, stream);
    // A new port of the left side that knows but the old credentials of the right one, as libwebrtc has it for a while.
    let source = new_source(&pair);
    for (from, expected) in [(&after, Received::Dropped(DropReason::UnknownPeer)), (&before[0], Received::Handled)] {
        let bytes = MessageBuilder::binding_request([6; 12])
            .username(before[1].ufrag.as_str(), from.ufrag.as_str())
            .priority(1)
            .controlling(1)
            .integrity(&before[1].password)
            .fingerprint()
            .build();
        let (now, destination) = (pair.now(), pair.r.sockets()[0]);
        assert_eq!(pair.r.agent.handle_datagram(now, &Datagram::new(source, destination, &bytes)), expected);
        let mut answer = Vec::new();
        assert!(pair.r.agent.poll_transmit(now, &mut answer).is_some());
        let is_success = matches!(Wire::decode(&answer), Wire::Success { .. });
        assert_eq!(is_success, expected == Received::Handled);
    }
}

/// libwebrtc pairs its new socket with our candidate from before the restart, and never checks it with the new credentials.
///
/// Req: 8445-9-b
#[test]
fn the_peer_of_a_lite_agent_may_use_our_old_credentials_with_its_new_ones() {
    let mut solo = Solo::with_consent(Role::Controlled, Config::default().with_lite(true));
    solo.describe(Vec::new());
    let old = solo.ours();
    let check = |to: &Credentials, from: &str, id: u8| {
        let message = MessageBuilder::binding_request([id; 12]).username(to.ufrag.as_str(), from);
        let message = message.priority(0x6eff_ffff).controlling(7).use_candidate();
        message.integrity(&to.password).fingerprint().build()
    };
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    let new = Credentials::new("newpeer", "passwordOfTheNewPeer0123").unwrap();
    solo.agent.set_remote_description(solo.now, solo.stream, &RemoteDescription::new(new.clone())).unwrap();
    solo.drain();
    let from = address("203.0.113.1:7000");
    // One of the old generation on both sides has no consequence.
    solo.receive_from(from, &check(&old, "peer", 1));
    assert_eq!(solo.agent.pairs().count(), 0);
    solo.receive_from(from, &check(&old, "newpeer", 2));
    let answers = solo.out.iter().filter(|out| matches!(out.wire(), Wire::Success { .. })).count();
    assert_eq!(answers, 2, "both are answered");
    let selected = solo.agent.selected_pair(solo.stream, ComponentId::RTP).expect("the nomination counts");
    assert_eq!(selected.remote_address, from);
    assert_eq!(solo.agent.generation(solo.stream), Some(1));
    // As long as the peer knows us by that name, it is answered.
    for round in 0..4 {
        solo.run_for(secs(5));
        solo.receive_from(from, &check(&old, "newpeer", 3 + round));
        let answers = solo.out.iter().filter(|out| matches!(out.wire(), Wire::Success { .. })).count();
        assert_eq!(answers, 3 + usize::from(round));
    }
    let current = solo.ours();
    solo.receive_from(from, &check(&current, "newpeer", 9));
    solo.run_for(secs(4));
    let before = solo.out.len();
    solo.receive_from(from, &check(&old, "newpeer", 10));
    let is_answered = solo.out[before..].iter().any(|out| matches!(out.wire(), Wire::Success { .. }));
    assert!(!is_answered, "then no more");
}

/// Req: 8445-9-a
#[test]
fn a_description_with_the_old_credentials_does_not_answer_a_restart_and_leaves_both_ways_open() {
    use nilas::RemoteDescriptionOutcome::{Outdated, RestartUnanswered, Restarted, Started, Updated};
    let mut solo = Solo::new(Role::Controlling);
    let old = RemoteDescription::new(solo.theirs.clone()).with_candidates(vec![crate::solo::host("203.0.113.1:6000")]);
    let set = |solo: &mut Solo, description: &RemoteDescription| {
        let outcome = solo.agent.set_remote_description(solo.now, solo.stream, description);
        solo.drain();
        outcome.unwrap()
    };
    assert_eq!((set(&mut solo, &old), set(&mut solo, &old)), (Started, Updated));
    solo.run_for(ms(50));
    solo.answer();
    let prepared = solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    let more = old.clone().with_candidates(vec![crate::solo::host("203.0.113.2:6000")]);
    assert_eq!(set(&mut solo, &more), RestartUnanswered);
    assert_eq!(solo.agent.remote_candidates(solo.stream).count(), 2, "its candidates are taken as ever");
    assert!(solo.agent.is_restarting(solo.stream));
    assert_eq!(solo.agent.generation(solo.stream), Some(0));
    // The session goes on as it was ..
    let mut back = solo.clone();
    back.agent.rollback_restart(back.now, back.stream).unwrap();
    back.run_for(secs(2));
    assert_eq!(set(&mut back, &old), Updated);
    assert!(back.agent.state().is_connected() && !back.agent.is_restarting(back.stream));
    let again = back.agent.prepare_restart(back.now, back.stream).unwrap();
    assert_ne!(again, prepared);
    // .. or the peer restarts after all.
    assert_eq!(solo.agent.prepare_restart(solo.now, solo.stream), Ok(prepared.clone()));
    let new = Credentials::new("newpeer", "passwordOfTheNewPeer0123").unwrap();
    let new = RemoteDescription::new(new);
    assert_eq!(set(&mut solo, &new), Restarted);
    assert_eq!((solo.ours(), solo.agent.generation(solo.stream)), (prepared, Some(1)));
    assert_eq!(set(&mut solo, &new), Updated);
    // What comes late from before does not undo it, nor is it taken for the answer to the next restart.
    assert_eq!(set(&mut solo, &old), Outdated);
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    assert_eq!((set(&mut solo, &old), set(&mut solo, &new)), (Outdated, RestartUnanswered));
    assert_eq!(solo.agent.generation(solo.stream), Some(1));
}

#[test]
fn a_description_of_a_fork_is_known_like_that_of_the_first_peer() {
    use nilas::RemoteDescriptionOutcome::{RestartUnanswered, Updated};
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(Vec::new());
    let fork = Credentials::new("fork", "passwordOfTheFork0123456").unwrap();
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    let fork = RemoteDescription::new(fork);
    assert_eq!(solo.agent.set_remote_description(solo.now, solo.stream, &fork), Ok(Updated));
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    assert_eq!(solo.agent.set_remote_description(solo.now, solo.stream, &fork), Ok(RestartUnanswered));
}

/// Against RFC 8445 §9, and met all the same: a change of either counts as a restart (RFC 5245 §9.2.1.1).
///
/// Req: 8839-4.4.1-a
#[test]
fn a_peer_may_keep_its_fragment_and_change_the_password_alone() {
    use crate::lone::{Lone, remote};
    use nilas::{RemoteCandidateOutcome, SetRemoteDescriptionError as E};
    for streams in [1, 2] {
        let mut lone = Lone::new(Config::default(), Role::Controlling, streams, 1);
        for stream in 0..streams {
            lone.socket(stream, 1, &format!("10.0.0.1:{}", 5000 + stream));
        }
        lone.take_events();
        lone.describe();
        for stream in 0..streams {
            let _ = lone.add(stream, remote("1", 1, 100, &format!("192.0.2.1:{}", 4000 + stream)));
        }
        for check in lone.run_to(200) {
            lone.answer(&check);
        }
        let old_local: Vec<_> =
            lone.streams.iter().map(|stream| lone.agent.local_credentials(*stream).unwrap().clone()).collect();
        let old = lone.peer.clone();
        let new = Credentials::new(old.ufrag.as_str(), "newPasswordOfThePeer01").unwrap();
        let description = RemoteDescription::new(new.clone()).with_ice2(true);
        let first = lone.streams[0];
        let refused = lone.agent.set_remote_description(lone.now, first, &description);
        assert!(matches!(refused, Err(E::CredentialsChanged)), "it is a restart, and none is prepared: {refused:?}");
        // Another peer of the same name is none.
        assert!(matches!(lone.agent.add_forked_credentials(lone.now, first, &new), Err(E::PasswordMismatch)));
        lone.peer = new;
        for (index, stream) in lone.streams.clone().into_iter().enumerate() {
            let ours = lone.agent.prepare_restart(lone.now, stream).unwrap();
            assert!(ours.ufrag != old_local[index].ufrag && ours.password != old_local[index].password, "both of ours");
            lone.take_events();
            assert!(lone.agent.set_remote_description(lone.now, stream, &description).is_ok(), "stream {index}");
            assert_eq!(lone.agent.generation(stream), Some(1));
            // Late, and not to be told apart: it counts for the new generation.
            let late =
                remote("2", 1, 90, &format!("192.0.2.2:{}", 4000 + index)).with_extension("ufrag", old.ufrag.as_str());
            assert!(matches!(lone.add(index, late), RemoteCandidateOutcome::Added(_)));
        }
        // A check of the generation before is answered, and of no consequence for this one.
        let before = lone.agent.remote_candidates(first).count();
        let message = MessageBuilder::binding_request([99; 12])
            .username(old_local[0].ufrag.as_str(), old.ufrag.as_str())
            .priority(7)
            .controlled(1)
            .integrity(&old_local[0].password)
            .fingerprint()
            .build();
        let datagram = Datagram::new("192.0.2.9:4000".parse().unwrap(), "10.0.0.1:5000".parse().unwrap(), &message);
        assert_eq!(lone.agent.handle_datagram(lone.now, &datagram), Received::Handled);
        assert_eq!(lone.agent.remote_candidates(first).count(), before);
        // The checks have the new password, and so have the answers. Streams of one foundation are checked one after the other.
        let mut answered = Vec::new();
        for until in 1..=streams as u64 {
            for check in lone.run_to(1000 * until) {
                // What is sent again is answered once.
                if check.destination.ip().to_string() == "192.0.2.2" && !answered.contains(&check.destination) {
                    answered.push(check.destination);
                    lone.answer(&check);
                }
            }
        }
        assert_eq!(answered.len(), streams);
        for stream in 0..streams {
            assert!(lone.pair_with(&format!("192.0.2.2:{}", 4000 + stream)).is_valid);
        }
    }
}
