//! How much an agent keeps of anything, takes from anybody, and lets others make it do: every limit, with its reason. Those of
//! which the documentation of [`Config`](super::Config) says so are defaults, which a setter changes. The guide on security has
//! a table of what each of them bounds, and of the test that reaches it; a test here holds that table against this file.

#[cfg(feature = "turn")]
use core::time::Duration;

/// Default: pairs on all checklists together (RFC 8445 §6.1.2.5). As many again, beside them, are valid pairs of other
/// addresses than those that were checked, and pairs of the generation before; of a lite agent it is all pairs.
pub(crate) const PAIRS: usize = 100;

/// Default: pairs in reserve for each component. One may share a link with the pair in use; checks cost little.
pub(crate) const STANDBY_PAIRS: usize = 2;

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

/// Default: errors a second in answer to requests that are not authenticated, whose sources may be forged.
pub(crate) const UNAUTHENTICATED_REPLIES: u32 = 10;

/// Events that wait, and beside them [`EVENTS_PER_STREAM`]: all candidates and pairs of a large session, told at once.
pub(crate) const EVENTS: usize = 1024;

/// Events that wait, of each stream there is: its candidates from several interfaces and families, their end, and the states and
/// selections of one instant. Only the application makes streams.
pub(crate) const EVENTS_PER_STREAM: usize = 16;

/// One kind of event that others can bring about over and over has one part in so many of the room for events: enough to see
/// what goes on, and half of the queue is left if four floods come at once.
pub(crate) const EVENTS_SHARE: usize = 8;

/// Streams: four times what a session description has sections, for those that bundle nothing.
pub(crate) const STREAMS: usize = 1024;

/// Components of a stream (RFC 8445 §5.1.1.1, RFC 8839 §5.1).
pub(crate) const COMPONENTS: u16 = crate::types::ComponentId::MAX.get();

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

/// How often a check, or a request to a STUN server, is made anew because the other side had a problem of its own
/// (RFC 8489 §6.3.4 leaves it open): with an RTO of 500 ms, for 7.5 s.
pub(crate) const SERVER_ERRORS: u8 = 4;

/// Role conflicts of a pair: one repairs the roles, and two may cross; a peer that never agrees is no peer.
pub(crate) const ROLE_CONFLICTS: u8 = 10;

/// Passes in which conclusions are drawn at one time: two or three are enough, and what is left then waits for the next call.
pub(crate) const PASSES: usize = 32;

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

/// Nominations of a lite agent through which an earlier one is known again: at one a second they are those of an hour.
pub(crate) const REPLAY_WINDOW: usize = 4096;

/// Nominations in a row that go to another address under which a peer sees a path, one a minute in the long run: a NAT that
/// takes its addresses in turn changes a few times at the beginning.
pub(crate) const MAPPING_NOMINATIONS: u32 = 8;

/// Bytes of a datagram that the agent writes to its peer: what any IPv4 path carries (RFC 8489 §6.1).
pub(crate) const DATAGRAM: usize = 548;

/// Characters of a username fragment or password (RFC 8839 §5.4).
pub(crate) const CREDENTIAL: usize = 256;

/// Characters of a foundation (RFC 8839 §5.1).
pub(crate) const FOUNDATION: usize = 32;

/// Characters of the text of an error that a server gives (RFC 8489 §14.8).
pub(crate) const ERROR_TEXT: usize = 127;

/// Bytes of the user name for a server (RFC 8489 §14.3).
pub(crate) const SERVER_USERNAME: usize = 508;

/// Relays at a time: two families at four servers from eight interfaces.
#[cfg(feature = "turn")]
pub(crate) const RELAYS: usize = 64;

/// Servers that were asked for an allocation, remembered against loops of redirections; as many as there are relays.
#[cfg(feature = "turn")]
pub(crate) const ASKED_SERVERS: usize = 64;

/// How long a server that was asked is not redirected to (RFC 8489 §10, RFC 8656 §7.4).
#[cfg(feature = "turn")]
pub(crate) const ASKED_FOR: Duration = Duration::from_secs(300);

/// Redirections that are followed in a row (RFC 8489 §10 leaves it open): server farms have one or two.
#[cfg(feature = "turn")]
pub(crate) const REDIRECTIONS: u8 = 5;

/// Further connections to a server that takes ours for another one (RFC 8656 §7.4): another port is mostly free.
#[cfg(feature = "turn")]
pub(crate) const MISMATCHES: u8 = 2;

/// Answers 438 to one request (RFC 8489 §9.2.5 leaves it open): a nonce that ends while the request is on its way is one.
#[cfg(feature = "turn")]
pub(crate) const STALE_NONCES: u8 = 3;

/// Bytes of realm and nonce (RFC 8489 §14.9, §14.10).
#[cfg(feature = "turn")]
pub(crate) const CHALLENGE_TEXT: usize = 763;

/// Bytes of PASSWORD-ALGORITHMS: two are defined, of four bytes each (RFC 8489 §18.5).
#[cfg(feature = "turn")]
pub(crate) const PASSWORD_ALGORITHMS: usize = 128;

/// Bytes of a request to a server: what a buffer has room for whose owner follows the documentation.
#[cfg(feature = "turn")]
pub(crate) const SERVER_REQUEST: usize = 1500;

/// Permissions of an allocation, by address: more than a peer has candidates.
#[cfg(feature = "turn")]
pub(crate) const PERMISSIONS: usize = 256;

/// Permissions in one request, which keeps it in a datagram.
#[cfg(feature = "turn")]
pub(crate) const PERMISSIONS_AT_ONCE: usize = 8;

/// Channels of an allocation: the numbers that there are (RFC 8656 §12).
#[cfg(feature = "turn")]
pub(crate) const CHANNELS: u16 = 4096;

/// What an allocation has to tell the agent, which takes it at once.
#[cfg(feature = "turn")]
pub(crate) const RELAY_EVENTS: usize = 64;

/// Tokens in a list of ICE options.
pub(crate) const ICE_OPTIONS: usize = 64;

/// Sections of a session description.
pub(crate) const MEDIA_SECTIONS: usize = 256;

/// Candidates of a section of a session description, those passed over included.
pub(crate) const LISTED_CANDIDATES: usize = 1000;

/// Bytes of a candidate line, prefix and line end included: those in use have less than 300.
pub(crate) const CANDIDATE_LINE: usize = 4096;

/// Characters of a host name with a dot at its end (RFC 1035 §2.3.4).
pub(crate) const HOST_NAME: usize = 254;

/// Candidate lines of a section that are remembered as passed over.
pub(crate) const SKIPPED_LINES: usize = 16;

/// Notes on a session description that are remembered.
pub(crate) const NOTES: usize = 64;

/// Attribute types in an error response, which keeps it smaller than 548 bytes.
pub(crate) const UNKNOWN_ATTRIBUTES: usize = 8;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use std::fs;
    use std::path::Path;

    /// The limits of this file, with their values as text.
    fn limits() -> BTreeMap<&'static str, &'static str> {
        let limit = |line: &'static str| {
            let (name, rest) = line.strip_prefix("pub(crate) const ")?.split_once(": ")?;
            Some((name, rest.split_once(" = ")?.1.strip_suffix(';')?))
        };
        include_str!("limits.rs").lines().filter_map(limit).collect()
    }

    /// The lines of the table in the guide: the cells of each.
    fn table() -> Vec<Vec<&'static str>> {
        let text = include_str!("../guide/security.md");
        let (_, behind) = text.split_once("| Limit | Most |").expect("there is the table");
        let lines = behind.lines().skip(2).take_while(|line| line.starts_with('|'));
        lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
    }

    #[test]
    fn every_limit_has_a_line_in_the_guide_with_its_value() {
        let (limits, table) = (limits(), table());
        let named: Vec<&str> = table.iter().map(|cells| cells[0].trim_matches('`')).collect();
        assert!(limits.len() > 50);
        for (name, value) in &limits {
            assert_eq!(named.iter().filter(|named| *named == name).count(), 1, "{name} has one line");
            if let Ok(number) = value.replace('_', "").parse::<u64>() {
                let place = named.iter().position(|named| named == name).expect("it is there");
                let shown: String = table[place][1].chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
                let shown = shown.trim_end_matches(',').replace(',', "");
                assert_eq!(shown, number.to_string(), "{name}");
            }
        }
        assert!(named.iter().all(|name| limits.contains_key(name)), "{named:?}");
    }

    /// The whole text of the tests, and of the files that have unit tests.
    fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is there").path()) {
            if entry.is_dir() {
                sources(&entry, found);
            } else if let Some(name) = entry.file_stem().filter(|_| entry.extension().is_some_and(|end| end == "rs")) {
                found.push((name.to_string_lossy().into(), fs::read_to_string(&entry).expect("it is text")));
            }
        }
    }

    #[test]
    fn every_test_that_the_guide_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        sources(&root.join("src"), &mut files);
        sources(&root.join("tests/it"), &mut files);
        for cells in table() {
            assert_eq!(cells.len(), 6, "{cells:?}");
            let named: Vec<&str> = cells[5].split('`').filter(|name| name.contains("::")).collect();
            assert!(!named.is_empty(), "{cells:?}");
            for name in named {
                let (file, test) = name.split_once("::").expect("it has one");
                let head = alloc::format!("fn {test}(");
                let is_there = |(stem, text): &(String, String)| stem == file && text.contains(&head);
                assert!(files.iter().any(is_there), "{name}");
            }
        }
    }
}
