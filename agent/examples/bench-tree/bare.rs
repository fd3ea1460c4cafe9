//! The least that can be done: walk, open, read, hash, compare.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc::sync_channel},
    thread,
};

use portcullis::digest::Digest;
use sha2::{Digest as _, Sha256};

/// `list` as for `sha256sum -c`, in the order of paths.
pub(super) fn run(list: &Path, root: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(list)?;
    let pairs = text.lines().filter_map(|line| line.split_once("  "));
    let listed: HashMap<&Path, Digest> =
        pairs.filter_map(|(hex, path)| Some((Path::new(path), Digest::from_hex(hex)?))).collect();
    // Short paths are looked up faster.
    std::env::set_current_dir(root)?;
    let (sender, receiver) = sync_channel::<PathBuf>(1_024);
    let receiver = Mutex::new(receiver);
    let work = || -> anyhow::Result<()> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let Ok(path) = receiver.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.recv() else { return Ok(()) };
            let mut file = File::open(&path)?;
            let mut hasher = Sha256::new();
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
            let digest = Digest::from_bytes(hasher.finalize().into());
            anyhow::ensure!(listed.get(path.as_path()) == Some(&digest), "{} differs", path.display());
        }
    };
    let workers = thread::available_parallelism()?.get().max(2);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut found = 0_usize;
        let mut directories = BTreeSet::from([PathBuf::new()]);
        while let Some(directory) = directories.pop_first() {
            let here = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            for entry in fs::read_dir(here)? {
                let entry = entry?;
                let path = directory.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    directories.insert(path);
                } else {
                    found += 1;
                    sender.send(path)?;
                }
            }
        }
        drop(sender);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        }
        anyhow::ensure!(found == listed.len(), "{found} files, {} listed", listed.len());
        Ok(())
    })
}

/// The least for a tree that has not changed: every thing's `lstat`, one after the other.
pub(super) fn walk(root: &Path) -> anyhow::Result<()> {
    let (mut entries, mut sum) = (0_u64, 0_u64);
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            // By the directory's descriptor, not by the whole path.
            let metadata = entry.metadata()?;
            sum = sum.wrapping_add(metadata.ino() ^ metadata.ctime_nsec().cast_unsigned() ^ metadata.size());
            entries += 1;
            if metadata.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    anyhow::ensure!(entries > 0 && sum != 0, "nothing there");
    Ok(())
}
