//! What a command writes: its beginning is kept, the rest is read so that it is not held up, and not for ever.

use std::io::Read;

/// This much of the beginning is kept, for the outcome's reason.
pub(super) const OUTPUT_BYTES_KEPT: usize = 4 * 1024;

/// Whoever writes more than this is killed.
pub(super) const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// How much is kept, and how much is too much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) kept: usize,
    pub(super) max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kept: OUTPUT_BYTES_KEPT, max: OUTPUT_BYTES_MAX }
    }
}

/// Reads to the end, and returns the beginning; calls `flooded` once when it becomes too much.
pub(super) fn drain(mut from: impl Read, limits: Limits, flooded: impl FnOnce()) -> Vec<u8> {
    let mut flooded = Some(flooded);
    let (mut kept, mut total) = (Vec::new(), 0_usize);
    let mut buffer = [0; 8 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return kept,
        };
        kept.extend_from_slice(&buffer[..read.min(limits.kept - kept.len())]);
        total = total.saturating_add(read);
        if total > limits.max
            && let Some(flooded) = flooded.take()
        {
            flooded();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning_and_tells_of_a_flood_once() {
        for (length, floods) in [(0, 0), (OUTPUT_BYTES_KEPT, 0), (OUTPUT_BYTES_MAX, 0), (OUTPUT_BYTES_MAX * 3, 1)] {
            let mut flooded = 0;
            let kept = drain(std::io::repeat(b'x').take(length as u64), Limits::default(), || flooded += 1);
            assert_eq!((kept.len(), flooded), (length.min(OUTPUT_BYTES_KEPT), floods), "{length}");
        }
    }
}
