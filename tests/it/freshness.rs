//! Consent against a peer whose every message is written by hand: what begins it, what extends it, and what does not.

use nilas::sim::{MessageBuilder, Pair, SideName};
use nilas::{
    ApplicationNominates, CandidatePairState, ComponentId, Config, ConnectionState, Credentials, Event, Instant,
    RemoteCandidateOutcome, Role, SendError, StateReason,
};

use crate::help::{at, ms, requests, secs, setup, states};
use crate::solo::{Outcome, Solo, address, host};

/// A controlled agent whose only pair became valid at 40 ms; its peer nominates it.
fn consenting() -> Solo {
    let mut solo = Solo::with_consent(Role::Controlled, Config::default());
    solo.describe(vec![host("203.0.113.1:6000")]);
    solo.run_for(ms(40));
    solo.answer();
    let nomination = solo.check().use_candidate();
    let nomination = solo.seal(nomination);
    assert_eq!(solo.receive(&nomination), Outcome::Handled);
    assert!(solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some());
    solo.take();
    solo
}

fn send(solo: &mut Solo) -> Result<(), SendError> {
    let mut buffer = Vec::new();
    solo.agent.send(solo.now, solo.stream, ComponentId::RTP, b"x", &mut buffer).map(|_| ())
}

/// When the pair in use was given up.
fn end(solo: &Solo) -> Option<Instant> {
    solo.events.iter().find_map(|event| match event {
        Event::SelectedPairChanged { pair: None, at, .. } => Some(*at),
        _ => None,
    })
}

/// Runs until the agent asks again; gives the transaction ID.
fn next_question(solo: &mut Solo) -> [u8; 12] {
    for _ in 0..1000 {
        if let Some((_, request)) = solo.take_requests().pop() {
            return request.id;
        }
        solo.run_for(ms(10));
    }
    panic!("the agent does not ask");
}

/// Req: 7675-5-a
#[test]
fn consent_begins_with_the_first_answer_and_not_with_the_nomination() {
    let mut solo = consenting();
    solo.run_for(secs(30) - ms(1));
    assert_eq!(send(&mut solo), Ok(()));
    solo.run_for(ms(1));
    assert_eq!(end(&solo), Some(at(30_040)));
    assert!(send(&mut solo).is_err());
}

/// Req: 7675-5.1-c
#[test]
fn only_a_genuine_answer_to_an_open_question_from_where_it_went_extends_consent() {
    let mut solo = consenting();
    let (mapped, stranger) = (solo.local, address("203.0.113.9:6000"));
    let wrong = Credentials::new("peer", "anotherPassword0123456789").unwrap();
    for _ in 0..3 {
        let id = next_question(&mut solo);
        let genuine = solo.success(id, mapped);
        // What becomes of it is up to the agent, as long as it gives no consent.
        let _ = solo.receive_from(stranger, &genuine);
    }
    for _ in 0..3 {
        let id = next_question(&mut solo);
        let builder = || MessageBuilder::binding_success(id).mapped_v4("198.51.100.1:5000".parse().unwrap());
        let forged = builder().integrity(&wrong.password).fingerprint().build();
        assert!(matches!(solo.receive(&forged), Outcome::Dropped(_)), "with another key");
        let bare = builder().fingerprint().build();
        assert!(matches!(solo.receive(&bare), Outcome::Dropped(_)), "without a key");
        let unknown = solo.success([9; 12], mapped);
        assert!(matches!(solo.receive(&unknown), Outcome::Dropped(_)), "to no question");
    }
    let mut answered = solo.clone();
    let id = next_question(&mut answered);
    let genuine = answered.success(id, mapped);
    assert_eq!(answered.receive(&genuine), Outcome::Handled);
    let answered_at = answered.now;
    answered.run_for(secs(60));
    assert_eq!(end(&answered), Some(answered_at + secs(30)));
    solo.run_for(secs(60));
    assert_eq!(end(&solo), Some(at(30_040)));
}

/// Req: 7675-5.1-g
/// Req: 7675-5.1-h
#[test]
fn an_answer_that_comes_after_the_expiry_is_too_late_and_a_check_of_the_peer_brings_nothing_back() {
    let mut solo = consenting();
    solo.run_for(at(30_039).saturating_duration_since(solo.now));
    let questions = solo.take_requests();
    assert!(questions.len() > 5);
    solo.run_for(ms(1));
    assert_eq!(end(&solo), Some(at(30_040)));
    solo.run_for(secs(1));
    for (out, request) in questions {
        let late = solo.success(request.id, out.source);
        let _ = solo.receive(&late);
    }
    assert_eq!(solo.state(), Some(CandidatePairState::Failed));
    assert!(solo.agent.pairs().all(|pair| !pair.is_valid && !pair.is_selected));
    assert!(send(&mut solo).is_err());
    solo.take();
    // The peer is answered, and asked nothing: these credentials are over on this path.
    for _ in 0..5 {
        let check = solo.check().use_candidate();
        let check = solo.seal(check);
        solo.receive(&check);
        solo.run_for(secs(2));
    }
    assert!(solo.take_requests().is_empty());
    assert!(send(&mut solo).is_err() && solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_none());
}

fn cut(pair: &mut Pair) {
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
}

/// Req: 7675-5.1-h
#[test]
fn after_the_expiry_only_a_restart_gains_consent_again() {
    let mut pair = setup("restart").build();
    assert!(pair.run_until_selected(secs(1)));
    cut(&mut pair);
    pair.run_for(secs(45));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.mend_both(l, r);
    let mended = pair.now();
    pair.run_for(secs(60));
    let asks = |pair: &Pair| {
        let both = [&pair.l, &pair.r].map(|peer| requests(&peer.sent));
        both.iter().flatten().filter(|(sent, ..)| *sent > mended).count()
    };
    assert_eq!(asks(&pair), 0);
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(2), |pair| pair.l.is_selected() && pair.r.is_selected()));
    assert!(pair.agrees() && asks(&pair) > 0);
}

/// Req: wpc-tstate-g
#[test]
fn when_consent_ends_the_state_is_what_is_left_to_hope_for() {
    use ConnectionState::{Checking, Disconnected};
    // More candidates may come: nothing works now, and that may change.
    let mut pair = setup("more may come").left(|l| l.signals_end = false).right(|r| r.signals_end = false).build();
    assert!(pair.run_until_selected(secs(1)));
    cut(&mut pair);
    pair.run_for(secs(60));
    for peer in [&pair.l, &pair.r] {
        let state = peer.agent.stream_state(pair.stream());
        assert_eq!(state, Some((Disconnected, StateReason::ConsentExpired)));
    }
    // A pair is being checked when consent on the other ends, of which nobody has nominated any.
    let patient = Config::default().with_nomination_policy(std::sync::Arc::new(ApplicationNominates));
    let mut setup = setup("one to check").left(|l| l.config = patient);
    setup.r.signals_end = false;
    let mut pair = setup.build();
    assert!(pair.run_until(secs(1), |pair| pair.l.agent.state().is_connected()));
    cut(&mut pair);
    pair.run_for(secs(20));
    let (now, stream) = (pair.now(), pair.stream());
    let outcome = pair.l.agent.add_remote_candidate(now, stream, host("203.0.113.77:6000"));
    assert!(matches!(outcome, Ok(RemoteCandidateOutcome::Added(_))));
    pair.drain(SideName::L);
    assert_eq!(pair.l.agent.state(), Disconnected);
    pair.run_for(secs(15));
    assert_eq!(pair.l.agent.stream_state(stream), Some((Checking, StateReason::CandidatesKnown)));
    assert_eq!(states(&pair, SideName::L).last(), Some(&Checking));
}

/// Req: 7675-5.1-m
#[test]
fn no_transaction_id_can_be_read_off_an_agent() {
    let mut solo = consenting();
    let mut seen = 0;
    while seen < 3 {
        let id = next_question(&mut solo);
        let text = format!("{:?}", solo.agent);
        let list = format!("{id:?}");
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers =
            [u64::from_be_bytes(id[..8].try_into().unwrap()), u64::from_be_bytes(id[4..].try_into().unwrap())];
        assert!(!text.contains(list.trim_matches(['[', ']'])) && !text.to_lowercase().contains(&hex));
        assert!(numbers.iter().all(|number| !text.contains(&number.to_string())));
        seen += 1;
    }
}
