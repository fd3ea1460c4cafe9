//! What outlives a restart of the agent: its key, its binding, its admission, the last manifests that were verified.
//!
//! One directory, 0700, one agent at a time. Every file is replaced whole or not at all; one that cannot be read is as good
//! as absent, but for the key, of which there must never be a second.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use portcullis::{
    digest::Digest,
    instance::{BootId, InstanceId, WaitId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The state directory, held.
#[derive(Debug)]
pub(crate) struct State {
    dir: PathBuf,
    /// Unlocked by the kernel when the process ends, however it ends.
    _lock: File,
}

/// Who is bound to a name at the controller, and the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) whom: Whom,
    /// As the controller gave it.
    pub(crate) binding: String,
}

/// All that must be the same for a binding or an admission still to mean something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whom {
    pub(crate) audience: String,
    pub(crate) instance: InstanceId,
    pub(crate) boot_id: BootId,
    pub(crate) key_id: String,
}

/// That this boot was admitted, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admission {
    pub(crate) whom: Whom,
    /// For the record.
    pub(crate) wait: WaitId,
    pub(crate) manifest: Digest,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` belongs to user {uid}, not to the agent's user {own}", path.display())]
    NotOurs { path: PathBuf, uid: u32, own: u32 },
    #[error("`{}` can be written by others (mode {mode:04o}): whoever can do that can speak as this instance", path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("another agent uses `{}`", path.display())]
    Busy { path: PathBuf },
}

impl State {
    /// Makes the directory if need be, sees that it is ours alone, and takes it.
    pub(crate) fn open(dir: &Path) -> Result<Self, StateError> {
        let io = |source| StateError::Io { path: dir.into(), source };
        make_private(dir)?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::Busy { path: dir.into() }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The binding that still holds for `whom`.
    pub(crate) fn binding(&self, whom: &Whom) -> Option<Binding> {
        self.read_json::<Binding>(BINDING).filter(|kept| kept.whom == *whom)
    }

    pub(crate) fn keep_binding(&self, binding: &Binding) -> io::Result<()> {
        self.write_json(BINDING, binding)
    }

    pub(crate) fn forget_binding(&self) -> io::Result<()> {
        self.remove(BINDING)
    }

    /// The admission of an instance in this boot. The instance may not be known yet: `None` takes any.
    pub(crate) fn admission(&self, holds: impl FnOnce(&Whom) -> bool) -> Option<Admission> {
        self.read_json::<Admission>(ADMISSION).filter(|kept| holds(&kept.whom))
    }

    pub(crate) fn keep_admission(&self, admission: &Admission) -> io::Result<()> {
        self.write_json(ADMISSION, admission)
    }

    pub(crate) fn forget_admission(&self) -> io::Result<()> {
        self.remove(ADMISSION)
    }

    /// Where the envelope of that manifest is, if it is kept; to be verified again, like any other.
    pub(crate) fn manifest(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{MANIFEST}{}.json", digest.to_hex()))
    }

    /// An empty file for an envelope that nobody has verified yet.
    pub(crate) fn draft(&self) -> io::Result<(PathBuf, File)> {
        let path = self.dir.join(DRAFT);
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Keeps the draft under its name; only one that was verified. The oldest others are forgotten.
    pub(crate) fn keep_manifest(&self, digest: Digest) -> io::Result<PathBuf> {
        let path = self.manifest(digest);
        fs::rename(self.dir.join(DRAFT), &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.forget_manifests();
        Ok(path)
    }

    /// What cannot be removed takes room, and does no other harm.
    fn forget_manifests(&self) {
        let kept = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let kept = kept.filter(|file| file.file_name().as_encoded_bytes().starts_with(MANIFEST.as_bytes()));
        let mut kept: Vec<_> =
            kept.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path()))).collect();
        kept.sort();
        for (_, path) in kept.iter().rev().skip(MANIFESTS_MAX) {
            let _ = fs::remove_file(path);
        }
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&read_capped(&self.dir.join(name), SMALL_BYTES_MAX).ok()?).ok()
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        replace(&self.dir.join(name), &serde_json::to_vec(value)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(&self.dir)?.sync_all(),
        }
    }
}

/// Makes a directory if need be, and sees that it is ours alone.
pub(crate) fn make_private(dir: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| StateError::Io { path: dir.into(), source })?;
    ours_alone(dir)
}

/// The envelope that this instance was admitted on, if it is kept, else the one that was kept last. For those who do not hold
/// the directory; to be verified again, like any other.
pub(crate) fn last_manifest(dir: &Path) -> PathBuf {
    let file = |digest: Digest| dir.join(format!("{MANIFEST}{}.json", digest.to_hex()));
    let admission = read_capped(&dir.join(ADMISSION), SMALL_BYTES_MAX).ok();
    let admission: Option<Admission> = admission.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(file) = admission.map(|admission| file(admission.manifest)).filter(|file| file.exists()) {
        return file;
    }
    let kept = fs::read_dir(dir).into_iter().flatten().flatten();
    let kept = kept.filter(|file| file.file_name().as_encoded_bytes().starts_with(MANIFEST.as_bytes()));
    let kept = kept.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())));
    kept.max().map_or_else(|| dir.join(MANIFEST), |(_, path)| path)
}

/// A directory that others could have written to may hold a key that others know: refused. One that others can only read
/// is closed to them.
fn ours_alone(dir: &Path) -> Result<(), StateError> {
    let io = |source| StateError::Io { path: dir.into(), source };
    let metadata = fs::metadata(dir).map_err(io)?;
    let (mode, own) = (metadata.mode() & 0o7777, rustix::process::geteuid().as_raw());
    if metadata.uid() != own {
        return Err(StateError::NotOurs { path: dir.into(), uid: metadata.uid(), own });
    }
    if mode & 0o022 != 0 {
        return Err(StateError::Writable { path: dir.into(), mode });
    }
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io)?;
    }
    Ok(())
}

/// The bytes of a regular file that has at most `bytes_max`. A FIFO keeps nobody waiting.
pub(crate) fn read_capped(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Opens a file that can be read to its end.
fn open_regular(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Puts what is in `from`, up to so many bytes, in the place of what is at `to`.
pub(crate) fn copy(from: &Path, to: &Path, bytes_max: u64) -> io::Result<()> {
    let draft = to.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    io::copy(&mut open_regular(from)?.take(bytes_max), &mut file)?;
    file.sync_all()?;
    fs::rename(&draft, to)
}

/// Puts `bytes` in the place of what is at `path`: whoever reads it, even after a crash, sees the old or the new, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

const BINDING: &str = "binding.json";
const ADMISSION: &str = "admission.json";
const MANIFEST: &str = "manifest-";
const DRAFT: &str = "download";
/// What serves, what is wanted, and some that came between.
const MANIFESTS_MAX: usize = 4;
/// A binding's name is the longest thing in the small files.
const SMALL_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(boot: &str) -> Whom {
        Whom { audience: "here".into(), instance: "i-1".into(), boot_id: boot.into(), key_id: "k".into() }
    }

    #[test]
    fn a_binding_holds_for_its_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let binding = Binding { whom: whom("one"), binding: "b".into() };
        state.keep_binding(&binding).unwrap();
        assert_eq!((state.binding(&whom("one")), state.binding(&whom("two"))), (Some(binding), None));
        state.forget_binding().unwrap();
        state.forget_binding().unwrap();
        assert_eq!(state.binding(&whom("one")), None);
    }

    #[test]
    fn garbage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        fs::write(state.dir().join(ADMISSION), b"{\"audience\":").unwrap();
        assert_eq!(state.admission(|_| true), None);
    }

    #[test]
    fn one_agent_in_a_closed_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let state = State::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(matches!(State::open(&path), Err(StateError::Busy { .. })));
        drop(state);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(State::open(&path), Err(StateError::Writable { mode: 0o770, .. })));
    }

    #[test]
    fn a_fifo_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&*fifo, dir.path(), Path::new("/dev/zero")] {
            assert!(read_capped(path, 10).unwrap_err().to_string().contains("not a regular file"), "{path:?}");
        }
    }
}
