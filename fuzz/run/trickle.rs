//! A trickle fragment that can be read is printed as one that says the same, and a receiver hands on each candidate once.
//! The first byte says how the receiver's description relates to it.

use std::collections::BTreeSet;

use nilas::{Candidate, IceDescription, TrickleFragment, TrickleItem, TrickleReceiver};

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let fragment = match text.parse::<TrickleFragment>() {
        Ok(fragment) => fragment,
        Err(error) => {
            // It names a line of the text.
            assert!((1..=text.len() + 1).contains(&error.line()) && error.position() <= text.len(), "{error}");
            return;
        }
    };
    for note in &fragment.description.notes {
        assert!(note.line >= 1 && note.position <= text.len());
    }
    compare(&fragment);
    receive(*kind, fragment, text);
}

/// Prints, reads and compares.
fn compare(fragment: &TrickleFragment) {
    let printed = fragment.to_string();
    let again: TrickleFragment = printed.parse().expect("what is printed can be read");
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.description.media.len(), fragment.description.media.len(), "{printed:?}");
    for (again, media) in again.description.media.iter().zip(&fragment.description.media) {
        assert_eq!(again.candidates, media.candidates);
        assert_eq!((again.skipped_count, again.end_of_candidates), (0, media.end_of_candidates), "{printed:?}");
        assert_eq!((&again.ufrag, &again.password), (&media.ufrag, &media.password));
    }
}

/// Gives it to a receiver for a description like it, with other sections, or for another text.
fn receive(kind: u8, fragment: TrickleFragment, text: &str) {
    let mut description = fragment.description.clone();
    description.end_of_candidates = false;
    for media in &mut description.media {
        media.candidates.clear();
        media.end_of_candidates = false;
        if kind & 1 != 0 {
            media.mid = None;
        }
    }
    if kind & 2 != 0 {
        description.media.truncate(1);
    }
    if kind & 4 != 0 {
        let Some((one, other)) = text.split_once("\n\n") else { return };
        let (Ok(one), Ok(other)) = (one.parse::<IceDescription>(), other.parse()) else { return };
        hand_on(&one, &other);
        return;
    }
    hand_on(&description, &fragment);
}

fn hand_on(description: &IceDescription, fragment: &TrickleFragment) {
    let mut receiver = TrickleReceiver::new(description);
    let said: usize = fragment.description.media.iter().map(|media| media.candidates.len()).sum();
    let Ok(items) = receiver.receive(fragment) else {
        assert_eq!(receiver.ignored(), 0, "a refused fragment changes nothing");
        return;
    };
    let candidates: Vec<&Candidate> = items
        .iter()
        .filter_map(|item| if let TrickleItem::Candidate { candidate, .. } = item { Some(candidate) } else { None })
        .collect();
    // Handed on, counted, or known: of the description, or said twice.
    let lines: BTreeSet<String> =
        fragment.description.media.iter().flat_map(|media| &media.candidates).map(Candidate::to_string).collect();
    assert!(candidates.len() + receiver.ignored() <= said);
    assert!(candidates.iter().all(|candidate| lines.contains(&candidate.to_string())));
    // Twice is as good as once.
    let ignored = receiver.ignored();
    assert_eq!(receiver.receive(fragment).map(|items| items.len()), Ok(0));
    assert!(receiver.ignored() >= ignored);
}
