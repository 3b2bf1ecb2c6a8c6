use super::*;
use crate::candidate::CandidateAddress;
use crate::credentials::ParseCredentialError;
use crate::credentials::{Password, Ufrag};
use crate::sdp::candidate::ParseCandidateError;
use crate::sdp::candidate::tests::any_candidate;
use crate::sdp::options::ParseIceOptionsError;
use alloc::string::ToString;
use alloc::{format, vec};
use proptest::prelude::*;

const CREDENTIALS: &str = "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n";
const CANDIDATE: &str = "a=candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host\r\n";

fn parse(text: &str) -> IceDescription {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn reason(text: &str) -> (usize, IceDescriptionError) {
    let error = text.parse::<IceDescription>().expect_err(text);
    assert!(text.is_char_boundary(error.position()));
    (error.line(), error.reason())
}

fn notes(description: &IceDescription) -> Vec<(usize, Option<usize>, IceNoteKind)> {
    description.notes.iter().map(|note| (note.line, note.media, note.kind)).collect()
}

fn faults(description: &IceDescription) -> Vec<(usize, Option<usize>, IceDescriptionError)> {
    let fault = |note: &IceNote| {
        let IceNoteKind::Faulty(reason) = note.kind else { return None };
        Some((note.line, note.media, reason))
    };
    description.notes.iter().filter_map(fault).collect()
}

/// The description as SDP text with nothing but ICE in it.
fn write(description: &IceDescription) -> String {
    let mut text = description.session_attributes().to_string();
    for media in &description.media {
        text += &format!("m={}\r\n", media.m_line);
        text.extend(media.mid.as_ref().map(|mid| format!("a=mid:{mid}\r\n")));
        text += &media.attributes().to_string();
    }
    text
}

#[test]
fn the_ice_attributes_of_a_browser_offer_are_found() {
    let offer = parse(
        "v=0\r\no=- 7825816763851598135 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
         m=audio 61397 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.7\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:3818712247 1 udp 2122260223 192.0.2.7 61397 typ host generation 0 network-id 1\r\n\
         a=candidate:1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0 network-id 1\r\n\
         a=ice-ufrag:XAAr\r\na=ice-pwd:Dnm1QoFhgWUX3RURw+i2gUQA\r\na=ice-options:trickle\r\n\
         a=fingerprint:sha-256 15:3E\r\na=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\na=ssrc:1 cname:x\r\n\
         m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\n\
         a=ice-ufrag:XAAr\r\na=ice-pwd:Dnm1QoFhgWUX3RURw+i2gUQA\r\na=ice-options:trickle\r\na=mid:1\r\n",
    );
    assert_eq!(offer.bundle, ["0", "1"]);
    assert!(offer.trickle() && !offer.ice2() && !offer.lite && offer.options.is_empty());
    let [audio, video] = offer.media.as_slice() else { panic!("two sections") };
    assert_eq!((audio.mid.as_deref(), audio.port(), audio.rtcp_mux), (Some("0"), Some(61397), true));
    assert_eq!((audio.candidates.len(), audio.skipped_count), (2, 0));
    assert!(video.bundle_only && !video.is_rejected() && video.candidates.is_empty());
    assert_eq!(offer.credentials(audio), offer.credentials(video));
    assert_eq!(offer.media_by_mid("1"), Some(video));
}

#[test]
fn the_ice_attributes_of_a_lite_answer_are_found() {
    let answer = parse(
        "v=0\no=mediasoup-client 10000 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=ice-lite\na=group:BUNDLE 0\n\
         m=audio 7 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 127.0.0.1\na=setup:active\na=mid:0\na=recvonly\n\
         a=ice-ufrag:xjg2o2h2v8bfzqkv\na=ice-pwd:z5ywy0b4le11t42tcqzpz5kdmr22i9rm\n\
         a=candidate:udpcandidate 1 udp 1076302079 192.168.1.73 43717 typ host\na=end-of-candidates\n\
         a=ice-options:renomination\na=rtcp-mux\na=rtcp-rsize",
    );
    let media = &answer.media[0];
    assert!(answer.lite && answer.has_ended(media) && answer.has_option(media, IceOptions::RENOMINATION));
    assert!(!answer.trickle());
    assert_eq!(answer.validate(), Err(IceDescriptionError::MissingIce2(0)));
}

/// Req: 8839-5.4-a
#[test]
fn credentials_of_a_wrong_length_or_character_are_an_error_with_its_line() {
    let text = |ufrag: &str, password: &str| format!("v=0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
    let good = "asd88fgpdd777uzjYhagZg";
    let too_short = ParseCredentialError::TooShort { length: 3, least: 4 };
    assert_eq!(reason(&text("abc", good)), (2, IceDescriptionError::Ufrag(too_short)));
    let too_long = ParseCredentialError::TooLong(257);
    assert_eq!(reason(&text(&"a".repeat(257), good)), (2, IceDescriptionError::Ufrag(too_long)));
    let too_short = ParseCredentialError::TooShort { length: 21, least: 22 };
    assert_eq!(reason(&text("abcd", &"a".repeat(21))), (3, IceDescriptionError::Password(too_short)));
    let too_long = ParseCredentialError::PasswordTooLong(257);
    assert_eq!(reason(&text("abcd", &"a".repeat(257))), (3, IceDescriptionError::Password(too_long)));
    let character = ParseCredentialError::Character(4);
    assert_eq!(reason(&text("abcd:", good)), (2, IceDescriptionError::Ufrag(character)));
    let longest = parse(&text(&"a".repeat(256), &"b".repeat(256)));
    assert_eq!(longest.ufrag.map(|ufrag| ufrag.as_str().len()), Some(256));
    let error = text("abcd", "x").parse::<IceDescription>().unwrap_err();
    assert_eq!((error.line(), error.position()), (3, 23));
    assert_eq!(error.to_string(), "line 3: invalid ice-pwd: a password of 1 characters, fewer than 22");
}

/// Req: 8839-5.4-c
#[test]
fn the_credentials_of_a_section_win_over_those_of_the_session() {
    let own = "a=ice-ufrag:9iiZ\r\na=ice-pwd:bsd88fgpdd777uzjYhagZg\r\n";
    let of = |session: &str, media: &str| {
        let description = parse(&format!("{session}m=audio 9 x 0\r\n{media}"));
        description.credentials(&description.media[0]).map(|found| found.ufrag.as_str().to_string())
    };
    assert_eq!(of(CREDENTIALS, ""), Some("8hhY".into()));
    assert_eq!(of("", CREDENTIALS), Some("8hhY".into()));
    assert_eq!(of(CREDENTIALS, own), Some("9iiZ".into()));
    assert_eq!(of(CREDENTIALS, "a=ice-ufrag:9iiZ\r\n"), Some("9iiZ".into()));
    assert_eq!(of("", ""), None);
    assert_eq!(of("", "a=ice-ufrag:9iiZ\r\n"), None);
    assert_eq!(of("a=ice-pwd:bsd88fgpdd777uzjYhagZg\r\n", "a=ice-ufrag:9iiZ\r\n"), Some("9iiZ".into()));
}

/// Req: 8839-5.4-d
#[test]
fn sections_with_the_same_ufrag_have_the_same_password() {
    let other = "a=ice-ufrag:8hhY\r\na=ice-pwd:bsd88fgpdd777uzjYhagZg\r\n";
    let text = format!("v=0\r\nm=audio 9 x 0\r\n{CREDENTIALS}m=video 9 x 0\r\n{CREDENTIALS}m=text 9 x 0\r\n{other}");
    assert_eq!(reason(&text), (8, IceDescriptionError::PasswordDiffers(2)));
    let fine = format!("m=audio 9 x 0\r\n{CREDENTIALS}m=video 9 x 0\r\n{CREDENTIALS}");
    assert_eq!(parse(&fine).media.len(), 2);
    let mut own = parse(&fine);
    own.media[1].password = "x".repeat(22).parse().ok();
    assert_eq!(own.validate(), Err(IceDescriptionError::PasswordDiffers(1)));
}

/// Req: 8839-5.5-a
#[test]
fn the_larger_pacing_of_both_ends_is_used_and_50_ms_is_what_silence_means() {
    let of = |value: &str| parse(&format!("a=ice-pacing:{value}\r\nm=audio 9 x 0\r\na=ice-pacing:7\r\n"));
    assert_eq!(of("20").notes.last().map(|note| note.kind), Some(IceNoteKind::Misplaced));
    assert_eq!(parse("").ta(), Duration::from_millis(50));
    assert_eq!(of("20").ta(), Duration::from_millis(20));
    assert_eq!(of("20").agreed_ta(&of("0000000030")), Duration::from_millis(30));
    assert_eq!(of("20").agreed_ta(&parse("")), Duration::from_millis(50));
    assert_eq!(of("9999999999").ta(), Duration::from_millis(9_999_999_999));
    assert_eq!(write(&of("9999999999")).lines().next(), Some("a=ice-pacing:9999999999"));
    for wrong in ["", "10000000000", "-1", "5 ms", "1.5"] {
        let one = parse(&format!("a=ice-pacing:{wrong}"));
        assert_eq!((one.pacing, faults(&one)), (None, vec![(1, None, IceDescriptionError::Pacing)]));
    }
    let huge = IceDescription { pacing: Some(Duration::MAX), ..IceDescription::default() };
    assert!(huge.session_attributes().to_string().contains("a=ice-pacing:9999999999\r\n"));
}

/// Req: 8839-5.5-b
#[test]
fn pacing_is_written_if_set_but_never_by_a_lite_agent() {
    let mut own = IceDescription { pacing: Some(Duration::from_millis(20)), ..IceDescription::default() };
    assert_eq!(own.session_attributes().to_string(), "a=ice-options:ice2\r\na=ice-pacing:20\r\n");
    assert_eq!(own.validate(), Ok(()));
    own.lite = true;
    assert_eq!(own.session_attributes().to_string(), "a=ice-lite\r\na=ice-options:ice2\r\n");
    assert_eq!(own.validate(), Err(IceDescriptionError::PacingOfLite));
}

/// Req: 8839-5.6-a
/// Req: 8839-4.2.5-a
#[test]
fn options_are_read_at_both_levels_and_their_absence_is_accepted() {
    let media = format!("m=audio 9 x 0\r\n{CREDENTIALS}");
    let without = parse(&media);
    assert!(!without.ice2() && without.credentials(&without.media[0]).is_some());
    assert_eq!(without.validate(), Err(IceDescriptionError::MissingIce2(0)));
    let session = parse(&format!("a=ice-options:ice2 rtp+ecn\r\n{media}a=ice-options:renomination\r\n"));
    assert!(session.ice2() && session.has_option(&session.media[0], "rtp+ecn"));
    assert!(session.has_option(&session.media[0], IceOptions::RENOMINATION));
    assert_eq!(session.validate(), Ok(()));
    assert!(parse(&format!("{media}a=ice-options:trickle ice2\r\n")).ice2());
    let many = format!("a=ice-options:{}\r\n", "x ".repeat(65));
    let too_many = IceDescriptionError::Options(ParseIceOptionsError::TooMany(64));
    assert_eq!(faults(&parse(&many)), [(1, None, too_many)]);
    assert!(IceDescription::default().options.ice2());
}

/// Req: 8839-5.3-a
#[test]
fn lite_counts_for_the_session_and_mismatch_for_a_section() {
    let one = parse(&format!("a=ice-mismatch\r\n{CREDENTIALS}m=audio 9 x 0\r\na=ice-mismatch\r\n"));
    assert!(!one.lite && one.media[0].mismatch);
    assert_eq!(one.credentials(&one.media[0]), None);
    // In every section that is not rejected it is as good as before them; in some it is not.
    let sections = |first: &str, second: &str| {
        parse(&format!("{CREDENTIALS}m=audio 9 x 0\r\n{first}m=text 0 x 0\r\nm=video 9 x 0\r\n{second}"))
    };
    let all = sections("a=ice-lite\r\n", "a=ice-lite\r\n");
    assert!(all.lite && notes(&all) == [(4, Some(0), IceNoteKind::LiteInSections)]);
    let some = sections("", "a=ice-lite\r\n");
    assert!(!some.lite && notes(&some) == [(6, Some(2), IceNoteKind::Misplaced)]);
    assert!(parse("a=ICE-LITE\r\n").lite);

    let mut own = IceDescription::default();
    own.media.push(IceMedia::new("0"));
    own.media[0].mismatch = true;
    own.media[0].candidates.push(CANDIDATE.parse().unwrap());
    assert_eq!(own.validate(), Err(IceDescriptionError::UnexpectedCandidates(0)));
    assert_eq!(own.media[0].attributes().to_string(), "a=ice-mismatch\r\n");
}

/// Req: 8838-3-a
#[test]
fn trickle_is_for_all_sections_or_for_none() {
    let media = |options: &str| format!("m=audio 9 x 0\r\na=mid:{}\r\n{CREDENTIALS}{options}", options.len());
    let trickle = "a=ice-options:ice2 trickle\r\n";
    let ice2 = "a=ice-options:ice2\r\n";
    let all = parse(&format!("{}{}", media(trickle), media(trickle)));
    assert!(all.trickle());
    assert_eq!(all.validate(), Ok(()));
    let session = parse(&format!("{trickle}{}{}", media(""), media("")));
    assert!(session.trickle());
    assert_eq!(session.validate(), Ok(()));
    let some = parse(&format!("{}{}", media(trickle), media(ice2)));
    assert!(!some.trickle());
    assert_eq!(some.validate(), Err(IceDescriptionError::PartialTrickle(1)));
    let rejected = parse(&format!("{}m=audio 0 x 0\r\n", media(trickle)));
    assert!(rejected.trickle());
    assert_eq!(rejected.validate(), Ok(()));
    assert!(!parse("").trickle());
}

/// Req: 8840-4.1-a
#[test]
fn a_description_that_allows_trickling_has_mids_and_port_9_while_there_are_no_candidates() {
    let text = format!("a=ice-options:ice2 trickle\r\nm=audio 9 x 0\r\n{CREDENTIALS}");
    assert_eq!(parse(&text).validate(), Err(IceDescriptionError::MissingMid(0)));
    assert_eq!(parse(&format!("{text}a=mid:0\r\n")).validate(), Ok(()));
    let port = format!("{}a=mid:0\r\n", text.replace("audio 9", "audio 5010"));
    assert_eq!(parse(&port).validate(), Err(IceDescriptionError::PortWithoutCandidates(0)));
    assert_eq!(parse(&format!("{port}{CANDIDATE}")).validate(), Ok(()));
}

/// Req: 8839-4.2.1-b
#[test]
fn a_rejected_section_is_written_without_candidates() {
    let mut one = parse(&format!("m=audio 0 x 0\r\n{CREDENTIALS}{CANDIDATE}a=end-of-candidates\r\n"));
    assert!(one.media[0].is_rejected());
    assert_eq!(one.media[0].attributes().to_string().lines().count(), 2);
    assert_eq!(one.validate(), Err(IceDescriptionError::UnexpectedCandidates(0)));
    one.media[0].bundle_only = true;
    assert!(one.media[0].attributes().to_string().contains(CANDIDATE));
    for (m_line, port) in [("audio 49170/2 x 0", Some(49170)), ("audio x y", None), ("", None), ("audio 70000", None)] {
        one.media[0].m_line = m_line.into();
        assert_eq!((one.media[0].port(), one.media[0].is_rejected()), (port, false));
    }
}

/// Req: 8839-5.1-d
/// Req: 8839-5.1-e
/// Req: 8839-5.1-f
#[test]
fn lines_that_are_broken_or_not_supported_are_passed_over_among_good_ones() {
    let one = parse(&format!(
        "v=0\r\nm=audio 9 x 0\r\n{CREDENTIALS}a=candidate:1 1 sctp 1 192.0.2.1 1 typ host\r\n{CANDIDATE}\
         a=candidate:1 1 udp 1 192.0.2.1 1 typ foo\r\na=candidate:1 1 udp 1 host.example 1 typ host\r\n\
         a=candidate:garbage\r\na=candidate\r\na=Candidate:1 2 UDP 1 192.0.2.1 1 typ host\r\n",
    ));
    let media = &one.media[0];
    assert_eq!(media.candidates.len(), 3);
    assert_eq!(media.skipped_count, 4);
    assert!(media.candidates.iter().any(|candidate| candidate.socket_address().is_none()));
    let skipped: Vec<_> = media.skipped.iter().map(|skipped| (skipped.line, skipped.reason.is_skippable())).collect();
    assert_eq!(skipped, [(5, true), (7, true), (9, false), (10, false)]);
    assert_eq!(media.skipped[0].reason, ParseCandidateError::UnsupportedTransport { at: 16 });
    assert_eq!((one.notes_count, one.faults().count()), (0, 0));
    assert_eq!(one.credentials(media).map(|credentials| credentials.ufrag.to_string()), Some("8hhY".into()));
}

/// Req: 8839-5.1-a
#[test]
fn candidates_before_the_first_section_are_of_the_only_or_the_bundling_one_or_refused() {
    let broken = "a=candidate:x\r\n";
    let one = parse(&format!("{CANDIDATE}{broken}a=mid:0\r\na=remote-candidates:x\r\nm=audio 9 x 0\r\n{CANDIDATE}"));
    assert_eq!((one.media[0].candidates.len(), one.media[0].skipped_count, one.media[0].mid.as_ref()), (2, 1, None));
    use IceNoteKind::{CandidateOutside, Misplaced};
    let told = [(3, None, Misplaced), (4, None, Misplaced), (1, None, CandidateOutside), (2, None, CandidateOutside)];
    assert_eq!(notes(&one), told);

    let section = |mid: &str| format!("m=audio 9 x 0\r\n{mid}{CREDENTIALS}");
    let others = CREDENTIALS.replace("8hhY", "9iiZ");
    // One of the two does without ICE, or is rejected.
    let single = parse(&format!("{CANDIDATE}m=text 9 x 0\r\n{}m=text 0 x 0\r\n{others}", section("")));
    assert_eq!(single.media.iter().map(|media| media.candidates.len()).collect::<Vec<_>>(), [0, 1, 0]);
    // All in one bundle, whose first member need not be the first section, and sections need not be named.
    let (zero, one) = (section("a=mid:0\r\n"), section("a=mid:1\r\n"));
    let bundle = parse(&format!("a=group:BUNDLE  1\t0\r\n{CANDIDATE}{zero}{one}"));
    assert_eq!((bundle.media[0].candidates.len(), bundle.media[1].candidates.len()), (0, 1));
    let nameless = parse(&format!("a=group:BUNDLE 0 1\r\n{CANDIDATE}{}{}", section(""), section("")));
    assert_eq!((nameless.only_section(), nameless.media[0].candidates.len()), (Some(0), 1));
    // Two transports.
    for text in [format!("v=0\r\n{CANDIDATE}{zero}{one}"), format!("v=0\r\n{broken}a=group:BUNDLE 0\r\n{zero}{one}")] {
        assert_eq!(reason(&text), (2, IceDescriptionError::CandidateOutside));
    }
}

#[test]
fn a_text_of_ice_without_sdp_around_it_is_one_section() {
    let one = parse(&format!("{CREDENTIALS}a=ice-options:ice2,trickle\r\n{CANDIDATE}a=end-of-candidates\r\n"));
    assert_eq!((one.media.len(), one.media[0].candidates.len(), one.notes_count), (1, 1, 0));
    assert!(one.credentials(&one.media[0]).is_some() && one.trickle() && one.ice2() && one.has_ended(&one.media[0]));
    assert_eq!(parse(CREDENTIALS).media.len(), 1);
    assert_eq!(parse(&format!("a=mid:data\r\n{CREDENTIALS}")).media[0].mid.as_deref(), Some("data"));
    assert_eq!(parse("v=0\r\na=ice-options:ice2\r\n").media.len(), 0);
}

/// Req: 8839-5.4-a
#[test]
fn a_faulty_line_costs_its_section_and_a_rejected_section_nothing() {
    let faulty = "a=ice-ufrag:abc\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n";
    let too_short = IceDescriptionError::Ufrag(ParseCredentialError::TooShort { length: 3, least: 4 });
    // Neither with half of its credentials, nor with those of the session.
    let text = format!("{CREDENTIALS}m=audio 9 x 0\r\n{faulty}{CANDIDATE}m=video 9 x 0\r\n{CANDIDATE}");
    let one = parse(&text);
    assert!(one.media[0].has_faulty_credentials && !one.media[1].has_faulty_credentials);
    assert_eq!((one.credentials(&one.media[0]), one.credentials(&one.media[1]).is_some()), (None, true));
    assert_eq!(faults(&one), [(4, Some(0), too_short)]);
    assert_eq!(
        (one.notes[0].position, one.notes[0].to_string().starts_with("line 4: ")),
        (text.find("a=ice-ufrag:abc").unwrap(), true)
    );
    // Those of the session are wrong: sections with their own go on.
    let own = parse(&format!("{faulty}m=audio 9 x 0\r\nm=video 9 x 0\r\n{CREDENTIALS}"));
    assert_eq!((own.credentials(&own.media[0]), own.credentials(&own.media[1]).is_some()), (None, true));
    let rejected = parse(&format!("m=audio 0 x 0\r\n{faulty}m=video 9 x 0\r\n{CREDENTIALS}"));
    assert!(rejected.uses_ice());
    assert_eq!(parse(&format!("m=audio 0 x 0\r\n{faulty}")).faults().count(), 1);
    let differs = CREDENTIALS.replace("asd", "bsd");
    assert!(parse(&format!("m=audio 9 x 0\r\n{CREDENTIALS}m=video 0 x 0\r\n{differs}")).uses_ice());
    // Nothing is left: the error is the line's.
    assert_eq!(reason(&format!("v=0\r\nm=audio 9 x 0\r\n{faulty}m=video 0 x 0\r\n{CREDENTIALS}")), (3, too_short));
    // Written again, it is still without ICE, and contradicts nobody.
    let own = CREDENTIALS.replace("asd", "bsd");
    let written = write(&parse(&format!("{CREDENTIALS}m=audio 9 x 0\r\n{faulty}{CANDIDATE}m=video 9 x 0\r\n{own}")));
    let again = parse(&written);
    assert_eq!((again.credentials(&again.media[0]), again.credentials(&again.media[1]).is_some()), (None, true));
    // Of a repeated one the last counts.
    assert!(parse(&format!("m=audio 9 x 0\r\n{faulty}{CREDENTIALS}")).uses_ice());
    let last = parse(&format!("{CREDENTIALS}m=audio 9 x 0\r\n{CREDENTIALS}a=ice-pwd:x\r\nm=video 9 x 0\r\n"));
    assert_eq!((last.credentials(&last.media[0]), last.notes_count), (None, 2));
}

/// Req: 8839-5.4-a
#[test]
fn credentials_with_what_others_send_are_taken_and_not_to_be_sent() {
    let text = "a=ice-options:ice2\r\nm=audio 9 x 0\r\na=ice-ufrag:a-b=#_\r\na=ice-pwd:-=#_asd88fgpdd777uzjYhag\r\n";
    let one = parse(text);
    assert_eq!(one.credentials(&one.media[0]).map(|found| found.is_strict()), Some(false));
    assert_eq!(write(&one), format!("{}a=ice-pwd:-=#_asd88fgpdd777uzjYhag\r\na=ice-ufrag:a-b=#_\r\n", &text[..35]));
    assert_eq!(one.validate(), Err(IceDescriptionError::LooseCredentials(0)));
}

#[test]
fn blanks_line_ends_and_the_case_of_letters_do_not_matter() {
    let plain =
        parse(&format!("a=ice-lite\r\nm=audio 9 x 0\r\na=mid:0\r\n{CREDENTIALS}{CANDIDATE}a=end-of-candidates\r\n"));
    let odd = "  A=ICE-LITE \rm=audio  9\tx 0\n\ta=mid:\t0\r\na=ice-ufrag : 8hhY\r\na=Ice-Pwd:asd88fgpdd777uzjYhagZg  \n\
               a=candidate: 1  1\tUDP   2130706431 192.0.2.1 \t5010 TYP  HOST\ra = x\r\na=END-OF-CANDIDATES";
    let read = parse(odd);
    assert_eq!(
        (read.lite, &read.media[0].mid, read.credentials(&read.media[0])),
        (true, &plain.media[0].mid, plain.credentials(&plain.media[0]))
    );
    assert_eq!((&read.media[0].candidates, read.media[0].port()), (&plain.media[0].candidates, Some(9)));
    assert!(read.media[0].end_of_candidates);
    assert_eq!(notes(&read), [(6, Some(0), IceNoteKind::Blanks)]);
    // A bare candidate line, as scripts put them together.
    let bare = parse(&format!("{CREDENTIALS}{}", &CANDIDATE[2..]));
    assert_eq!(bare.media[0].candidates.len(), 1);
    // No candidate vanishes, whatever it looks like.
    let lost =
        parse(&format!("{CREDENTIALS}m=audio 9 x 0\r\na=candidate 1 1 udp\r\na=candidate\r\na=Candidate :1\r\n"));
    assert_eq!(lost.media[0].skipped_count, 3);
}

#[test]
fn pacing_in_sections_is_the_largest_of_them() {
    let one = parse(
        "m=audio 9 x 0\r\na=ice-pacing:20\r\nm=video 9 x 0\r\na=ice-pacing:70\r\nm=text 0 x 0\r\na=ice-pacing:90\r\n",
    );
    assert_eq!(
        (one.pacing, notes(&one)),
        (Some(Duration::from_millis(70)), vec![(4, None, IceNoteKind::PacingInSections)])
    );
}

#[test]
fn remote_candidates_are_read_and_written_per_component() {
    let line = "a=remote-candidates:1 192.0.2.3 45664 2 2001:db8::3 45665\r\n";
    let one = parse(&format!("m=audio 9 x 0\r\n{line}"));
    let expected = |component, address: &str| RemoteCandidate {
        component: ComponentId::new(component).unwrap(),
        address: CandidateAddress::Socket(address.parse().unwrap()),
    };
    let both = [expected(1, "192.0.2.3:45664"), expected(2, "[2001:db8::3]:45665")];
    assert_eq!(one.media[0].remote_candidates, both);
    assert_eq!(one.media[0].attributes().to_string(), line);
    for wrong in ["", "1 192.0.2.3", "0 192.0.2.3 1", "1 192.0.2.3 x", "1 a 1", "1 192.0.2.3 1 1 192.0.2.3 2"] {
        let text = format!("m=audio 9 x 0\r\na=remote-candidates:{wrong}\r\n");
        let expected = if wrong == "1 a 1" { None } else { Some((2, Some(0), IceDescriptionError::RemoteCandidates)) };
        assert_eq!(faults(&parse(&text)).first().copied(), expected, "{wrong}");
    }
}

/// Req: 8840-8-a
#[test]
fn end_of_candidates_covers_one_section_or_all() {
    let of = |session: &str, media: &str| {
        let one = parse(&format!("{session}m=audio 9 x 0\r\n{media}m=video 9 x 0\r\n"));
        [one.has_ended(&one.media[0]), one.has_ended(&one.media[1])]
    };
    assert_eq!(of("", ""), [false, false]);
    assert_eq!(of("", "a=end-of-candidates\r\n"), [true, false]);
    assert_eq!(of("a=End-Of-Candidates\r\n", ""), [true, true]);
}

#[test]
fn there_is_a_limit_to_sections_and_candidates() {
    let sections = "m=audio 9 x 0\r\n".repeat(256);
    assert_eq!(parse(&sections).media.len(), 256);
    assert_eq!(reason(&format!("{sections}m=a 9 x 0")), (257, IceDescriptionError::TooManySections(256)));
    let candidates = format!("m=audio 9 x 0\r\n{}{}", CANDIDATE.repeat(500), "a=candidate:x\r\n".repeat(500));
    let one = parse(&candidates);
    assert_eq!((one.media[0].candidates.len(), one.media[0].skipped.len()), (500, 16));
    assert_eq!(one.media[0].skipped_count, 500);
    let more = parse(&format!("{candidates}{CANDIDATE}{CANDIDATE}"));
    assert_eq!((more.media[0].candidates.len(), more.media[0].skipped_count), (500, 502));
    assert_eq!(faults(&more), [(1002, Some(0), IceDescriptionError::TooManyCandidates(1000))]);
}

#[test]
fn of_many_notes_the_first_64_are_kept_and_all_counted() {
    let lines = "m=audio 9 x 0\r\n".to_owned() + &"a=mid:a\r\n".repeat(101);
    let description = parse(&lines);
    assert_eq!((description.notes.len(), description.notes_count), (64, 100));
}

#[test]
fn of_a_repeated_attribute_the_last_counts_and_names_are_taken_in_any_case() {
    let one = parse("a=ICE-UFRAG: 8hhY\r\na=ice-ufrag:9iiZ \r\na=Ice-Options:ice2\r\na=ice-options:trickle\r\n");
    assert_eq!(one.ufrag.map(|ufrag| ufrag.to_string()), Some("9iiZ".into()));
    assert_eq!(one.options.to_string(), "trickle");
}

prop_compose! {
    pub(in crate::sdp) fn any_media()(
        m_line in "[a-z]{1,8} [0-9]{1,5} [A-Z/]{1,8} [0-9 ]{0,8}",
        mid in proptest::option::of("[!-~]{1,8}"),
        rtcp_mux: bool,
        credentials in proptest::option::of(("[a-zA-Z0-9+/]{4,256}", "[a-zA-Z0-9+/]{22,256}")),
        options in proptest::option::of("[!-+--~]{1,20}( [!-+--~]{1,20}){0,3}"),
        candidates in proptest::collection::vec(any_candidate(), 0..4),
        remote in proptest::option::of(any::<core::net::SocketAddrV4>()),
        end_of_candidates: bool,
    ) -> IceMedia {
        let remote = remote.map(|address| RemoteCandidate {
            component: ComponentId::RTP,
            address: CandidateAddress::Socket(address.into()),
        });
        let (ufrag, password) = credentials.unzip();
        IceMedia {
            mid,
            rtcp_mux,
            ufrag: ufrag.map(|ufrag| ufrag.parse().unwrap()),
            password: password.map(|password| password.parse().unwrap()),
            options: options.map_or_else(IceOptions::empty, |options| options.parse().unwrap()),
            candidates,
            remote_candidates: remote.into_iter().collect(),
            end_of_candidates,
            ..IceMedia::with_m_line(&m_line)
        }
    }
}

prop_compose! {
    pub(in crate::sdp) fn any_description()(
        lite: bool,
        ufrag in proptest::option::of("[a-zA-Z0-9+/]{4,256}"),
        options in proptest::option::of("[!-+--~]{1,20}( [!-+--~]{1,20}){0,3}"),
        pacing in proptest::option::of(0_u64..10_000_000_000),
        end_of_candidates: bool,
        bundle in proptest::collection::vec("[!-~]{1,8}", 0..3),
        media in proptest::collection::vec(any_media(), 0..4),
    ) -> IceDescription {
        IceDescription {
            lite,
            password: ufrag.as_ref().map(|_| "p".repeat(22).parse::<Password>().unwrap()),
            ufrag: ufrag.map(|ufrag| ufrag.parse::<Ufrag>().unwrap()),
            options: options.map_or_else(IceOptions::empty, |options| options.parse().unwrap()),
            pacing: pacing.filter(|_| !lite).map(Duration::from_millis),
            end_of_candidates,
            bundle,
            media,
            ..IceDescription::default()
        }
    }
}

/// A candidate line of any quality.
fn any_line() -> impl Strategy<Value = String> {
    let good = any_candidate().prop_map(|candidate| format!("a={candidate}"));
    let odd = prop::sample::select(vec![
        "a=candidate:1  1 udp 1 192.0.2.1 1 typ host",
        "\ta=candidate:1 1\tudp 1 192.0.2.1 1 typ host ",
        "A=CANDIDATE:1 1 UDP 1 192.0.2.1 1 TYP HOST",
        "candidate:1 1 udp 1 192.0.2.1 1 typ host",
        "a=candidate:1 1 sctp 1 192.0.2.1 1 typ host",
        "a=candidate:1 257 udp 1 192.0.2.1 1 typ host",
        "a=candidate:1 1 udp 0 192.0.2.1 1 typ host",
        "a=candidate:1 1 tcp 1 192.0.2.1 1 typ host",
        "a=candidate",
        "a=candidate:",
        "a=candidate 1 1 udp 1 2001:db8::1 1 typ host",
        "a= candidate:1 1 udp 1 2001:db8::1 1 typ host",
        "a=candidate:\0",
    ]);
    prop_oneof![good, odd.prop_map(String::from)]
}

/// The head of a section, whose number is the question mark.
fn any_head() -> impl Strategy<Value = String> {
    let heads = vec![
        "m=audio 9 x 0",
        "m=audio 9 x 0\r\na=mid:?",
        "m=audio 9 x 0\r\na=mid:?\r\na=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg",
        "m=audio 0 x 0\r\na=mid:?",
        "m=audio 9 x 0\r\na=ice-mismatch",
        "m=audio 9 x 0\r\na=ice-ufrag:?",
    ];
    prop::sample::select(heads).prop_map(String::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_as_the_same(mut description in any_description()) {
        description.bundle = vec![];
        prop_assume!(!description.media.is_empty());
        for media in &mut description.media {
            media.rtcp_mux = false;
            if media.is_rejected() {
                media.candidates.clear();
                media.remote_candidates.clear();
                media.end_of_candidates = false;
            }
        }
        prop_assert_eq!(parse(&write(&description)), description);
    }

    #[test]
    fn every_candidate_line_comes_out_again_is_refused_or_is_counted(
        before in proptest::collection::vec(any_line(), 0..3),
        sections in proptest::collection::vec((any_head(), proptest::collection::vec(any_line(), 0..5)), 0..4),
        group in prop::sample::select(vec!["", "a=group:BUNDLE 0 1 2 3\r\n", "a=group:BUNDLE 0\r\n"]),
        credentials in prop::sample::select(vec!["", CREDENTIALS, "a=ice-ufrag:x\r\n"]),
        end in prop::sample::select(vec!["\r\n", "\n", "\r"]),
    ) {
        let lines = before.len() + sections.iter().map(|(_, lines)| lines.len()).sum::<usize>();
        let mut text = format!("v=0\r\n{group}{credentials}");
        let mut write = |line: &str| { text.push_str(line); text.push_str("\r\n"); };
        before.iter().for_each(|line| write(line));
        for (index, (head, lines)) in sections.iter().enumerate() {
            write(&head.replace('?', &index.to_string()));
            lines.iter().for_each(|line| write(line));
        }
        let text = text.replace("\r\n", end);
        let is_fragment = text.len() % 2 == 0;
        let read = if is_fragment { read(&text, Form::Fragment) } else { text.parse() };
        match read {
            Ok(description) => {
                let found: usize = description.media.iter().map(|media| media.candidates.len() + media.skipped_count).sum();
                prop_assert_eq!(found, lines, "{:?}", text);
            }
            Err(error) => {
                let ends = |place: usize| place == 0 || text.as_bytes().get(place - 1).is_some_and(|byte| b"\r\n".contains(byte));
                prop_assert!(error.line() > 0 && ends(error.position()), "{}", error);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}|([amv]=(ice-|candidate:|remote-candidates:|mid)?[ -~]{0,20}\r?\n){0,20}") {
        if let Ok(description) = text.parse::<IceDescription>() {
            let _ = (description.validate(), description.trickle());
            prop_assert!(write(&description).parse::<IceDescription>().is_ok());
        }
    }
}
