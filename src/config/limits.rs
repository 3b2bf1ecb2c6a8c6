//! How much an agent keeps of anything: every limit that is no setting of [`Config`](super::Config), with its reason. The table
//! of all of them, settings included, is in the guide on security.

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

/// Numbers of foundations of the peer that are told apart.
pub(crate) const FOUNDATIONS: usize = 20_000;

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
