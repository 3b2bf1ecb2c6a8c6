//! What descriptions say of an agent, and what becomes of those of the peer.

use std::net::SocketAddr;

use nilas::sim::{Pair, SideName, Verdict};
use nilas::{
    CandidateAddress, CandidateKind, CandidateListing, CandidatePairState, ComponentId, Config, ConnectionState,
    DropReason, Event, IceDescription, IceMedia, RemoteCandidateOutcome, RemoteDescription, Role, StateReason,
    Transport,
};

use crate::help::{at, ms, secs, setup};
use crate::script::{BEST, OTHER, Script, socket};
use crate::solo::{Solo, address, host};

const RTP: ComponentId = ComponentId::RTP;
const RTCP: ComponentId = ComponentId::RTCP;
const UDP: Transport = Transport::Udp;

fn addresses(media: &IceMedia) -> Vec<(u16, SocketAddr)> {
    media.candidates.iter().map(|one| (one.component().get(), one.socket_address().unwrap())).collect()
}

fn default_of(pair: &Pair, side: SideName, component: ComponentId) -> Option<SocketAddr> {
    pair.peer(side).agent.default_candidate(pair.stream(), component, UDP)?.socket_address()
}

/// Req: 8839-4.3.1-a
/// Req: 8839-4.2.1-a
/// Req: 8839-4.4.1-d
/// Req: 8839-5.2-a
#[test]
fn an_offer_lists_all_candidates_before_and_the_nominated_ones_after_the_conclusion() {
    let mut pair = setup("offers").addresses(2, 2).left(|l| l.components = 2).right(|r| r.components = 2).build();
    let stream = pair.stream();
    pair.run_to(at(20));
    let media = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    let ours = pair.l.agent.local_credentials(stream).unwrap();
    assert_eq!((media.ufrag.as_ref(), media.password.as_ref()), (Some(&ours.ufrag), Some(&ours.password)));
    assert!(media.options.ice2() && media.options.trickle());
    assert!(media.end_of_candidates);
    assert_eq!(addresses(&media).len(), 4);
    assert_eq!(media.remote_candidates, []);
    let before = default_of(&pair, SideName::L, RTP).unwrap();
    assert!(addresses(&media).contains(&(1, before)));
    // A later offer says the same, and more if there is more.
    let again = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    assert_eq!(again, media);

    assert!(pair.run_until(secs(10), Pair::agrees));
    pair.run_for(secs(10));
    for (side, is_controlling) in [(SideName::L, true), (SideName::R, false)] {
        let agent = &pair.peer(side).agent;
        let all = agent.describe(stream, CandidateListing::All).unwrap();
        assert_eq!((addresses(&all).len(), all.remote_candidates.len()), (4, 0), "WebRTC goes on to list all");
        let media = agent.describe(stream, CandidateListing::Nominated).unwrap();
        let selected = [RTP, RTCP].map(|component| agent.selected_addresses(stream, component).unwrap());
        assert_eq!(addresses(&media), [(1, selected[0].0), (2, selected[1].0)], "{side:?}");
        let remotes: Vec<_> = media.remote_candidates.iter().map(|one| (one.component, one.address.clone())).collect();
        let expected =
            [(RTP, CandidateAddress::Socket(selected[0].1)), (RTCP, CandidateAddress::Socket(selected[1].1))];
        assert_eq!(remotes, if is_controlling { expected.to_vec() } else { Vec::new() }, "{side:?}");
        assert_eq!(default_of(&pair, side, RTP), Some(selected[0].0));
        assert_eq!(default_of(&pair, side, RTCP), Some(selected[1].0));
        // It is read again as it was written.
        let text = format!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{}", media.attributes());
        let read: IceDescription = text.parse().unwrap();
        assert_eq!(
            (&read.media[0].candidates, &read.media[0].remote_candidates),
            (&media.candidates, &media.remote_candidates)
        );
    }
}

/// Req: 8839-4.4.1-d
/// Req: 8839-4.4.1-a
#[test]
fn while_a_restart_is_prepared_the_description_is_that_of_the_next_generation() {
    let mut pair = setup("offer of a restart").build();
    assert!(pair.run_until_selected(secs(5)));
    let stream = pair.stream();
    let before = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    let now = pair.now();
    let credentials = pair.l.agent.prepare_restart(now, stream).unwrap();
    let restart = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    assert_eq!(
        (restart.ufrag.as_ref(), restart.password.as_ref()),
        (Some(&credentials.ufrag), Some(&credentials.password))
    );
    assert!(restart.ufrag != before.ufrag && restart.password != before.password);
    assert_eq!((restart.candidates.len(), restart.remote_candidates.len(), restart.end_of_candidates), (0, 0, false));
    pair.drain(SideName::L);
    let restart = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    assert_eq!(restart.candidates.len(), 1, "once they were handed out");
    pair.l.agent.rollback_restart(now, stream).unwrap();
    let after = pair.l.agent.describe(stream, CandidateListing::Nominated).unwrap();
    assert_eq!((after.ufrag, after.candidates.len()), (before.ufrag, 1));
}

/// Req: 8839-4.4.1-e
#[test]
fn a_lite_agent_repeats_all_candidates_and_then_lists_the_pair_that_was_nominated() {
    let config = Config::default().with_lite(true);
    let mut pair = setup("lite offers").addresses(1, 2).right(|r| r.config = config).build();
    let stream = pair.stream();
    pair.run_to(at(10));
    let media = pair.r.agent.describe(stream, CandidateListing::Nominated).unwrap();
    assert_eq!(addresses(&media).len(), 2);
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(5));
    let media = pair.r.agent.describe(stream, CandidateListing::Nominated).unwrap();
    let (local, _) = pair.r.agent.selected_addresses(stream, RTP).unwrap();
    assert_eq!((addresses(&media), media.remote_candidates), (vec![(1, local)], Vec::new()));
    assert_eq!(default_of(&pair, SideName::R, RTP), Some(local));
    assert_eq!(pair.r.agent.role(), Role::Controlled);
}

/// Req: 8839-4.2.1-a
/// Req: 8839-4.3.2-a
#[test]
fn the_default_is_the_candidate_that_is_most_likely_to_be_reached() {
    let mut solo = Solo::new(Role::Controlled);
    let default = |solo: &Solo, transport| {
        solo.agent.default_candidate(solo.stream, RTP, transport).map(|one| (one.kind(), one.socket_address().unwrap()))
    };
    assert_eq!(default(&solo, UDP), Some((CandidateKind::Host, solo.local)));
    assert_eq!(default(&solo, Transport::Tcp), None, "0.0.0.0 port 9: no candidate is of the transport of the m= line");
    let mapped = address("192.0.2.99:40000");
    solo.agent.add_server_reflexive(solo.now, solo.stream, solo.local, mapped, None).unwrap();
    assert_eq!(default(&solo, UDP), Some((CandidateKind::Host, solo.local)), "not before it was handed out");
    solo.drain();
    assert_eq!(default(&solo, UDP), Some((CandidateKind::ServerReflexive, mapped)));
    assert!(solo.agent.default_candidate(solo.stream, RTCP, UDP).is_none());
}

/// Without ICE in the offer the answer has none: there is nothing that writes it by itself.
///
/// Req: 8839-4.3.2-a
/// Req: 8839-4.2.5-b
#[test]
fn a_section_without_credentials_is_one_without_ice() {
    let text = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:aaaa\r\nm=video 5000 RTP/AVP 31\r\nc=IN IP4 192.0.2.1\r\na=mid:1\r\n";
    let offer: IceDescription = text.parse().unwrap();
    assert!(offer.media.iter().all(|media| offer.credentials(media).is_none()), "one of two is not enough");
    assert!(!offer.uses_ice());
    assert_eq!(IceMedia::new("1").attributes().to_string(), "");
    let with = format!("{text}a=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n");
    let offer: IceDescription = with.parse().unwrap();
    assert!(offer.credentials(&offer.media[1]).is_some() && offer.uses_ice());
}

/// Req: 8839-4.2.5-b
/// Req: 8839-4.2.5-c
#[test]
fn a_default_address_matches_if_it_is_a_candidate_or_stands_for_none() {
    let text = "m=audio 5000 RTP/AVP 0\r\na=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\r\n\
                a=candidate:1 2 UDP 2130706430 192.0.2.1 5001 typ host\r\n";
    let description: IceDescription = text.parse().unwrap();
    let empty: IceDescription = "m=audio 9 RTP/AVP 0\r\n".parse().unwrap();
    let socket = |text: &str| CandidateAddress::Socket(address(text));
    let media = &description.media[0];
    assert!(media.matches_default(RTP, &socket("192.0.2.1:5000")));
    assert!(media.matches_default(RTCP, &socket("192.0.2.1:5001")));
    for (component, default) in [(RTP, "192.0.2.1:5001"), (RTCP, "192.0.2.1:5000"), (RTP, "198.51.100.1:5000")] {
        assert!(!media.matches_default(component, &socket(default)), "{default}");
    }
    assert!(!media.matches_default(RTP, &socket("0.0.0.0:5000")));
    let name = CandidateAddress::Name { host: "example.com".into(), port: 5000 };
    for media in [media, &empty.media[0]] {
        for default in [socket("0.0.0.0:9"), socket("[::]:9"), name.clone()] {
            assert!(media.matches_default(RTP, &default), "{default:?}");
        }
    }
    assert!(!empty.media[0].matches_default(RTP, &socket("192.0.2.1:5000")));
}

/// The answer has a mismatch in one of two sections: ICE ends for that one alone. With one in both it ends altogether.
///
/// Req: 8839-4.3.3-a
#[test]
fn a_mismatch_ends_ice_for_its_section_alone() {
    let credentials = "a=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n";
    let section = |mid: u8, rest: &str| format!("m=audio 9 RTP/AVP 0\r\na=mid:{mid}\r\n{rest}");
    let answer = |first: &str, second: &str| -> IceDescription {
        format!("{}{}{}", credentials, section(0, first), section(1, second)).parse().unwrap()
    };
    let of_one = answer("", "a=ice-mismatch\r\n");
    let has_ice: Vec<bool> = of_one.media.iter().map(|media| of_one.credentials(media).is_some()).collect();
    assert_eq!((has_ice, of_one.uses_ice()), (vec![true, false], true));
    assert!(!answer("a=ice-mismatch\r\n", "a=ice-mismatch\r\n").uses_ice());
    let mut streams = setup("mismatch");
    streams.streams = 2;
    let mut pair = streams.build();
    let second = pair.streams()[1];
    let now = pair.now();
    pair.l.agent.remove_stream(now, second).unwrap();
    pair.r.agent.remove_stream(now, second).unwrap();
    assert!(pair.run_until_selected(secs(5)));
    assert_eq!((pair.l.agent.state(), pair.r.agent.state()), (ConnectionState::Completed, ConnectionState::Completed));
}

/// A later offer with the same credentials adds to what is there, and the states of pairs stay.
///
/// Req: 8839-4.4.3-a
#[test]
fn an_offer_in_the_middle_of_the_checks_keeps_the_states_of_pairs() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    script.run_for(ms(60));
    script.answer(BEST);
    let states = |script: &Script| {
        let mut states: Vec<_> = script.agent.pairs().map(|pair| (pair.id, pair.remote_address, pair.state)).collect();
        states.sort_unstable_by_key(|(id, ..)| *id);
        states
    };
    let before = states(&script);
    assert_eq!(
        before.iter().map(|(.., state)| *state).collect::<Vec<_>>(),
        [CandidatePairState::Succeeded, CandidatePairState::InProgress]
    );
    let lines = [
        "1 1 udp 2130706431 198.51.100.1 5000 typ host",
        "2 1 udp 2130706175 198.51.100.2 5000 typ host",
        "2 1 udp 2130705919 198.51.100.3 5000 typ host",
    ];
    let candidates: Vec<_> = lines.iter().map(|line| format!("candidate:{line}").parse().unwrap()).collect();
    let credentials = nilas::Credentials::new("peer", "password/of/the/peer/0123").unwrap();
    let offer = RemoteDescription::new(credentials).with_candidates(candidates);
    script.agent.set_remote_description(script.now, script.stream, &offer).unwrap();
    let after = states(&script);
    assert_eq!(after[..2], before);
    assert_eq!(after[2].1, socket("198.51.100.3:5000"));
    assert_eq!(after[2].2, CandidatePairState::Frozen, "behind the check of its foundation");
    script.run_for(ms(200));
    assert_eq!(states(&script)[..2], before);
    assert_eq!(script.requests_to(OTHER).len(), 1, "the check in progress was not begun again");
}

/// Req: wpc-addcandidate-c
#[test]
fn a_candidate_at_a_port_of_another_service_is_taken_and_never_checked() {
    let config = Config::default().with_prohibited_ports(&[22, 25, 6000]);
    let mut solo = Solo::with(Role::Controlling, config);
    solo.describe(Vec::new());
    for port in [22, 25] {
        let added = solo.agent.add_remote_candidate(solo.now, solo.stream, host(&format!("203.0.113.9:{port}")));
        assert_eq!(added, Ok(RemoteCandidateOutcome::Prohibited), "{port}");
    }
    solo.run_for(secs(60));
    assert_eq!(solo.take_requests().len(), 0);
    // Its check from such a port is answered, and no check goes back.
    let check = solo.check();
    let check = solo.seal(check);
    assert_eq!(solo.remote.port(), 6000);
    solo.receive(&check);
    assert_eq!(solo.out.len(), 1, "the answer");
    solo.run_for(secs(60));
    assert_eq!(solo.take_requests().len(), 0);
    let added = solo.agent.add_remote_candidate(solo.now, solo.stream, host("203.0.113.9:6001"));
    assert!(matches!(added, Ok(RemoteCandidateOutcome::Added(_))));
    solo.drain();
    assert_eq!(solo.take_requests().len(), 1);
}

/// Req: 8827-6.4-b
#[test]
fn nothing_is_sent_to_the_peer_before_the_user_has_accepted() {
    let mut pair = setup("withheld").addresses(1, 2).build();
    let stream = pair.stream();
    let mut other = setup("withheld, accepted late").addresses(1, 2).right(|r| r.start = ms(10)).build();
    let now = other.now();
    other.r.agent.withhold_checks(now, true);
    other.run_for(secs(300));
    assert_eq!(other.r.sent.len(), 0, "neither checks nor answers");
    assert_eq!(other.r.agent.local_candidates(stream).filter(|local| local.is_announced).count(), 2);
    assert!(other.r.agent.stats().dropped(DropReason::Withheld) > 0);
    assert!(other.r.agent.pairs().count() > 0);
    assert_eq!(other.r.agent.poll_timeout(), None, "there is nothing to wait for");
    assert_eq!(other.r.agent.state(), ConnectionState::Checking, "waiting is no failure");
    let now = other.now();
    other.r.agent.withhold_checks(now, false);
    other.drain(SideName::R);
    assert!(other.run_until(secs(5), |pair| pair.r.is_selected() || pair.r.agent.state().is_connected()));
    assert_eq!(other.r.sent.first().map(|sent| sent.at), Some(now), "at once");
    // In a connected session it withholds new checks, and nothing of what is there.
    assert!(pair.run_until_selected(secs(5)));
    let now = pair.now();
    pair.l.agent.withhold_checks(now, true);
    pair.run_for(secs(60));
    assert_eq!((pair.l.agent.state(), pair.r.agent.state()), (ConnectionState::Completed, ConnectionState::Completed));
    assert_eq!(pair.l.agent.stats().dropped(DropReason::Withheld), 0);
}

/// The patience before failure begins when the checks do.
///
/// Req: 8827-6.4-b
/// Req: 8863-4-b
#[test]
fn withheld_checks_fail_as_late_after_they_are_let_go_as_any() {
    let mut pair = setup("withheld, dead").right(|r| r.start = ms(10)).build();
    let now = pair.now();
    pair.network.set_hook(|_| Verdict::Drop);
    pair.r.agent.withhold_checks(now, true);
    pair.run_for(secs(300));
    assert_eq!(pair.r.agent.state(), ConnectionState::Checking);
    let now = pair.now();
    pair.r.agent.withhold_checks(now, false);
    pair.drain(SideName::R);
    pair.run_for(ms(39_400));
    assert_ne!(pair.r.agent.state(), ConnectionState::Failed);
    pair.run_for(ms(200));
    assert_eq!(pair.r.agent.stream_state(pair.stream()), Some((ConnectionState::Failed, StateReason::ChecksFailed)));
    let failed = pair
        .r
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::ConnectionStateChanged { current: ConnectionState::Failed, .. }));
    assert!(failed);
}
