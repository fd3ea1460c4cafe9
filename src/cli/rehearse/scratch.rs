//! The copy that is broken instead of the original, and the folder that it lies in.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, FileTimes},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use portcullis::{
    facts::Facts,
    glob::Ignore,
    manifest::{EntryKind, Manifest, Tree},
    tree::{DEPTH_MAX, ENTRIES_WALKED_MAX},
};

use crate::cli::{answer::Hint as _, files};

/// A folder of our own, removed when it is dropped.
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// A new one, in `parent` or where temporary things are.
    pub(super) fn new(parent: Option<&Path>) -> anyhow::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let mut random = [0; 8];
        getrandom::fill(&mut random).context("failed to get random bytes")?;
        let folder = parent.join(format!("portcullis-rehearsal-{:016x}", u64::from_le_bytes(random)));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("failed to create `{}`", files::shown(&folder)))?;
        // Programs are told where it is from other directories than this one.
        let folder = folder.canonicalize().with_context(|| format!("failed to find `{}`", files::shown(&folder)))?;
        let scratch = Self { folder };
        for part in [scratch.root(), scratch.aside()] {
            // Commands of the release that are run as nobody must get to their files.
            let made = DirBuilder::new().mode(0o755).create(&part);
            made.with_context(|| format!("failed to create `{}`", files::shown(&part)))?;
        }
        Ok(scratch)
    }

    /// What stands for `/`.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Where things wait that something else stands in the place of.
    pub(super) fn aside(&self) -> PathBuf {
        self.folder.join("aside")
    }

    /// A file of ours.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The root of a tree's copy.
    pub(super) fn tree(&self, tree: &Tree) -> PathBuf {
        under(&self.root(), tree)
    }

    /// A thing of a tree's copy.
    pub(super) fn at(&self, tree: &Tree, path: &[u8]) -> PathBuf {
        self.tree(tree).join(OsStr::from_bytes(path))
    }

    /// Copies all that the trees of `manifest` look at in `original`; nothing of it is ever written to.
    pub(super) fn copy(&self, manifest: &Manifest, original: &Path) -> anyhow::Result<()> {
        self.room_for(manifest)?;
        let mut left = ENTRIES_WALKED_MAX;
        for tree in &manifest.trees {
            let ignore = Ignore::new(&tree.ignore)?;
            let (from, to) = (inside(original, tree)?, self.tree(tree));
            let parent = to.parent().unwrap_or(&to);
            fs::create_dir_all(parent).with_context(|| format!("failed to create `{}`", files::shown(parent)))?;
            let mut copy = Copy { ignore: &ignore, stem: from.clone(), left: &mut left };
            copy.directory(&from, &to, 0).with_context(|| format!("failed to copy `{}`", files::shown(&from)))?;
        }
        Ok(())
    }

    /// Puts what templates render to where the copy has the template instead: a staging directory does.
    pub(super) fn render(&self, manifest: &Manifest, facts: &Facts) -> anyhow::Result<()> {
        for tree in &manifest.trees {
            for entry in &tree.entries {
                let EntryKind::Template { template } = &entry.kind else { continue };
                let place = self.at(tree, &entry.path);
                if fs::symlink_metadata(&place).is_ok() {
                    continue;
                }
                let shown = || format!("failed to render `{}`", files::shown(&place));
                let text =
                    template.render(facts).with_context(shown).hint(Some("give its value with `--fact NAME=VALUE`"))?;
                fs::write(&place, text).with_context(shown)?;
                for ending in TEMPLATE_ENDINGS {
                    let source = [&entry.path, ending.as_bytes()].concat();
                    if tree.entries.binary_search_by(|one| one.path.cmp(&source)).is_err() {
                        take_place(&self.at(tree, &source), &place).with_context(shown)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn room_for(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let size = |kind: &EntryKind| if let EntryKind::File { size, .. } = kind { *size } else { 0 };
        let entries = manifest.trees.iter().flat_map(|tree| &tree.entries);
        let needed: u64 = entries.map(|entry| size(&entry.kind)).fold(0, u64::saturating_add);
        let stat = rustix::fs::statvfs(&self.folder).context("failed to see how much room there is")?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > free {
            let error = anyhow!("the copy needs {needed} bytes, and `{}` has {free}", files::shown(&self.folder));
            return Err(error).hint(Some("choose a place with `--scratch DIR`"));
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is left to be told, and nobody to tell.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Takes a template away, and gives what was rendered from it the attributes that it had.
fn take_place(source: &Path, place: &Path) -> io::Result<()> {
    match fs::symlink_metadata(source) {
        Ok(metadata) if metadata.is_file() => like(&metadata, place).and_then(|()| fs::remove_file(source)),
        _ => Ok(()),
    }
}

/// What a template's name ends with, as `release build` knows them.
const TEMPLATE_ENDINGS: [&str; 4] = [".tmpl", ".template", ".tpl", ".in"];

/// A tree's root below a directory that stands for `/`.
fn under(root: &Path, tree: &Tree) -> PathBuf {
    root.join(tree.root.trim_start_matches('/'))
}

/// The same in the original, which no link must lead out of: those would be this machine's own files.
fn inside(original: &Path, tree: &Tree) -> anyhow::Result<PathBuf> {
    let path = under(original, tree);
    let context = || format!("failed to find `{}`", files::shown(&path));
    let (real, top) = (path.canonicalize().with_context(context)?, original.canonicalize().with_context(context)?);
    if !real.starts_with(&top) {
        bail!("`{}` leads out of `{}` by a link", files::shown(&path), files::shown(original));
    }
    Ok(real)
}

struct Copy<'a> {
    ignore: &'a Ignore,
    stem: PathBuf,
    left: &'a mut u64,
}

impl Copy<'_> {
    fn directory(&mut self, from: &Path, to: &Path, depth: usize) -> anyhow::Result<()> {
        if depth > DEPTH_MAX {
            bail!("`{}` is too deep", files::shown(from));
        }
        fs::create_dir_all(to)?;
        for item in fs::read_dir(from)? {
            *self.left = self.left.checked_sub(1).ok_or_else(|| anyhow!("more than {ENTRIES_WALKED_MAX} entries"))?;
            let (item, to) = item.map(|item| (item.path(), to.join(item.file_name())))?;
            let metadata = fs::symlink_metadata(&item)?;
            let path = item.strip_prefix(&self.stem)?;
            if self.ignore.matches(path.as_os_str().as_bytes(), metadata.is_dir()) {
                continue;
            }
            if metadata.is_dir() {
                self.directory(&item, &to, depth + 1)?;
            } else {
                copy_thing(&item, &to).with_context(|| format!("failed to copy `{}`", files::shown(&item)))?;
            }
        }
        Ok(like(&fs::metadata(from)?, to)?)
    }
}

/// A file or a link, with all that can be had of its attributes.
pub(super) fn copy_thing(from: &Path, to: &Path) -> anyhow::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        if rustix::process::geteuid().is_root() {
            lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        bail!("it is neither a file nor a directory nor a link");
    }
    // Where the file system can share blocks, it does.
    fs::copy(from, to)?;
    Ok(like(&metadata, to)?)
}

/// Gives a file or directory the owner, the mode and, if it is a file, the time of modification of another.
pub(super) fn like(metadata: &fs::Metadata, path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        lchown(path, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    if metadata.is_file() {
        // Before the mode, which may forbid writing.
        let times = FileTimes::new().set_modified(metadata.modified()?);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        File::options().write(true).open(path)?.set_times(times)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o7777))
}
