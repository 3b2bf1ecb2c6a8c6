//! Relayed paths that the server has forgotten in part: how long nothing gets through.

use std::net::IpAddr;
use std::time::Duration;

use nilas::sim::{Pair, PairSetup, Server, ServerMethod, SideName};
use nilas::{ConnectionState, IceServer, Role};

use crate::help::{ms, secs, setup, states};

fn server() -> IpAddr {
    "192.0.2.100".parse().unwrap()
}

/// The left one reaches nobody but the server, over UDP or TCP; the right one is public, and asks nobody.
fn behind_relay(name: &str, transport: &str, role: Role) -> PairSetup {
    let turn: IceServer = format!("turn:192.0.2.100:3478?transport={transport}").parse().unwrap();
    setup(name)
        .with_turn(server())
        .roles(role, role.opposite())
        .left(|l| {
            l.only_reaches = Some(server());
            l.servers = vec![turn.with_credentials("user", "pass")];
        })
        .right(|r| r.servers.clear())
}

/// Sends data of these sides every 100 ms; gives the longest time that nothing of each came through.
fn longest_gaps(pair: &mut Pair, senders: &[SideName], time: Duration) -> [Duration; 2] {
    let (mut gaps, mut seen) = ([Duration::ZERO; 2], [pair.now(); 2]);
    let end = pair.now() + time;
    while pair.now() < end {
        for (side, index) in [(SideName::L, 0), (SideName::R, 1)] {
            if !senders.contains(&side) {
                continue;
            }
            let before = pair.peer(side.other()).received.len();
            let _ = pair.send(side, b"\x80data");
            pair.run_for(ms(50));
            if pair.peer(side.other()).received.len() > before {
                seen[index] = pair.now();
            }
            gaps[index] = gaps[index].max(pair.now() - seen[index]);
        }
        pair.run_for(ms(100 - 50 * senders.len() as u64));
    }
    gaps
}

fn forgotten(name: &str, forget: fn(&mut Server), senders: &[SideName], limit: Duration) {
    let mut worst = Duration::ZERO;
    for transport in ["udp", "tcp"] {
        for role in [Role::Controlling, Role::Controlled] {
            let mut pair = behind_relay(&format!("{name} {transport} {role:?}"), transport, role).build();
            assert!(pair.run_until_selected(secs(5)));
            pair.run_for(secs(20));
            for phase in 0..6 {
                let mut pair = pair.clone();
                longest_gaps(&mut pair, senders, ms(900 * phase));
                forget(&mut pair.servers[0]);
                let gaps = longest_gaps(&mut pair, senders, secs(12));
                worst = gaps.into_iter().fold(worst, Duration::max);
                assert_eq!(pair.l.selections(), 1, "{transport} {role:?} {phase}");
                for side in [SideName::L, SideName::R] {
                    assert!(!states(&pair, side).contains(&ConnectionState::Disconnected));
                }
            }
        }
    }
    println!("{name}: at most {worst:?}");
    assert!(worst <= limit, "{name}: {worst:?}");
}

const BOTH: [SideName; 2] = [SideName::L, SideName::R];

/// Req: 8656-12-b
#[test]
fn a_channel_that_the_server_has_forgotten_is_bound_again_as_soon_as_data_comes_without_it() {
    forgotten("channel", Server::forget_channels, &BOTH, secs(1));
}

/// Req: 8656-12-b
#[test]
fn a_channel_that_the_server_has_forgotten_costs_whoever_sends_alone_at_most_five_seconds() {
    forgotten("channel, one way", Server::forget_channels, &[SideName::L], secs(5));
    forgotten("channel, other way", Server::forget_channels, &[SideName::R], secs(5));
}

/// Req: 8656-9-a
#[test]
fn a_permission_that_the_server_has_forgotten_costs_at_most_five_seconds() {
    forgotten("permission", Server::forget_permissions, &BOTH, secs(5));
    forgotten("permission, one way", Server::forget_permissions, &[SideName::L], secs(5));
    let both = |server: &mut Server| {
        server.forget_permissions();
        server.forget_channels();
    };
    forgotten("channel and permission", both, &BOTH, secs(5));
}

/// A path that works is not questioned: the requests of a call that goes one way are few.
#[test]
fn silence_of_a_peer_that_has_nothing_to_say_costs_a_request_now_and_then() {
    for senders in [&BOTH[..], &BOTH[..1], &BOTH[1..], &[]] {
        let mut pair = behind_relay("one way", "udp", Role::Controlling).build();
        assert!(pair.run_until_selected(secs(5)));
        pair.run_for(secs(5));
        let count = |pair: &Pair| {
            let methods = [ServerMethod::ChannelBind, ServerMethod::CreatePermission, ServerMethod::Refresh];
            methods.map(|method| pair.servers[0].count(method))
        };
        let before = count(&pair);
        longest_gaps(&mut pair, senders, secs(100));
        let after = count(&pair);
        let asked: Vec<usize> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        println!("{senders:?}: {asked:?}");
        let most = if senders == [SideName::L] { 12 } else { 0 };
        assert!(asked[0] <= most && asked[1] == 0 && asked[2] == 0, "{senders:?}: {asked:?}");
    }
}
