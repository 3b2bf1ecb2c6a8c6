//! What nobody may guess or choose, what is not told, and how much an authentic peer can make the agent do.

use std::collections::{BTreeMap, BTreeSet};

use nilas::sim::Wire;
use nilas::{Agent, Config, Credentials, RemoteDescription, Role, Seed};

use crate::duo::Dice;
use crate::help::{ms, secs, setup};
use crate::script::{BEST, Script};
use crate::solo::{Solo, host, kinds};

/// A million bits of transaction IDs, and what is seen of the tie-breakers, look like coin tosses: no position is constant,
/// and neither is the difference from one ID to the next, as that of a counter or a clock would be.
///
/// Req: 7675-8-a
#[test]
fn transaction_ids_and_tie_breakers_are_random_in_every_bit() {
    let (mut ids, mut tie_breakers) = (Vec::new(), BTreeSet::new());
    for number in 0..300 {
        let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_number(number)).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let now = nilas::Instant::ZERO;
        let local = "192.0.2.1:5000".parse().unwrap();
        agent.add_socket(now, stream, nilas::ComponentId::RTP, nilas::Transport::Udp, local).unwrap();
        while agent.poll_event().is_some() {}
        let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
        let candidates = (0..35).map(|last| {
            format!("candidate:{last} 1 udp {} 203.0.113.{} 6000 typ host", 2_130_706_431 - last * 256, last + 1)
        });
        let remote = RemoteDescription::new(theirs)
            .with_candidates(candidates.map(|line| line.parse().unwrap()).collect::<Vec<_>>());
        agent.set_remote_description(now, stream, &remote).unwrap();
        let (mut at, mut buffer) = (now, Vec::new());
        for _ in 0..35 {
            while agent.poll_transmit(at, &mut buffer).is_some() {
                let request = Wire::decode(&buffer).request().cloned().unwrap();
                tie_breakers.insert(request.controlling.unwrap());
                ids.push(request.id);
                buffer.clear();
            }
            at += ms(50);
        }
    }
    let distinct: BTreeSet<_> = ids.iter().copied().collect();
    assert!(distinct.len() > 10_000, "{}", distinct.len());
    assert_eq!(tie_breakers.len(), 300, "each agent has its own, for the whole session");
    let ones = |count: usize, values: &mut dyn Iterator<Item = bool>| {
        // Ten standard deviations: a fair coin never gets there.
        let spread = 10.0 * (count as f64).sqrt() / 2.0;
        (values.filter(|bit| *bit).count() as f64 - count as f64 / 2.0).abs() < spread
    };
    let distinct: Vec<_> = distinct.into_iter().collect();
    for bit in 0..96 {
        let is_set = |id: &[u8; 12]| id[bit / 8] >> (bit % 8) & 1 == 1;
        assert!(ones(distinct.len(), &mut distinct.iter().map(is_set)), "bit {bit}");
        let flips = &mut ids.windows(2).filter(|two| two[0] != two[1]).map(|two| is_set(&two[0]) != is_set(&two[1]));
        let flips: Vec<bool> = flips.collect();
        assert!(ones(flips.len(), &mut flips.iter().copied()), "flips of bit {bit}");
    }
    for bit in 0..64 {
        assert!(
            ones(300, &mut tie_breakers.iter().map(|value| value >> bit & 1 == 1)),
            "bit {bit} of the tie-breakers"
        );
    }
}

/// There is no call that sets them, and nothing that comes from outside changes them.
///
/// Req: 8827-6.3-a
#[test]
fn only_the_seed_decides_our_credentials() {
    let own = |theirs: Option<(&str, &str)>, name: &str| {
        let mut agent = Agent::new(Config::default(), Role::Controlled, Seed::from_name(name)).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let first = agent.local_credentials(stream).unwrap().clone();
        let now = nilas::Instant::ZERO;
        let mut seen = vec![first];
        if let Some((ufrag, password)) = theirs {
            let credentials = Credentials::new(ufrag, password).unwrap();
            agent.set_remote_description(now, stream, &RemoteDescription::new(credentials)).unwrap();
            seen.push(agent.local_credentials(stream).unwrap().clone());
        }
        seen.push(agent.prepare_restart(now, stream).unwrap());
        seen.dedup();
        seen
    };
    let alone = own(None, "credentials");
    let told = own(Some(("chosen", "chosenPasswordOfThePeer")), "credentials");
    assert_eq!(alone, told);
    assert_eq!(alone.len(), 2, "a restart has others");
    let ours = (told[0].ufrag.as_str(), told[0].password.expose());
    assert_eq!(own(Some(ours), "credentials"), alone, "not even when the peer repeats ours");
    assert_ne!(own(None, "other"), alone);
}

/// Req: 8489-16.1.2-a
#[test]
fn no_message_says_what_software_it_is_of() {
    const SOFTWARE: u16 = 0x8022;
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check();
    let check = solo.seal(check);
    solo.receive(&check);
    let mut bad = solo.seal(nilas::sim::MessageBuilder::binding_request([9; 12]).username("nobody", "peer"));
    bad.truncate(bad.len());
    solo.receive(&bad);
    solo.run_for(ms(200));
    let sent = solo.take();
    let classes: BTreeSet<[u8; 2]> = sent.iter().map(|out| [out.bytes[0], out.bytes[1]]).collect();
    assert!(classes.is_superset(&[[0, 1], [1, 1], [1, 0x11]].into()), "request, answer and error: {classes:?}");
    assert!(sent.iter().all(|out| !kinds(&out.bytes).contains(&SOFTWARE)));
}

/// Req: 8445-19.5.1-a
/// Req: 8445-19.5.1-b
#[test]
fn a_peer_with_a_thousand_candidates_gets_a_hundred_checks_and_no_burst() {
    let candidates: Vec<_> = (0..1000_u32)
        .map(|number| {
            let (network, last) = (number / 250, number % 250 + 1);
            let line = format!(
                "candidate:{number} 1 udp {} 10.0.{network}.{last} {} typ host",
                1_000_000 + 256 * number,
                10_000 + number
            );
            line.parse().unwrap()
        })
        .collect();
    let mut pair = setup("thousand").right(|r| r.extra_candidates = candidates).build();
    // The one that works comes last, and gives way to none of them: it is checked by the peer.
    pair.run_for(secs(120));
    let requests = crate::help::requests(&pair.l.sent);
    let mut by_destination: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (_, request, sent) in &requests {
        by_destination.entry(sent.destination).or_default().insert(request.id);
    }
    assert!(by_destination.len() <= 101, "{} addresses", by_destination.len());
    assert!(requests.len() <= 101 * 7 + 60, "{} requests in two minutes, consent included", requests.len());
    assert!(pair.l.agent.pairs().count() <= 101);
    assert!(pair.l.agent.stats().remote_candidates_refused > 800);
    let mut starts: Vec<_> =
        BTreeMap::from_iter(requests.iter().rev().map(|(at, request, _)| (request.id, *at))).into_values().collect();
    starts.sort_unstable();
    assert!(starts.windows(2).all(|two| two[1] >= two[0] + ms(50)), "Ta apart");
    assert!(pair.agrees(), "and it connects all the same");
}

/// Which addresses are candidates is what the application adds, and nothing else is ever sent from or told.
///
/// Req: 8445-19.1-a
#[test]
fn only_addresses_that_were_added_are_told_or_used() {
    let mut solo = Solo::with_consent(Role::Controlling, Config::default());
    solo.describe(vec![host("203.0.113.1:6000")]);
    solo.run_for(secs(60));
    assert!(solo.out.iter().all(|out| out.source == solo.local));
    let told = solo.agent.local_candidates(solo.stream).map(|local| local.candidate.socket_address());
    assert_eq!(told.collect::<Vec<_>>(), [Some(solo.local)]);
}

/// Random bytes from the best known address, however many, change nothing but counters.
///
/// Req: proj-unauth-a
#[test]
fn noise_from_the_address_of_the_peer_changes_nothing() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    script.answer(BEST);
    let digest = |script: &Script| {
        let pairs = script.agent.pairs().map(|pair| (pair.id, pair.state, pair.is_valid, pair.is_nominated));
        format!("{:?} {:?}", pairs.collect::<Vec<_>>(), script.agent.stream_state(script.stream))
    };
    let (before, mut dice) = (digest(&script), Dice(7));
    for _ in 0..20_000 {
        let length = 20 + dice.roll() as usize % 120;
        let mut noise: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
        noise[0] &= 3;
        if dice.roll() % 2 == 0 {
            noise[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        assert!(!script.hear(BEST, &noise));
    }
    assert_eq!(digest(&script), before);
}
