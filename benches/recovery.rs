//! How long sessions take to notice and to mend what happens to the network: distributions over 500 seeds, in virtual
//! time. `cargo bench --bench recovery`; a number as argument sets how many seeds.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a benchmark")]

use std::net::IpAddr;
use std::time::Duration;

use nilas::sim::{Link, NatConfig, Pair, PairSetup, SideName};
use nilas::{
    ComponentId, ConnectionState, Event, Instant, PathHealth, Renomination, Role, Seed, SendFailure, SocketOptions,
    Transport,
};

const RTP: ComponentId = ComponentId::RTP;
const DRAFT: Renomination = Renomination::Draft2016;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1)).copied().unwrap_or_default();
    println!(
        "{name:<58} median {:>7.3} s, 95% {:>7.3} s, 99% {:>7.3} s, worst {:>7.3} s ({} sessions)",
        at(50).as_secs_f64(),
        at(95).as_secs_f64(),
        at(99).as_secs_f64(),
        at(100).as_secs_f64(),
        times.len()
    );
}

/// A connected session; something is different with each seed.
fn connected(seed: u64, change: impl FnOnce(PairSetup) -> PairSetup) -> Pair {
    let setup = PairSetup::new(Seed::from_number(seed)).renomination(DRAFT);
    let roles = [Role::Controlling, Role::Controlled];
    let (l, r) = (roles[(seed % 2) as usize], roles[((seed + 1) % 2) as usize]);
    let mut pair = change(setup.roles(l, r)).build();
    assert!(pair.run_until_selected(secs(10)), "seed {seed}");
    pair.run_for(secs(3) + ms(seed * 37 % 6000));
    pair
}

fn since(pair: &Pair, at: Instant) -> Duration {
    pair.now().saturating_duration_since(at)
}

/// The time until data of both sides arrives again.
fn until_data_flows(pair: &mut Pair) -> Duration {
    let (start, seen) = (pair.now(), [pair.l.received.len(), pair.r.received.len()]);
    while pair.l.received.len() == seen[0] || pair.r.received.len() == seen[1] {
        let _ = pair.send(SideName::L, b"from l");
        let _ = pair.send(SideName::R, b"from r");
        pair.run_for(ms(5));
        assert!(since(pair, start) < secs(120), "data does not flow any more");
    }
    since(pair, start)
}

fn dead_path(seed: u64) -> Duration {
    let mut pair = connected(seed, |setup| setup);
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    let cut = pair.now();
    assert!(pair.run_until(secs(60), |pair| pair.l.reached(ConnectionState::Disconnected).is_some()));
    since(&pair, cut)
}

fn switch(seed: u64) -> Duration {
    let mut pair = connected(seed, |setup| setup);
    let (stream, now, host) = (pair.stream(), pair.now(), pair.host(SideName::L));
    let ip: IpAddr = "198.51.100.99".parse().unwrap();
    let old: Vec<_> = pair.l.agent.local_candidates(stream).map(|local| (local.id, local.base.ip())).collect();
    pair.network.add_interface(host, ip).unwrap();
    for (id, ip) in old {
        let _ = pair.l.agent.remove_local_candidate(now, stream, id);
        let _ = pair.network.set_interface_up(host, ip, false);
    }
    pair.l.add_socket(now, stream, RTP, (ip, 6000).into()).unwrap();
    pair.drain(SideName::L);
    let time = until_data_flows(&mut pair);
    pair.run_for(secs(5));
    assert!(pair.agrees(), "seed {seed}");
    time
}

/// A session with one side behind a NAT; without a draft, each takes one nomination.
fn behind_nat(seed: u64, draft: Option<Renomination>) -> Pair {
    connected(seed, |setup| {
        let mut setup = setup.left(|side| {
            side.addresses = vec!["10.0.0.2".parse().unwrap()];
            side.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
        });
        (setup.l.renomination, setup.r.renomination) = (draft, draft);
        setup
    })
}

fn rebinding(seed: u64, is_told: bool) -> Duration {
    let mut pair = behind_nat(seed, Some(DRAFT));
    let time = rebind(&mut pair, "192.0.2.9", is_told);
    pair.run_for(secs(10));
    assert!(pair.agrees(), "seed {seed}");
    time
}

fn rebind(pair: &mut Pair, to: &str, is_told: bool) -> Duration {
    let nat = pair.nats[&SideName::L][0];
    pair.network.rebind_to(nat, [to.parse().unwrap()]).unwrap();
    if is_told {
        let now = pair.now();
        pair.l.agent.network_changed(now);
        pair.drain(SideName::L);
    }
    until_data_flows(pair)
}

/// The fifth of five changes of the mapping, 1 s to 100 s apart, with a peer that takes one nomination.
fn fifth_rebinding(seed: u64, is_told: bool) -> Duration {
    let mut pair = behind_nat(seed, None);
    let mut time = Duration::ZERO;
    for round in 0..5 {
        time = rebind(&mut pair, &format!("192.0.2.{}", 10 + round), is_told);
        pair.run_for(ms([1000, 5000, 31_000, 100_000, 0][round]));
    }
    pair.run_for(secs(40));
    assert!(pair.agrees(), "seed {seed}");
    time
}

/// An outage in both directions: whether a side is told of it as disconnected, and whether consent of one ends.
fn outage(seed: u64, time: Duration) -> (bool, bool) {
    let mut pair = connected(seed, |setup| setup);
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(time);
    pair.network.mend_both(l, r);
    pair.run_for(secs(12));
    let is_told = [&pair.l, &pair.r].iter().any(|peer| peer.reached(ConnectionState::Disconnected).is_some());
    let ended = |(_, event): &(Instant, Event)| matches!(event, Event::ConsentEnded { .. });
    let is_over = pair.l.events.iter().chain(&pair.r.events).any(ended);
    (is_told, is_over)
}

/// The time until data of both sides arrives again after an interface is gone, and the host says so.
fn send_failure(seed: u64, failure: SendFailure) -> Duration {
    let mut pair = connected(seed, |setup| setup.addresses(2, 2));
    pair.run_for(secs(30));
    let (stream, host) = (pair.stream(), pair.host(SideName::L));
    let used = pair.l.agent.selected_pair(stream, RTP).unwrap();
    let (base, remote) = (used.base, used.remote_address);
    pair.network.set_interface_up(host, base.ip(), false).unwrap();
    let (start, seen) = (pair.now(), [pair.l.received.len(), pair.r.received.len()]);
    while pair.l.received.len() == seen[0] || pair.r.received.len() == seen[1] {
        let is_stuck = pair.l.agent.usable_pair(stream, RTP).is_some_and(|used| used.base == base);
        let _ = pair.send(SideName::L, b"from l");
        if is_stuck {
            let now = pair.now();
            pair.l.agent.handle_send_failure(now, base, remote, failure);
            pair.drain(SideName::L);
        }
        let _ = pair.send(SideName::R, b"from r");
        pair.run_for(ms(5));
        assert!(since(&pair, start) < secs(120), "seed {seed}: data does not flow any more");
    }
    since(&pair, start)
}

/// From the first suspicion on either side to both ends on the other pair.
fn failover(seed: u64) -> Duration {
    let mut pair = connected(seed, |setup| setup.addresses(2, 1));
    let (stream, host) = (pair.stream(), pair.host(SideName::L));
    let dead = pair.l.agent.selected_pair(stream, RTP).unwrap().base.ip();
    pair.network.set_interface_up(host, dead, false).unwrap();
    let cut = pair.now();
    let is_moved = |pair: &Pair| {
        [&pair.l, &pair.r].iter().all(|peer| {
            let one = peer.agent.selected_pair(stream, RTP).unwrap();
            one.base.ip() != dead && one.remote_address.ip() != dead
        })
    };
    assert!(pair.run_until(secs(30), is_moved), "seed {seed}");
    let events = pair.l.events.iter().chain(&pair.r.events);
    let is_suspicion = |event: &Event| matches!(event, Event::PathHealthChanged { health: PathHealth::Suspect, .. });
    let detected = events.filter(|(at, event)| *at >= cut && is_suspicion(event)).map(|(at, _)| *at).min().unwrap();
    // The default policy is patient for 2 s from the first check that was not answered, 0.5 s before the suspicion.
    let decided = detected + ms(1500);
    assert!(pair.agrees(), "seed {seed}");
    since(&pair, decided)
}

fn upgrade(seed: u64, is_told: bool) -> Duration {
    let free: IpAddr = "198.51.100.1".parse().unwrap();
    let mut pair = PairSetup::new(Seed::from_number(seed)).renomination(DRAFT).build();
    let (stream, now, host) = (pair.stream(), pair.now(), pair.host(SideName::L));
    let costly: IpAddr = "198.51.100.9".parse().unwrap();
    pair.network.add_interface(host, costly).unwrap();
    pair.network.set_interface_up(host, free, false).unwrap();
    let options = SocketOptions::default().with_network_cost(900).with_unreliable(true);
    let address = (costly, 7000).into();
    pair.l.agent.add_socket_with(now, stream, RTP, Transport::Udp, address, options).unwrap();
    pair.l.note_socket(address);
    pair.drain(SideName::L);
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(120) + ms(seed * 977 % 60_000));
    pair.network.set_interface_up(host, free, true).unwrap();
    let start = pair.now();
    if is_told {
        pair.l.agent.network_changed(start);
        pair.drain(SideName::L);
    }
    let is_better = |pair: &Pair| pair.l.agent.selected_pair(stream, RTP).unwrap().base.ip() == free;
    assert!(pair.run_until(secs(120), is_better), "seed {seed}");
    let time = since(&pair, start);
    pair.run_for(secs(5));
    assert!(pair.agrees(), "seed {seed}");
    time
}

/// From the descriptions to both sides having selected, with nine pairs and 30 % of the packets lost each way.
fn connect(seed: u64) -> Duration {
    let link = Link { loss: 0.3, ..Link::with_delay(ms(25)) };
    let mut pair = PairSetup::new(Seed::from_number(seed)).addresses(3, 3).link(link).build();
    assert!(pair.run_until_selected(secs(30)), "seed {seed}");
    pair.elapsed()
}

/// From the coming of the network to both sides having selected; it comes up to two minutes after the descriptions.
fn late_network(seed: u64) -> Duration {
    let setup = PairSetup::new(Seed::from_number(seed)).addresses(1 + (seed % 3) as u8, 2);
    let mut pair = setup.left(|l| l.signals_end = false).right(|r| r.signals_end = false).build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(ms(seed * 7919 % 120_000));
    pair.network.mend_both(l, r);
    let start = pair.now();
    assert!(pair.run_until_selected(secs(30)), "seed {seed}");
    since(&pair, start)
}

/// False disconnects of a session of 5 minutes that loses 30 % of the packets each way.
fn false_disconnects(seed: u64) -> usize {
    let mut pair = connected(seed, |setup| setup.addresses(2, 2).link(Link { loss: 0.3, ..Link::with_delay(ms(25)) }));
    pair.run_for(secs(300));
    [&pair.l, &pair.r].iter().filter(|peer| peer.reached(ConnectionState::Disconnected).is_some()).count()
}

fn main() {
    let is_test = std::env::args().any(|text| text == "--test");
    let wanted = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let seeds: u64 = wanted.unwrap_or(if is_test { 4 } else { 500 });
    let all = |measure: &dyn Fn(u64) -> Duration| (0..seeds).map(measure).collect::<Vec<_>>();
    println!("round trip 50 ms, defaults of the configuration");
    print("connected, 3x3 candidates, 30 % loss each way", (0..2 * seeds).map(connect).collect());
    print("connected after a network has come late", all(&late_network));
    print("dead path noticed (detection 10 s)", all(&dead_path));
    print("data flows after a switch to another interface", all(&switch));
    print("data flows after a NAT has forgotten, when told", all(&|seed| rebinding(seed, true)));
    print("data flows after a NAT has forgotten, when not told", all(&|seed| rebinding(seed, false)));
    print("the same for the fifth time, one nomination, when told", all(&|seed| fifth_rebinding(seed, true)));
    print("the same for the fifth time, one nomination, when not told", all(&|seed| fifth_rebinding(seed, false)));
    print("data flows after an interface is gone: Local", all(&|seed| send_failure(seed, SendFailure::Local)));
    print("the same when all that is said is Unreachable", all(&|seed| send_failure(seed, SendFailure::Unreachable)));
    print("failover to a warm pair, after the decision", all(&failover));
    print("move to a better pair that works again, when told", all(&|seed| upgrade(seed, true)));
    print("move to a better pair that works again, when not told", all(&|seed| upgrade(seed, false)));
    for time in
        [3000, 3500, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 20_000, 22_000, 23_000, 24_000, 26_000, 28_000, 30_000]
    {
        let outages: Vec<_> = (0..seeds).map(|seed| outage(seed, ms(time))).collect();
        let told = outages.iter().filter(|(is_told, _)| *is_told).count();
        let over = outages.iter().filter(|(_, is_over)| *is_over).count();
        println!("an outage of {time:>6} ms: told as disconnected {told:>4} of {seeds}, consent over {over:>4}");
    }
    let false_alarms: usize = (0..seeds).map(false_disconnects).sum();
    println!("false disconnects in {seeds} sessions of 5 minutes at 30 % loss each way: {false_alarms}");
}
