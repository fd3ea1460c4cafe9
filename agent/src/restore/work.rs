//! `__restore`: looks, decides, puts back, tells.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use portcullis::{
    digest::Digest,
    glob::Ignore,
    manifest::{EntryKind, Extras, Manifest, Tree},
    outcome::Outcome,
    signature::EnvelopeLimits,
    text,
};

use super::{
    HOME, LOG,
    decide::{Decision, Facts, should_restore},
    history::History,
};
use crate::{
    apply::{
        self, commands,
        guards::{self, Guards},
        keep::Keeper,
        listing::Node,
        put_back::{self, Changes, Target},
    },
    clock,
    config::Config,
    facts,
    manifests::{self, Rules, Seal},
    state::{self, read_capped},
};

/// The whole life of the process: the configuration's file, and the manifest that was checked by, in its envelope.
pub fn run(config: &Path, envelope: &Path, digest_text: &str) -> ExitCode {
    let config = match Config::read(config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let digest = apply::only_ours(&config.file).map_err(|error| error.to_string());
    let digest = digest.and_then(|()| digest_text.parse().map_err(|_| "no digest".to_string()));
    let looked = digest.and_then(|digest| Work::new(&config, envelope, digest)?.map_or(Ok(()), |work| work.look()));
    match looked {
        Ok(()) => {}
        Err(because) => tell(&config.state_dir.join(HOME), &format!("not looked into: {because}")),
    }
    // Not a failure to a service manager: what is still wrong is looked into again after the next verification.
    ExitCode::SUCCESS
}

/// To whoever listens now, and to whoever looks later.
fn tell(home: &Path, line: &str) {
    let line = format!("{} {}\n", clock::now(), text::visible(line));
    // Nobody may listen any more.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let path = home.join(LOG);
    if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        let _ = fs::rename(&path, path.with_extension("old"));
    }
    let log = OpenOptions::new().create(true).append(true).open(path);
    let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
}

/// What came of one look.
enum Looked {
    /// All is well, or nothing here would help.
    Well,
    Restored,
    /// It was tried often enough.
    GaveUp,
}

struct Work<'a> {
    config: &'a Config,
    home: PathBuf,
    manifest: Manifest,
    guards: Guards,
    /// The manifest's envelope, and how that looked when it was opened.
    envelope: &'a Path,
    seal: Option<Seal>,
    /// One at a time.
    _lock: File,
}

impl<'a> Work<'a> {
    fn new(config: &'a Config, envelope: &'a Path, digest: Digest) -> Result<Option<Self>, String> {
        state::make_private(&config.state_dir).map_err(|error| error.to_string())?;
        let home = fs::canonicalize(&config.state_dir).map_err(|error| error.to_string())?.join(HOME);
        state::make_private(&home).map_err(|error| error.to_string())?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(home.join("lock"));
        let lock = lock.map_err(|error| error.to_string())?;
        // While another one is at it there is nothing for us to do; the next verification tells whether there is more.
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let seal = manifests::seal(envelope);
        let bytes = read_capped(envelope, EnvelopeLimits::MANIFEST.bytes_max).map_err(|error| error.to_string())?;
        let rules = Rules { trust: config.trust.clone(), pin: config.pin.clone() };
        // Only the very manifest that was checked by: a later one may want what is there.
        let (_, mut manifest) = manifests::open(&bytes, Some(digest), &rules).map_err(|error| error.to_string())?;
        // What was compared is what is put back: templates as they render here. One with a fact that is not known here, such
        // as the id that a controller goes by, stays as it is found.
        let facts = facts::gather(&manifest, &config.checks.facts, true);
        manifest.trees = manifest.trees.iter().map(|tree| tree.rendered(&facts).into_owned()).collect();
        let guards = Guards::new(manifest.clone(), config.checks.user, config.checks.root_commands.clone());
        Ok(Some(Self { config, home, manifest, guards, envelope, seal, _lock: lock }))
    }

    /// Looks again for a while, longer and longer apart: the reload that shows what an edit is worth comes after it, is told
    /// by nothing, and is not done when it returns. Whatever happens while this restores is seen as well.
    fn look(&self) -> Result<(), String> {
        let mut pauses = PAUSES_MS.iter();
        // A change that is tried is `apply`'s business, and another manifest may want what is there.
        while !apply::is_open(&self.config.state_dir) && manifests::seal(self.envelope) == self.seal {
            match self.look_once()? {
                Looked::Well => {}
                Looked::Restored => pauses = PAUSES_MS.iter(),
                Looked::GaveUp => break,
            }
            let Some(pause) = pauses.next() else { break };
            thread::sleep(Duration::from_millis(*pause));
        }
        Ok(())
    }

    fn look_once(&self) -> Result<Looked, String> {
        let trees: Vec<_> = self.manifest.trees.iter().filter(|tree| tree.restore).map(check).collect();
        let guards = self.guards.told(clock::boot_ms() + GUARDS_MS_MAX);
        let boot_id = apply::boot_id(&self.config.boot_id_file).unwrap_or_default();
        let mut history = History::read(&self.home, &boot_id);
        let now_ms = clock::boot_ms();
        match should_restore(&Facts { trees: &trees, guards: &guards, history_ms: &history.at_ms, now_ms }) {
            Decision::Nothing => Ok(Looked::Well),
            Decision::Shout(because) => {
                self.tell(&format!("not restored: {because}"));
                Ok(Looked::GaveUp)
            }
            Decision::Restore { trees, because } => {
                history.add(&self.home, now_ms).map_err(|error| error.to_string())?;
                self.restore(&trees, &because)?;
                Ok(Looked::Restored)
            }
        }
    }

    fn restore(&self, trees: &[String], because: &str) -> Result<(), String> {
        let kept = self.home.join(clock::now().to_string().replace(':', ""));
        self.tell(&format!("restoring {}: {because}", text::visible(&trees.join(", "))));
        let mut changes = Changes::default();
        let mut keeper = Keeper::new(kept.clone(), true);
        let wanted = self.manifest.trees.iter().filter(|tree| trees.contains(&tree.name));
        for tree in wanted.clone() {
            if let Err(because) = put_back_tree(tree, &mut keeper, &mut changes) {
                changes.trouble(format!("{}: {because}", text::visible(&tree.name)));
            }
        }
        for line in changes.lines.iter().chain(&changes.notes).chain(&changes.troubles) {
            self.tell(line);
        }
        if kept.exists() {
            self.tell(&format!("what was there is kept in `{}`", kept.display()));
        }
        for tree in wanted {
            self.tell_rest(tree, &check(tree));
        }
        self.services();
        self.prune();
        Ok(())
    }

    /// What the manifest has no text of, such as secrets, and what is changed again already.
    fn tell_rest(&self, tree: &Tree, outcome: &Outcome) {
        let unkept = |path: &str| {
            let mut entries = tree.entries.iter();
            let entry = entries.find(|entry| text::escape(&entry.path) == path);
            entry.is_some_and(|entry| {
                matches!(entry.kind, EntryKind::File { text: None, .. } | EntryKind::Template { .. })
            })
        };
        for difference in outcome.differences.iter().take(REST_MAX) {
            let because =
                if unkept(&difference.path) { "the manifest does not have its text" } else { "differs again" };
            let (path, problem) = (text::visible(&difference.path), difference.problem.as_str());
            self.tell(&format!("{}: {path}: {problem}: not restored: {because}", text::visible(&tree.name)));
        }
        let told = outcome.differences.len().min(REST_MAX) as u64;
        let more = outcome.differences_total.unwrap_or(0).saturating_sub(told);
        if more > 0 {
            self.tell(&format!("{}: and {more} more that are not restored", text::visible(&tree.name)));
        }
    }

    fn services(&self) {
        for argv in &self.config.apply.undo {
            let shown = text::visible(&argv.join(" "));
            let ended = commands::run(argv, self.config.apply.undo_timeout, &self.home.join("output"));
            self.tell(&ended.map_or_else(|because| format!("`{shown}`: {because}"), |()| format!("`{shown}`: done")));
        }
        for outcome in self.guards.settle(clock::boot_ms() + AFTER_MS_MAX) {
            self.tell(&guards::line(&outcome));
        }
    }

    fn tell(&self, line: &str) {
        tell(&self.home, line);
    }

    /// What was kept longest goes.
    fn prune(&self) {
        let items = fs::read_dir(&self.home).into_iter().flatten().flatten().map(|item| item.path());
        let mut kept: Vec<_> = items.filter(|path| path.is_dir()).collect();
        kept.sort();
        for old in kept.iter().rev().skip(KEPT_MAX) {
            let _ = fs::remove_dir_all(old);
        }
    }
}

fn check(tree: &Tree) -> Outcome {
    portcullis::tree::check(tree, Path::new(&tree.root), &portcullis::tree::NoProgress)
}

fn put_back_tree(tree: &Tree, keeper: &mut Keeper, changes: &mut Changes) -> Result<(), String> {
    let root = Path::new(&tree.root);
    if !tree.root_link && fs::symlink_metadata(root).is_ok_and(|root| root.is_symlink()) {
        return Err("its root is a link".into());
    }
    let real = fs::canonicalize(root).map_err(|error| format!("its root: {error}"))?;
    let ignore = Ignore::new(&tree.ignore).map_err(|error| error.to_string())?;
    let target = Target {
        name: &tree.name,
        real: &real,
        ignore: &ignore,
        removes_extras: tree.extras == Extras::Refuse,
        wanted: &Node::of_manifest(tree),
        dir: Path::new("/"),
    };
    put_back::put_back(&target, keeper, changes);
    Ok(())
}

/// Between looks: eight seconds in all, a handful of guards' runs an edit.
const PAUSES_MS: [u64; 5] = [500, 500, 1_000, 2_000, 4_000];
/// How long guards may take to be told, windows included.
const GUARDS_MS_MAX: u64 = 30_000;
/// How long a service may take to be well again, before it is told how it stands.
const AFTER_MS_MAX: u64 = 10_000;
/// Of what could not be restored, in the log.
const REST_MAX: usize = 20;
const LOG_BYTES_MAX: u64 = 1 << 20;
/// Edits that are kept.
const KEPT_MAX: usize = 50;
