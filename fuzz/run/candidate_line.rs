//! A candidate line that can be read is printed as one that reads the same.

use nilas::{Candidate, IceCandidateInit};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(candidate) = text.parse::<Candidate>() else { return };
    let printed = candidate.to_string();
    assert!(!printed.contains(['\r', '\n', '\0']), "{printed:?}");
    let again: Candidate = printed.parse().expect("what is printed can be read");
    assert_eq!(again, candidate, "{printed:?}");
    assert_eq!(again.to_string(), printed);

    let init = IceCandidateInit::from(&candidate);
    assert_eq!(init.to_candidate().as_ref().map(Option::as_ref), Ok(Some(&candidate)));
    // What is not written as it was read has no zone, which means nothing to others.
    let has_zone = matches!(candidate.socket_address(), Some(std::net::SocketAddr::V6(v6)) if v6.scope_id() != 0);
    let masked = candidate.with_masked_related_address();
    let again: Candidate = masked.to_string().parse().expect("what is printed can be read");
    assert_eq!(again.to_string(), masked.to_string());
    assert!(has_zone || again == masked, "{again:?} {masked:?}");
}
