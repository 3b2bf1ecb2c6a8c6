//! The messages, as they are written in JSON.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str;

use serde::{Deserialize, Serialize};

/// A message to this peer.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Start the session.
    Start(Start),
    /// The credentials of the other side.
    Credentials {
        ufrag: String,
        pwd: String,
        #[serde(default)]
        lite: bool,
        /// `ice-options`, where the other side tells them.
        #[serde(default)]
        options: String,
        #[serde(default)]
        generation: u64,
    },
    /// A candidate of the other side.
    Candidate {
        candidate: String,
        #[serde(default)]
        generation: u64,
    },
    /// The other side has no more candidates.
    EndOfCandidates {
        #[serde(default)]
        generation: u64,
    },
    /// Restart ICE.
    Restart,
    /// Break all TCP connections, as a network may do it. An extension of this peer, for tests.
    BreakConnections,
    /// Send a datagram.
    Send(Payload),
    /// Say how much application data has arrived.
    Stats,
    /// End the session.
    Close,
    /// Something that this peer does not know.
    #[serde(other)]
    Unknown,
}

/// How to start.
#[derive(Deserialize)]
pub(crate) struct Start {
    /// The role to begin with.
    pub(crate) role: RoleName,
    /// Be a lite agent.
    #[serde(default)]
    pub(crate) lite: bool,
    /// STUN servers, as `host:port`.
    #[serde(default)]
    pub(crate) stun: Vec<String>,
    /// Have TCP candidates, too.
    #[serde(default)]
    pub(crate) tcp: bool,
    /// Gather IPv6 addresses, too.
    #[serde(default)]
    pub(crate) ipv6: bool,
    /// TURN servers.
    #[serde(default)]
    pub(crate) turn: Vec<Turn>,
    /// Let no other candidates be known or used than relayed ones.
    #[serde(default)]
    pub(crate) relay_only: bool,
    /// A PEM file with the certificates of those who are trusted.
    #[serde(default)]
    pub(crate) ca: Option<PathBuf>,
    /// If not empty, use these addresses and not those of the interfaces.
    #[serde(default)]
    pub(crate) addresses: Vec<IpAddr>,
}

/// A TURN server, and who may use it.
#[derive(Deserialize)]
pub(crate) struct Turn {
    pub(crate) uri: String,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) credential: String,
}

/// A role, by its name.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleName {
    Controlling,
    Controlled,
}

/// The bytes of a datagram: as text if they are text, else as hexadecimal digits.
#[derive(Deserialize, Serialize)]
pub(crate) struct Payload {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Payload {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self { data: Some(text.to_owned()), hex: None },
            Err(_) => Self { data: None, hex: Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()) },
        }
    }

    /// The bytes; `None` if there is neither text nor a whole number of pairs of hexadecimal digits.
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        let hex = match (self.data, self.hex) {
            (Some(text), _) => return Some(text.into_bytes()),
            (None, hex) => hex?,
        };
        let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16)?).ok();
        let pairs = hex.as_bytes().chunks(2);
        pairs.map(|pair| if let [high, low] = pair { Some(digit(high)? << 4 | digit(low)?) } else { None }).collect()
    }
}

/// A message from this peer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Report<'a> {
    Hello {
        proto: u32,
        name: &'a str,
        version: &'a str,
        features: &'a [&'a str],
    },
    Credentials {
        ufrag: &'a str,
        pwd: &'a str,
        lite: bool,
        options: String,
        generation: u64,
    },
    Candidate {
        candidate: String,
        mid: &'a str,
        generation: u64,
    },
    EndOfCandidates {
        mid: &'a str,
        generation: u64,
    },
    GatheringState {
        state: &'a str,
        generation: u64,
    },
    State {
        state: &'a str,
        generation: u64,
    },
    Selected {
        local: String,
        remote: String,
        generation: u64,
    },
    Role {
        role: RoleName,
        generation: u64,
    },
    Data {
        #[serde(flatten)]
        payload: Payload,
        generation: u64,
    },
    Stats {
        rx_bytes: u64,
        rx_packets: u64,
    },
    Log {
        message: &'a str,
    },
    Error {
        message: &'a str,
    },
}

/// What this peer can do.
const FEATURES: &[&str] = &[
    "data",
    "selected",
    "role",
    "stun",
    "ipv6",
    "addresses",
    "turn-udp",
    "turn-tcp",
    "turn-tls",
    "turn-ipv6",
    "relay-only",
    "stats",
    "remote-lite",
    "lite",
    "restart",
    "restart-remote",
    "consent",
    "tcp",
    "tcp-active",
    "tcp-passive",
];

impl Report<'_> {
    pub(crate) const fn hello() -> Self {
        Report::Hello { proto: 1, name: "nilas", version: env!("CARGO_PKG_VERSION"), features: FEATURES }
    }
}

/// Where reports go: one line each, at once.
pub(crate) struct Output(io::Stdout);

impl Output {
    pub(crate) fn stdout() -> Self {
        Self(io::stdout())
    }

    pub(crate) fn write(&mut self, report: &Report<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        let mut stdout = self.0.lock();
        stdout.write_all(&line)?;
        stdout.flush()
    }
}
