//! HAProxy tells nobody what it reads: its configurations are those of `-f`, all else is what they name.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use portcullis::{
    check::web_server::WebServer,
    reveal::{self, FILE_BYTES_MAX, Files, Role},
    text as shown_text,
};

use super::{Named, Reads};

pub(super) fn reads(wanted: &WebServer) -> Result<Reads, String> {
    let mut reads = Reads::default();
    for config in wanted.configs() {
        if Path::new(config).is_dir() {
            reads.directories.push(config.into());
        }
        reads.files.extend(parts(Path::new(config)).map_err(|error| format!("`{config}`: {error}"))?);
    }
    let mut files = Files::default();
    for path in &reads.files {
        insert(&mut files, path)?;
    }
    let configs: Vec<_> = reads.files.iter().filter_map(|path| path.to_str()).collect();
    // Lists name certificates, too, and so do directories: a second look knows them.
    for reference in reveal::haproxy(&configs, &files).references {
        if reference.role == Role::Part {
            insert(&mut files, Path::new(&reference.file))?;
        }
    }
    let revealed = reveal::haproxy(&configs, &files);
    let variable = revealed.unclear.iter().find(|unclear| unclear.is_file);
    reads.unclear = variable.map(|unclear| shown_text::visible(&unclear.what));
    reads.pid_file = revealed.pid_file.as_ref().map(Into::into);
    reads.reveal(&revealed);
    expand(&mut reads);
    Ok(reads)
}

/// A directory of certificates stands for all that is in it.
fn expand(reads: &mut Reads) {
    let (directories, mut named): (Vec<_>, Vec<_>) = reads.named.drain(..).partition(|named| named.file.is_dir());
    for directory in directories {
        let entries = fs::read_dir(&directory.file).into_iter().flatten().flatten().take(CERTIFICATES_MAX);
        let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
        named.extend(files.map(|file| Named { file, ..directory.clone() }));
        reads.directories.push(directory.file);
    }
    reads.named = named;
}

/// Of a directory, HAProxy reads what ends with `.cfg` and is not hidden, by name.
fn parts(config: &Path) -> io::Result<Vec<PathBuf>> {
    if !config.is_dir() {
        return Ok(vec![config.into()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(config)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".cfg") && !name.starts_with(b".") {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn insert(files: &mut Files, path: &Path) -> Result<(), String> {
    let name = path.to_str().ok_or_else(|| format!("`{}`: its name is not UTF-8", super::shown(path)))?;
    let text = text(path).map_err(|error| format!("`{}`: {error}", super::shown(path)))?;
    files.insert(name, &text);
    Ok(())
}

/// The text of a configuration file, up to what is looked at.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)? > FILE_BYTES_MAX {
        return Err(io::Error::other("longer than any configuration"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// In one directory.
const CERTIFICATES_MAX: usize = 10_000;
