//! Guards by themselves: the checks that a change of a tree must not break.
//!
//! While a change is being tried the trees are meant to differ from the manifest, so none is asked for here: guards that are
//! commands run all the same. What they run is still the signed argv of a program that only root can have put there.

use std::{collections::BTreeSet, sync::Arc};

use portcullis::{manifest::Manifest, outcome::Outcome};

use super::{Checks, round::Round};

impl Checks {
    /// The outcomes of all guards of `manifest`, in its order. Blocks, as [`run_all`](Self::run_all) does.
    pub fn run_guards(&self, manifest: &Arc<Manifest>) -> Vec<Outcome> {
        let needed = needed(manifest);
        let outcomes = Round::new(self, manifest, &[]).run(|index| needed.contains(&index));
        let both = manifest.checks.iter().zip(outcomes);
        both.filter(|(check, _)| check.guard).map(|(_, outcome)| outcome).collect()
    }
}

/// The guards, and the checks that they come after.
fn needed(manifest: &Manifest) -> BTreeSet<usize> {
    let mut names = BTreeSet::new();
    let mut needed = BTreeSet::new();
    // A check comes after earlier ones only.
    for (index, check) in manifest.checks.iter().enumerate().rev() {
        if check.guard || names.contains(&check.name) {
            needed.insert(index);
            names.extend(&check.after);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use portcullis::{
        manifest::{Check, Tree},
        outcome::Status,
    };

    use super::*;
    use crate::checks::Options;

    #[test]
    fn guards_run_whatever_the_trees_are_like() {
        let mut checks = ["first", "other", "guard", "last"].map(|name| Check::command(name, ["true"]));
        checks[2].guard = true;
        checks[2].after = vec!["first".into(), "app".into()];
        let trees = vec![Tree::new("app", "/nowhere/at/all")];
        let (product, release) = ("p".into(), "r".into());
        let manifest = Manifest { product, release, sequence: 1, trees, checks: checks.to_vec() };
        assert_eq!(needed(&manifest), BTreeSet::from([0, 2]));
        // There is no agent to start a command through: what matters is that it is tried.
        let options = Options { program: "/nowhere".into(), ..Options::default() };
        let outcomes = Checks::new(options).run_guards(&Arc::new(manifest));
        assert_eq!(outcomes.len(), 1);
        assert_eq!((outcomes[0].check.as_str(), outcomes[0].status), ("guard", Status::Unknown));
        assert_eq!(outcomes[0].reason.as_deref(), Some("not run: `first` did not pass"));
    }
}
