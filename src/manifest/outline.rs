//! A manifest without its entries: all that it takes to name its trees and checks and to judge their outcomes. Small, however
//! large the release. Of templates it keeps which facts they need.

use alloc::{format, string::String};

use super::{Entry, EntryKind, Manifest, ManifestError, Tree};
use crate::facts::Template;

impl Manifest {
    /// The same without the entries of its trees, but for those that are rendered: of each, the facts that it needs. Nothing can
    /// be checked by it.
    pub fn outline(&self) -> Self {
        let tree = |tree: &Tree| Tree { entries: facts_needed(tree).into_iter().collect(), ..tree.without_entries() };
        Self {
            product: self.product.clone(),
            release: self.release.clone(),
            sequence: self.sequence,
            trees: self.trees.iter().map(tree).collect(),
            checks: self.checks.clone(),
        }
    }

    /// Reads the [payload](Self::to_payload) of an outline, from one who has verified the manifest.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse_outline(payload: &[u8]) -> Result<Self, ManifestError> {
        let manifest = Self::read(payload)?;
        manifest.validate_shape()?;
        Ok(manifest)
    }
}

/// One template in the place of all, of the same facts.
fn facts_needed(tree: &Tree) -> Option<Entry> {
    let text: String = tree.facts().into_iter().map(|name| format!("{{{{ {name} }}}}")).collect();
    let template = Template::parse(&text).ok().filter(|_| !text.is_empty())?;
    Some(Entry { path: b"templates".to_vec(), kind: EntryKind::Template { template }, mode: None, owner: None })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::manifest::Check;

    #[test]
    fn there_and_back() {
        let entry = Entry { path: b"a".to_vec(), kind: EntryKind::Directory, mode: None, owner: None };
        let tree = Tree { entries: vec![entry], ..Tree::new("app", "/srv/app") };
        let manifest = Manifest {
            product: "p".into(),
            release: "r".into(),
            sequence: 1,
            trees: vec![tree],
            checks: vec![Check::command("c", ["true"])],
        };
        let outline = manifest.outline();
        assert_eq!((outline.entries_total(), outline.trees.len(), &outline.checks), (0, 1, &manifest.checks));
        assert_eq!(Manifest::parse_outline(&outline.to_payload()), Ok(outline));
        assert!(Manifest::parse_outline(b"{}").is_err());
    }
}
