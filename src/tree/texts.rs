//! Keeping the texts of small files: the very bytes that were hashed, and never those of a secret.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use super::{ReadError, Trouble, collect::failed, small::Reader};
use crate::{
    digest::Digest,
    glob::Ignore,
    manifest::{Entry, EntryKind, TEXT_BYTES_MAX},
    secrets::{self, Secret},
    text,
};

/// What a tree holds, and what was withheld of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// What is there, ascending by path bytes.
    pub entries: Vec<Entry>,
    /// Files whose text was to be kept, and was not, because they are secret or seem to be.
    pub withheld: Vec<Withheld>,
    /// How many files have a text that was not kept because too much was kept already.
    pub over: usize,
}

/// A file whose text is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Relative to the root, escaped for people.
    pub path: String,
    /// What it is or seems to be.
    pub because: Secret,
}

/// What is not kept, by name: the spec says so, or it is what secrets are called.
pub(super) fn secret_name(secret: &Ignore, path: &[u8]) -> Option<Secret> {
    if secret.hides(path, false) { Some(MARKED) } else { secrets::by_name(path) }
}

/// Puts the text of every file that may be kept into its entry, as long as there is room; `budget` is what is left of it.
pub(super) fn keep(
    contents: &mut Contents,
    secret: &Ignore,
    reader: &mut Reader<'_>,
    budget: &mut usize,
) -> Result<(), ReadError> {
    let Contents { entries, withheld, over } = contents;
    for Entry { path, kind, .. } in entries {
        let EntryKind::File { size, sha256, text: kept } = kind else { continue };
        if *size > TEXT_BYTES_MAX as u64 {
            continue;
        }
        let mut withhold = |because| withheld.push(Withheld { path: text::escape(path), because });
        if let Some(because) = secret_name(secret, path) {
            withhold(because);
            continue;
        }
        let Some(content) = text_of(reader, path, *sha256)? else { continue };
        if let Some(because) = secrets::by_content(&content) {
            withhold(because);
        } else if let Some(left) = budget.checked_sub(content.len()) {
            *budget = left;
            *kept = Some(content.into());
        } else {
            *over += 1;
        }
    }
    Ok(())
}

/// The text of a file that has this digest; `None` when it is no text.
fn text_of(reader: &mut Reader<'_>, path: &[u8], sha256: Digest) -> Result<Option<String>, ReadError> {
    let bytes = reader.read(path, TEXT_BYTES_MAX).map_err(|trouble| failed(path, &trouble))?;
    let bytes = bytes.filter(|bytes| Digest::of(bytes) == sha256).ok_or_else(|| failed(path, &Trouble::Unstable))?;
    Ok(text(&bytes).map(ToOwned::to_owned))
}

/// As text, if it is one: UTF-8 without NUL.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

const MARKED: Secret = "marked `secret`";
