//! Many streams in one agent: Ta is for checks and gathering, and consent has a schedule of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nilas::sim::{Wire, is_consent_check};
use nilas::{Agent, ComponentId, Config, Datagram, Event, Instant, RemoteDescription, Role, Seed, StreamId, Transport};

use crate::help::{ms, secs};

const RTP: ComponentId = ComponentId::RTP;

/// Two agents with so many streams of one component and one pair each, and nothing between them.
struct Crowd {
    agents: [Agent; 2],
    streams: Vec<StreamId>,
    now: Instant,
    /// When each agent has sent consent checks, and new transactions of other kinds.
    consent: [Vec<Instant>; 2],
    starts: [Vec<Instant>; 2],
    is_cut: bool,
}

impl Crowd {
    fn new(streams: u16, config: &Config) -> Self {
        let now = Instant::ZERO;
        let new = |role, name| Agent::new(config.clone(), role, Seed::from_name(name)).unwrap();
        let mut agents = [new(Role::Controlling, "l"), new(Role::Controlled, "r")];
        let mut ids = Vec::new();
        for number in 0..streams {
            for (side, agent) in agents.iter_mut().enumerate() {
                let id = agent.add_stream(1).unwrap();
                let address = SocketAddr::from(([198, 51, 100, side as u8 + 1], 5000 + number));
                agent.add_socket(now, id, RTP, Transport::Udp, address).unwrap();
                agent.end_of_local_candidates(now, id).unwrap();
                if side == 0 {
                    ids.push(id);
                }
            }
        }
        for id in &ids {
            for side in 0..2 {
                let credentials = agents[1 - side].local_credentials(*id).unwrap().clone();
                let remote = RemoteDescription::new(credentials).with_ice2(true);
                agents[side].set_remote_description(now, *id, &remote).unwrap();
            }
        }
        Self { agents, streams: ids, now, consent: Default::default(), starts: Default::default(), is_cut: false }
    }

    /// Polls both until they are quiet; what they send arrives at once.
    fn settle(&mut self) {
        let now = self.now;
        let mut seen: BTreeMap<[u8; 12], ()> = BTreeMap::new();
        let mut buffer = Vec::new();
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for side in 0..2 {
                let [l, r] = &mut self.agents;
                let (from, to) = if side == 0 { (l, r) } else { (r, l) };
                while let Some(event) = from.poll_event() {
                    match event {
                        Event::LocalCandidate { stream, candidate, .. } => {
                            let _ = to.add_remote_candidate(now, stream, *candidate).unwrap();
                        }
                        Event::EndOfCandidates { stream, .. } => to.end_of_remote_candidates(now, stream).unwrap(),
                        _ => {}
                    }
                }
                buffer.clear();
                while let Some(transmit) = from.poll_transmit(now, &mut buffer) {
                    is_quiet = false;
                    if is_consent_check(from, &buffer) {
                        self.consent[side].push(now);
                    } else if let Wire::Request(request) = Wire::decode(&buffer) {
                        if seen.insert(request.id, ()).is_none() {
                            self.starts[side].push(now);
                        }
                    }
                    if !self.is_cut {
                        let _ = to.handle_datagram(now, &Datagram::new(transmit.source, transmit.destination, &buffer));
                    }
                    buffer.clear();
                }
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(next) = self.agents.iter().filter_map(Agent::poll_timeout).min().filter(|at| *at <= end) {
            self.now = self.now.max(next);
            let now = self.now;
            self.agents.iter_mut().for_each(|agent| agent.handle_timeout(now));
            self.settle();
        }
        self.now = end;
    }

    fn selected(&self) -> usize {
        let is_selected = |id: &&StreamId| self.agents.iter().all(|agent| agent.selected_pair(**id, RTP).is_some());
        self.streams.iter().filter(is_selected).count()
    }

    fn forget(&mut self) {
        self.consent = Default::default();
        self.starts = Default::default();
    }
}

/// The most of these that are within some time of each other.
fn most_within(times: &[Instant], time: Duration) -> usize {
    let within = |at: &Instant| times.iter().filter(|other| **other >= *at && **other < *at + time).count();
    times.iter().map(within).max().unwrap_or_default()
}

#[test]
fn events_of_hundreds_of_streams_wait_until_they_are_polled() {
    let mut crowd = Crowd::new(500, &Config::default().with_max_pairs(1000));
    crowd.settle();
    for agent in &crowd.agents {
        assert_eq!(agent.stats().events_lost, 0);
        let heard = crowd.streams.iter().filter(|id| agent.remote_candidates(**id).count() == 1).count();
        assert_eq!(heard, 500, "the candidates of every stream are told");
    }
}

/// With Ta at 500 ms, 30 streams are as many as 300 are with 50 ms: consent alone would fill it thrice.
///
/// Req: 8445-14.2-a
/// Req: 7675-5.1-d
#[test]
fn streams_whose_consent_would_fill_ta_connect_in_the_time_that_ta_needs() {
    let mut crowd = Crowd::new(30, &Config::default().with_ta(ms(500)));
    // One check and one nomination for each, Ta apart.
    crowd.run_for(ms(500) * (2 * 30) + secs(1));
    assert_eq!(crowd.selected(), 30);
    for starts in &crowd.starts {
        assert_eq!(most_within(starts, ms(500)), 1, "Ta is kept by checks");
    }
    crowd.forget();
    crowd.run_for(secs(12));
    for consent in &crowd.consent {
        assert!((60..=90).contains(&consent.len()), "{} consent checks of 30 pairs in 12 s", consent.len());
    }
}

#[test]
fn consent_that_is_due_for_many_streams_at_once_is_spread() {
    let mut crowd = Crowd::new(60, &Config::default().with_max_pairs(1000).with_ta(ms(5)));
    crowd.run_for(secs(7));
    assert_eq!(crowd.selected(), 60);
    let calls: [fn(&mut Agent, Instant); 2] = [
        |agent, now| agent.network_changed(now),
        |agent, now| {
            agent.set_idle(now, true);
            while agent.poll_event().is_some() {}
            agent.set_idle(now, false);
        },
    ];
    for (index, call) in calls.into_iter().enumerate() {
        if index == 1 {
            // It sleeps until all of them are due.
            crowd.now += secs(9);
        }
        crowd.forget();
        let now = crowd.now;
        crowd.agents.iter_mut().for_each(|agent| call(agent, now));
        crowd.run_for(secs(3));
        for consent in &crowd.consent {
            assert!(consent.len() >= 60, "call {index}: {}", consent.len());
            assert!(most_within(consent, ms(30)) <= 2, "call {index}: {}", most_within(consent, ms(30)));
        }
        assert_eq!(crowd.selected(), 60);
        crowd.run_for(secs(20));
    }
}

/// Req: 7675-5.1-b
#[test]
fn consent_of_many_streams_ends_in_time_for_each_of_them() {
    let mut crowd = Crowd::new(40, &Config::default().with_max_pairs(1000).with_ta(ms(5)));
    crowd.run_for(secs(7));
    crowd.is_cut = true;
    crowd.forget();
    crowd.run_for(secs(31));
    assert_eq!(crowd.selected(), 0);
    for consent in &crowd.consent {
        // While all of them are probed, that is bounded, too.
        assert!(most_within(consent, secs(1)) <= 25, "{} a second", most_within(consent, secs(1)));
    }
}
