//! The tables of candidates and pairs, rebuilt from events alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nilas::sim::{NatConfig, Pair, PairSetup, SideName, SideSetup};
use nilas::{
    Agent, ApplicationNominates, Candidate, CandidateId, CandidateKind, CandidatePairState, ComponentId, Config, Event,
    PairId, Renomination, StreamId, TcpType, Transport,
};

use crate::duo::Dice;
use crate::help::{secs, setup};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Local {
    candidate: Candidate,
    base: SocketAddr,
    url: Option<String>,
    is_announced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    candidate: Candidate,
    is_signalled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    stream: StreamId,
    component: ComponentId,
    local: CandidateId,
    remote: CandidateId,
    state: CandidatePairState,
    is_valid: bool,
    is_nominated: bool,
    is_selected: bool,
}

/// The tables as events tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tables {
    locals: BTreeMap<(StreamId, CandidateId), Local>,
    remotes: BTreeMap<(StreamId, CandidateId), Remote>,
    pairs: BTreeMap<PairId, Row>,
}

impl Tables {
    /// What an agent says when it is asked.
    fn of(agent: &Agent) -> Self {
        let mut tables = Self::default();
        for stream in agent.streams() {
            for view in agent.local_candidates(stream) {
                let (candidate, url) = (view.candidate.clone(), view.url.map(String::from));
                let local = Local { candidate, base: view.base, url, is_announced: view.is_announced };
                tables.locals.insert((stream, view.id), local);
            }
            for view in agent.remote_candidates(stream) {
                let remote = Remote { candidate: view.candidate.clone(), is_signalled: view.is_signalled };
                tables.remotes.insert((stream, view.id), remote);
            }
        }
        for view in agent.pairs() {
            let row = Row {
                stream: view.stream,
                component: view.component,
                local: view.local_id,
                remote: view.remote_id,
                state: view.state,
                is_valid: view.is_valid,
                is_nominated: view.is_nominated,
                is_selected: view.is_selected,
            };
            tables.pairs.insert(view.id, row);
        }
        tables
    }

    /// Takes an event. What it is about has been told of before.
    fn take(&mut self, event: &Event) {
        match event {
            Event::LocalCandidateAdded { stream, id, candidate, base, url }
            | Event::LocalCandidateChanged { stream, id, candidate, base, url } => {
                let is_new = matches!(event, Event::LocalCandidateAdded { .. });
                let before = self.locals.get(&(*stream, *id));
                assert_eq!(before.is_none(), is_new, "{event:?}");
                let is_announced = before.is_some_and(|before| before.is_announced);
                let (candidate, url) = (Candidate::clone(candidate), url.as_deref().map(String::from));
                self.locals.insert((*stream, *id), Local { candidate, base: *base, url, is_announced });
            }
            Event::LocalCandidate { stream, id, candidate, .. } => {
                let local = self.locals.get_mut(&(*stream, *id)).expect("it was told of before");
                local.is_announced = true;
                assert_eq!(local.candidate.foundation(), candidate.foundation());
            }
            Event::LocalCandidateRemoved { stream, id } => {
                assert!(self.locals.remove(&(*stream, *id)).is_some());
                let is_of = |row: &&Row| row.stream == *stream && row.local == *id;
                assert_eq!(self.pairs.values().find(is_of), None, "pairs go first");
            }
            Event::RemoteCandidateAdded { stream, id, candidate }
            | Event::RemoteCandidateDiscovered { stream, id, candidate } => {
                let is_signalled = matches!(event, Event::RemoteCandidateAdded { .. });
                let remote = Remote { candidate: Candidate::clone(candidate), is_signalled };
                assert_eq!(self.remotes.insert((*stream, *id), remote), None, "{event:?}");
            }
            Event::RemoteCandidateMerged { stream, id, candidate }
            | Event::RemoteCandidateChanged { stream, id, candidate } => {
                let remote = self.remotes.get_mut(&(*stream, *id)).expect("it was told of before");
                remote.candidate = Candidate::clone(candidate);
                remote.is_signalled |= matches!(event, Event::RemoteCandidateMerged { .. });
            }
            Event::RemoteCandidateRemoved { stream, id } => {
                assert!(self.remotes.remove(&(*stream, *id)).is_some());
            }
            Event::PairAdded { pair, stream, component, local, remote } => {
                assert!(self.locals.contains_key(&(*stream, *local)) && self.remotes.contains_key(&(*stream, *remote)));
                let row = Row {
                    stream: *stream,
                    component: *component,
                    local: *local,
                    remote: *remote,
                    state: CandidatePairState::Frozen,
                    is_valid: false,
                    is_nominated: false,
                    is_selected: false,
                };
                assert_eq!(self.pairs.insert(*pair, row), None, "{event:?}");
            }
            Event::PairCandidatesChanged { pair, local, remote } => {
                let row = self.row(*pair);
                (row.local, row.remote) = (*local, *remote);
            }
            Event::PairStateChanged { pair, state } => self.row(*pair).state = *state,
            Event::PairValidityChanged { pair, is_valid } => self.row(*pair).is_valid = *is_valid,
            Event::PairNominated { pair } => self.row(*pair).is_nominated = true,
            Event::PairNominationLost { pair } => self.row(*pair).is_nominated = false,
            Event::PairRemoved { pair } => assert!(self.pairs.remove(pair).is_some()),
            Event::SelectedPairChanged { stream, component, pair, .. } => {
                for row in self.pairs.values_mut() {
                    row.is_selected &= (row.stream, row.component) != (*stream, *component);
                }
                if let Some(pair) = pair {
                    self.row(*pair).is_selected = true;
                }
            }
            _ => {}
        }
    }

    fn row(&mut self, pair: PairId) -> &mut Row {
        self.pairs.get_mut(&pair).expect("it was told of before")
    }
}

/// The tables of both sides, followed.
#[derive(Clone, Debug, Default)]
struct Follower {
    tables: [Tables; 2],
    taken: [usize; 2],
    /// How many events of tables there were.
    told: usize,
}

impl Follower {
    fn follow(&mut self, pair: &Pair, what: &str) {
        for (index, peer) in [&pair.l, &pair.r].into_iter().enumerate() {
            for (_, event) in &peer.events[self.taken[index]..] {
                self.told += usize::from(format!("{event:?}").contains("Pair"));
                self.tables[index].take(event);
            }
            self.taken[index] = peer.events.len();
            let actual = Tables::of(&peer.agent);
            assert_eq!(self.tables[index], actual, "{what}, side {index}, at {:?}", pair.now());
        }
    }
}

fn with_events(side: &mut SideSetup) {
    side.config = side.config.clone().with_pair_events(true);
}

/// Something that an application does.
fn meddle(pair: &mut Pair, dice: &mut Dice) {
    let side = if dice.below(2) == 0 { SideName::L } else { SideName::R };
    let now = pair.now();
    let streams = pair.streams().to_vec();
    let stream = streams[dice.below(streams.len() as u64) as usize];
    let which = dice.below(64) as usize;
    let kind = dice.below(14);
    let agent = match side {
        SideName::L => &mut pair.l.agent,
        SideName::R => &mut pair.r.agent,
    };
    let of = |mut ids: Vec<CandidateId>| (!ids.is_empty()).then(|| ids.swap_remove(which % ids.len()));
    match kind {
        0 => {
            if let Some(id) = of(agent.local_candidates(stream).map(|view| view.id).collect()) {
                let _ = agent.remove_local_candidate(now, stream, id);
            }
        }
        1 => {
            if let Some(id) = of(agent.remote_candidates(stream).map(|view| view.id).collect()) {
                let _ = agent.remove_remote_candidate(now, stream, id);
            }
        }
        2 => {
            let bases: Vec<_> = agent.local_candidates(stream).map(|view| view.base).collect();
            if let Some(base) = bases.get(which % bases.len().max(1)) {
                let mapped = SocketAddr::from(([192, 0, 2, 77], 3000 + which as u16));
                let _ = agent.add_server_reflexive(now, stream, *base, mapped, None);
            }
        }
        3 => {
            let strange =
                format!("candidate:x{} 1 udp {} 192.0.2.{} 9000 typ host", which % 4, 1 + which * 1000, which % 9);
            let _ = agent.add_remote_candidate(now, stream, strange.parse().unwrap());
        }
        4 => {
            // What is known, with another priority: merged, or changed.
            let known: Vec<_> = agent.remote_candidates(stream).map(|view| view.candidate.clone()).collect();
            if let Some(known) = known.get(which % known.len().max(1)) {
                if let Some(address) = known.socket_address().filter(|_| known.transport() == Transport::Udp) {
                    let (component, foundation) = (known.component(), known.foundation());
                    let priority = nilas::Priority::new(known.priority().get().saturating_add(which as u32)).unwrap();
                    let again = Candidate::new(CandidateKind::Host, component, foundation, priority, address);
                    let _ = agent.add_remote_candidate(now, stream, again);
                }
            }
        }
        5 | 6 => {
            let pairs: Vec<_> = agent.pairs().map(|view| view.id).collect();
            if let Some(id) = pairs.get(which % pairs.len().max(1)) {
                let _ = if kind == 5 { agent.nominate(now, *id).is_ok() } else { agent.remove_pair(now, *id).is_ok() };
            }
        }
        7 => {
            if let Some(id) = of(agent.local_candidates(stream).map(|view| view.id).collect()) {
                let _ = agent.set_network_cost(now, stream, id, which as u16);
            }
        }
        8 => agent.network_changed(now),
        9 => pair.restart(side, stream),
        10 => {
            let _ = agent.prepare_restart(now, stream);
            if which % 2 == 0 {
                let _ = agent.rollback_restart(now, stream);
            }
        }
        11 if which % 8 == 0 => drop(agent.remove_stream(now, stream)),
        12 if which % 8 == 0 => drop(agent.keep_components(now, stream, 1)),
        13 if which % 16 == 0 => agent.close(now),
        _ => {}
    }
    pair.drain(side);
}

/// Runs with random interference and compares at each step; gives the number of events about pairs.
fn run(what: &str, setup: PairSetup, seed: u64, steps: usize) -> usize {
    let mut pair = setup.left(with_events).right(with_events).build();
    let (mut dice, mut follower) = (Dice(seed), Follower::default());
    follower.follow(&pair, what);
    for step in 0..steps {
        let Some(next) = pair.next_step() else { break };
        pair.step_to(next);
        follower.follow(&pair, what);
        if step % 4 == 3 && dice.below(6) == 0 {
            meddle(&mut pair, &mut dice);
            follower.follow(&pair, what);
        }
    }
    follower.told
}

fn scenarios(seed: u64) -> Vec<(&'static str, PairSetup)> {
    let server: IpAddr = "192.0.2.100".parse().unwrap();
    let make = |what: &str| setup(&format!("tables {what} {seed}"));
    let nat = |side: &mut SideSetup| {
        side.addresses = vec!["10.0.0.2".parse().unwrap()];
        side.nats = vec![NatConfig::symmetric(["198.51.100.200".parse().unwrap()])];
    };
    let renominates = |side: &mut SideSetup| side.config = side.config.clone().with_renomination(true);
    let lite = |side: &mut SideSetup| side.config = side.config.clone().with_lite(true);
    let tcp = |side: &mut SideSetup| {
        side.udp = false;
        side.tcp = vec![TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
    };
    let tight = |side: &mut SideSetup| {
        side.config = side.config.clone().with_max_pairs(4).with_max_remote_candidates(3).with_max_peer_reflexive(1);
    };
    let manual =
        |side: &mut SideSetup| side.config = side.config.clone().with_nomination_policy(Arc::new(ApplicationNominates));
    let mut several = make("several").addresses(2, 2).left(|l| l.components = 2).right(|r| r.components = 2);
    several.streams = 2;
    vec![
        ("plain", make("plain").addresses(2, 2)),
        ("nat", make("nat").left(nat).addresses(1, 2).left(nat)),
        ("relay", make("relay").with_turn(server).left(nat)),
        (
            "renomination",
            make("renomination")
                .addresses(2, 3)
                .left(renominates)
                .right(renominates)
                .renomination(Renomination::Draft2026),
        ),
        ("lite", make("lite").addresses(2, 2).right(lite)),
        ("tcp", make("tcp").left(tcp).right(tcp)),
        ("tight", make("tight").addresses(4, 4).left(tight).right(tight)),
        ("manual", make("manual").addresses(2, 2).left(manual)),
        ("same roles", make("same roles").addresses(2, 2).roles(nilas::Role::Controlled, nilas::Role::Controlled)),
        ("several", several),
    ]
}

#[test]
fn the_events_suffice_to_rebuild_the_tables_at_each_step_of_random_runs() {
    let mut told = 0;
    for seed in 0..4 {
        for (what, setup) in scenarios(seed) {
            told += run(what, setup, seed, 250);
        }
    }
    assert!(told > 2_000, "{told}");
}

/// An application that polls too rarely loses no change of the tables, whatever else it loses.
#[test]
fn changes_that_find_no_room_are_told_later() {
    let config = Config::default().with_pair_events(true).with_max_pairs(4000).with_max_remote_candidates(100);
    let mut agent = Agent::new(config, nilas::Role::Controlling, nilas::Seed::from_name("room")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let now = crate::help::at(0);
    for last in 1..=40 {
        let address = SocketAddr::from(([10, 0, 0, last], 5000));
        agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address).unwrap();
    }
    let mut tables = Tables::default();
    while let Some(event) = agent.poll_event() {
        tables.take(&event);
    }
    let credentials = nilas::Credentials::new("peer", "password/of/the/peer/00").unwrap();
    let lines =
        (1..=40).map(|last| format!("candidate:{last} 1 udp {last} 192.0.2.{last} 4000 typ host").parse().unwrap());
    let description = nilas::RemoteDescription::new(credentials).with_candidates(lines.collect());
    agent.set_remote_description(now, stream, &description).unwrap();
    let mut buffer = Vec::new();
    let _ = agent.poll_transmit(now, &mut buffer);
    while let Some(event) = agent.poll_event() {
        tables.take(&event);
    }
    // Events of other kinds may be lost, and are counted.
    let counts =
        (agent.pairs().count(), agent.local_candidates(stream).count(), agent.remote_candidates(stream).count());
    assert!(counts.0 > 1024, "more than the queue holds: {counts:?}, {:?}", agent.stats());
    for local in tables.locals.values_mut() {
        local.is_announced = true;
    }
    let mut actual = Tables::of(&agent);
    for local in actual.locals.values_mut() {
        local.is_announced = true;
    }
    assert_eq!(tables, actual);
}

#[test]
fn without_being_asked_the_agent_tells_nothing_of_its_tables() {
    let mut pair = setup("no tables").addresses(2, 2).build();
    pair.run_for(secs(1));
    let is_of_tables = |event: &Event| {
        let text = format!("{event:?}");
        let is_candidate = text.starts_with("RemoteCandidate") || text.starts_with("LocalCandidate");
        is_candidate && !matches!(event, Event::LocalCandidate { .. }) || text.starts_with("Pair")
    };
    assert!(pair.l.events.iter().all(|(_, event)| !is_of_tables(event)));
}
