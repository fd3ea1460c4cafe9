//! Templates in a tree: `site.conf.tmpl` is what `site.conf` is rendered from on each instance.
//!
//! The entry of `site.conf` is a template then, with the mode and owner of the template's file, whatever stands at that path
//! on the machine that builds. The template's file itself is a file like any other, unless the tree ignores it.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};

use super::{
    NoProgress, ReadError, Trouble, attributes,
    collect::failed,
    open::Opener,
    small::Reader,
    texts,
    walk::{Found, Visitor, walk},
};
use crate::{
    facts::Template,
    glob::Ignore,
    manifest::{Entry, EntryKind, TEXT_BYTES_MAX, Tree},
    secrets, text,
};

/// What a template's name may end with.
const EXTENSIONS: [&str; 4] = [".tmpl", ".template", ".tpl", ".in"];

/// What is wanted of a tree besides digests, its patterns read.
pub(super) struct Globs {
    pub(super) secret: Ignore,
    pub(super) templates: Ignore,
}

/// The entries that the templates below `root` stand for, ignored ones too.
pub(super) fn entries(tree: &Tree, globs: &Globs, opener: &Opener, root: &OwnedFd) -> Result<Vec<Entry>, ReadError> {
    let mut finder = Finder { templates: &globs.templates, found: Vec::new() };
    // What the tree ignores is looked into as well; what cannot be read there is nobody's business.
    walk(opener, root, &Ignore::default(), &NoProgress, &mut finder).map_err(|stop| ReadError::whole(&stop))?;
    let mut reader = Reader::new(opener, root);
    finder.found.iter().map(|(path, stat)| entry(tree, globs, &mut reader, path, stat)).collect()
}

struct Finder<'a> {
    templates: &'a Ignore,
    found: Vec<(Vec<u8>, Stat)>,
}

impl Visitor for Finder<'_> {
    fn found(&mut self, found: &Found<'_>) -> bool {
        let is_dir = FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory;
        if !is_dir && self.templates.matches(found.path, false) {
            self.found.push((found.path.to_vec(), found.stat));
        }
        is_dir
    }

    fn trouble(&mut self, _: &[u8], _: Trouble) {}
}

fn entry(tree: &Tree, globs: &Globs, reader: &mut Reader<'_>, path: &[u8], stat: &Stat) -> Result<Entry, ReadError> {
    let wrong = |problem: String, hint| ReadError { path: text::escape(path), problem, hint };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(wrong("is no file, and cannot be a template".into(), None));
    }
    let target = target(path).ok_or_else(|| {
        wrong("is to be a template, but its name does not end with .tmpl, .template, .tpl or .in".into(), None)
    })?;
    let bytes = reader.read(path, TEXT_BYTES_MAX).map_err(|trouble| failed(path, &trouble))?;
    let bytes = bytes.ok_or_else(|| wrong(format!("is a template of more than {TEXT_BYTES_MAX} bytes"), None))?;
    let content = texts::text(&bytes).ok_or_else(|| wrong("is a template, but not UTF-8 text".into(), None))?;
    let secret = texts::secret_name(&globs.secret, path).or_else(|| texts::secret_name(&globs.secret, target));
    if let Some(secret) = secret.or_else(|| secrets::by_content(content)) {
        return Err(wrong(format!("is a template, and {secret}: a template travels as text"), Some(SECRET)));
    }
    let template = Template::parse(content).map_err(|error| wrong(format!("is no template: {error}"), None))?;
    let (mode, owner) = attributes::recorded(tree.attributes, false, stat);
    Ok(Entry { path: target.to_owned(), kind: EntryKind::Template { template }, mode, owner })
}

/// The path of what is rendered from it.
fn target(path: &[u8]) -> Option<&[u8]> {
    let target = EXTENSIONS.iter().find_map(|extension| path.strip_suffix(extension.as_bytes()))?;
    (!target.is_empty() && !target.ends_with(b"/")).then_some(target)
}

/// Puts templates among the other entries, each in its place.
pub(super) fn place(
    entries: &mut Vec<Entry>,
    templates: Vec<Entry>,
    globs: &Globs,
    ignore: &Ignore,
) -> Result<(), ReadError> {
    for template in templates {
        let path = &template.path;
        let wrong = |problem: &str| ReadError { path: text::escape(path), problem: problem.into(), hint: None };
        if ignore.hides(path, false) {
            return Err(wrong("is rendered from a template, but the tree ignores it"));
        }
        if globs.templates.matches(path, false) {
            return Err(wrong("is rendered from a template, and would itself be one"));
        }
        let at = entries.binary_search_by(|entry| entry.path.cmp(path));
        match at.map(|at| (at, &entries[at].kind)) {
            Ok((at, EntryKind::File { .. })) => entries[at] = template,
            Ok((_, EntryKind::Template { .. })) => return Err(wrong("is rendered from two templates")),
            Ok((_, EntryKind::Directory | EntryKind::Link { .. })) => {
                return Err(wrong("is rendered from a template, but is no file here"));
            }
            Err(_) if !has_parent(entries, path) => {
                return Err(wrong("is rendered from a template, but the tree ignores its directory"));
            }
            Err(at) => entries.insert(at, template),
        }
    }
    Ok(())
}

fn has_parent(entries: &[Entry], path: &[u8]) -> bool {
    let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else { return true };
    let parent = entries.binary_search_by(|entry| entry.path.as_slice().cmp(&path[..slash]));
    parent.is_ok_and(|parent| entries[parent].kind == EntryKind::Directory)
}

const SECRET: &str = "let the template name another file that holds the secret, and list that file as it is";

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn targets() {
        for (path, rendered) in [
            ("conf.d/site.conf.tmpl", Some("conf.d/site.conf")),
            ("a.template", Some("a")),
            ("a.b.tpl", Some("a.b")),
            ("config.in", Some("config")),
            ("a.tmpl.tmpl", Some("a.tmpl")),
            ("site.conf", None),
            ("a.j2", None),
            (".tmpl", None),
            ("conf.d/.tmpl", None),
            ("tmpl", None),
        ] {
            assert_eq!(target(path.as_bytes()), rendered.map(str::as_bytes), "{path}");
        }
    }
}
