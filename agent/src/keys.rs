//! The instance's own key: made once, on the instance, and never anywhere else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use portcullis::signature::{KeyError, SigningKey};
use zeroize::Zeroizing;

/// The key cannot be used. A second one is never made in its place: the controller would take that for a thief.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` can be read by others than its owner (mode {mode:04o}): it may be known to them", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("`{}` belongs to user {uid}, not to the agent's user {own}", path.display())]
    NotOurs { path: PathBuf, uid: u32, own: u32 },
    #[error("`{}`: {source}", path.display())]
    NotAKey { path: PathBuf, source: KeyError },
    #[error("no randomness to make a key from: {0}")]
    NoRandomness(getrandom::Error),
}

/// The key in `dir`, made if there is none.
pub(crate) fn load_or_make(dir: &Path) -> Result<SigningKey, KeyFileError> {
    let path = dir.join(NAME);
    match load(&path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    make(&path)?;
    load(&path)
}

fn load(path: &Path) -> Result<SigningKey, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let (mode, own) = (metadata.mode() & 0o7777, rustix::process::geteuid().as_raw());
    if metadata.uid() != own {
        return Err(KeyFileError::NotOurs { path: path.into(), uid: metadata.uid(), own });
    }
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.into(), mode });
    }
    // Reserved: a string that grew would leave pieces of the key behind.
    let mut pem = Zeroizing::new(String::with_capacity(PEM_BYTES_MAX));
    file.take(PEM_BYTES_MAX as u64).read_to_string(&mut pem).map_err(io)?;
    SigningKey::from_pem(&pem).map_err(|source| KeyFileError::NotAKey { path: path.into(), source })
}

/// Written whole under another name first, then linked, which fails if the name is taken: a crash leaves no half key, and
/// two agents never make two.
fn make(path: &Path) -> Result<(), KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyFileError::NoRandomness)?;
    let pem = SigningKey::generate(&seed).to_pem();
    let draft = path.with_extension("new");
    write_and_link(&draft, path, pem.as_bytes()).map_err(|source| KeyFileError::Io { path: path.into(), source })
}

fn write_and_link(draft: &Path, path: &Path, pem: &[u8]) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(pem)?;
    file.sync_all()?;
    fs::hard_link(draft, path)?;
    fs::remove_file(draft)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

const NAME: &str = "agent.key";
/// An ed25519 key has about 120.
const PEM_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_make(dir.path()).unwrap().public();
        assert_eq!(load_or_make(dir.path()).unwrap().public(), made);
        assert_eq!(fs::metadata(dir.path().join(NAME)).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_draft_of_a_crash_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("agent.new"), "half").unwrap();
        load_or_make(dir.path()).unwrap();
    }

    #[test]
    fn refuses_rather_than_makes_another() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_make(dir.path()), Err(KeyFileError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(load_or_make(dir.path()), Err(KeyFileError::NotAKey { .. })));
    }
}
