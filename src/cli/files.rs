//! Files: read up to a limit, written whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use portcullis::{
    digest::Digest,
    signature::{EnvelopeLimits, KeyError, PublicKey, SigningKey},
    spec::{SPEC_BYTES_MAX, Spec},
    text,
};
use zeroize::Zeroizing;

use super::{answer::Hint as _, output};

/// Keys have a few hundred bytes.
const KEY_BYTES_MAX: usize = 64 << 10;

/// A path for people.
pub(crate) fn shown(path: &Path) -> String {
    text::escape(path.as_os_str().as_encoded_bytes())
}

/// The bytes of a file that has at most `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let context = || format!("failed to read `{}`", shown(path));
    let file = File::open(path).with_context(context)?;
    let known = file.metadata().with_context(context)?.len();
    // One more than allowed, and reserved: the bytes of a key are not left behind by a buffer that grew.
    let limit = bytes_max as u64 + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(known.min(limit)).unwrap_or(bytes_max) + 1);
    file.take(limit).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() > bytes_max {
        bail!("failed to read `{}`: it has more than {bytes_max} bytes", shown(path));
    }
    Ok(bytes)
}

/// The bytes of an envelope.
pub(crate) fn read_envelope(path: &Path) -> anyhow::Result<Vec<u8>> {
    read(path, EnvelopeLimits::MANIFEST.bytes_max)
}

/// A release spec.
pub(crate) fn read_spec(path: &Path) -> anyhow::Result<Spec> {
    let bytes = read(path, SPEC_BYTES_MAX)?;
    let context = || format!("failed to use `{}`", shown(path));
    let text = str::from_utf8(&bytes).with_context(context)?;
    Spec::parse(text).or_else(|error| {
        let hint = error.hint();
        Err(error).with_context(context).hint(hint)
    })
}

/// A key that signs. One that others can read is used, but not in silence.
pub(crate) fn read_signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = Zeroizing::new(read(path, KEY_BYTES_MAX)?);
    let key = str::from_utf8(&pem).map_err(|_| KeyError::NotAPrivateKey).and_then(SigningKey::from_pem);
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        output::warning(&format_args!(
            "`{}` can be used by others than its owner (mode {:04o})",
            shown(path),
            mode & 0o7777
        ));
    }
    key.with_context(|| format!("failed to use `{}`", shown(path)))
}

/// A key that verifies.
pub(crate) fn read_public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = read(path, KEY_BYTES_MAX)?;
    let key = str::from_utf8(&pem).map_err(|_| KeyError::NotAPublicKey).and_then(PublicKey::from_pem);
    key.with_context(|| format!("failed to use `{}`", shown(path)))
}

/// Creates a file that must not be there, without a moment in which its mode is wider.
pub(crate) fn create(path: &Path, mode: u32) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.with_context(|| format!("failed to create `{}`", shown(path)))
}

/// Gives a file just this mode, whatever the umask took away.
pub(crate) fn set_mode(file: &File, path: &Path, mode: u32) -> anyhow::Result<()> {
    let set = file.set_permissions(fs::Permissions::from_mode(mode));
    set.with_context(|| format!("failed to set the mode of `{}`", shown(path)))
}

/// Writes all of a file that was just created, to the disk.
pub(crate) fn fill(mut file: File, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("failed to write `{}`", shown(path)))
}

/// Puts `bytes` in the place of what is at `path`, if anything: whoever reads it sees the old or the new, whole. A link
/// stays one; a device or pipe is written to as it is.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let context = || format!("failed to write `{}`", shown(path));
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(bytes))
            .with_context(context);
    }
    let draft = draft(path, bytes).with_context(context)?;
    let file = create(&draft, 0o666).with_context(context)?;
    let done = fill(file, &draft, bytes).and_then(|()| {
        old.map_or(Ok(()), |old| fs::set_permissions(&draft, old.permissions())).with_context(context)?;
        fs::rename(&draft, path).with_context(context)?;
        sync_directory(path).with_context(context)
    });
    if done.is_err() {
        // What matters is already told.
        let _ = fs::remove_file(&draft);
    }
    done
}

/// Keeps others who ask for it away from the file at `path` until dropped. Whoever waited finds another file under the name,
/// for [`replace`] puts a new one there: then it is that one that must be locked.
pub(crate) fn lock(path: &Path) -> anyhow::Result<File> {
    let context = || format!("failed to lock `{}`", shown(path));
    for _ in 0..LOCK_TRIES_MAX {
        let file = File::open(path).with_context(|| format!("failed to read `{}`", shown(path)))?;
        file.lock().with_context(context)?;
        let (locked, present) = (file.metadata().with_context(context)?, fs::metadata(path).with_context(context)?);
        if (locked.dev(), locked.ino()) == (present.dev(), present.ino()) {
            return Ok(file);
        }
    }
    bail!("failed to lock `{}`: others change it all the time", shown(path))
}

/// Each try waits for one other; an envelope takes 16 signatures.
const LOCK_TRIES_MAX: usize = 100;

/// Makes the names in a file's directory last.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// A name beside `path`, different for each process and content.
fn draft(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::IsADirectory)?);
    let digest = Digest::of(bytes).to_hex();
    name.push(format!(".{}.{}.tmp", std::process::id(), &digest[..8]));
    Ok(path.with_file_name(name))
}
