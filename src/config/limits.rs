//! How much an agent keeps of anything: every limit, with its reason. Those of which the documentation of
//! [`Config`](super::Config) says so are defaults, which a setter changes. The guide on security has a table of what each of
//! them bounds, and of the test that reaches it.

/// Default: pairs on all checklists together (RFC 8445 §6.1.2.5). As many again, beside them, are valid pairs of other
/// addresses than those that were checked, and pairs of the generation before; of a lite agent it is all pairs.
pub(crate) const PAIRS: usize = 100;

/// Default: signalled candidates of the peer, of a stream: with our own few they make as many pairs as there may be.
pub(crate) const REMOTE_CANDIDATES: usize = 100;

/// Default: peer-reflexive candidates of a stream on either side: what NATs on the way add to what is signalled.
pub(crate) const PEER_REFLEXIVE: usize = 50;

/// Default: addresses of a stream whose checks came before the peer's credentials.
pub(crate) const EARLY_CHECKS: usize = 32;

/// Default: TCP connections that the peer has opened: of strange ones 2 KiB are kept, of others a frame.
pub(crate) const CONNECTIONS: usize = 64;

/// Default: those of them that are from one address: behind a NAT there may be several peers.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 16;

/// Events that wait, and beside them [`EVENTS_PER_STREAM`]: all candidates and pairs of a large session, told at once.
pub(crate) const EVENTS: usize = 1024;

/// Events that wait, of each stream there is: its candidates from several interfaces and families, their end, and the states and
/// selections of one instant. Only the application makes streams.
pub(crate) const EVENTS_PER_STREAM: usize = 16;

/// Streams: four times what a session description has sections, for those that bundle nothing.
pub(crate) const STREAMS: usize = 1024;

/// Sockets and active TCP candidates of a stream: as many candidates as a description lists.
pub(crate) const SOCKETS: usize = 1000;

/// Server-reflexive candidates of one base: one of each server and family. A NAT that changes its mind makes more of them as
/// long as gathering goes on; the oldest goes.
pub(crate) const REFLEXIVE_OF_BASE: usize = 64;

/// Foundations of either side that are remembered after the last candidate with them: a later one gets its number again.
pub(crate) const FOUNDATIONS: usize = 20_000;

/// Local preferences of the hosts of a stream, so that an address that comes back gets its own again: more than sockets.
pub(crate) const LOCAL_PREFERENCES: usize = 1024;

/// Checks whose answers count: with Ta of 5 ms, as many leave within 80 s. Beyond, the oldest one that is superseded goes, and
/// of others there are no more than pairs.
pub(crate) const TRANSACTIONS: usize = 16_384;

/// Names that hide addresses of the host and are remembered after the last candidate with them.
pub(crate) const NAMES: usize = 256;

/// Requests to open or close connections that nobody polls: no connection is opened or accepted beyond, so that what has to be
/// closed is always told.
pub(crate) const CONNECTION_REQUESTS: usize = 1024;

/// Connections that are opened to one address at a time (RFC 6544 §12); others wait.
pub(crate) const OPENING_CONNECTIONS: usize = 5;

/// Bytes of the answer of a STUN server over a connection: several times what the longest of them has.
pub(crate) const SERVER_ANSWER: usize = 2048;

/// Bytes of the first frame of a connection from somebody unknown, which has to be a check: RFC 8445 has nothing of that size.
pub(crate) const FIRST_FRAME: usize = 2048;

/// Answers that wait: a caller that polls after each datagram never has more than one.
pub(crate) const REPLIES: usize = 128;

/// Servers of one gathering: more would take longer than anybody waits.
pub(crate) const SERVERS: usize = 32;

/// Peers that answered the same description (RFC 8445 §7.3.1.4): a call that rings in more places is odd.
pub(crate) const FORKS: usize = 8;

/// Candidates of a generation to come, of a stream: signalling may overtake itself, by one message or two.
pub(crate) const DEFERRED_CANDIDATES: usize = 32;

/// Candidates of the peer, of a stream, whose names are asked for: browsers hide a few addresses.
pub(crate) const UNRESOLVED_NAMES: usize = 32;

/// Addresses of removed candidates of the peer, and pairs that the application has vetoed, of a stream: beyond, the oldest is
/// forgotten.
pub(crate) const REMOVED: usize = 64;

/// 5-tuples of a stream on which consent was taken back. Of more the oldest goes, whose peer has had its answer long ago.
pub(crate) const REVOCATIONS: usize = 256;

/// Failed pairs of a component that are checked again in one round.
pub(crate) const RETRIES: usize = 8;

/// Nominating transactions of a pair, or of a component of a lite agent, that are not taken for new ones when they are
/// repeated: a request is sent seven times, and few nominations are on their way together.
pub(crate) const PAIR_NOMINATIONS: usize = 16;

/// Relays at a time: two families at four servers from eight interfaces.
#[cfg(feature = "turn")]
pub(crate) const RELAYS: usize = 64;

/// Servers that were asked for an allocation, remembered against loops of redirections; as many as there are relays.
#[cfg(feature = "turn")]
pub(crate) const ASKED_SERVERS: usize = 64;

/// Permissions of an allocation, by address: more than a peer has candidates.
#[cfg(feature = "turn")]
pub(crate) const PERMISSIONS: usize = 256;

/// Permissions in one request, which keeps it in a datagram.
#[cfg(feature = "turn")]
pub(crate) const PERMISSIONS_AT_ONCE: usize = 8;

/// What an allocation has to tell the agent, which takes it at once.
#[cfg(feature = "turn")]
pub(crate) const RELAY_EVENTS: usize = 64;

/// Tokens in a list of ICE options.
pub(crate) const ICE_OPTIONS: usize = 64;

/// Sections of a session description.
pub(crate) const MEDIA_SECTIONS: usize = 256;

/// Candidates of a section of a session description, those passed over included.
pub(crate) const LISTED_CANDIDATES: usize = 1000;

/// Candidate lines of a section that are remembered as passed over.
pub(crate) const SKIPPED_LINES: usize = 16;

/// Notes on a session description that are remembered.
pub(crate) const NOTES: usize = 64;

/// Attribute types in an error response, which keeps it smaller than 548 bytes.
pub(crate) const UNKNOWN_ATTRIBUTES: usize = 8;
