//! The same tree on several instances, side by side.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::ops::Bound;

use super::{
    names,
    observation::{Kind, Observation, Seen, SeenTree},
};

/// A tree as all instances have it.
pub(super) struct Side<'a> {
    pub(super) root: &'a str,
    /// Whether the root is a symlink on one of them.
    pub(super) root_link: bool,
    /// How many instances were seen.
    pub(super) instances: usize,
    /// What each has at a path, in the order of the instances.
    pub(super) things: BTreeMap<&'a str, Vec<Option<&'a Seen>>>,
}

/// What differs at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Not every instance has it.
    Presence,
    /// It is a file here and a directory there.
    Kind,
    /// Other bytes.
    Content,
    /// A link that leads elsewhere.
    Target,
    /// No manifest can have it, whether it differs or not.
    Impossible,
}

impl What {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "not on every instance",
            Self::Kind => "another kind of thing",
            Self::Content => "another content",
            Self::Target => "leads elsewhere",
            Self::Impossible => "a socket, FIFO, device or mount",
        }
    }
}

impl<'a> Side<'a> {
    /// Every root that was looked at, in the order of the first instance that has it.
    pub(super) fn all(observations: &'a [Observation]) -> Vec<Self> {
        let mut roots: Vec<&str> = Vec::new();
        for tree in observations.iter().flat_map(|observation| &observation.trees) {
            if !roots.contains(&tree.root.as_str()) {
                roots.push(&tree.root);
            }
        }
        roots.into_iter().map(|root| Self::of(root, observations)).collect()
    }

    fn of(root: &'a str, observations: &'a [Observation]) -> Self {
        let instances = observations.len();
        let mut things = BTreeMap::<&str, Vec<Option<&Seen>>>::new();
        for (instance, observation) in observations.iter().enumerate() {
            for entry in tree_at(root, observation).into_iter().flat_map(|tree| &tree.entries) {
                things.entry(&entry.path).or_insert_with(|| alloc::vec![None; instances])[instance] = Some(entry);
            }
        }
        let root_link = observations.iter().filter_map(|one| tree_at(root, one)).any(|tree| tree.root_link);
        Self { root, root_link, instances, things }
    }

    /// What differs at `path`, if anything; modes and owners aside.
    pub(super) fn difference(&self, path: &str) -> Option<What> {
        let all = self.things.get(path)?;
        if all.iter().flatten().any(|one| one.kind == Kind::Other) {
            return Some(What::Impossible);
        }
        let first = all.first().copied().flatten();
        let (Some(first), true) = (first, all.iter().all(Option::is_some)) else { return Some(What::Presence) };
        let others = all.iter().skip(1).flatten();
        if others.clone().any(|one| one.kind != first.kind) {
            return Some(What::Kind);
        }
        match first.kind {
            Kind::File if first.sha256.is_none() || others.clone().any(|one| one.sha256 != first.sha256) => {
                Some(What::Content)
            }
            Kind::Link if others.clone().any(|one| one.target != first.target) => Some(What::Target),
            _ => None,
        }
    }

    /// Whether all that was seen there is known to be data. Of a link nobody knows where it will lead.
    pub(super) fn is_harmless(&self, path: &str) -> bool {
        let is_known = names::is_data(path) && (names::volatile(path).is_some() || !self.is_configuration());
        self.things.get(path).into_iter().flatten().flatten().all(|one| match one.kind {
            Kind::Dir | Kind::Other => true,
            Kind::Link => false,
            Kind::File => is_known && !one.code && one.mode & 0o111 == 0,
        })
    }

    /// Whether the whole tree is configuration.
    pub(super) fn is_configuration(&self) -> bool {
        self.root.starts_with("/etc/") || self.root.split('/').any(|part| matches!(part, "conf" | "config" | "conf.d"))
    }

    /// Paths at or below `directory`.
    pub(super) fn below(&self, directory: &str) -> impl Iterator<Item = &'a str> + use<'_, 'a> {
        let stem = format!("{directory}/");
        let from = (Bound::Included(stem.as_str()), Bound::Unbounded);
        self.things.range::<str, _>(from).map(|(path, _)| *path).take_while(move |path| path.starts_with(&stem))
    }

    /// Whether it is a directory on some instance.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.things.get(path).into_iter().flatten().flatten().any(|one| one.kind == Kind::Dir)
    }

    /// Of an attribute, whether all instances agree on every path that `counts`; else the first that differs, and how many.
    pub(super) fn disagreement<T: PartialEq>(
        &self,
        counts: &dyn Fn(&str) -> bool,
        of: &dyn Fn(&Seen) -> T,
    ) -> Option<(String, usize)> {
        let differs = |all: &Vec<Option<&Seen>>| {
            let mut values = all.iter().flatten().map(|one| of(one));
            let first = values.next();
            values.any(|value| first.as_ref() != Some(&value))
        };
        let mut paths = self.things.iter().filter(|(path, all)| counts(path) && differs(all)).map(|(path, _)| *path);
        let first = paths.next()?.to_string();
        Some((first, 1 + paths.count()))
    }
}

fn tree_at<'a>(root: &str, observation: &'a Observation) -> Option<&'a SeenTree> {
    observation.trees.iter().find(|tree| tree.root == root)
}
