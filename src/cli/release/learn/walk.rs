//! Looking at a tree of a running instance: unlike a build, it puts up with whatever it finds there.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use anyhow::{Context as _, bail};
use portcullis::{
    digest::Digest,
    learn::{self, Kind, Seen, SeenTree, observation::TEXT_BYTES_MAX},
    text,
    tree::DEPTH_MAX,
};
use sha2::{Digest as _, Sha256};

use super::instance::under;
use crate::cli::{clock, files};

/// How much may still be seen of an instance.
pub(super) struct Budget {
    pub(super) entries: usize,
    pub(super) text_bytes: usize,
}

/// The directory `path` of the instance below `root`.
pub(super) fn tree(root: &Path, path: &Path, budget: &mut Budget) -> anyhow::Result<SeenTree> {
    let place = under(root, path);
    let real = place.canonicalize()?;
    if !real.starts_with(root) {
        bail!("it leads out of `{}` by a link", files::shown(root));
    }
    if !real.is_dir() {
        bail!("it is no directory");
    }
    let device = fs::metadata(&real)?.dev();
    let mut looking = Looking {
        top: &real,
        device,
        budget,
        entries: Vec::new(),
        is_etc: path.starts_with("/etc"),
        now_s: clock::unix_seconds(),
    };
    looking.directory(&real, 0)?;
    let mut entries = looking.entries;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let is_link = fs::symlink_metadata(&place)?.is_symlink();
    Ok(SeenTree { root: path.to_string_lossy().into_owned(), root_link: is_link, entries })
}

struct Looking<'a> {
    top: &'a Path,
    device: u64,
    budget: &'a mut Budget,
    entries: Vec<Seen>,
    is_etc: bool,
    now_s: u64,
}

impl Looking<'_> {
    fn directory(&mut self, directory: &Path, depth: usize) -> anyhow::Result<()> {
        if depth > DEPTH_MAX {
            bail!("`{}` is too deep", files::shown(directory));
        }
        let context = || format!("failed to read `{}`", files::shown(directory));
        for item in fs::read_dir(directory).with_context(context)? {
            let item = item.with_context(context)?.path();
            // What is gone by now comes and goes; that it does is seen by comparing.
            let Ok(metadata) = fs::symlink_metadata(&item) else { continue };
            let Some(left) = self.budget.entries.checked_sub(1) else {
                bail!("there are more than {} entries", learn::observation::ENTRIES_MAX);
            };
            self.budget.entries = left;
            let seen = self.seen(&item, &metadata)?;
            let is_dir = seen.kind == Kind::Dir;
            self.entries.push(seen);
            if is_dir {
                self.directory(&item, depth + 1)?;
            }
        }
        Ok(())
    }

    fn seen(&mut self, item: &Path, metadata: &Metadata) -> anyhow::Result<Seen> {
        let path = item.strip_prefix(self.top)?.as_os_str().as_bytes();
        let age_s = self.now_s.saturating_sub(u64::try_from(metadata.mtime()).unwrap_or(0));
        let mut seen = Seen {
            path: text::path(path),
            kind: kind(metadata, self.device),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: None,
            sha256: None,
            target: None,
            text: None,
            code: false,
            recent: age_s < RECENT_S,
        };
        match seen.kind {
            Kind::Dir | Kind::Other => {}
            Kind::Link => {
                seen.target = fs::read_link(item).ok().map(|target| text::path(target.as_os_str().as_bytes()));
            }
            Kind::File => {
                seen.size = Some(metadata.len());
                let wants_text = metadata.len() <= TEXT_BYTES_MAX.min(self.budget.text_bytes) as u64
                    && (self.is_etc || learn::is_configuration(path))
                    && !learn::is_secret(path);
                if let Some(Hashed { digest, beginning, bytes }) = hash(item, metadata, wants_text) {
                    seen.sha256 = Some(digest);
                    seen.code = learn::is_code(path, &beginning);
                    seen.text = String::from_utf8(bytes).ok().filter(|text| wants_text && !learn::is_secret_text(text));
                    self.budget.text_bytes -= seen.text.as_ref().map_or(0, String::len);
                }
            }
        }
        Ok(seen)
    }
}

fn kind(metadata: &Metadata, device: u64) -> Kind {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() && metadata.dev() == device => Kind::Dir,
        () if kind.is_file() => Kind::File,
        () if kind.is_symlink() => Kind::Link,
        () => {
            debug_assert!(
                kind.is_dir() || kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
            );
            Kind::Other
        }
    }
}

/// What was read of a file.
struct Hashed {
    digest: Digest,
    /// At most [`READ_BYTES`] of it.
    beginning: Vec<u8>,
    /// All of it, if it was asked for.
    bytes: Vec<u8>,
}

/// Reads a file, and keeps its bytes if they are asked for; `None` when it cannot be read or changes meanwhile.
fn hash(path: &Path, was: &Metadata, keep: bool) -> Option<Hashed> {
    // Should it be a FIFO by now, nobody waits for its writer.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let (mut hasher, mut kept, mut buffer) = (Sha256::new(), Vec::new(), vec![0; READ_BYTES]);
    let mut beginning = Vec::new();
    let mut left = was.len();
    loop {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64)?;
        hasher.update(&buffer[..read]);
        if beginning.is_empty() {
            beginning.extend(&buffer[..read]);
        }
        if keep {
            kept.extend(&buffer[..read]);
        }
    }
    let is = file.metadata().ok()?;
    let same =
        (is.ino(), is.len(), is.mtime(), is.mtime_nsec()) == (was.ino(), was.len(), was.mtime(), was.mtime_nsec());
    (left == 0 && same).then(|| Hashed { digest: Digest::from_bytes(hasher.finalize().into()), beginning, bytes: kept })
}

const READ_BYTES: usize = 128 << 10;

/// What was changed so lately was hardly part of the image.
const RECENT_S: u64 = 600;
