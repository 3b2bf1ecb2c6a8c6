//! Two processes of the example `peer`, with this test as the signalling channel between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod processes;

use processes::{LEFT, RIGHT, Session};
use serde_json::{Value, json};

#[test]
fn two_processes_connect_and_exchange_text_and_binary_data() {
    let mut session = Session::start(["controlling", "controlled"]);
    session.connect();
    assert_eq!([LEFT, RIGHT].map(|peer| session.role(peer)), ["controlling", "controlled"]);
    let pairs = [LEFT, RIGHT].map(|peer| session.selected_addresses(peer));
    let [(left_local, left_remote), (right_local, right_remote)] = pairs;
    assert_eq!((left_local, left_remote), (right_remote, right_local));

    let payloads =
        [json!({"data": "hello, \u{e4}"}), json!({"hex": "80600f"}), json!({"hex": "00ff"}), json!({"data": ""})];
    for payload in &payloads {
        session.exchange(LEFT, payload);
        session.exchange(RIGHT, payload);
    }
    for peer in [LEFT, RIGHT] {
        session.tell(peer, &json!({"type": "stats"}));
        session.wait_until(|session| session.last(peer, "stats").is_some());
        let stats = session.last(peer, "stats").unwrap();
        assert_eq!((&stats["rx_packets"], &stats["rx_bytes"]), (&json!(4), &json!(9 + 3 + 2)));
    }
    session.tell(LEFT, &json!({"type": "close"}));
    session.tell(RIGHT, &json!({"type": "close"}));
    session.assert_end();
}

#[test]
fn two_controlling_processes_connect_with_different_roles() {
    let mut session = Session::start(["controlling", "controlling"]);
    session.connect();
    // The last word on the roles may come after the connection.
    session.wait_until(|session| session.role(LEFT) != session.role(RIGHT));
    session.exchange(LEFT, &json!({"data": "from left"}));
    session.exchange(RIGHT, &json!({"data": "from right"}));
    session.tell(LEFT, &json!({"type": "close"}));
    session.hang_up(RIGHT);
    session.assert_end();
}

/// UDP is blocked: no candidate of it reaches the other side.
#[test]
fn two_processes_connect_over_tcp_survive_the_loss_of_the_connection_and_restart() {
    for passive in [LEFT, RIGHT] {
        let mut session = Session::start_with(["controlling", "controlled"], &json!({"tcp": true}));
        session.is_signalled = |from, passive, candidate| {
            candidate.contains(" tcp ") && (candidate.contains("tcptype active") || Some(from) == passive)
        };
        session.passive = Some(passive);
        session.connect();
        for peer in [LEFT, RIGHT] {
            let selected = session.last(peer, "selected").unwrap();
            let tcp_type = if peer == passive { "tcptype passive" } else { "tcptype active" };
            assert!(selected["local"].as_str().unwrap().contains(tcp_type), "{selected}");
            session.exchange(peer, &json!({"data": "over tcp"}));
            session.exchange(peer, &json!({"hex": "80".repeat(40_000)}));
        }
        for breaker in [LEFT, RIGHT] {
            session.tell(breaker, &json!({"type": "break-connections"}));
            for peer in [LEFT, RIGHT] {
                session.insist(peer, &json!({"data": "again"}));
            }
        }
        session.tell(LEFT, &json!({"type": "restart"}));
        session.wait_until(|session| {
            let is_new = |report: &Value| report["generation"] == json!(1);
            let is_connected = |state: &Value| state["state"] == "connected" || state["state"] == "completed";
            [LEFT, RIGHT].iter().all(|&peer| {
                session.last(peer, "selected").is_some_and(is_new)
                    && session.last(peer, "state").is_some_and(|state| is_new(state) && is_connected(state))
            })
        });
        for peer in [LEFT, RIGHT] {
            session.insist(peer, &json!({"data": "after the restart"}));
        }
        session.hang_up(LEFT);
        session.hang_up(RIGHT);
        session.assert_end();
    }
}

#[test]
fn a_process_survives_lines_that_mean_nothing() {
    let mut session = Session::start(["controlling", "controlled"]);
    for line in ["", "{", "[]", r#"{"type":"unheard-of","member":1}"#, r#"{"type":"send"}"#] {
        session.write(LEFT, line);
    }
    session.write(LEFT, &"x".repeat(3 << 20));
    for candidate in ["", "candidate:", "candidate:1 1 udp 1 name.local 5000 typ host", "candidate:1 1 udp 1 ::: 5 x"] {
        session.tell(LEFT, &json!({"type": "candidate", "candidate": candidate, "mid": "0"}));
    }
    session.tell(LEFT, &json!({"type": "credentials", "ufrag": "?", "pwd": "short"}));
    session.connect();
    session.exchange(LEFT, &json!({"data": "still here"}));
    assert!(session.all(LEFT, "error").count() >= 5);
    session.hang_up(LEFT);
    session.hang_up(RIGHT);
    session.assert_end();
}
