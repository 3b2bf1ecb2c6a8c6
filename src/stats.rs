//! Counters of an agent and of its pairs, and why a datagram was dropped.

use core::fmt;
use core::time::Duration;

use crate::types::Instant;

/// Why a datagram was dropped. Nothing but the counter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It came to an address that is no base of a local candidate.
    UnknownDestination,
    /// The agent is closed.
    Closed,
    /// It begins like STUN and is not well formed (RFC 8489 §6.3).
    Malformed,
    /// A STUN method other than Binding.
    UnknownMethod,
    /// FINGERPRINT is missing or wrong (RFC 8489 §14.7).
    BadFingerprint,
    /// A request without USERNAME or without integrity (RFC 8489 §9.1.3).
    MissingCredentials,
    /// A request for another username fragment than ours, or with a USERNAME that is none of ICE.
    UnknownUfrag,
    /// A request from another username fragment than the peer's.
    UnknownPeer,
    /// The integrity attribute is missing from a response, or wrong.
    BadIntegrity,
    /// A response to no request of ours.
    UnknownTransaction,
    /// A response to a check of a pair that is no longer of interest.
    LateResponse,
    /// A success response without a readable XOR-MAPPED-ADDRESS.
    UnusableResponse,
    /// An authenticated request that lacks what ICE needs, or has what is not understood; answered with an error.
    BadRequest,
    /// Too many answers wait to be polled.
    TooManyReplies,
    /// Application data from an address that was never part of a successful check.
    UnvalidatedSource,
    /// It came to an address of the host, and only relayed ones are used:
    /// [`Config::with_candidate_types`](crate::Config::with_candidate_types).
    ExcludedType,
    /// Neither STUN nor data by the [`DataFilter`](crate::DataFilter).
    Unclassified,
    /// A check of the peer while checks are withheld ([`Agent::withhold_checks`](crate::Agent::withhold_checks)).
    Withheld,
    /// It came on a connection that the agent does not have, or no longer.
    UnknownConnection,
    /// A check from an address that is not talked to: one that [`Config::with_remote_filter`](crate::Config::with_remote_filter)
    /// leaves out, or a loopback or link-local one while ours is neither. It is not answered.
    ExcludedSource,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownDestination => "unknown destination",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::UnknownMethod => "unknown method",
            Self::BadFingerprint => "bad fingerprint",
            Self::MissingCredentials => "missing credentials",
            Self::UnknownUfrag => "unknown username fragment",
            Self::UnknownPeer => "unknown peer",
            Self::BadIntegrity => "bad integrity",
            Self::UnknownTransaction => "unknown transaction",
            Self::LateResponse => "late response",
            Self::UnusableResponse => "unusable response",
            Self::BadRequest => "bad request",
            Self::TooManyReplies => "too many replies",
            Self::UnvalidatedSource => "unvalidated source",
            Self::ExcludedType => "excluded type",
            Self::Unclassified => "unclassified",
            Self::Withheld => "withheld",
            Self::UnknownConnection => "unknown connection",
            Self::ExcludedSource => "excluded source",
        })
    }
}

impl DropReason {
    const ALL: [Self; 20] = [
        Self::UnknownDestination,
        Self::Closed,
        Self::Malformed,
        Self::UnknownMethod,
        Self::BadFingerprint,
        Self::MissingCredentials,
        Self::UnknownUfrag,
        Self::UnknownPeer,
        Self::BadIntegrity,
        Self::UnknownTransaction,
        Self::LateResponse,
        Self::UnusableResponse,
        Self::BadRequest,
        Self::TooManyReplies,
        Self::UnvalidatedSource,
        Self::ExcludedType,
        Self::Unclassified,
        Self::Withheld,
        Self::UnknownConnection,
        Self::ExcludedSource,
    ];
}

/// Counters of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStats {
    /// Datagrams handed in.
    pub datagrams_received: u64,
    /// Datagrams handed out, application data included.
    pub datagrams_sent: u64,
    /// Checks sent, without retransmissions and consent checks.
    pub requests_sent: u64,
    /// Authenticated answers to them.
    pub responses_received: u64,
    /// How often the agent has begun to nominate a pair, however many checks each nomination took.
    pub nominations: u64,
    /// How often integrity was computed to verify a message.
    pub integrity_checks: u64,
    /// Checks that came before the peer's credentials and found no room to be remembered.
    pub early_checks_forgotten: u64,
    /// Peer-reflexive candidates that were not added because there are too many.
    pub peer_reflexive_refused: u64,
    /// Signalled remote candidates that were left out because there are too many.
    pub remote_candidates_refused: u64,
    /// Addresses of remote candidates, as they were signalled or resolved, that were not used: nobody's, out of scope, or left
    /// out by [`Config::with_remote_filter`](crate::Config::with_remote_filter).
    pub remote_addresses_refused: u64,
    /// Pairs that were not made, or given up, because there are too many.
    pub pairs_refused: u64,
    /// Connections of the peer that were not accepted because there are too many.
    pub connections_refused: u64,
    /// Events that were lost because too many wait to be polled.
    pub events_lost: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl AgentStats {
    /// How many datagrams were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// How many datagrams were dropped.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every reason for which datagrams were dropped, with their number.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// Counters of a pair as the WebRTC statistics define them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairStats {
    /// Checks sent, without retransmissions: `requestsSent`.
    pub requests_sent: u64,
    /// Retransmissions of checks: `retransmissionsSent`.
    pub retransmissions_sent: u64,
    /// Authenticated checks received, with retransmissions: `requestsReceived`.
    pub requests_received: u64,
    /// Consent checks sent: `consentRequestsSent`.
    pub consent_requests_sent: u64,
    /// Answers sent: `responsesSent`.
    pub responses_sent: u64,
    /// Authenticated answers received: `responsesReceived`.
    pub responses_received: u64,
    /// Application datagrams sent: `packetsSent`.
    pub packets_sent: u64,
    /// Application datagrams received: `packetsReceived`.
    pub packets_received: u64,
    /// Application bytes sent: `bytesSent`.
    pub bytes_sent: u64,
    /// Application bytes received: `bytesReceived`.
    pub bytes_received: u64,
    /// Application datagrams that the host did not send: `packetsDiscardedOnSend`.
    pub packets_discarded_on_send: u64,
    /// Application bytes that the host did not send: `bytesDiscardedOnSend`.
    pub bytes_discarded_on_send: u64,
    /// When the last application datagram was sent: `lastPacketSentTimestamp`.
    pub last_packet_sent_at: Option<Instant>,
    /// When the last application datagram was received: `lastPacketReceivedTimestamp`.
    pub last_packet_received_at: Option<Instant>,
    /// Round-trip time of the latest answered check that was not retransmitted: `currentRoundTripTime`.
    pub current_round_trip_time: Option<Duration>,
    /// Sum of all round-trip times: `totalRoundTripTime`.
    pub total_round_trip_time: Duration,
    /// How many round-trip times are in the sum.
    pub round_trip_time_measurements: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut stats = AgentStats::default();
        for (times, reason) in DropReason::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| stats.count_drop(reason));
        }
        for (times, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(stats.dropped(reason), times as u64 + 1, "{reason:?}");
        }
        assert_eq!(stats.drops().count(), DropReason::ALL.len());
    }
}
