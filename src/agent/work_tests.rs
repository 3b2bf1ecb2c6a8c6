//! How the work of an agent grows with what it has.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::format;
use std::vec::Vec;

use super::{Agent, RemoteDescription};
use crate::candidate::{SocketOptions, TcpType};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::types::{CandidateId, ComponentId, Instant, PairId, Role, Seed, StreamId, Transport, work};

fn theirs(name: &str) -> RemoteDescription {
    RemoteDescription::new(Credentials::new(name, "passwordOfThePeer01234567").unwrap())
}

/// An agent with so many streams, and so many pairs on each.
fn filled(streams: u32, pairs: u32, transport: Transport) -> Agent {
    let now = Instant::ZERO;
    let config =
        Config::default().with_max_pairs(10_000).with_max_remote_candidates(10_000).with_max_connections(10_000);
    let mut agent = Agent::new(config, Role::Controlling, Seed::from_name("work")).unwrap();
    for _ in 0..streams {
        let stream = agent.add_stream(1).unwrap();
        let port = 5000 + u16::try_from(stream.0).unwrap();
        let base = SocketAddr::from(([192, 0, 2, 1], port));
        let options = SocketOptions { tcp_type: TcpType::Active, ..SocketOptions::default() };
        agent.add_socket_with(now, stream, ComponentId::RTP, transport, base, options).unwrap();
        while agent.poll_event().is_some() {}
        agent.set_remote_description(now, stream, &theirs("peer")).unwrap();
        for n in 0..pairs {
            let ip = Ipv4Addr::from(0x0a00_0000 + n);
            let way = if transport == Transport::Tcp { "tcp" } else { "udp" };
            let tail = if transport == Transport::Tcp { " tcptype passive" } else { "" };
            let line = format!("candidate:{} 1 {way} {} {ip} 6000 typ host{tail}", n % 7, 1000 + n % 97);
            let _ = agent.add_remote_candidate(now, stream, line.parse().unwrap()).unwrap();
        }
    }
    agent.set.settle_fresh();
    assert_eq!(agent.set.len(), (streams * pairs) as usize);
    agent
}

fn ids(agent: &Agent) -> Vec<PairId> {
    agent.set.iter().map(|pair| pair.id).collect()
}

fn trigger_all(agent: &mut Agent) {
    ids(agent).into_iter().for_each(|id| agent.trigger(id));
}

fn queue_all(agent: &mut Agent) {
    ids(agent).into_iter().for_each(|id| {
        agent.outbox.queue_probe(id);
        agent.outbox.queue_consent(id);
    });
}

fn make_all_valid(agent: &mut Agent) {
    ids(agent).into_iter().for_each(|id| agent.set.validate_unchecked(Instant::ZERO, id));
}

fn open_all(agent: &mut Agent) {
    for id in ids(agent) {
        let _ = agent.dial(id);
    }
}

fn flip(agent: &mut Agent) {
    agent.take_role(Role::Controlled);
    agent.evaluate();
}

fn restart(agent: &mut Agent) {
    let stream = agent.streams[0].id;
    agent.prepare_restart(Instant::ZERO, stream).unwrap();
    agent.set_remote_description(Instant::ZERO, stream, &theirs("peer2")).unwrap();
    agent.evaluate();
}

fn remove_local(agent: &mut Agent) {
    let stream = &agent.streams[0];
    let (stream, local): (StreamId, CandidateId) = (stream.id, stream.locals.iter().next().unwrap().id);
    agent.remove_local_candidate(Instant::ZERO, stream, local).unwrap();
    agent.evaluate();
}

fn remove_remote(agent: &mut Agent) {
    let stream = &agent.streams[0];
    let (stream, remote) = (stream.id, stream.remotes.iter().next().unwrap().id);
    agent.remove_remote_candidate(Instant::ZERO, stream, remote).unwrap();
    agent.evaluate();
}

fn remove_stream(agent: &mut Agent) {
    let stream = agent.streams[0].id;
    agent.remove_stream(Instant::ZERO, stream).unwrap();
    agent.evaluate();
}

fn retire(agent: &mut Agent) {
    let place = (agent.streams[0].id, ComponentId::RTP);
    let gone = agent.set.drop_others(place, crate::checklist::Why::Superseded, |_| false);
    gone.into_iter().for_each(|pair| agent.let_go(pair));
    agent.evaluate();
}

fn close(agent: &mut Agent) {
    agent.close(Instant::ZERO);
    agent.evaluate();
}

fn change_network(agent: &mut Agent) {
    agent.network_changed(Instant::ZERO);
    agent.evaluate();
}

fn look(agent: &mut Agent) {
    agent.evaluate();
    let _ = agent.poll_timeout();
}

fn check(agent: &mut Agent) {
    agent.handle_timeout(Instant::ZERO + Duration::from_secs(1));
    let _ = agent.poll_transmit(Instant::ZERO + Duration::from_secs(1), &mut Vec::new());
}

type Act = fn(&mut Agent);

const ACTS: [(&str, Act); 12] = [
    ("a flip of the roles", flip),
    ("a restart", restart),
    ("the removal of our candidate", remove_local),
    ("the removal of a candidate of the peer", remove_remote),
    ("the removal of a stream", remove_stream),
    ("a nomination", retire),
    ("the end", close),
    ("another network", change_network),
    ("a look", look),
    ("a check", check),
    ("checks of the peer on all pairs", trigger_all),
    ("connections of all pairs", open_all),
];

/// The work of all acts on an agent, after each of the preparations.
fn costs(agent: &Agent, preparations: &[(&'static str, Act)]) -> Vec<(std::string::String, u64)> {
    let mut costs = Vec::new();
    for (before, prepare) in preparations {
        let mut prepared = agent.clone();
        prepare(&mut prepared);
        for (name, act) in ACTS {
            let mut agent = prepared.clone();
            work::take();
            act(&mut agent);
            costs.push((format!("{name}, {before}"), work::take()));
        }
    }
    costs
}

fn compare(few: &[(std::string::String, u64)], many: &[(std::string::String, u64)], times: u64) {
    let mut too_much = Vec::new();
    for ((name, few), (_, many)) in few.iter().zip(many) {
        // What costs little is counted from where it costs something.
        if *many > (*few).max(200) * times * 12 / 10 {
            too_much.push(format!("{name}: {few}, {many}"));
        }
    }
    assert!(too_much.is_empty(), "{too_much:#?}");
}

#[test]
fn ten_times_the_pairs_cost_no_more_than_twelve_times_the_work() {
    let before: [(&str, Act); 4] = [
        ("while pairs wait", |_| ()),
        ("while all are in the queue of triggered checks", trigger_all),
        ("while all wait to be sent", queue_all),
        ("while all are valid", make_all_valid),
    ];
    let [few, many] = [100, 1000].map(|pairs| costs(&filled(1, pairs, Transport::Udp), &before));
    compare(&few, &many, 10);
}

#[test]
fn ten_times_the_connections_cost_no_more_than_twelve_times_the_work() {
    let before: [(&str, Act); 2] = [
        ("while all are opened", open_all),
        ("while all are valid", |agent| {
            open_all(agent);
            make_all_valid(agent);
        }),
    ];
    let [few, many] = [100, 1000].map(|pairs| costs(&filled(1, pairs, Transport::Tcp), &before));
    compare(&few, &many, 10);
}

#[test]
fn ten_times_the_streams_cost_no_more_than_twelve_times_the_work() {
    let before: [(&str, Act); 2] = [("while pairs wait", |_| ()), ("while all are valid", make_all_valid)];
    let [few, many] = [20, 200].map(|streams| costs(&filled(streams, 3, Transport::Udp), &before));
    compare(&few, &many, 10);
}
