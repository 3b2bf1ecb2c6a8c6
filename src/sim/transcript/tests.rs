//! Recordings against what they are made of.

use std::string::ToString;

use super::recording::{bounds, window_of};
use super::*;
use crate::sim::{PairSetup, SideName};
use crate::{Event, Seed};

fn pair() -> Pair {
    let mut pair = PairSetup::new(Seed::from_name("transcript")).build();
    pair.run_for(Duration::from_secs(12));
    let _ = pair.send(SideName::L, b"data");
    pair.run_for(Duration::from_secs(1));
    pair
}

#[test]
fn every_byte_address_instant_and_event_is_in_a_recording() {
    let pair = pair();
    let before = Transcript::of(&pair).record();
    let differs = |change: &dyn Fn(&mut Pair), wanted: &str| {
        let mut other = pair.clone();
        change(&mut other);
        let difference = before.difference(&Transcript::of(&other).record());
        assert!(difference.as_ref().is_some_and(|text| text.contains(wanted)), "{wanted}: {difference:?}");
    };
    differs(&|pair| pair.l.sent[3].payload[30] ^= 1, "L: first within");
    differs(&|pair| pair.r.sent[3].source.set_port(1), "R: first within");
    differs(&|pair| pair.r.sent[3].destination.set_port(1), "R: first within");
    differs(&|pair| pair.r.sent[3].traffic_class = crate::TrafficClass::from_octet(4), "the same kinds of events");
    differs(&|pair| pair.l.sent[0].at = Instant::from_nanos(1), "datagrams before and now");
    differs(&|pair| drop(pair.l.sent.pop()), "datagrams before, ");
    differs(&|pair| drop(pair.r.events.pop()), "events: -");
    differs(&|pair| pair.l.events[2].0 = Instant::from_nanos(2), "L: first within 0.0 s to 0.5 s");
    differs(&|pair| pair.r.received[0].payload.push(1), "first within 12.0 s to 14.0 s");
    differs(&|pair| pair.r.received.push(pair.r.received[0].clone()), "+received data");
    let later = |pair: &mut Pair| {
        for (_, event) in &mut pair.l.events {
            if let Event::SelectedPairChanged { at, .. } = event {
                *at = Instant::from_nanos(at.as_nanos() + 1);
            }
        }
    };
    differs(&later, "L: first within 0.0 s");
}

#[test]
fn recordings_are_read_as_they_are_written() {
    let recording = Transcript::of(&pair()).record();
    assert_eq!(recording.to_string().parse(), Ok(recording));
    for bad in ["", "L 12", "L 12\nL 13", "L 12 4\nR 12", "L 12 4::z\nR 12", "L x\nR 1"] {
        assert_eq!(bad.parse::<Recording>(), Err(ParseRecordingError), "{bad}");
    }
}

#[test]
fn windows_follow_one_another_without_a_gap() {
    for window in 0..60 {
        let ((begin, end), (next, _)) = (bounds(window), bounds(window + 1));
        assert!(begin < end && (end - next).abs() < 1e-9, "{window}");
        let at = nanos(Duration::from_secs_f64(begin));
        assert_eq!((window_of(at), window_of(at - 1)), (window, window.saturating_sub(1)));
    }
}

#[test]
fn each_kind_of_line_has_a_letter_of_its_own() {
    for (place, (letter, name)) in EVENTS.iter().enumerate() {
        let others = || EVENTS.iter().take(place);
        assert!(others().all(|(other, word)| other != letter && word != name), "{letter}");
    }
}
