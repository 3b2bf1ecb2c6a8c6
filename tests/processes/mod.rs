//! Two processes of the example `peer`, with the test as the signalling channel between them.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, of which no user needs all"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const LEFT: usize = 0;
pub(crate) const RIGHT: usize = 1;

/// Long enough for a busy machine; a connection takes a tenth of a second.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);

/// One process.
pub(crate) struct Peer {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) said: Vec<Value>,
    pub(crate) has_ended: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two processes, and what they say, which is `None` at the end.
pub(crate) struct Session {
    pub(crate) peers: [Peer; 2],
    pub(crate) lines: Receiver<(usize, Option<String>)>,
    pub(crate) deadline: Instant,
    /// The side whose passive candidates are signalled, if it is one.
    pub(crate) passive: Option<usize>,
    /// Whether a candidate of one side is signalled to the other.
    pub(crate) is_signalled: fn(usize, Option<usize>, &str) -> bool,
}

impl Session {
    pub(crate) fn start(roles: [&str; 2]) -> Self {
        Self::start_with(roles, &json!({}))
    }

    /// The same with these members of the start message.
    pub(crate) fn start_with(roles: [&str; 2], members: &Value) -> Self {
        let (sender, lines) = mpsc::channel();
        let peers = [LEFT, RIGHT].map(|index| spawn(index, &sender));
        let deadline = now() + TIME_LIMIT;
        let mut session = Self { peers, lines, deadline, passive: None, is_signalled: |_, _, _| true };
        for (peer, role) in roles.into_iter().enumerate() {
            let mut start = json!({"type": "start", "role": role, "addresses": ["127.0.0.1"], "ca": null});
            for (name, value) in members.as_object().into_iter().flatten() {
                start[name] = value.clone();
            }
            session.tell(peer, &start);
        }
        session
    }

    /// Carries signalling until both have selected a pair.
    pub(crate) fn connect(&mut self) {
        self.wait_until(|session| {
            [LEFT, RIGHT].iter().all(|&peer| {
                let is_connected = |state: &Value| state["state"] == "connected" || state["state"] == "completed";
                session.last(peer, "state").is_some_and(is_connected)
                    && session.last(peer, "selected").is_some()
                    && session.last(peer, "role").is_some()
            })
        });
    }

    /// Sends a payload from one, and waits until the other has it.
    pub(crate) fn exchange(&mut self, from: usize, payload: &Value) {
        let to = other(from);
        let before = self.all(to, "data").count();
        let mut message = payload.clone();
        message["type"] = json!("send");
        self.tell(from, &message);
        self.wait_until(|session| session.all(to, "data").count() > before);
        let mut expected = payload.clone();
        expected["type"] = json!("data");
        expected["generation"] = json!(0);
        assert_eq!(self.last(to, "data"), Some(&expected));
    }

    /// The same, again and again until it gets through.
    pub(crate) fn insist(&mut self, from: usize, payload: &Value) {
        let to = other(from);
        let before = self.all(to, "data").count();
        let mut message = payload.clone();
        message["type"] = json!("send");
        while self.all(to, "data").count() == before {
            self.tell(from, &message);
            let soon = now() + Duration::from_millis(200);
            while self.all(to, "data").count() == before && self.take_line(soon) {}
            assert!(now() < self.deadline, "nothing gets through");
        }
        let received = self.last(to, "data").unwrap();
        assert_eq!((&received["data"], &received["hex"]), (&payload["data"], &payload["hex"]));
    }

    /// Carries signalling until something is so.
    pub(crate) fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            if !self.take_line(self.deadline) {
                panic!("too late: {:#?}", self.peers.each_ref().map(|peer| &peer.said));
            }
        }
    }

    /// Takes one line of one of them, and carries it if it is signalling; `false` if none comes in time.
    pub(crate) fn take_line(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(now());
        let Ok((peer, line)) = self.lines.recv_timeout(left) else { return false };
        if let Some(line) = line {
            let message: Value = serde_json::from_str(&line).expect("a line of JSON");
            if matches!(message["type"].as_str(), Some("credentials" | "candidate" | "end-of-candidates")) {
                let candidate = message["candidate"].as_str();
                if candidate.is_none_or(|candidate| (self.is_signalled)(peer, self.passive, candidate)) {
                    self.write(other(peer), &line);
                }
            }
            self.peers[peer].said.push(message);
        } else {
            self.peers[peer].has_ended = true;
        }
        true
    }

    pub(crate) fn assert_end(&mut self) {
        self.wait_until(|session| session.peers.iter().all(|peer| peer.has_ended));
        for peer in &mut self.peers {
            assert!(peer.child.wait().unwrap().success());
        }
    }

    pub(crate) fn tell(&mut self, peer: usize, message: &Value) {
        self.write(peer, &message.to_string());
    }

    pub(crate) fn write(&mut self, peer: usize, line: &str) {
        if let Some(stdin) = &mut self.peers[peer].stdin {
            writeln!(stdin, "{line}").expect("the process reads");
        }
    }

    pub(crate) fn hang_up(&mut self, peer: usize) {
        self.peers[peer].stdin = None;
    }

    pub(crate) fn all(&self, peer: usize, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        self.peers[peer].said.iter().filter(move |message| message["type"] == kind)
    }

    pub(crate) fn last(&self, peer: usize, kind: &str) -> Option<&Value> {
        self.all(peer, kind).next_back()
    }

    pub(crate) fn role(&self, peer: usize) -> &str {
        self.last(peer, "role").and_then(|role| role["role"].as_str()).unwrap_or_default()
    }

    /// The transport addresses of the selected pair.
    pub(crate) fn selected_addresses(&self, peer: usize) -> (String, String) {
        let selected = self.last(peer, "selected").unwrap();
        let address = |side: &str| {
            let fields: Vec<&str> = selected[side].as_str().unwrap().split(' ').collect();
            format!("{} {}", fields[4], fields[5])
        };
        (address("local"), address("remote"))
    }
}

pub(crate) const fn other(peer: usize) -> usize {
    1 - peer
}

/// Starts a process, and reads what it says.
pub(crate) fn spawn(index: usize, lines: &Sender<(usize, Option<String>)>) -> Peer {
    let mut command = Command::new(binary());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the example starts");
    let stdin = child.stdin.take();
    let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let lines = lines.clone();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if lines.send((index, Some(line))).is_err() {
                return;
            }
        }
        // The test may be over.
        let _ = lines.send((index, None));
    });
    Peer { child, stdin, said: Vec::new(), has_ended: false }
}

/// The example. Not every way to run the tests builds it, and what lies about may be old.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

/// Builds the example with the profile of this test, and tells where it is.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let directory = test.ancestors().nth(2).and_then(Path::file_name).expect("the directory of the profile");
    let profile = if directory == "debug" { OsStr::new("dev") } else { directory };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--example", "peer", "--message-format", "json-render-diagnostics", "--profile"])
        .arg(profile)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map_while(Result::ok);
    let executable = messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?))).last();
    executable.expect("cargo builds the example")
}

#[expect(clippy::disallowed_methods, reason = "the test has the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
