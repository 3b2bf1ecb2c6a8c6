//! Two processes of the example `peer` with coturn between them, on loopback: real allocations over UDP, TCP and TLS.
//! Without coturn or openssl on the machine, nothing is tested, and a line says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test with real sockets")]

mod processes;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use processes::{LEFT, RIGHT, Session, now};
use serde_json::{Value, json};

/// A coturn of its own for a test.
struct Coturn {
    child: Child,
    directory: PathBuf,
    port: u16,
    tls_port: u16,
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Coturn {
    /// Starts one with further arguments; `None` if there is none on this machine.
    fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let has = |program: &str, argument: &str| {
            Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        if !has("turnserver", "--version") || !has("openssl", "version") {
            println!("SKIPPED: coturn or openssl is not installed");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("nilas-coturn-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = |file: &str| directory.join(file).to_str().unwrap().to_owned();
        make_certificate(&path("key.pem"), &path("ca.pem"), &path("cert.pem"), &path("ext"));
        let (port, tls_port) = (free_port(), free_port());
        let log = File::create(path("log")).unwrap();
        let child = Command::new("turnserver")
            .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--lt-cred-mech"])
            .args(["--user", "user:pass", "--realm", "nilas.test", "--allow-loopback-peers", "--no-cli", "--no-dtls"])
            .args(["--verbose", "--simple-log", "--log-file", "stdout", "--fingerprint"])
            .args(["--listening-port", &port.to_string(), "--tls-listening-port", &tls_port.to_string()])
            .args(["--cert", &path("cert.pem"), "--pkey", &path("key.pem")])
            .args(["--pidfile", &path("pid"), "--userdb", &path("db")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, directory, port, tls_port };
        let deadline = now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(now() < deadline, "coturn does not start: {}", server.log());
            thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// Waits until so many lines of the log have this in them.
    fn wait_for(&self, text: &str, count: usize) {
        let deadline = now() + Duration::from_secs(10);
        while self.log().lines().filter(|line| line.contains(text)).count() < count {
            assert!(now() < deadline, "{text:?} is not there {count} times in {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn uri(&self, transport: &str) -> String {
        match transport {
            "tls" => format!("turns:127.0.0.1:{}?transport=tcp", self.tls_port),
            _ => format!("turn:127.0.0.1:{}?transport={transport}", self.port),
        }
    }

    /// What the peers are told: this server alone, and nothing but relayed candidates.
    fn members(&self, transport: &str, username: &str, credential: &str) -> Value {
        json!({
            "turn": [{"uri": self.uri(transport), "username": username, "credential": credential}],
            "relay_only": true,
            "ca": self.directory.join("ca.pem"),
        })
    }
}

/// A certificate for 127.0.0.1, and that of who has signed it.
fn make_certificate(key: &str, ca: &str, certificate: &str, extensions: &str) {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let ca_key = format!("{key}.ca");
    let request = format!("{key}.csr");
    let elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = ["-x509", "-subj", "/CN=nilas test", "-days", "2", "-keyout", &ca_key, "-out", ca];
    openssl(&[&["req"][..], &elliptic, &authority].concat());
    openssl(&[&["req"][..], &elliptic, &["-subj", "/CN=turn", "-keyout", key, "-out", &request]].concat());
    fs::write(extensions, "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = ["x509", "-req", "-in", &request, "-CA", ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
    openssl(&[&sign[..], &["-extfile", extensions, "-out", certificate]].concat());
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// What a peer has logged.
fn logged(session: &Session, peer: usize, text: &str) -> bool {
    session.all(peer, "log").any(|log| log["message"].as_str().is_some_and(|message| message.contains(text)))
}

fn relay_to_relay(transport: &str) {
    // Allocations of ten seconds are refreshed after five, and nonces are stale before.
    let lifetimes = ["--max-allocate-lifetime", "10", "--stale-nonce", "3"];
    let Some(server) = Coturn::start(transport, &lifetimes) else { return };
    let members = server.members(transport, "user", "pass");
    let mut session = Session::start_with(["controlling", "controlled"], &members);
    session.deadline += Duration::from_secs(60);
    session.connect();
    for peer in [LEFT, RIGHT] {
        let selected = session.last(peer, "selected").unwrap();
        for side in ["local", "remote"] {
            assert!(selected[side].as_str().unwrap().contains("typ relay"), "{selected}");
        }
        assert!(session.all(peer, "candidate").all(|line| line["candidate"].as_str().unwrap().contains("typ relay")));
    }
    // Longer than an allocation lives, and longer than a nonce.
    let end = now() + Duration::from_secs(13);
    while now() < end {
        for peer in [LEFT, RIGHT] {
            session.exchange(peer, &json!({"hex": "80600f"}));
            session.exchange(peer, &json!({"data": "x".repeat(1200)}));
        }
        thread::sleep(Duration::from_millis(500));
    }
    for peer in [LEFT, RIGHT] {
        assert!(!logged(&session, peer, "relay-lost"));
        session.tell(peer, &json!({"type": "close"}));
    }
    session.assert_end();
    // The server was told, and has confirmed it.
    server.wait_for("refreshed, realm=<nilas.test>, username=<user>, lifetime=0", 2);
    for peer in [LEFT, RIGHT] {
        assert!(logged(&session, peer, "relay-released"));
    }
}

/// Req: 8656-3.1-a
/// Req: 8656-8-a
/// Req: 8656-8-b
#[test]
fn two_processes_meet_at_coturn_over_udp() {
    relay_to_relay("udp");
}

/// Req: 8656-3.1-a
#[test]
fn two_processes_meet_at_coturn_over_tcp() {
    relay_to_relay("tcp");
}

/// Req: 8656-3.1-a
/// Req: 7065-3-a
#[test]
fn two_processes_meet_at_coturn_over_tls() {
    relay_to_relay("tls");
}

/// Req: 8656-7.4-a
#[test]
fn wrong_passwords_and_unknown_users_are_told_with_their_code() {
    for (name, username, credential) in [("password", "user", "wrong"), ("user", "nobody", "pass")] {
        let Some(server) = Coturn::start(name, &[]) else { return };
        let members = server.members("udp", username, credential);
        let mut session = Session::start_with(["controlling", "controlled"], &members);
        for peer in [LEFT, RIGHT] {
            session.wait_until(|session| logged(session, peer, ": 401 "));
            session.wait_until(|session| session.last(peer, "end-of-candidates").is_some());
            assert_eq!(session.all(peer, "candidate").count(), 0);
        }
    }
}

/// Req: 8656-7.4-g
#[test]
fn a_quota_that_is_reached_is_told_with_its_code() {
    let Some(server) = Coturn::start("quota", &["--user-quota", "1"]) else { return };
    let mut session = Session::start_with(["controlling", "controlled"], &server.members("udp", "user", "pass"));
    session.wait_until(|session| [LEFT, RIGHT].iter().any(|peer| logged(session, *peer, ": 486 ")));
}

/// Scenario: S145
#[test]
fn a_server_that_is_killed_is_noticed() {
    let Some(mut server) = Coturn::start("killed", &[]) else { return };
    let mut session = Session::start_with(["controlling", "controlled"], &server.members("tcp", "user", "pass"));
    session.connect();
    server.kill();
    for peer in [LEFT, RIGHT] {
        session.wait_until(|session| logged(session, peer, "relay-lost"));
        session.wait_until(|session| {
            let state = session.last(peer, "state").and_then(|state| state["state"].as_str());
            matches!(state, Some("disconnected" | "checking" | "failed"))
        });
    }
}
