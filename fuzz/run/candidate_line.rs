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
    let masked = candidate.with_masked_related_address();
    assert_eq!(masked.to_string().parse().as_ref(), Ok(&masked));
}
