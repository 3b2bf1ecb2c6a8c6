//! Candidates that go away, and consent that is taken back.

use nilas::sim::{Pair, SideName, Wire};
use nilas::{
    CandidateId, ComponentId, ConnectionState, Datagram, DropReason, Event, Instant, Received, RemoveCandidateError,
    SendError, StateReason, Transport,
};

use crate::help::{ms, requests, secs, setup, states};

fn connected(name: &str, addresses: u8) -> Pair {
    let mut pair = setup(name).addresses(addresses, addresses).build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(ms(500));
    pair
}

fn selected_local(pair: &Pair, side: SideName) -> (CandidateId, std::net::SocketAddr) {
    let selected = pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
    (selected.local_id, selected.base)
}

/// S101
/// Req: 8445-5.1.1.4-b
#[test]
fn a_removed_socket_neither_sends_nor_answers() {
    let mut pair = connected("removed socket", 1);
    let (id, base) = selected_local(&pair, SideName::L);
    let (now, stream) = (pair.now(), pair.stream());
    pair.l.agent.remove_local_candidate(now, stream, id).unwrap();
    pair.drain(SideName::L);
    assert!(pair.l.agent.selected_pair(stream, ComponentId::RTP).is_none());
    assert_eq!(pair.l.agent.pairs().count(), 0);
    let told = pair.l.events.iter().rev().find(|(_, event)| matches!(event, Event::SelectedPairChanged { .. }));
    assert!(matches!(told, Some((_, Event::SelectedPairChanged { pair: None, .. }))));
    let before = pair.l.sent.len();
    pair.run_for(secs(60));
    assert_eq!(pair.l.sent.len(), before);
    assert!(pair.l.agent.stats().dropped(DropReason::UnknownDestination) > 0, "{base} is not ours any more");
    assert_eq!(pair.send(SideName::L, b"x"), Err(SendError::Failed));
    let state = pair.l.agent.stream_state(stream);
    assert_eq!(state, Some((ConnectionState::Failed, StateReason::NoLocalCandidates)));
    assert_eq!(pair.l.agent.remove_local_candidate(now, stream, id), Err(RemoveCandidateError::UnknownCandidate(id)));
}

/// S100
#[test]
fn moving_to_a_new_address_by_a_restart_never_passes_disconnected() {
    let mut pair = connected("move", 2);
    let (id, base) = selected_local(&pair, SideName::L);
    let (now, stream) = (pair.now(), pair.stream());
    // All in one step: the restart, the new address, and the end of the old one once the new one is in use.
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(2), |pair| {
        [&pair.l, &pair.r].iter().all(|peer| {
            peer.agent.generation(stream) == Some(1)
                && peer.agent.stream_state(stream).is_some_and(|(_, reason)| reason == StateReason::PairSelected)
        })
    }));
    pair.l.agent.remove_local_candidate(now, stream, id).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(1));
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(3), |pair| {
        [&pair.l, &pair.r].iter().all(|peer| {
            peer.agent.generation(stream) == Some(2)
                && peer.agent.stream_state(stream).is_some_and(|(_, reason)| reason == StateReason::PairSelected)
        })
    }));
    assert_ne!(selected_local(&pair, SideName::L).1, base);
    assert!(!states(&pair, SideName::R).contains(&ConnectionState::Disconnected));
    assert!(pair.agrees());
}

/// S105
/// S102
#[test]
fn a_removed_remote_candidate_does_not_come_back_by_its_checks_but_by_being_added() {
    let mut pair = connected("removed remote", 1);
    let (now, stream) = (pair.now(), pair.stream());
    let remote = pair.l.agent.remote_candidates(stream).next().map(|remote| (remote.id, remote.candidate.clone()));
    let (id, candidate) = remote.unwrap();
    pair.l.agent.remove_remote_candidate(now, stream, id).unwrap();
    pair.drain(SideName::L);
    let before = pair.l.sent.len();
    pair.run_for(secs(20));
    assert_eq!(pair.l.agent.remote_candidates(stream).count(), 0);
    assert_eq!(pair.l.agent.pairs().count(), 0);
    assert!(requests(&pair.l.sent[before..]).is_empty(), "no check goes there");
    let answers: Vec<_> = pair.l.sent[before..].iter().map(|sent| Wire::decode(&sent.payload)).collect();
    let [Wire::Error { code: Some(403), .. }] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(pair.l.agent.remove_remote_candidate(now, stream, id), Err(RemoveCandidateError::UnknownCandidate(id)));
    let mut other = connected("re-added", 1);
    let (now, stream) = (other.now(), other.stream());
    let id = other.l.agent.remote_candidates(stream).next().unwrap().id;
    other.l.agent.remove_remote_candidate(now, stream, id).unwrap();
    other.restart(SideName::L, stream);
    assert!(other.run_until(secs(3), |pair| pair.l.agent.generation(stream) == Some(1) && pair.l.is_selected()));
    assert_eq!(
        candidate.socket_address(),
        other.l.agent.remote_candidates(stream).next().unwrap().candidate.socket_address()
    );
}

/// S103
#[test]
fn removing_a_reflexive_candidate_leaves_its_host_candidate_alone() {
    let mut pair = setup("reflexive").build();
    let (now, stream) = (pair.now(), pair.stream());
    let base = pair.l.sockets()[0];
    let mut agent =
        nilas::Agent::new(nilas::Config::default(), nilas::Role::Controlling, nilas::Seed::from_number(1)).unwrap();
    let other = agent.add_stream(1).unwrap();
    let host = agent.add_socket(Instant::ZERO, other, ComponentId::RTP, Transport::Udp, base).unwrap();
    let mapped = "192.0.2.99:4000".parse().unwrap();
    let reflexive = agent.add_server_reflexive(Instant::ZERO, other, base, mapped, None).unwrap();
    agent.remove_local_candidate(Instant::ZERO, other, reflexive).unwrap();
    let left: Vec<_> = agent.local_candidates(other).map(|local| local.id).collect();
    assert_eq!(left, [host]);
    let datagram = Datagram::new(mapped, base, b"\x80data");
    assert_eq!(agent.handle_datagram(Instant::ZERO, &datagram), Received::Dropped(DropReason::UnvalidatedSource));
    assert!(pair.run_until_selected(secs(1)) && pair.now() > now && pair.streams() == [stream]);
}

/// S098
/// Req: 7675-5.2-a
/// Req: 8827-9.3-b
#[test]
fn consent_that_is_withdrawn_ends_the_data_of_the_peer_with_the_next_check() {
    let mut pair = connected("revoked", 1);
    let (now, stream) = (pair.now(), pair.stream());
    pair.r.agent.revoke_consent(now, stream).unwrap();
    assert!(pair.run_until(secs(7), |pair| pair.l.agent.selected_pair(stream, ComponentId::RTP).is_none()));
    assert!(pair.since_start(pair.now()) <= secs(7));
    assert!(matches!(pair.send(SideName::L, b"x"), Err(SendError::ConsentLost | SendError::Failed)));
    let before = pair.l.sent.len();
    pair.run_for(secs(30));
    assert!(requests(&pair.l.sent[before..]).is_empty(), "the path is not asked again");
}

/// Req: 7675-5.2-a
/// Req: 7675-5.2-b
#[test]
fn a_refusal_that_is_not_authenticated_is_ignored() {
    let mut pair = connected("forged refusal", 1);
    pair.network.set_hook(|packet| match Wire::decode(packet.payload) {
        Wire::Success { id, .. } => {
            let forged = nilas::sim::MessageBuilder::binding_error(id, 403).fingerprint().build();
            nilas::sim::Verdict::Replace(forged)
        }
        _ => nilas::sim::Verdict::Pass,
    });
    pair.run_for(secs(8));
    assert!(pair.l.is_selected());
    pair.network.clear_hook();
    pair.run_for(secs(5));
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
}
