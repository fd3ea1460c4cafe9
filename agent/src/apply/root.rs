//! The root of a tree when it is to be put back: it may have been deleted, or have become something else.

use std::{ffi::CString, fs, os::unix::ffi::OsStrExt as _, path::Path};

use rustix::{fs::FileType, io::Errno};

use super::{
    beneath::{Dir, file_type},
    remember::words,
};

/// Opens it, and makes it anew where it is gone; whether it was. What took its place is moved aside, as
/// `….portcullis-aside`: never followed, and never removed.
pub(super) fn open(real: &Path) -> Result<(Dir, bool), String> {
    match Dir::root(real) {
        Ok(dir) => return Ok((dir, false)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
        Err(error) => return Err(words(error)),
    }
    make(real)?;
    Dir::root(real).map(|dir| (dir, true)).map_err(words)
}

fn make(real: &Path) -> Result<(), String> {
    let (Some(above), Some(name)) = (real.parent(), real.file_name()) else { return Err("it has no name".into()) };
    let lost = |error| format!("`{}`, where it was, is no longer what it was: {}", above.display(), words(error));
    let dir = Dir::root(above).map_err(lost)?;
    let name = CString::new(name.as_bytes()).map_err(|error| error.to_string())?;
    match dir.stat(&name) {
        Err(Errno::NOENT) => {}
        Ok(stat) if file_type(&stat) != FileType::Directory => {
            let aside = [name.to_bytes(), ASIDE].concat();
            let aside = CString::new(aside).map_err(|error| error.to_string())?;
            if dir.stat(&aside).is_ok() {
                return Err("is no directory any more, and there is no free name to move it to".into());
            }
            dir.rename(&name, &aside).map_err(words)?;
        }
        Ok(_) => {}
        Err(error) => return Err(words(error)),
    }
    match dir.mkdir(&name) {
        Ok(()) | Err(Errno::EXIST) => dir.sync().map_err(words),
        Err(error) => Err(words(error)),
    }
}

/// Whether `path` is at or below `root`, links resolved as far as they can be.
pub(super) fn is_inside(path: &Path, root: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
    real(path).starts_with(real(root))
}

const ASIDE: &[u8] = b".portcullis-aside";
