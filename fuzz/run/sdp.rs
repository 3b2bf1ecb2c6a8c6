//! Session descriptions, trickle fragments and JSON candidates. The first byte says which of them the rest is.

use std::fmt::Write;

use nilas::{IceCandidateInit, IceDescription, TrickleFragment, TrickleReceiver};

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 4 {
        0 => description(text),
        1 => fragment(text),
        2 => json(text),
        // A description, an empty line, and what refers to it.
        _ => {
            let Some((text, later)) = text.split_once("\n\n") else { return };
            let Ok(description) = text.parse::<IceDescription>() else { return };
            refer(&description, later);
        }
    }
}

/// The description as an application would write it, which leaves no carriage return at the end of a line.
fn write(description: &IceDescription) -> String {
    let mut text = String::from("v=0\r\n");
    write!(text, "{}", description.session_attributes()).expect("a string takes all");
    for media in &description.media {
        write!(text, "m={}\r\n", media.m_line.trim_end_matches('\r')).expect("a string takes all");
        if let Some(mid) = &media.mid {
            write!(text, "a=mid:{}\r\n", mid.trim_end_matches('\r')).expect("a string takes all");
        }
        if media.bundle_only {
            text.push_str("a=bundle-only\r\n");
        }
        write!(text, "{}", media.attributes()).expect("a string takes all");
    }
    text
}

fn description(text: &str) {
    let Ok(description) = text.parse::<IceDescription>() else { return };
    let _ = description.validate();
    let written = write(&description);
    let again: IceDescription = written.parse().expect("what is written can be read");
    assert_eq!(write(&again), written);
    assert_eq!(
        (again.lite, &again.ufrag, &again.password, &again.options),
        (description.lite, &description.ufrag, &description.password, &description.options)
    );
    assert_eq!(again.media.len(), description.media.len());
    for (again, media) in again.media.iter().zip(&description.media) {
        assert_eq!((&again.ufrag, &again.password, &again.options), (&media.ufrag, &media.password, &media.options));
        assert_eq!(again.skipped_count, 0, "{written:?}");
        if !media.is_rejected() && !media.mismatch && !media.has_faulty_credentials {
            assert_eq!(again.candidates, media.candidates);
            assert_eq!(again.remote_candidates, media.remote_candidates);
        }
    }
    if has_repeated_mid(&description) {
        return;
    }
    assert_eq!(description.changes_since(&description).len(), description.media.len());
    assert!(!description.settings_changed_since(&description));
    refer(&description, "");
}

fn fragment(text: &str) {
    let Ok(fragment) = text.parse::<TrickleFragment>() else { return };
    let printed = fragment.to_string();
    let again: TrickleFragment = printed.parse().expect("what is printed can be read");
    assert_eq!(again.to_string(), printed);
    // A receiver hands on everything once.
    if has_repeated_mid(&fragment.description) {
        return;
    }
    let mut receiver = TrickleReceiver::new(&fragment.description);
    if let Ok(items) = receiver.receive(&fragment) {
        assert!(items.is_empty(), "{items:?} were in the description");
    }
    let mut bare = fragment.description.clone();
    bare.end_of_candidates = false;
    for media in &mut bare.media {
        media.candidates.clear();
        media.end_of_candidates = false;
    }
    let mut receiver = TrickleReceiver::new(&bare);
    if receiver.receive(&fragment).is_ok() {
        assert_eq!(receiver.receive(&fragment).map(|items| items.len()), Ok(0));
    }
}

/// Whether several sections have the same identification, which no description may have (RFC 5888 §4): what is said for
/// one of them then counts for the first.
fn has_repeated_mid(description: &IceDescription) -> bool {
    let mids: Vec<_> = description.media.iter().filter_map(|media| media.mid.as_deref()).collect();
    mids.iter().enumerate().any(|(place, mid)| mids.iter().skip(place + 1).any(|later| later == mid))
}

fn json(text: &str) {
    let Ok(init) = serde_json::from_str::<IceCandidateInit>(text) else { return };
    let printed = serde_json::to_string(&init).expect("it has a JSON form");
    assert_eq!(serde_json::from_str::<IceCandidateInit>(&printed).expect("what is printed can be read"), init);
    let _ = init.resolve(None);
    if let Ok(Some(candidate)) = init.to_candidate() {
        assert_eq!(IceCandidateInit::from(&candidate).to_candidate(), Ok(Some(candidate)));
    }
}

fn refer(description: &IceDescription, later: &str) {
    if let Ok(init) = serde_json::from_str::<IceCandidateInit>(later) {
        let _ = init.resolve(Some(description));
    }
    let mut receiver = TrickleReceiver::new(description);
    if let Ok(fragment) = later.parse::<TrickleFragment>() {
        let _ = receiver.receive(&fragment);
    }
    if has_repeated_mid(description) {
        return;
    }
    let own = TrickleFragment::new(description);
    if let Ok(items) = receiver.receive(&own) {
        let is_known = |item: &nilas::TrickleItem| matches!(item, nilas::TrickleItem::EndOfCandidates { .. });
        assert!(items.iter().all(is_known), "{items:?} were in the description");
    }
}
