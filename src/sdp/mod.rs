//! ICE in SDP and in trickle messages (RFC 8839, RFC 8840, RFC 9429).
