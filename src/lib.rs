//! A sans-IO ICE agent: RFC 8445 and its family as a pure, deterministic state machine.
//!
//! ICE finds a path for datagrams between two hosts behind NATs and firewalls. Each side lists the addresses at which it
//! may be reached, its *candidates*; signalling, which is the application's, carries them to the other side; then both
//! send *checks* between every pair of candidates, and the *controlling* side picks one of the pairs that work.
//!
//! An [`Agent`] does that without any I/O. Datagrams, signalling and the time go in; datagrams to send, events and the
//! next deadline come out. There is no socket, no clock, no thread, no runtime and no hidden randomness inside: the same
//! calls with the same [`Seed`] give the same bytes.
//!
//! # Four families of calls
//!
//! | Family | Calls | |
//! |---|---|---|
//! | commands | [`add_stream`](Agent::add_stream), [`add_socket`](Agent::add_socket), [`gather`](Agent::gather), [`set_remote_description`](Agent::set_remote_description), [`add_remote_candidate`](Agent::add_remote_candidate), [`send`](Agent::send), [`close`](Agent::close), .. | an `Err` is a mistake of the caller, and has changed nothing |
//! | input | [`handle_datagram`](Agent::handle_datagram), [`handle_connection`](Agent::handle_connection), [`handle_stream_bytes`](Agent::handle_stream_bytes), [`handle_timeout`](Agent::handle_timeout) | never an `Err`: what the network does is counted, not raised |
//! | output | [`poll_transmit`](Agent::poll_transmit), [`poll_connection`](Agent::poll_connection), [`poll_event`](Agent::poll_event), [`poll_timeout`](Agent::poll_timeout) | until they give `None` |
//! | getters | [`state`](Agent::state), [`selected_pair`](Agent::selected_pair), [`pairs`](Agent::pairs), [`stats`](Agent::stats), .. | no side effect |
//!
//! They work in any order. What needs the time takes it as its first argument, an [`Instant`] of the caller's clock.
//!
//! # The loop
//!
//! Two agents in memory; in an application each is on its own host, with sockets and signalling in between.
//!
//! ```
//! use nilas::{
//!     Agent, ComponentId, Config, Datagram, Event, Instant, Received, RemoteDescription, RemoveCandidateError, Role, Seed, StreamId, Transport,
//! };
//! use std::net::SocketAddr;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const RTP: ComponentId = ComponentId::RTP;
//! let mut now = Instant::ZERO;
//!
//! // An agent, a stream with one component, and a socket for it.
//! let start = |role, address: SocketAddr| -> Result<(Agent, StreamId), Box<dyn std::error::Error>> {
//!     let mut agent = Agent::new(Config::default(), role, Seed::from_name("use Seed::from_os() instead"))?;
//!     let stream = agent.add_stream(1)?;
//!     agent.add_socket(now, stream, RTP, Transport::Udp, address)?;
//!     agent.end_of_local_candidates(now, stream)?;
//!     Ok((agent, stream))
//! };
//! let (mut l, stream) = start(Role::Controlling, "192.0.2.1:5000".parse()?)?;
//! let (mut r, _) = start(Role::Controlled, "203.0.113.1:6000".parse()?)?;
//!
//! // Signalling carries the credentials of each side to the other.
//! let of = |agent: &Agent| agent.local_credentials(stream).cloned().map(RemoteDescription::new);
//! let (of_l, of_r) = (of(&l).ok_or("no stream")?, of(&r).ok_or("no stream")?);
//! l.set_remote_description(now, stream, &of_r)?;
//! r.set_remote_description(now, stream, &of_l)?;
//!
//! let mut buffer = Vec::with_capacity(2048);
//! while l.selected_pair(stream, RTP).is_none() || r.selected_pair(stream, RTP).is_none() {
//!     for _ in 0..2 {
//!         // Events: candidates for signalling, and what has changed.
//!         while let Some(event) = l.poll_event() {
//!             match event {
//!                 Event::LocalCandidate { candidate, .. } => {
//!                     let _ = r.add_remote_candidate(now, stream, *candidate)?;
//!                 }
//!                 Event::EndOfCandidates { .. } => r.end_of_remote_candidates(now, stream)?,
//!                 other => println!("{other:?}"),
//!             }
//!         }
//!         // Datagrams: this network delivers them at once.
//!         buffer.clear();
//!         while let Some(transmit) = l.poll_transmit(now, &mut buffer) {
//!             let datagram = Datagram::new(transmit.source, transmit.destination, &buffer);
//!             assert_eq!(r.handle_datagram(now, &datagram), Received::Handled);
//!             buffer.clear();
//!         }
//!         std::mem::swap(&mut l, &mut r);
//!     }
//!     // Time: here it jumps to the next deadline.
//!     if let Some(next) = [l.poll_timeout(), r.poll_timeout()].into_iter().flatten().min() {
//!         now = now.max(next);
//!         l.handle_timeout(now);
//!         r.handle_timeout(now);
//!     }
//! }
//!
//! // Data goes on the selected pair.
//! buffer.clear();
//! let transmit = l.send(now, stream, RTP, b"hello", &mut buffer)?;
//! let datagram = Datagram::new(transmit.source, transmit.destination, &buffer);
//! assert!(matches!(r.handle_datagram(now, &datagram), Received::Data { payload: b"hello", .. }));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | Feature | Default | |
//! |---|---|---|
//! | `std` | yes | links the standard library; without it the crate is `no_std` with `alloc` |
//! | `os-rng` | no | `Seed::from_os`, a seed from the operating system |
//! | `serde` | no | `Serialize` and `Deserialize` for [`IceCandidateInit`], as the JSON that browsers exchange |
//! | `turn` | yes | relayed candidates, from TURN servers |
//! | `sim` | no | `nilas::sim`, a simulated network of hosts, links and NATs for tests |
//!
//! # Where to look next
//!
//! * [`guide::run_loop`]: the loop with sockets, threads and async runtimes.
//! * [`guide::defaults`]: every default of [`Config`] and its reason.
//! * [`guide::gathering`]: STUN and TURN servers, and what of the host is shown.
//! * [`guide::coverage`]: what is there of which RFC, and what is not.
//! * [`guide::security`]: what is believed when, and what an attacker can do.
//! * [`IceDescription`], [`Candidate`] and [`TrickleFragment`]: the SDP of ICE.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod agent;
mod candidate;
mod check;
mod checklist;
mod config;
mod connection;
mod credentials;
mod demux;
mod event;
mod gather;
pub mod guide;
mod nomination;
mod route;
mod sdp;
mod selection;
mod send_failure;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod stun;
mod tcp;
mod transmit;
#[cfg(feature = "turn")]
mod turn;
mod types;

pub use agent::{
    AddLocalCandidateError, AddRemoteCandidateError, AddStreamError, Agent, CandidateListing, CandidateStats,
    GatherError, LocalCandidateView, NominateError, PairView, PathReport, Received, RemoteCandidateOutcome,
    RemoteCandidateView, RemoteDescription, RemoteDescriptionOutcome, RemoveCandidateError, SendError,
    SetRemoteDescriptionError, TransportStats, UnknownPair, UnknownStream,
};
pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, Foundation, HostAddress, ParseFoundationError, Priority, RemoteFilter,
    SocketOptions, TcpType, TransportOrder, TypePreferences, UnusableAddress,
};
pub use checklist::{CandidatePairState, ChecklistState, PairPriority};
pub use config::{Config, ConfigError, RelayFamilies, RtoFormula};
pub use connection::{ConnectionEnd, ConnectionEvent, ConnectionRequest, ConnectionSecurity};
pub use credentials::{CredentialPart, Credentials, ParseCredentialError, Password, Ufrag};
pub use demux::{DataFilter, PacketKind};
pub use event::Event;
pub use gather::{
    AddressFilter, AddressMapping, CandidateTypes, IceServer, IceServerKind, MappingMode, ParseIceServerError,
};
pub use nomination::{
    ApplicationNominates, BetterPairs, NominationChoice, NominationDecision, NominationPolicy, NominationView,
    SettleWindow, ValidPair,
};
pub use route::Route;
pub use sdp::{
    AddIceCandidateError, AnswerError, AppendCandidateError, CredentialsChange, IceCandidateInit, IceDescription,
    IceDescriptionError, IceMedia, IceNote, IceNoteKind, IceOptions, ParseCandidateError, ParseIceDescriptionError,
    ParseIceOptionsError, ReceiveFragmentError, RemoteCandidate, ResolvedCandidate, SkippedCandidate, TrickleFragment,
    TrickleItem, TrickleReceiver,
};
pub use selection::{
    ApplicationSelects, PathQuality, SelectionDecision, SelectionPolicy, SelectionView, SteadySelection,
};
pub use send_failure::SendFailure;
pub use stats::{AgentStats, DropReason, PairStats};
pub use tcp::{AcceptConnectionError, Admission, Doorman};
pub use transmit::{Datagram, Payload, Transmit};
#[cfg(feature = "os-rng")]
pub use types::SeedError;
pub use types::{
    CandidateId, ComponentId, ConnectionId, ConnectionState, Ecn, GatheringState, Instant, PairId, PathHealth,
    RelayProtocol, Renomination, Role, Seed, StateReason, StreamId, TrafficClass, Transport,
};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
