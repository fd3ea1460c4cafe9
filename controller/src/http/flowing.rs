//! A connection whose other end must take what it is given: hyper bounds what comes in, and waits for ever for what goes out.

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How much must be taken in which time, while there is more to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) window: Duration,
    pub(super) bytes_min: usize,
}

impl Default for Pace {
    /// A slow line takes the largest manifest in half an hour, at a quarter of what a report must come at.
    fn default() -> Self {
        Self { window: Duration::from_secs(30), bytes_min: 1 << 20 }
    }
}

/// A stream that breaks off when the other end takes too little.
pub(super) struct Flowing<S> {
    stream: S,
    pace: Pace,
    /// While something waits to be taken: until when it is looked at, and how much was taken since.
    window: Option<(Pin<Box<Sleep>>, usize)>,
    offends: Box<dyn Fn() + Send>,
}

impl<S> Flowing<S> {
    pub(super) fn new(stream: S, pace: Pace, offends: impl Fn() + Send + 'static) -> Self {
        Self { stream, pace, window: None, offends: Box::new(offends) }
    }

    /// What came of an attempt to write.
    fn wrote(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(done) = written {
            if let (Some((_, taken)), Ok(bytes)) = (&mut self.window, &done) {
                *taken = taken.saturating_add(*bytes);
            }
            return Poll::Ready(done);
        }
        let pace = self.pace;
        let (ends, taken) = self.window.get_or_insert_with(|| (Box::pin(sleep(pace.window)), 0));
        while ends.as_mut().poll(context).is_ready() {
            if *taken < pace.bytes_min {
                (self.offends)();
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the answer is not taken")));
            }
            (*ends, *taken) = (Box::pin(sleep(pace.window)), 0);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flowing<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flowing<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Whoever writes asks for this when nothing is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.window = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn who_does_not_take_what_was_asked_for_is_cut_off() {
        let pace = Pace { window: Duration::from_millis(50), bytes_min: 100 };
        for (what, bytes_at_once, pause_ms, is_taken) in [
            ("at once", 4_096, 0, true),
            ("slowly", 64, 10, true),
            ("a byte at a time", 1, 10, false),
            ("never", 1, 900, false),
        ] {
            let (mine, mut theirs) = duplex(64);
            let offences = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&offences);
            let mut flowing = Flowing::new(mine, pace, move || {
                counted.fetch_add(1, Ordering::SeqCst);
            });
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; bytes_at_once];
                loop {
                    sleep(Duration::from_millis(pause_ms)).await;
                    if !matches!(theirs.read(&mut buffer).await, Ok(1..)) {
                        return;
                    }
                }
            });
            let written = async {
                flowing.write_all(&[b'x'; 4_000]).await?;
                flowing.flush().await
            };
            let written = written.await;
            assert_eq!((written.is_ok(), offences.load(Ordering::SeqCst)), (is_taken, u32::from(!is_taken)), "{what}");
            reading.abort();
        }
    }
}
