//! A look at a store's file that changes nothing in it.
//!
//! redb mends what a crash left while it opens a file, and a file that is not what it seems may be written to before that is
//! noticed. So it is opened for a look first, with all that redb writes kept in memory: every page is read and its checksum
//! compared (a second for the largest store), and only a file that stands that is opened in earnest.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, Builder, DatabaseError, StorageBackend, StorageError, backends::FileBackend};

use super::{CACHE_BYTES, OpenError};

/// Whether the file is a store, and whole.
pub(super) fn look(path: &Path) -> Result<(), OpenError> {
    let failed = |error: io::Error| OpenError::Failed { path: path.into(), because: error.to_string() };
    let damaged = |because: String| OpenError::Damaged { path: path.into(), because };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length == 0 {
        return Err(damaged("it is empty".into()));
    }
    let file = FileBackend::new(file).map_err(|error| damaged(error.to_string()))?;
    let overlay = Overlay { file, written: Mutex::new(Written { length, of_file: length, blocks: BTreeMap::new() }) };
    // A file made up for it can trip an assertion of redb's: that is its answer, too.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(overlay)?;
        database.check_integrity()
    }));
    match looked {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            tracing::warn!(path = %path.display(), "the store's list of free pages was wrong; it is made anew");
            Ok(())
        }
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::InUse { path: path.into() }),
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if !is_of_the_file(&error) => Err(failed(error)),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("what is in it contradicts itself".into())),
    }
}

/// Not redb's head, or a read beyond the end: nothing that the disk says.
fn is_of_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// A file, and over it what was written.
#[derive(Debug)]
struct Overlay {
    file: FileBackend,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// What lies beyond is not the file's any more: zeros, where nothing was written.
    of_file: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is now.
    fn block(&self, written: &Written, index: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = written.blocks.get(&index) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK];
        let begin = index * BLOCK as u64;
        let there = written.of_file.saturating_sub(begin).min(BLOCK as u64) as usize;
        if there > 0 {
            self.file.read(begin, &mut block[..there])?;
        }
        Ok(block)
    }
}

/// The blocks that `length` bytes at `offset` lie in: index, where in the block, where in the bytes, how many.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (index, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
        let count = (BLOCK - within).min(length - done);
        let piece = (index, within, done, count);
        done += count;
        (count > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (index, within, done, count) in pieces(offset, out.len()) {
            let block = self.block(&written, index)?;
            out[done..done + count].copy_from_slice(&block[within..within + count]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.written();
        written.length = length;
        written.of_file = written.of_file.min(length);
        let beyond = written.blocks.split_off(&length.div_ceil(BLOCK as u64));
        drop(beyond);
        if let Some(last) = written.blocks.get_mut(&(length / BLOCK as u64)) {
            last[(length % BLOCK as u64) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (index, within, done, count) in pieces(offset, data.len()) {
            let mut block = self.block(&written, index)?;
            block[within..within + count].copy_from_slice(&data[done..done + count]);
            written.blocks.insert(index, block);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

const BLOCK: usize = 4_096;
