//! Messages of a server that is reached over a connection: where each ends (RFC 8656 §12.5).

use crate::stun::server::HEADER;
use crate::types::Delimited;

/// Length of the frame that a stream begins with, padding included; `None` until enough of it is there to say.
fn frame_length(stream: &[u8]) -> Result<Option<usize>, OutOfStep> {
    let Some(&[first, _, l1, l2]) = stream.first_chunk::<4>() else {
        return if stream.first().is_some_and(|first| *first >= 0x50) { Err(OutOfStep) } else { Ok(None) };
    };
    let length = usize::from(u16::from_be_bytes([l1, l2]));
    match first {
        0..0x40 if length % 4 == 0 => Ok(Some(HEADER + length)),
        0x40..0x50 => Ok(Some(4 + length.next_multiple_of(4))),
        _ => Err(OutOfStep),
    }
}

/// Nothing that a server sends begins so: the stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfStep;

/// The frames of a server: messages, and ChannelData with its padding, of at most 65,555 bytes.
#[derive(Clone, Debug)]
pub(crate) struct FromServerFrames;

impl Delimited for FromServerFrames {
    const HEAD: usize = 4;
    type Error = OutOfStep;

    fn length(bytes: &[u8]) -> Result<Option<usize>, OutOfStep> {
        frame_length(bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::route::Framing;
    use crate::stun::server::{Method, ServerWriter, kinds};
    use crate::stun::{Class, TransactionId};
    use crate::types::{Frame, Framer};

    /// A stream with messages and ChannelData of all paddings, and its frames.
    fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
        let framing = Framing { channel: Some(0x4001), has_length: true, is_padded: true, indication: None };
        let mut frames = Vec::new();
        for length in [0, 1, 2, 3, 4, 1200, 65_535] {
            let mut frame = Vec::new();
            framing.put(&alloc::vec![7; length], &mut frame).unwrap();
            frames.push(frame);
            let mut message = ServerWriter::new(Class::Success, Method::Refresh, TransactionId([3; 12]));
            message.put(kinds::LIFETIME, &600_u32.to_be_bytes());
            frames.push(message.finish(None));
        }
        (frames.concat(), frames)
    }

    fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<Vec<u8>>, OutOfStep> {
        let (mut framer, mut frames, mut spare) = (Framer::<FromServerFrames>::default(), Vec::new(), Vec::new());
        for mut piece in pieces {
            while let Some(frame) = framer.next(&mut piece, &mut spare)? {
                match frame {
                    Frame::Whole(bytes) => frames.push(bytes.to_vec()),
                    Frame::Joined(bytes) => {
                        frames.push(bytes.clone());
                        spare = bytes;
                    }
                }
            }
        }
        assert!(framer.part().is_empty());
        Ok(frames)
    }

    /// Req: 8656-12.5-a
    #[test]
    fn frames_come_out_whole_however_the_stream_is_split() {
        let (bytes, frames) = stream();
        for size in [1, 2, 3, 5, 19, 1000, usize::MAX] {
            assert!(feed(bytes.chunks(size)).as_ref() == Ok(&frames), "{size}");
        }
    }

    #[test]
    fn what_no_server_sends_is_out_of_step() {
        for bad in [&[0x80][..], &[0x50, 0, 0, 0], &[0, 1, 0, 3], &[0xff; 8]] {
            assert_eq!(feed([bad]), Err(OutOfStep));
        }
        assert_eq!(frame_length(&[0x40, 0, 0]), Ok(None));
        assert_eq!(frame_length(&[]), Ok(None));
    }

    #[test]
    fn a_frame_that_never_ends_holds_only_what_has_come() {
        let (mut framer, mut spare) = (Framer::<FromServerFrames>::default(), Vec::new());
        assert_eq!(framer.next(&mut [0x40_u8, 0, 0xff, 0xff, 1].as_slice(), &mut spare), Ok(None));
        assert!(framer.part().len() < 64);
    }
}
