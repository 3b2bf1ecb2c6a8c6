//! Frames: a length of two bytes, and so many bytes (RFC 4571 §2).

use core::convert::Infallible;

use crate::types::Delimited;

/// Length of the prefix of a frame.
const PREFIX: usize = 2;

/// The protocol of RFC 4571: every prefix is that of a frame, of at most 65,537 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Rfc4571;

impl Delimited for Rfc4571 {
    const HEAD: usize = PREFIX;
    type Error = Infallible;

    fn length(bytes: &[u8]) -> Result<Option<usize>, Infallible> {
        Ok(length(bytes).map(|payload| PREFIX + payload))
    }
}

/// The payload of a frame that is complete.
pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    frame.get(PREFIX..).unwrap_or_default()
}

/// The length of the payload that a prefix tells.
fn length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|prefix| usize::from(u16::from_be_bytes(*prefix)))
}

/// The payload of a frame at the beginning, and what is behind it.
pub(super) fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, behind) = bytes.split_at_checked(PREFIX)?;
    behind.split_at_checked(length(bytes)?)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::route::Framing;
    use crate::types::{Frame, Framer};

    const MOST: usize = PREFIX + u16::MAX as usize;

    fn payload(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from((i * 31 + seed * 17 + i / 251) % 256).unwrap()).collect()
    }

    fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for payload in payloads {
            assert!(Framing::STREAM.put(payload, &mut stream).is_some());
        }
        stream
    }

    /// Feeds pieces; gives the payloads.
    fn feed<'p>(framer: &mut Framer<Rfc4571>, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Vec<u8>> {
        let (mut frames, mut spare) = (Vec::new(), Vec::new());
        for mut piece in pieces {
            while let Ok(Some(frame)) = framer.next(&mut piece, &mut spare) {
                match frame {
                    Frame::Whole(frame) => frames.push(super::payload(frame).to_vec()),
                    Frame::Joined(bytes) => {
                        frames.push(super::payload(&bytes).to_vec());
                        spare = bytes;
                    }
                }
            }
            assert!(piece.is_empty() && framer.part().len() <= MOST);
        }
        frames
    }

    /// Req: 4571-2-a
    #[test]
    fn frames_of_64_kib_come_out_whole_however_the_stream_is_split() {
        let payloads = [payload(1200, 1), payload(0, 2), payload(65_535 - 2402, 3), payload(1, 4), payload(1199, 5)];
        let stream = framed(&payloads);
        assert!(stream.len() >= 64 * 1024);
        for split in 0..=stream.len() {
            let (head, tail) = stream.split_at(split);
            let mut framer = Framer::<Rfc4571>::default();
            let frames = feed(&mut framer, [head, tail]);
            assert!(frames == payloads, "split at {split}");
            assert!(framer.part().is_empty());
        }
        for size in [1, 2, 3, 7, 1000] {
            assert!(feed(&mut Framer::<Rfc4571>::default(), stream.chunks(size)) == payloads, "pieces of {size}");
        }
    }

    /// Req: 4571-2-a
    #[test]
    fn the_shortest_and_the_longest_frame_are_legal_and_nothing_longer_is() {
        let payloads = [payload(0, 0), payload(65_535, 1), payload(0, 2)];
        let stream = framed(&payloads);
        assert!(feed(&mut Framer::<Rfc4571>::default(), [stream.as_slice()]) == payloads);
        assert!(feed(&mut Framer::<Rfc4571>::default(), stream.chunks(1)) == payloads);
        assert!(!Framing::STREAM.can_hold(65_536));
    }

    /// Scenario: S138
    #[test]
    fn a_frame_that_never_ends_holds_only_what_has_come() {
        let mut framer = Framer::<Rfc4571>::default();
        let mut spare = Vec::new();
        assert_eq!(framer.next(&mut [0xff_u8, 0xff, 1, 2, 3].as_slice(), &mut spare), Ok(None));
        assert_eq!(framer.part(), [0xff, 0xff, 1, 2, 3]);
        assert!(framer.part().len() < 64);
    }

    #[test]
    fn a_whole_frame_is_borrowed_from_the_input() {
        let stream = framed(&[payload(10, 1), payload(20, 2)]);
        let mut input = stream.as_slice();
        let mut spare = Vec::new();
        let mut framer = Framer::<Rfc4571>::default();
        assert_eq!(framer.next(&mut input, &mut spare), Ok(Some(Frame::Whole(&stream[..12]))));
        assert_eq!(framer.next(&mut input, &mut spare), Ok(Some(Frame::Whole(&stream[12..34]))));
        assert_eq!(framer.next(&mut input, &mut spare), Ok(None));
        assert_eq!((spare.capacity(), framer.part().len()), (0, 0));
    }
}
