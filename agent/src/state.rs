//! What outlives a restart of the agent: its key, its binding, its admission, the last manifest that was verified.
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
    signature::EnvelopeLimits,
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
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        ours_alone(dir)?;
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

    /// The envelope that was kept last; to be verified again, like any other.
    pub(crate) fn manifest(&self) -> Option<Vec<u8>> {
        read_capped(&self.dir.join(MANIFEST), EnvelopeLimits::MANIFEST.bytes_max).ok()
    }

    /// Keeps an envelope; only one that was verified.
    pub(crate) fn keep_manifest(&self, envelope: &[u8]) -> io::Result<()> {
        replace(&self.dir.join(MANIFEST), envelope)
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

/// The bytes of a file that has at most `bytes_max`.
pub(crate) fn read_capped(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Puts `bytes` in the place of what is at `path`: whoever reads it, even after a crash, sees the old or the new, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

const BINDING: &str = "binding.json";
const ADMISSION: &str = "admission.json";
const MANIFEST: &str = "manifest.json";
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
}
