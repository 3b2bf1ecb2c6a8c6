use super::*;
use crate::sdp::candidate::tests::any_candidate;
use alloc::format;
use proptest::prelude::*;

const LINE: &str = "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host";

/// Two sections of one generation, one rejected, one without ICE, and one with credentials of its own.
fn remote() -> IceDescription {
    "a=ice-ufrag:8hhY\na=ice-pwd:asd88fgpdd777uzjYhagZg\n\
     m=audio 9 x 0\na=mid:a\nm=video 9 x 0\na=mid:b\nm=text 0 x 0\na=mid:c\n\
     m=audio 9 x 0\na=mid:d\na=ice-mismatch\n\
     m=audio 9 x 0\na=mid:e\na=ice-ufrag:9iiZ\na=ice-pwd:bsd88fgpdd777uzjYhagZg\n"
        .parse()
        .unwrap()
}

fn init(candidate: &str) -> IceCandidateInit {
    IceCandidateInit { candidate: candidate.into(), ..IceCandidateInit::default() }
}

fn ufrag(text: &str) -> Ufrag {
    text.parse().unwrap()
}

fn at(media: usize) -> Result<ResolvedCandidate, AddIceCandidateError> {
    Ok(ResolvedCandidate::Candidate { media, candidate: Box::new(LINE.parse().unwrap()) })
}

/// Req: wpc-candidateinit-a
#[test]
fn an_empty_candidate_is_the_end_of_candidates() {
    let end = IceCandidateInit::end_of_candidates();
    assert!(end.is_end_of_candidates() && end == init(""));
    assert_eq!(end.to_candidate(), Ok(None));
    assert!(!init(LINE).is_end_of_candidates());
}

/// Req: wpc-candidateinit-a
#[cfg(feature = "serde")]
#[test]
fn json_has_exactly_four_members_and_missing_ones_have_defaults() {
    let text = r#"{"candidate":"","sdpMid":null,"sdpMLineIndex":null,"usernameFragment":null}"#;
    assert_eq!(serde_json::to_string(&IceCandidateInit::default()).unwrap(), text);
    assert_eq!(serde_json::from_str::<IceCandidateInit>(text).unwrap(), IceCandidateInit::default());
    assert_eq!(serde_json::from_str::<IceCandidateInit>("{}").unwrap(), IceCandidateInit::default());
    let full = init(LINE).with_mid("0").with_m_line_index(7).with_username_fragment(&ufrag("8hhY"));
    let text = serde_json::to_string(&full).unwrap();
    let expected = r#"5010 typ host","sdpMid":"0","sdpMLineIndex":7,"usernameFragment":"8hhY"}"#;
    assert!(text.starts_with(r#"{"candidate":"candidate:1 1 udp"#) && text.ends_with(expected), "{text}");
    assert_eq!(serde_json::from_str::<IceCandidateInit>(&text).unwrap(), full);
    let extra = r#"{"foundation":"1","candidate":"x","extra":{"a":[1]}}"#;
    assert_eq!(serde_json::from_str::<IceCandidateInit>(extra).unwrap(), init("x"));
    assert!(serde_json::from_str::<IceCandidateInit>(r#"{"sdpMLineIndex":65536}"#).is_err());
}

/// Req: wpc-candidateinit-a
#[cfg(feature = "serde")]
#[test]
fn null_is_what_is_not_there() {
    let read = |text: &str| serde_json::from_str::<IceCandidateInit>(text).unwrap();
    for end in ["null", r#"{"candidate":null}"#, r#"{"candidate":null,"sdpMid":null,"sdpMLineIndex":null}"#] {
        assert_eq!(read(end), IceCandidateInit::end_of_candidates(), "{end}");
        assert_eq!(
            read(end).resolve(Some(&remote())).unwrap(),
            ResolvedCandidate::EndOfCandidates { media: vec![0, 1, 4] }
        );
    }
    let of_section = read(r#"{"candidate":null,"sdpMid":"b","sdpMLineIndex":1,"usernameFragment":null}"#);
    assert_eq!(of_section.resolve(Some(&remote())).unwrap(), ResolvedCandidate::EndOfCandidates { media: vec![1] });
    assert_eq!(serde_json::from_str::<Vec<IceCandidateInit>>(r#"[null,{"candidate":"x"}]"#).unwrap()[1], init("x"));
    for wrong in ["7", r#""candidate""#, r#"{"candidate":7}"#, r#"{"sdpMLineIndex":-1}"#] {
        assert!(serde_json::from_str::<IceCandidateInit>(wrong).is_err(), "{wrong}");
    }
}

/// Req: 9429-3.5.2.1-a
#[test]
fn an_empty_mid_is_none_and_without_mids_the_index_or_the_only_section_counts() {
    let with = |one: IceCandidateInit, text: &str| one.resolve(Some(&text.parse().unwrap()));
    let resolve = |one: IceCandidateInit| one.resolve(Some(&remote()));
    assert_eq!(resolve(init(LINE).with_mid("").with_m_line_index(1)), at(1));
    assert_eq!(resolve(init(LINE).with_mid("")), Err(AddIceCandidateError::NoSection));
    let all = resolve(IceCandidateInit::end_of_candidates().with_mid("")).unwrap();
    assert_eq!(all, ResolvedCandidate::EndOfCandidates { media: vec![0, 1, 4] });
    let credentials = "a=ice-ufrag:8hhY\na=ice-pwd:asd88fgpdd777uzjYhagZg\n";
    let one = format!("{credentials}m=audio 9 x 0\n");
    let two = format!("{one}m=video 9 x 0\n");
    assert_eq!(with(init(LINE).with_mid("0"), &one), at(0));
    assert_eq!(with(init(LINE).with_mid("0"), credentials), at(0));
    assert_eq!(with(init(LINE).with_mid("video").with_m_line_index(1), &two), at(1));
    assert_eq!(
        with(init(LINE).with_mid("video").with_m_line_index(2), &two),
        Err(AddIceCandidateError::UnknownIndex { index: 2, count: 2 })
    );
    assert_eq!(with(init(LINE).with_mid("video"), &two), Err(AddIceCandidateError::UnknownMid));
    assert_eq!(with(init(LINE).with_mid("1"), &format!("a=group:BUNDLE 0 1\n{two}")), at(0));
}

#[test]
fn candidates_and_their_end_are_taken_with_and_without_a_prefix() {
    let resolve = |text: &str| init(text).with_mid("b").resolve(Some(&remote()));
    for text in [LINE, &format!("a={LINE}\r\n"), &LINE["candidate:".len()..], &format!(" {LINE} ")] {
        let Ok(ResolvedCandidate::Candidate { media: 1, candidate }) = resolve(text) else { panic!("{text}") };
        assert_eq!(*candidate, LINE.parse().unwrap());
    }
    for end in ["", " ", "\r\n", "end-of-candidates", "a=end-of-candidates\r\n", "END-OF-CANDIDATES"] {
        assert!(init(end).is_end_of_candidates(), "{end:?}");
        assert_eq!(resolve(end), Ok(ResolvedCandidate::EndOfCandidates { media: vec![1] }), "{end:?}");
    }
}

/// Req: 9429-3.5.2.1-a
#[test]
fn mid_wins_over_the_index_and_no_optional_field_is_required() {
    let remote = remote();
    let resolve = |one: IceCandidateInit| one.resolve(Some(&remote));
    let ours = ufrag("8hhY");
    for one in [init(LINE), init(LINE).with_username_fragment(&ours)] {
        assert_eq!(resolve(one.clone().with_mid("b")), at(1));
        assert_eq!(resolve(one.clone().with_m_line_index(1)), at(1));
        assert_eq!(resolve(one.clone().with_mid("b").with_m_line_index(0)), at(1));
        assert_eq!(resolve(one.clone().with_mid("b").with_m_line_index(99)), at(1));
        assert_eq!(resolve(one), Err(AddIceCandidateError::NoSection));
    }
    let empty = IceCandidateInit { username_fragment: Some("".into()), ..init(LINE).with_mid("a") };
    assert_eq!(resolve(empty), at(0));
}

/// Req: 9429-3.5.2.1-a
#[test]
fn the_candidate_string_is_without_a_prefix_and_names_its_generation() {
    let candidate: Candidate = format!("a={LINE} generation 0 ufrag 8hhY\r\n").parse().unwrap();
    let one = IceCandidateInit::from(&candidate);
    assert_eq!(one.candidate, format!("{LINE} generation 0 ufrag 8hhY"));
    assert_eq!(one.username_fragment.as_deref(), Some("8hhY"));
    assert_eq!((one.sdp_mid, one.sdp_m_line_index), (None, None));
}

/// Req: 9429-4.1.19-a
#[test]
fn an_end_without_section_covers_all_sections_of_the_generation() {
    let remote = remote();
    let end = |media: &[usize]| Ok(ResolvedCandidate::EndOfCandidates { media: media.into() });
    let all = IceCandidateInit::end_of_candidates();
    assert_eq!(all.resolve(Some(&remote)), end(&[0, 1, 4]));
    assert_eq!(all.clone().with_username_fragment(&ufrag("8hhY")).resolve(Some(&remote)), end(&[0, 1]));
    assert_eq!(all.clone().with_username_fragment(&ufrag("9iiZ")).resolve(Some(&remote)), end(&[4]));
    let stale = all.clone().with_username_fragment(&ufrag("olda"));
    assert_eq!(stale.resolve(Some(&remote)), Err(AddIceCandidateError::UnknownUfrag));
    assert_eq!(all.clone().with_mid("b").resolve(Some(&remote)), end(&[1]));
    assert_eq!(all.clone().with_mid("c").resolve(Some(&remote)), Ok(ResolvedCandidate::Ignored));
    assert_eq!(all.resolve(None), Err(AddIceCandidateError::NoRemoteDescription));
}

/// Req: wpc-addcandidate-a
#[test]
fn each_mistake_has_its_error() {
    use crate::sdp::ParseCandidateError;
    let remote = remote();
    let resolve = |one: IceCandidateInit| one.resolve(Some(&remote)).unwrap_err();
    assert_eq!(init(LINE).resolve(None), Err(AddIceCandidateError::NoSection));
    assert_eq!(init(LINE).with_mid("a").resolve(None), Err(AddIceCandidateError::NoRemoteDescription));
    assert_eq!(resolve(init(LINE).with_mid("x")), AddIceCandidateError::UnknownMid);
    assert_eq!(resolve(init(LINE).with_mid("x").with_m_line_index(0)), AddIceCandidateError::UnknownMid);
    let index = AddIceCandidateError::UnknownIndex { index: 5, count: 5 };
    assert_eq!(resolve(init(LINE).with_m_line_index(5)), index);
    let other = init(LINE).with_mid("a").with_username_fragment(&ufrag("9iiZ"));
    assert_eq!(resolve(other), AddIceCandidateError::UnknownUfrag);
    let stale = init(&format!("{LINE} ufrag olda")).with_mid("a");
    assert_eq!(resolve(stale), AddIceCandidateError::UnknownUfrag);
    let broken = AddIceCandidateError::Candidate(ParseCandidateError::Component { at: 12 });
    assert_eq!(resolve(init("candidate:1 x").with_mid("a")), broken);
    let names = [AddIceCandidateError::NoSection, AddIceCandidateError::NoRemoteDescription, broken];
    assert_eq!(names.map(|error| error.exception_name()), ["TypeError", "InvalidStateError", "OperationError"]);
}

/// Req: wpc-addcandidate-a
/// Req: 8839-5.1-e
#[test]
fn a_candidate_of_a_stopped_section_or_of_an_unknown_kind_is_accepted_and_ignored() {
    let remote = remote();
    let ignored = Ok(ResolvedCandidate::Ignored);
    assert_eq!(init(LINE).with_mid("c").resolve(Some(&remote)), ignored);
    assert_eq!(init(LINE).with_m_line_index(2).resolve(Some(&remote)), ignored);
    assert_eq!(init(LINE).with_mid("d").resolve(Some(&remote)), ignored);
    assert_eq!(init(&LINE.replace("udp", "sctp")).with_mid("a").resolve(Some(&remote)), ignored);
}

proptest! {
    #[test]
    fn a_candidate_survives_the_way_there_and_back(candidate in any_candidate()) {
        prop_assert_eq!(IceCandidateInit::from(&candidate).to_candidate(), Ok(Some(candidate)));
    }

    #[test]
    fn no_object_panics(line in "(candidate:)?[ -~]{0,60}", mid in proptest::option::of("[a-f]"), index: Option<u16>) {
        let one = IceCandidateInit { sdp_mid: mid, sdp_m_line_index: index, ..init(&line) };
        let _ = one.resolve(Some(&remote()));
    }
}
