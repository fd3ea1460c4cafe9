//! The rehearsal of checks other than trees: each is to be seen failing, at least once.
//!
//! Such a check looks at the real place of a file. So it runs where the copy's trees lie over the real ones: in a mount
//! namespace of its own, seen by that one run and by nobody else. There the trees of the manifest are read anew from the
//! broken copy, since no command is run before its trees pass: what is asked is whether the *check* notices.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use portcullis::{
    check::{certificate::Certificate, window::Window},
    manifest::{Check, CheckKind, EntryKind, Manifest, PAYLOAD_TYPE, Tree},
    outcome::{Outcome, Status},
    rehearse::{Breakage, How},
    signature::{Envelope, SigningKey},
    tree::{self, NoProgress},
};

use super::{
    agent::Agent,
    certificates::{self, Forged},
    scratch::Scratch,
    throwaway_key,
    undo::{Obstacle, Undo, apply},
};
use crate::cli::files;

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// It did not pass when this was broken, and said that.
    Fails { when: String, said: String },
    /// It passed whatever was broken.
    Never { tried: usize },
    /// Of a certificate: what it noticed, with what it said; what it did not, with what to change.
    Certificate { noticed: Vec<(&'static str, String)>, missed: Vec<(&'static str, &'static str)> },
    /// Nothing that can be done to a copy says anything about it.
    NotRehearsed(String),
    /// It should have been rehearsed, and could not be.
    Unclear(String),
}

/// Every check that is not a tree, and what came of it.
pub(super) fn rehearse(scratch: &Scratch, manifest: &Manifest, agent: &Agent) -> anyhow::Result<Vec<Shown>> {
    let mut shown: Vec<Option<Shown>> = manifest.checks.iter().map(out_of_reach).collect();
    if shown.iter().all(Option::is_some) {
        return Ok(shown.into_iter().flatten().collect());
    }
    let place = Place::new(scratch, manifest, agent)?;
    match place.run() {
        Err(error) => {
            settle(&mut shown, |_| Shown::Unclear(format!("the copy cannot be put in their place: {error:#}")));
        }
        Ok(outcomes) => {
            for (one, check) in shown.iter_mut().zip(&manifest.checks) {
                let outcome = outcomes.iter().find(|outcome| outcome.check == check.name);
                *one = one.take().or_else(|| does_not_pass(outcome));
            }
            place.certificates(&mut shown)?;
            let tried = place.probe(&mut shown)?;
            settle(&mut shown, |_| Shown::Never { tried });
        }
    }
    Ok(shown.into_iter().flatten().collect())
}

fn settle(shown: &mut [Option<Shown>], rest: impl Fn(usize) -> Shown) {
    for (index, one) in shown.iter_mut().enumerate() {
        one.get_or_insert_with(|| rest(index));
    }
}

/// What asks who runs and answers cannot be broken by breaking files.
fn out_of_reach(check: &Check) -> Option<Shown> {
    let looks_at_files = LOOK_AT_FILES.contains(&check.kind.name());
    (!looks_at_files).then(|| Shown::NotRehearsed("it asks what runs or answers, not what the files are".into()))
}

fn does_not_pass(outcome: Option<&Outcome>) -> Option<Shown> {
    let reason = match outcome {
        Some(outcome) if outcome.status == Status::Pass => return None,
        Some(outcome) => outcome.reason.as_deref().unwrap_or("no reason given"),
        None => "the agent told nothing of it",
    };
    Some(Shown::Unclear(format!("it does not pass even before anything is broken: {reason}")))
}

/// Where the copy lies over the real trees.
struct Place<'a> {
    scratch: &'a Scratch,
    manifest: &'a Manifest,
    /// The trees that have a real place on this machine.
    bound: Vec<&'a Tree>,
    key: SigningKey,
    agent: Agent,
}

impl<'a> Place<'a> {
    fn new(scratch: &'a Scratch, manifest: &'a Manifest, agent: &Agent) -> anyhow::Result<Self> {
        let (key, trust) = throwaway_key(scratch, "rehearsal.pub")?;
        let bound = manifest
            .trees
            .iter()
            .filter(|tree| tree.root != "/" && fs::metadata(&tree.root).is_ok_and(|it| it.is_dir()));
        let agent =
            Agent { program: agent.program.clone(), trust: vec![trust], threshold: 1, facts: agent.facts.clone() };
        Ok(Self { scratch, manifest, bound: bound.collect(), key, agent })
    }

    /// The outcomes of all checks, with the copy as it is now.
    fn run(&self) -> anyhow::Result<Vec<Outcome>> {
        self.run_by(&self.as_it_is()?)
    }

    fn run_by(&self, manifest: &Manifest) -> anyhow::Result<Vec<Outcome>> {
        let file = self.scratch.file("rehearsal.json");
        let payload = manifest.to_payload();
        Manifest::parse(&payload).context("what is in the copy can be no manifest")?;
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload);
        envelope.sign(&self.key);
        files::replace(&file, &envelope.to_json())?;
        let binds: Vec<(PathBuf, PathBuf)> =
            self.bound.iter().map(|tree| (self.scratch.tree(tree), PathBuf::from(&tree.root))).collect();
        self.agent.within(&file, &binds)
    }

    /// A manifest whose trees are what the copy holds now, with the checks that look at files.
    fn as_it_is(&self) -> anyhow::Result<Manifest> {
        let read = |tree: &&Tree| {
            let entries = tree::read(tree, &self.scratch.tree(tree), &NoProgress)?;
            anyhow::Ok(Tree { entries, restore: false, ..(*tree).clone() })
        };
        let trees = self.bound.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        let checks = self.manifest.checks.iter().filter(|check| out_of_reach(check).is_none());
        // No waiting: what does not hold now is what is asked.
        let now = |check: &Check| Check { after: Vec::new(), window: Window::default(), ..check.clone() };
        Ok(Manifest { trees, checks: checks.map(now).collect(), ..self.manifest.clone() })
    }

    /// Breaks one thing after another until every check was seen failing; gives how many.
    fn probe(&self, shown: &mut [Option<Shown>]) -> anyhow::Result<usize> {
        let mut tried = 0;
        for probe in self.probes() {
            if shown.iter().all(Option::is_some) {
                break;
            }
            let tree = &self.manifest.trees[probe.tree];
            let undo = match apply(self.scratch, tree, &probe, tried) {
                Ok(undo) => undo,
                Err(Obstacle::NotHere(_)) => continue,
                Err(Obstacle::Failed(error)) => {
                    return Err(error).with_context(|| format!("failed to break `{}`", probe.shown()));
                }
            };
            let outcomes = self.run();
            undo.undo().with_context(|| format!("failed to put `{}` back", probe.shown()))?;
            tried += 1;
            self.notice(&probe, &outcomes?, shown);
        }
        Ok(tried)
    }

    /// Puts certificates that are wrong in the place of those that checks look at.
    fn certificates(&self, shown: &mut [Option<Shown>]) -> anyhow::Result<()> {
        for (one, check) in shown.iter_mut().zip(&self.manifest.checks) {
            let CheckKind::Certificate(wanted @ Certificate { file: Some(file), .. }) = &check.kind else {
                continue;
            };
            let (None, Some(place)) = (&one, self.copy_of(file)) else { continue };
            let forged = certificates::right(self.scratch)
                .and_then(|right| Ok((right, certificates::forged(self.scratch, &place, wanted)?)));
            *one = Some(match forged {
                Err(error) => Shown::Unclear(format!("{error:#}")),
                Ok((right, forged)) => match self.forgery(&check.name, wanted, &place, &right)? {
                    (Status::Pass, _) => self.forgeries(&check.name, wanted, &place, &forged)?,
                    (_, said) => Shown::Unclear(format!("a certificate with nothing wrong does not pass: {said}")),
                },
            });
        }
        Ok(())
    }

    fn forgeries(&self, check: &str, wanted: &Certificate, place: &Path, all: &[Forged]) -> anyhow::Result<Shown> {
        let (mut noticed, mut missed) = (Vec::new(), Vec::new());
        for forged in all {
            match self.forgery(check, wanted, place, forged)? {
                (Status::Pass, _) => missed.push((forged.what, forged.advice)),
                (_, said) => noticed.push((forged.what, said)),
            }
        }
        Ok(Shown::Certificate { noticed, missed })
    }

    /// What the part of a check that asks about it says of a certificate.
    fn forgery(
        &self,
        check: &str,
        wanted: &Certificate,
        place: &Path,
        forged: &Forged,
    ) -> anyhow::Result<(Status, String)> {
        let aside = self.scratch.aside().join("certificate");
        fs::rename(place, &aside).context("failed to move a certificate aside")?;
        let undo = Undo::Aside { place: place.into(), aside };
        let outcomes = fs::write(place, &forged.pem).context("failed to write a certificate").and_then(|()| {
            let mut manifest = self.as_it_is()?;
            manifest.checks.retain(|one| one.name == check);
            let part = CheckKind::Certificate(forged.asked.part_of(wanted));
            manifest.checks.iter_mut().for_each(|one| one.kind = part.clone());
            self.run_by(&manifest)
        });
        undo.undo().context("failed to put a certificate back")?;
        let outcome = outcomes?.into_iter().find(|outcome| outcome.check == check);
        let outcome = outcome.context("the agent told nothing of a check")?;
        Ok((outcome.status, outcome.reason.unwrap_or_default()))
    }

    /// Where the copy of a real file is, if a tree has it.
    fn copy_of(&self, file: &str) -> Option<PathBuf> {
        let inside = |tree: &&&Tree| Path::new(file).strip_prefix(&tree.root).is_ok();
        let tree = self.bound.iter().filter(inside).max_by_key(|tree| tree.root.len())?;
        let path = self.scratch.tree(tree).join(Path::new(file).strip_prefix(&tree.root).ok()?);
        // A link would lead to this machine's own file.
        fs::symlink_metadata(&path).is_ok_and(|it| it.is_file()).then_some(path)
    }

    fn notice(&self, probe: &Breakage, outcomes: &[Outcome], shown: &mut [Option<Shown>]) {
        let when = format!("{}/{} is {}", self.manifest.trees[probe.tree].root, probe.shown(), probe.how.name());
        for (one, check) in shown.iter_mut().zip(&self.manifest.checks) {
            let outcome = outcomes.iter().find(|outcome| outcome.check == check.name);
            if let Some(outcome) = outcome.filter(|outcome| outcome.status != Status::Pass) {
                let said = outcome.reason.clone().unwrap_or_default();
                one.get_or_insert_with(|| Shown::Fails { when: when.clone(), said });
            }
        }
    }

    /// Files that look like configuration first: those are what such checks read.
    fn probes(&self) -> Vec<Breakage> {
        let trees = self.manifest.trees.iter().enumerate();
        let trees = trees.filter(|(_, tree)| self.bound.iter().any(|bound| bound.name == tree.name));
        let mut files: Vec<_> = trees
            .flat_map(|(index, tree)| tree.entries.iter().map(move |entry| (index, entry)))
            .filter(|(_, entry)| matches!(&entry.kind, EntryKind::File { size: 1.., .. } | EntryKind::Template { .. }))
            .map(|(index, entry)| {
                (!portcullis::learn::is_configuration(&entry.path), depth(&entry.path), index, &entry.path)
            })
            .collect();
        files.sort();
        let new = |index, path: &Vec<u8>, how| Breakage { tree: index, path: path.clone(), class: String::new(), how };
        let ways = |(_, _, index, path)| [How::Replaced, How::Missing].map(|how| new(index, path, how));
        files.into_iter().take(FILES_PROBED_MAX).flat_map(ways).collect()
    }
}

fn depth(path: &[u8]) -> usize {
    path.iter().filter(|&&byte| byte == b'/').count()
}

/// Kinds whose answer depends on files.
const LOOK_AT_FILES: [&str; 3] = ["command", "web_server", "certificate"];

/// Each costs two runs of every check. What none of so many files makes fail is worth a look by a person.
const FILES_PROBED_MAX: usize = 40;
