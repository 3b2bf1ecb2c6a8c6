//! Frames in a stream of bytes that comes in pieces: where each ends is for the protocol to say.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// How a protocol delimits its frames.
pub(crate) trait Delimited {
    /// So many bytes are enough to tell the length of any frame.
    const HEAD: usize;
    /// Why no frame can begin so.
    type Error;

    /// The length of the frame that these bytes begin with, all told; `Ok(None)` until enough is there to say.
    fn length(bytes: &[u8]) -> Result<Option<usize>, Self::Error>;
}

/// A frame that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'i> {
    /// It is whole in what came in.
    Whole(&'i [u8]),
    /// It came in pieces.
    Joined(Vec<u8>),
}

/// Finds the frames of a protocol. A piece of one is kept until the rest comes, and only what has come of it, whatever its
/// length says.
#[derive(Debug)]
pub(crate) struct Framer<P> {
    part: Vec<u8>,
    protocol: PhantomData<P>,
}

impl<P> Clone for Framer<P> {
    fn clone(&self) -> Self {
        Self { part: self.part.clone(), protocol: PhantomData }
    }
}

impl<P> Default for Framer<P> {
    fn default() -> Self {
        Self { part: Vec::new(), protocol: PhantomData }
    }
}

impl<P: Delimited> Framer<P> {
    /// Takes what belongs to the next frame off the input; `None` once all is taken and no frame is complete.
    ///
    /// A frame that begins in a piece is kept in `spare`, which is taken for it.
    ///
    /// # Errors
    /// That of the protocol if no frame begins there: the stream is of no use any more.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        spare: &mut Vec<u8>,
    ) -> Result<Option<Frame<'i>>, P::Error> {
        if self.part.is_empty() {
            if let Some((frame, rest)) = P::length(input)?.and_then(|length| input.split_at_checked(length)) {
                *input = rest;
                return Ok(Some(Frame::Whole(frame)));
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.part = core::mem::take(spare);
            self.part.clear();
        }
        self.take(input, P::HEAD);
        let Some(length) = P::length(&self.part)? else { return Ok(None) };
        self.take(input, length);
        let is_whole = self.part.len() == length;
        Ok(is_whole.then(|| Frame::Joined(core::mem::take(&mut self.part))))
    }

    /// Takes input until there are so many bytes.
    fn take(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.part.len()).min(input.len());
        let (head, rest) = input.split_at_checked(missing).unwrap_or_default();
        self.part.extend_from_slice(head);
        *input = rest;
    }

    /// What there is of a frame that is not complete.
    pub(crate) fn part(&self) -> &[u8] {
        &self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that tells how many follow; none has more than nine.
    struct Digits;

    impl Delimited for Digits {
        const HEAD: usize = 1;
        type Error = u8;

        fn length(bytes: &[u8]) -> Result<Option<usize>, u8> {
            match bytes.first() {
                None => Ok(None),
                Some(count @ 0..=9) => Ok(Some(1 + usize::from(*count))),
                Some(other) => Err(*other),
            }
        }
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_split() {
        let bytes = [0, 1, 7, 3, 1, 2, 3, 0, 2, 9, 9];
        for split in 0..=bytes.len() {
            let (mut framer, mut spare, mut frames) = (Framer::<Digits>::default(), Vec::new(), Vec::new());
            let (head, tail) = bytes.split_at(split);
            for mut piece in [head, tail] {
                while let Some(frame) = framer.next(&mut piece, &mut spare).unwrap() {
                    frames.push(match frame {
                        Frame::Whole(frame) => frame.to_vec(),
                        Frame::Joined(frame) => frame,
                    });
                }
            }
            assert_eq!(frames, [&[0][..], &[1, 7], &[3, 1, 2, 3], &[0], &[2, 9, 9]], "{split}");
            assert!(framer.part().is_empty());
        }
    }

    #[test]
    fn what_no_frame_begins_with_is_an_error_in_whatever_piece_it_comes() {
        let mut framer = Framer::<Digits>::default();
        let mut spare = Vec::new();
        assert_eq!(framer.next(&mut [5, 1].as_slice(), &mut spare), Ok(None));
        assert_eq!((framer.part(), framer.part.capacity() < 64), (&[5, 1][..], true));
        assert_eq!(framer.next(&mut [1, 1, 1, 1, 200].as_slice(), &mut spare).map(|frame| frame.is_some()), Ok(true));
        assert_eq!(framer.next(&mut [200].as_slice(), &mut spare), Err(200));
    }
}
