//! Breaking a thing of the copy, and putting it back.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
};

use portcullis::{
    manifest::{EntryKind, Tree},
    rehearse::{Breakage, How},
};
use rustix::fs::{CWD, FileType, Mode};

use super::scratch::{Scratch, copy_thing, like};

/// What puts a thing back as it was.
pub(super) enum Undo {
    /// Something was added: the outermost of what was made for it.
    Added(PathBuf),
    /// Something else may stand in its place.
    Aside { place: PathBuf, aside: PathBuf },
    /// Other attributes.
    Attributes { place: PathBuf, was: Box<Metadata> },
    /// Two of them, each in the other's place.
    Swapped { one: PathBuf, other: PathBuf, between: PathBuf },
}

/// Why something was not broken.
pub(super) enum Obstacle {
    /// There is no such breakage here, or none that we may make.
    NotHere(&'static str),
    /// What should work did not.
    Failed(io::Error),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Breaks one thing; `number` is unique among what is broken at the same time.
pub(super) fn apply(scratch: &Scratch, tree: &Tree, breakage: &Breakage, number: usize) -> Result<Undo, Obstacle> {
    let place = scratch.at(tree, &breakage.path);
    let aside = scratch.aside().join(number.to_string());
    match &breakage.how {
        How::Extra => add(&place),
        How::Swapped { with } => {
            let undo = Undo::Swapped { one: place, other: scratch.at(tree, with), between: aside };
            undo.swap()?;
            Ok(undo)
        }
        How::Executable => mode(place, |mode| mode ^ 0o111),
        How::WorldWritable => mode(place, |mode| mode | 0o002),
        How::SetUid => mode(place, |mode| mode | 0o4000),
        How::Owner => owner(place),
        how => {
            fs::rename(&place, &aside)?;
            let undo = Undo::Aside { place, aside };
            match instead(how, tree, breakage, &undo) {
                Ok(()) => Ok(undo),
                Err(error) => {
                    undo.undo()?;
                    Err(error.into())
                }
            }
        }
    }
}

impl Undo {
    /// Puts it back.
    pub(super) fn undo(&self) -> io::Result<()> {
        match self {
            Self::Added(outermost) => remove(outermost),
            Self::Aside { place, aside } => {
                remove(place)?;
                fs::rename(aside, place)
            }
            Self::Attributes { place, was } => {
                if was.is_symlink() {
                    return lchown(place, Some(was.uid()), Some(was.gid()));
                }
                like(was, place)
            }
            Self::Swapped { .. } => self.swap(),
        }
    }

    fn swap(&self) -> io::Result<()> {
        let Self::Swapped { one, other, between } = self else { return Ok(()) };
        fs::rename(one, between)?;
        fs::rename(other, one)?;
        fs::rename(between, other)
    }
}

/// Puts what is broken in the place of what was moved aside.
fn instead(how: &How, tree: &Tree, breakage: &Breakage, undo: &Undo) -> io::Result<()> {
    let Undo::Aside { place, aside } = undo else { return Ok(()) };
    match how {
        How::Missing => Ok(()),
        How::Link => symlink(aside, place),
        How::Retargeted => {
            let mut target = fs::read_link(aside)?.into_os_string();
            target.push(".elsewhere");
            symlink(target, place)
        }
        How::Directory => fs::create_dir(place),
        How::File => fs::write(place, EXTRA),
        How::Fifo => Ok(rustix::fs::mknodat(CWD, place, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?),
        how => content(how, tree, breakage, place, aside),
    }
}

/// Writes a file with other content and the same attributes.
fn content(how: &How, tree: &Tree, breakage: &Breakage, place: &Path, aside: &Path) -> io::Result<()> {
    let was = fs::symlink_metadata(aside)?;
    match how {
        How::Emptied => fs::write(place, "")?,
        How::Unrendered => {
            let entry = tree.entries.iter().find(|entry| entry.path == breakage.path);
            let template = entry.and_then(|entry| match &entry.kind {
                EntryKind::Template { template } => Some(template.as_str()),
                _ => None,
            });
            fs::write(place, template.unwrap_or_default())?;
        }
        how => {
            copy_thing(aside, place).map_err(io::Error::other)?;
            fs::set_permissions(place, fs::Permissions::from_mode(0o600))?;
            edit(how, &mut File::options().read(true).write(true).open(place)?, was.len())?;
        }
    }
    like(&was, place)
}

fn edit(how: &How, file: &mut File, size: u64) -> io::Result<()> {
    let flip = |file: &mut File, at: u64| {
        let mut byte = [0];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&[byte[0] ^ 1])
    };
    match how {
        How::Cut => file.set_len(size.saturating_sub(1)),
        How::FirstByte => flip(file, 0),
        How::MiddleByte => flip(file, size / 2),
        How::LastByte => flip(file, size.saturating_sub(1)),
        How::Appended => file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(b"\n")),
        _ => flip_all(file),
    }
}

fn flip_all(file: &mut File) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; 64 << 10], 0);
    loop {
        file.seek(SeekFrom::Start(at))?;
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        buffer[..read].iter_mut().for_each(|byte| *byte ^= 1);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&buffer[..read])?;
        at += read as u64;
    }
}

fn mode(place: PathBuf, change: impl Fn(u32) -> u32) -> Result<Undo, Obstacle> {
    let was = fs::symlink_metadata(&place)?;
    let mode = was.mode() & 0o7777;
    if change(mode) == mode {
        return Err(Obstacle::NotHere("it is so already"));
    }
    fs::set_permissions(&place, fs::Permissions::from_mode(change(mode)))?;
    Ok(Undo::Attributes { place, was: Box::new(was) })
}

fn owner(place: PathBuf) -> Result<Undo, Obstacle> {
    if !rustix::process::geteuid().is_root() {
        return Err(Obstacle::NotHere("only root can give a file away"));
    }
    let was = fs::symlink_metadata(&place)?;
    let other = if was.uid() == NOBODY { 1 } else { NOBODY };
    lchown(&place, Some(other), None)?;
    if !was.is_symlink() {
        // Giving it away took its set-id bits.
        fs::set_permissions(&place, fs::Permissions::from_mode(was.mode() & 0o7777))?;
    }
    Ok(Undo::Attributes { place, was: Box::new(was) })
}

/// Adds a file, and the directories on the way to it.
fn add(place: &Path) -> Result<Undo, Obstacle> {
    let missing = |path: &&Path| fs::symlink_metadata(path).is_err();
    let outermost = place.ancestors().take_while(missing).last();
    let Some(outermost) = outermost else { return Err(Obstacle::NotHere("something is there already")) };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(place, EXTRA)?;
    Ok(Undo::Added(outermost.to_path_buf()))
}

/// Whatever it is, if it is.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// `nobody`, everywhere.
const NOBODY: u32 = 65_534;

/// What something that does not belong there holds.
const EXTRA: &str = "<?php // portcullis rehearse\n";
