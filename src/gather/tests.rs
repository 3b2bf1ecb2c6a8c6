//! The engine by itself: what is due when, and who is to blame.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::types::{Random, Schedule, Seed};

const SCHEDULE: Schedule = Schedule { rc: 7, rm: 16, rto: Duration::from_millis(500) };
const RTP: ComponentId = ComponentId::RTP;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(time: u64) -> Instant {
    after(Instant::ZERO, ms(time))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Engine {
    gatherer: Gatherer,
    random: Random,
    stream: StreamId,
}

impl Engine {
    /// An engine that asks these servers from one base.
    fn new(servers: &[&str]) -> Self {
        let servers: Vec<IceServer> = servers.iter().map(|address| IceServer::stun(address.parse().unwrap())).collect();
        let mut gatherer = Gatherer::default();
        gatherer.begin(servers.iter(), |_| true);
        let stream = StreamId(0);
        gatherer.add_base(stream, RTP, address("10.0.0.1:5000"), None);
        Self { gatherer, random: Random::new(&Seed::from_name("engine")), stream }
    }

    /// Starts the task whose turn it is.
    fn start(&mut self, now: Instant) -> TaskId {
        let id = self.gatherer.next().unwrap();
        let request = TransactionId::draw(&mut self.random);
        self.gatherer.start(id, now, request, SCHEDULE.begin(ms(500)), after(now, ms(10_000)));
        id
    }

    fn failures(&mut self) -> Vec<(u16, alloc::string::String)> {
        self.gatherer.tell_unreachable();
        core::iter::from_fn(|| self.gatherer.pop_failure()).map(|one| (one.code, one.url.to_string())).collect()
    }
}

#[test]
fn a_silent_server_is_asked_until_its_time_is_up_and_blamed_once() {
    let mut engine = Engine::new(&["192.0.2.1:3478"]);
    engine.start(Instant::ZERO);
    let mut sent = Vec::new();
    while let Some(due) = engine.gatherer.deadline() {
        assert!(engine.gatherer.has_open(engine.stream));
        assert!(engine.gatherer.advance(due).is_empty());
        if engine.gatherer.repeat(due).is_some() {
            sent.push(due);
        }
    }
    assert_eq!(sent, [at(500), at(1500), at(3500), at(7500)]);
    assert!(!engine.gatherer.has_open(engine.stream));
    assert_eq!(engine.failures(), [(701, "stun:192.0.2.1:3478".to_string())]);
    assert_eq!(engine.failures(), []);
}

#[test]
fn one_answer_is_enough_to_be_reached_and_a_refusal_is_one() {
    let mut engine = Engine::new(&["192.0.2.1:3478"]);
    engine.gatherer.add_base(engine.stream, RTP, address("10.0.0.2:5000"), None);
    let (first, second) = (engine.start(at(0)), engine.start(at(50)));
    engine.gatherer.finish(first, at(100), End::Silent);
    engine.gatherer.finish(second, at(100), End::Refused(400, "bad".into()));
    assert_eq!(engine.failures(), [(400, "stun:192.0.2.1:3478".to_string())]);
}

#[test]
fn what_is_forgotten_is_nobodys_fault() {
    let mut engine = Engine::new(&["192.0.2.1:3478", "192.0.2.2:3478"]);
    let first = engine.start(at(0));
    engine.gatherer.remove(|_| true);
    assert!(engine.gatherer.next().is_none() && engine.gatherer.deadline().is_none());
    assert!(engine.gatherer.get(first).is_none() && !engine.gatherer.has_open(engine.stream));
    assert_eq!(engine.failures(), []);
    // A base that comes later asks anew.
    engine.gatherer.add_base(engine.stream, RTP, address("10.0.0.3:5000"), None);
    assert_eq!(engine.gatherer.sought(), 2);
}

#[test]
fn an_address_that_is_known_is_asked_for_again_and_survives_a_missed_beat() {
    let mut engine = Engine::new(&["192.0.2.1:3478"]);
    let task = engine.start(at(0));
    engine.gatherer.finish(task, at(50), End::Answered);
    engine.gatherer.keep(task, CandidateId(7), at(15_050));
    assert_eq!(engine.gatherer.advance(at(15_050)), [task]);
    engine.gatherer.ask_again(task);
    assert_eq!(engine.start(at(15_050)), task);
    engine.gatherer.finish(task, at(20_000), End::Silent);
    assert_eq!(engine.failures(), []);
    assert_eq!(engine.gatherer.get(task).map(|task| task.candidate), Some(Some(CandidateId(7))));
    assert!(engine.gatherer.deadline().is_some(), "it is asked again");
}

#[test]
fn families_and_scopes_do_not_mix() {
    let reach = |base: &str, server: &str| can_reach(base.parse().unwrap(), server.parse().unwrap());
    assert!(reach("10.0.0.1", "192.0.2.1") && reach("2001:db8::1", "2001:db8::2"));
    assert!(reach("127.0.0.1", "127.0.0.1") && reach("fe80::1", "fe80::2"));
    assert!(!reach("10.0.0.1", "2001:db8::2") && !reach("2001:db8::1", "192.0.2.1"));
    assert!(!reach("127.0.0.1", "192.0.2.1") && !reach("10.0.0.1", "127.0.0.1"));
    assert!(!reach("fe80::1", "2001:db8::2"));
}
