use super::*;
use crate::sdp::parse::tests::any_description;
use alloc::string::ToString;
use alloc::{format, vec};
use proptest::prelude::*;

/// The body of RFC 8840 §9, with CRLF.
const GOLDEN: &str = "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n\
    a=ice-ufrag:8hhY\r\n\
    m=audio 9 RTP/AVP 0\r\n\
    a=mid:1\r\n\
    a=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host\r\n\
    a=candidate:1 2 UDP 2130706432 2001:db8:a0b:12f0::1 5001 typ host\r\n\
    a=candidate:1 1 UDP 2130706431 192.0.2.1 5010 typ host\r\n\
    a=candidate:1 2 UDP 2130706431 192.0.2.1 5011 typ host\r\n\
    a=candidate:2 1 UDP 1694498815 192.0.2.3 5010 typ srflx raddr 192.0.2.1 rport 8998\r\n\
    a=candidate:2 2 UDP 1694498815 192.0.2.3 5011 typ srflx raddr 192.0.2.1 rport 8998\r\n\
    a=end-of-candidates\r\n\
    m=audio 9 RTP/AVP 0\r\n\
    a=mid:2\r\n\
    a=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 6000 typ host\r\n\
    a=candidate:1 2 UDP 2130706432 2001:db8:a0b:12f0::1 6001 typ host\r\n\
    a=candidate:1 1 UDP 2130706431 192.0.2.1 6010 typ host\r\n\
    a=candidate:1 2 UDP 2130706431 192.0.2.1 6011 typ host\r\n\
    a=candidate:2 1 UDP 1694498815 192.0.2.3 6010 typ srflx raddr 192.0.2.1 rport 9998\r\n\
    a=candidate:2 2 UDP 1694498815 192.0.2.3 6011 typ srflx raddr 192.0.2.1 rport 9998\r\n\
    a=end-of-candidates\r\n";

const CREDENTIALS: &str = "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n";
const OTHERS: &str = "a=ice-ufrag:9iiZ\r\na=ice-pwd:bsd88fgpdd777uzjYhagZg\r\n";
const SECTIONS: &str = "m=audio 9 RTP/AVP 0\r\na=mid:1\r\nm=video 9 RTP/AVP 0\r\na=mid:2\r\n";

fn fragment(text: &str) -> TrickleFragment {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn description(text: &str) -> IceDescription {
    text.parse().unwrap()
}

fn candidate(port: u16) -> Candidate {
    format!("candidate:1 1 udp 2130706431 192.0.2.1 {port} typ host").parse().unwrap()
}

fn found(mid: &str, port: u16) -> TrickleItem {
    TrickleItem::Candidate { mid: mid.into(), candidate: candidate(port) }
}

fn end(mid: &str) -> TrickleItem {
    TrickleItem::EndOfCandidates { mid: mid.into() }
}

/// Req: 8840-4.4-a
#[test]
fn the_body_of_the_rfc_is_read_and_written_letter_for_letter() {
    let golden = fragment(GOLDEN);
    let [first, second] = golden.description.media.as_slice() else { panic!("two sections") };
    assert_eq!((first.mid.as_deref(), second.mid.as_deref()), (Some("1"), Some("2")));
    assert_eq!((first.candidates.len(), second.candidates.len()), (6, 6));
    assert!(first.end_of_candidates && second.end_of_candidates && !golden.description.end_of_candidates);
    assert_eq!(golden.to_string(), GOLDEN);
}

/// Req: 8840-4.4-a
#[test]
fn names_are_taken_in_any_case_and_unknown_lines_are_passed_over() {
    let text = "a=Group:bundle 0 1\r\na=ICE-Ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=Ice-Lite\r\n\
                x=y\r\na=new:thing\r\nm=whatever\r\na=MID:0\r\na=Rtcp-Mux\r\na=new\r\n\
                a=Candidate:1 1 udp 2130706431 192.0.2.1 1 typ host\r\na=END-OF-CANDIDATES\r\n";
    let one = fragment(text);
    assert_eq!(one.description.bundle, ["0", "1"]);
    assert_eq!(
        one.to_string(),
        "a=group:BUNDLE 0 1\r\na=ice-lite\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=ice-ufrag:8hhY\r\n\
         m=whatever\r\na=mid:0\r\na=rtcp-mux\r\na=candidate:1 1 udp 2130706431 192.0.2.1 1 typ host\r\n\
         a=end-of-candidates\r\n"
    );
}

/// Req: 8840-4.4-a
#[test]
fn a_section_whose_m_line_is_not_known_has_a_default_one_that_means_nothing() {
    let mut one = TrickleFragment::new(&IceDescription::default());
    one.description.media.push(IceMedia::new("0"));
    one.append("0", candidate(1)).unwrap();
    assert!(one.to_string().contains("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp"));
    one.description.media[0].m_line = "audio 0 RTP/AVP 0".into();
    assert!(one.to_string().contains("a=candidate:1 1 udp"));
    one.description.media[0].m_line = "x\r\na=ice-lite".into();
    one.description.media[0].mid = Some("0\r\na=ice-lite".into());
    assert!(!one.to_string().contains("ice-lite"));
}

/// Req: 8840-4.4-d
#[test]
fn every_body_repeats_the_earlier_candidates_in_their_order() {
    let mut sender = TrickleFragment::new(&description(&format!("{CREDENTIALS}{SECTIONS}")));
    assert_eq!(sender.append("1", candidate(1)), Ok(true));
    let first = sender.to_string();
    assert_eq!(sender.append("1", candidate(2)), Ok(true));
    assert_eq!(sender.append("1", candidate(1)), Ok(false));
    assert_eq!(sender.append("3", candidate(1)), Err(AppendCandidateError::UnknownMid));
    sender.end(Some("1")).unwrap();
    assert_eq!(sender.append("1", candidate(3)), Err(AppendCandidateError::Ended));
    assert_eq!(sender.append("1", candidate(2)), Ok(false));
    assert_eq!(sender.append("2", candidate(3)), Ok(true));
    sender.end(None).unwrap();
    assert_eq!(sender.end(Some("3")), Err(AppendCandidateError::UnknownMid));
    let last = sender.to_string();
    let positions: Vec<_> = (1..=3).map(|port| last.find(&format!("{}\r\n", candidate(port)))).collect();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted());
    assert_eq!(last.matches("a=end-of-candidates").count(), 2);
    assert!(first.contains("192.0.2.1 1 typ") && !first.contains("end-of-candidates"));
}

/// Req: 8840-4.4-d
#[test]
fn each_candidate_is_handed_on_once_and_in_order() {
    let remote = description(&format!("{CREDENTIALS}{SECTIONS}"));
    let mut sender = TrickleFragment::new(&remote);
    let mut receiver = TrickleReceiver::new(&remote);
    sender.append("1", candidate(1)).unwrap();
    sender.append("2", candidate(1)).unwrap();
    let early = sender.to_string();
    assert_eq!(receiver.receive(&fragment(&early)), Ok(vec![found("1", 1), found("2", 1)]));
    sender.append("1", candidate(2)).unwrap();
    sender.append("1", candidate(3)).unwrap();
    sender.end(Some("1")).unwrap();
    let late = sender.to_string();
    assert_eq!(receiver.receive(&fragment(&late)), Ok(vec![found("1", 2), found("1", 3), end("1")]));
    assert_eq!(receiver.receive(&fragment(&late)), Ok(vec![]));
    assert_eq!(receiver.receive(&fragment(&early)), Ok(vec![]), "out of order");
    // The same address on another component or transport is another candidate; with another priority it is not.
    let more = format!(
        "{CREDENTIALS}m=x\r\na=mid:2\r\na=candidate:1 2 udp 1 192.0.2.1 1 typ host\r\n\
         a=candidate:1 1 tcp 1 192.0.2.1 1 typ host tcptype so\r\na=candidate:7 1 UDP 7 192.0.2.1 1 typ host\r\n"
    );
    assert_eq!(receiver.receive(&fragment(&more)).map(|items| items.len()), Ok(2));
}

#[test]
fn what_the_description_said_is_known_and_after_the_end_nothing_is_new() {
    let remote = description(&format!("{CREDENTIALS}{SECTIONS}a={}\r\na=end-of-candidates\r\n", candidate(1)));
    let mut receiver = TrickleReceiver::new(&remote);
    let body = format!(
        "{CREDENTIALS}m=x\r\na=mid:1\r\na={}\r\nm=x\r\na=mid:2\r\na={}\r\nm=x\r\na=mid:3\r\na={}\r\nm=x\r\na={}\r\n",
        candidate(1),
        candidate(2),
        candidate(3),
        candidate(4),
    );
    assert_eq!(receiver.receive(&fragment(&body)), Ok(vec![found("1", 1)]));
    // One after the end, one of an unknown section, and one of none.
    assert_eq!(receiver.ignored(), 3);
}

/// Req: 8840-4.4-a
#[test]
fn what_names_no_section_is_of_the_only_or_the_bundling_one_or_refused() {
    let alone = description(&format!("{CREDENTIALS}m=audio 9 x 0\r\na=mid:0\r\n"));
    let line = |port| format!("a={}\r\n", candidate(port));
    // Without `m=` line, without `mid`, and both in the wrong order or alone.
    let bodies = [
        format!("{CREDENTIALS}{}a=end-of-candidates\r\n", line(1)),
        format!("{CREDENTIALS}m=audio 9 x 0\r\n{}a=end-of-candidates\r\n", line(1)),
        format!("{CREDENTIALS}a=mid:0\r\n{}a=end-of-candidates\r\n", line(1)),
        format!("a=mid:0\r\n{CREDENTIALS}{}a=end-of-candidates\r\n", line(1)),
        format!("m=audio 9 x 0\r\n{CREDENTIALS}{}a=end-of-candidates\r\n", line(1)),
    ];
    for body in bodies {
        let mut receiver = TrickleReceiver::new(&alone);
        assert_eq!(receiver.receive(&fragment(&body)), Ok(vec![found("0", 1), end("0")]), "{body}");
        assert_eq!(receiver.receive(&fragment(&body)), Ok(vec![]), "{body}");
        assert_eq!(fragment(&fragment(&body).to_string()).to_string(), fragment(&body).to_string());
    }
    let nameless = description(&format!("{CREDENTIALS}m=audio 9 x 0\r\n"));
    let mut receiver = TrickleReceiver::new(&nameless);
    let named = format!("{CREDENTIALS}m=audio 9 x 0\r\na=mid:7\r\n{}", line(1));
    assert_eq!(receiver.receive(&fragment(&named)), Ok(vec![found("", 1)]));

    let bundled = description(&format!("a=group:BUNDLE 2 1\r\n{CREDENTIALS}{SECTIONS}"));
    let mut receiver = TrickleReceiver::new(&bundled);
    assert_eq!(receiver.receive(&fragment(&format!("{CREDENTIALS}{}", line(1)))), Ok(vec![found("2", 1)]));

    let two = description(&format!("{CREDENTIALS}{SECTIONS}m=text 0 x 0\r\na=mid:3\r\n"));
    let mut receiver = TrickleReceiver::new(&two);
    let unknown = Err(ReceiveFragmentError::UnknownSection(0));
    assert_eq!(receiver.receive(&fragment(&format!("{CREDENTIALS}{}", line(1)))), unknown);
    assert_eq!(receiver.receive(&fragment(&named)), unknown);
    assert_eq!(receiver.ignored(), 0);
    // A rejected section costs nothing.
    let rejected = format!("{CREDENTIALS}m=x\r\na=mid:3\r\n{}m=x\r\na=mid:1\r\n{}", line(1), line(2));
    assert_eq!(receiver.receive(&fragment(&rejected)), Ok(vec![found("1", 2)]));
    assert_eq!(receiver.ignored(), 1);
    // Each `mid` begins a section where there is no `m=` line.
    let bare = format!("{CREDENTIALS}a=mid:1\r\n{}a=mid:2\r\n{}", line(3), line(4));
    assert_eq!(receiver.receive(&fragment(&bare)), Ok(vec![found("1", 3), found("2", 4)]));
}

/// Req: 8840-4.4-c
#[test]
fn a_fragment_of_another_generation_is_discarded_whole() {
    let remote = description(&format!("{CREDENTIALS}{SECTIONS}"));
    let mut receiver = TrickleReceiver::new(&remote);
    let section =
        |mid: &str, credentials: &str, port| format!("m=x\r\na=mid:{mid}\r\n{credentials}a={}\r\n", candidate(port));
    let stale = format!("{OTHERS}{}", section("1", "", 1));
    assert_eq!(receiver.receive(&fragment(&stale)), Err(ReceiveFragmentError::OtherGeneration));
    let half = format!("{}{}", section("1", CREDENTIALS, 1), section("2", OTHERS, 1));
    assert_eq!(receiver.receive(&fragment(&half)), Err(ReceiveFragmentError::OtherGeneration));
    assert_eq!(receiver.receive(&fragment(&section("1", "", 1))), Err(ReceiveFragmentError::MissingCredentials));
    assert_eq!(receiver.receive(&fragment("")), Err(ReceiveFragmentError::MissingCredentials));
    let good = section("1", CREDENTIALS, 1);
    assert_eq!(receiver.receive(&fragment(&good)), Ok(vec![found("1", 1)]), "nothing had changed");
}

/// Req: 8840-4.4-c
#[test]
fn a_sender_has_the_credentials_at_the_level_of_its_description() {
    let session = TrickleFragment::new(&description(&format!("{CREDENTIALS}{SECTIONS}"))).to_string();
    assert!(session.find("a=ice-ufrag").unwrap() < session.find("m=").unwrap());
    let media = TrickleFragment::new(&description(&format!("m=audio 9 x 0\r\na=mid:1\r\n{CREDENTIALS}"))).to_string();
    assert!(media.find("a=ice-ufrag").unwrap() > media.find("m=").unwrap());
    let rejected = TrickleFragment::new(&description(&format!("m=audio 0 x 0\r\na=mid:1\r\n{CREDENTIALS}")));
    assert_eq!(rejected.to_string(), "");
}

/// Req: 8840-8-a
#[test]
fn the_end_of_candidates_counts_for_the_sections_of_its_generation() {
    let remote = description(&format!("{CREDENTIALS}{SECTIONS}m=audio 9 x 0\r\na=mid:3\r\n{OTHERS}"));
    let mut receiver = TrickleReceiver::new(&remote);
    let stale = "a=ice-ufrag:olda\r\na=ice-pwd:bsd88fgpdd777uzjYhagZg\r\na=end-of-candidates\r\n";
    assert_eq!(receiver.receive(&fragment(stale)), Err(ReceiveFragmentError::OtherGeneration));
    let bare = "a=end-of-candidates\r\n";
    assert_eq!(receiver.receive(&fragment(bare)), Err(ReceiveFragmentError::MissingCredentials));
    let one = format!("{CREDENTIALS}m=x\r\na=mid:2\r\na=end-of-candidates\r\n");
    assert_eq!(receiver.clone().receive(&fragment(&one)), Ok(vec![end("2")]));
    let session = format!("{CREDENTIALS}a=end-of-candidates\r\nm=x\r\na=mid:1\r\na={}\r\n", candidate(1));
    assert_eq!(receiver.receive(&fragment(&session)), Ok(vec![found("1", 1), end("1"), end("2")]));
    assert_eq!(receiver.receive(&fragment(&session)), Ok(vec![]));
}

#[test]
fn a_section_takes_at_most_1000_candidates() {
    let remote = description(&format!("{CREDENTIALS}{SECTIONS}"));
    let mut sender = TrickleFragment::new(&remote);
    for port in 1..=1000 {
        sender.append("1", candidate(port)).unwrap();
    }
    assert_eq!(sender.append("1", candidate(1001)), Err(AppendCandidateError::TooManyCandidates(1000)));
    let mut receiver = TrickleReceiver::new(&remote);
    assert_eq!(receiver.receive(&fragment(&sender.to_string())).map(|items| items.len()), Ok(1000));
    let more = format!("{CREDENTIALS}m=x\r\na=mid:1\r\na={}\r\n", candidate(1001));
    assert_eq!(receiver.receive(&fragment(&more)), Ok(vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Req: 8840-4.4-d
    #[test]
    fn lost_reordered_and_repeated_bodies_deliver_each_candidate_once_and_in_order(
        ports in proptest::collection::vec(1_u16..20, 1..20),
        arrivals in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let remote = description(&format!("{CREDENTIALS}{SECTIONS}"));
        let mut sender = TrickleFragment::new(&remote);
        let mut bodies = vec![];
        let mut expected = vec![];
        for port in ports {
            if sender.append("2", candidate(port)).unwrap() {
                expected.push(found("2", port));
            }
            bodies.push(sender.to_string());
        }
        sender.end(Some("2")).unwrap();
        expected.push(end("2"));
        let mut receiver = TrickleReceiver::new(&remote);
        let mut items = vec![];
        for at in arrivals {
            items.extend(receiver.receive(&fragment(&bodies[at.index(bodies.len())])).unwrap());
        }
        items.extend(receiver.receive(&fragment(&sender.to_string())).unwrap());
        prop_assert_eq!(items, expected);
    }

    /// Req: 8840-4.4-a
    #[test]
    fn what_is_written_reads_as_the_same(description in any_description()) {
        let one = TrickleFragment { description };
        prop_assert_eq!(fragment(&one.to_string()), one);
    }
}
