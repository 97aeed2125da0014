//! The content of an object on its way out: a file, piece by piece.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes that are read at a time: memory of one download, and large enough that the way to a
/// blocking thread and back does not count.
const PIECE: u64 = 512 * 1024;

/// What is left of a range of a file, and the next piece if it was read already.
#[derive(Debug)]
pub(super) struct Reading {
    file: Option<File>,
    left: u64,
    next: Option<JoinHandle<io::Result<(File, Bytes)>>>,
    first: Option<Bytes>,
}

impl Reading {
    /// Begins to read `range` of `file`, which holds all of it. Blocks for the first piece.
    pub(super) fn begin(mut file: File, range: Range<u64>) -> io::Result<Self> {
        file.seek(SeekFrom::Start(range.start))?;
        let left = range.end - range.start;
        let (file, first) = piece(file, left)?;
        Ok(Self {
            file: Some(file),
            left,
            next: None,
            first: Some(first),
        })
    }

    fn took(&mut self, bytes: Bytes) -> Poll<Option<Result<Bytes, StdError>>> {
        self.left -= u64::try_from(bytes.len())
            .unwrap_or(self.left)
            .min(self.left);
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// Reads one piece. A file that is shorter than it was is an error, so that nobody takes what came
/// for all of it.
fn piece(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let wanted = left.min(PIECE);
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    (&mut file).take(wanted).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).ok() != Some(wanted) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok((file, bytes.into()))
}

impl Stream for Reading {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(first) = this.first.take() {
            return this.took(first);
        }
        if let Some(file) = this.file.take() {
            let left = this.left;
            this.next = Some(spawn_blocking(move || piece(file, left)));
        }
        let Some(next) = &mut this.next else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(next).poll(context));
        this.next = None;
        match read {
            Ok(Ok((file, bytes))) => {
                this.file = Some(file);
                this.took(bytes)
            }
            Ok(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

impl ByteStream for Reading {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left)
            .map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
