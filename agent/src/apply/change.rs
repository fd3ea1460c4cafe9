//! `apply`: remembers, sees that somebody waits to undo, runs the command, demands what it must show, and tells.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    path::Path,
    process::ExitStatus,
    sync::Arc,
    thread,
    time::Duration,
};

use portcullis::{glob::Ignore, manifest::Manifest, outcome::Outcome, signature::EnvelopeLimits, text};
use rustix::fs::{Access, access};
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    ApplyError,
    confirm::wait_until_undone,
    demand::{A_PERSON, Answer, Shown},
    guards::{Guards, LOOK_AGAIN},
    journal::{self, Journal, KeptTree, PAYLOAD, Stage, Transaction},
    pending,
    process::Process,
    remember::remember,
    root, undo,
};
use crate::{
    clock,
    config::{Config, Source},
    controller::Controller,
    manifests::{self, Rules},
    state::{self, read_capped},
};

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The agent's.
    pub config: &'a Config,
    /// From the start of the command until it must be confirmed.
    pub within: Duration,
    /// Nothing but a person's word counts.
    pub needs_person: bool,
    /// Without a controller, guards that hold are enough.
    pub guards_are_enough: bool,
    /// The program and its arguments; with the caller's environment, terminal and rights.
    pub command: Vec<OsString>,
    /// Who asks, for the record.
    pub person: String,
    /// Told how it goes, line by line.
    pub tell: fn(&str),
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// It stays.
    Confirmed(Journal),
    /// All is as it was.
    Undone(Journal),
    /// The session was lost: the one who waits decides at the deadline.
    Left(Journal),
}

/// Applies a change.
///
/// # Errors
/// Nothing was changed, or (it says so) not all could be put back.
pub fn apply(request: &Request<'_>) -> Result<Ended, ApplyError> {
    let home = journal::home(&request.config.state_dir)?;
    let _alone = alone(&home)?;
    can_be_run(&request.command)?;
    let manifest = manifest(request.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything can be changed: an interrupt must not end us unheard.
    let signals = runtime.block_on(async { Signals::new() })?;
    let (transaction, journal) = begin(request, &home, &manifest)?;
    let prepared = prepare(request, &transaction, &journal, &manifest.to_payload());
    if let Err(error) = prepared {
        // The one who waits, if he was started, ends when there is nothing to wait for.
        let _ = fs::remove_dir_all(&transaction.dir);
        return Err(error);
    }
    let way = runtime.block_on(Change { request, transaction: &transaction, manifest }.run(signals));
    runtime.shutdown_background();
    let ended = way.and_then(|way| match way {
        Way::Lost => Ok(Ended::Left(transaction.read()?)),
        Way::Settled => {
            let journal = wait_until_undone(&transaction)?;
            pending::prune(&home);
            Ok(match journal.stage {
                Stage::Confirmed { .. } => Ended::Confirmed(journal),
                _ => Ended::Undone(journal),
            })
        }
    });
    // An error with advice of its own, as of a command that could not be begun, knows better.
    ended.map_err(|error| if error.hint.is_some() || transaction.is_known() { error } else { forgotten(&journal.id) })
}

/// Who removes the state directory, or this change's folder in it, removes what was remembered.
fn forgotten(id: &str) -> ApplyError {
    ApplyError::new(format!("change {id} is neither confirmed nor undone: what was remembered of it is gone"))
        .hint("somebody removed it from the state directory; look at the trees with `portcullis-agent check`")
}

/// One change at a time: while another is open nobody could say which of them broke a guard.
fn alone(home: &Path) -> Result<File, ApplyError> {
    let lock = File::options().create(true).truncate(false).write(true).open(home.join("lock"))?;
    let locked = lock.try_lock();
    let changes = journal::all(home)?;
    changes.iter().for_each(|(transaction, journal)| pending::forget(transaction, journal));
    let open = changes.into_iter().find(|(_, journal)| !journal.stage.is_final());
    if let Some((_, journal)) = open.filter(|(_, journal)| locked.is_err() || journal.stage != Stage::Remembering) {
        let hint = match journal.stage {
            Stage::Undoing { .. } => "`portcullis-agent undo --pending` tries again".into(),
            _ => format!("`portcullis-agent confirm {0}` keeps it, `portcullis-agent undo {0}` undoes it", journal.id),
        };
        return Err(ApplyError::new(format!("another {}", journal.lines().join("; "))).hint(hint));
    }
    match locked {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(ApplyError::new("another change is just beginning or ending")),
        Err(fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Whether the command is there, as the kernel and the caller's `PATH` will have it.
fn can_be_run(command: &[OsString]) -> Result<(), ApplyError> {
    let program = command.first().ok_or_else(|| ApplyError::new("there is no command"))?;
    let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let dirs = env::var_os("PATH").unwrap_or_default();
    let is_path = program.as_encoded_bytes().contains(&b'/');
    if is_path && runs(Path::new(program)) || !is_path && env::split_paths(&dirs).any(|dir| runs(&dir.join(program))) {
        return Ok(());
    }
    Err(cannot_be_run(&format!("`{}` is no program", text::visible(&program.to_string_lossy()))))
}

fn cannot_be_run(because: &str) -> ApplyError {
    ApplyError::new(format!("the command cannot be run: {because}"))
        .hint("nothing was changed; no shell reads it unless one is named: `-- sh -c '…'`")
}

/// What was verified last.
fn manifest(config: &Config) -> Result<Manifest, ApplyError> {
    let path = match &config.source {
        Source::File(path, _) => path.clone(),
        Source::Controller(_) => state::last_manifest(&config.state_dir),
    };
    let wrong = |error: String| {
        ApplyError::new(format!("no manifest that says what is managed: `{}`: {error}", path.display()))
            .hint("the agent keeps the last good one in its state directory once it has checked by it")
    };
    let envelope = read_capped(&path, EnvelopeLimits::MANIFEST.bytes_max).map_err(|error| wrong(error.to_string()))?;
    let rules = Rules { trust: config.trust.clone(), pin: config.pin.clone() };
    let (_, manifest) = manifests::open(&envelope, None, &rules).map_err(|error| wrong(error.to_string()))?;
    Ok(manifest)
}

fn begin(request: &Request<'_>, home: &Path, manifest: &Manifest) -> Result<(Transaction, Journal), ApplyError> {
    let config = request.config;
    let boot_id = undo::boot_id(&config.boot_id_file);
    let boot_id =
        boot_id.ok_or_else(|| ApplyError::new(format!("no boot id in `{}`", config.boot_id_file.display())))?;
    let began_at = clock::now();
    let journal = Journal {
        id: name(&began_at.to_string()),
        command: request.command.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        user: request.person.clone(),
        began_at,
        within_ms: u64::try_from(request.within.as_millis()).unwrap_or(u64::MAX),
        boot_id,
        boot_id_file: fs::canonicalize(&config.boot_id_file)?,
        deadline_boot_ms: 0,
        trees: trees(config, manifest)?,
        undo: config.apply.undo.clone(),
        undo_timeout_ms: u64::try_from(config.apply.undo_timeout.as_millis()).unwrap_or(u64::MAX),
        user_ids: config.checks.user,
        root_commands: config.checks.root_commands.clone(),
        asked_by: Process::this(),
        running: None,
        exit: None,
        wanting: Vec::new(),
        stage: Stage::Remembering,
    };
    for program in &journal.undo {
        let found = program.first().map(|program| crate::checks::command::find(program));
        if let Some(Err(error)) = found {
            return Err(
                ApplyError::new(format!("`apply.undo`: {error}")).hint("what undoes a change must be able to run")
            );
        }
    }
    // The folder that it is to be kept in must be there under its real name: the one who waits knows no other.
    let transaction = Transaction::create(&fs::canonicalize(home)?, &journal)?;
    Ok((transaction, journal))
}

/// By the time, so that names sort; with something of its own, as clocks jump.
fn name(began_at: &str) -> String {
    let digits: String = began_at.chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}-{:04x}", crate::pace::random() & 0xffff)
}

fn trees(config: &Config, manifest: &Manifest) -> Result<Vec<KeptTree>, ApplyError> {
    if manifest.trees.is_empty() {
        return Err(ApplyError::new("the manifest has no tree: nothing could be put back"));
    }
    let kept = |tree: &portcullis::manifest::Tree| {
        let wrong = |because: String| ApplyError::new(format!("tree `{}`: {because}", text::visible(&tree.name)));
        let root = Path::new(&tree.root);
        let is_link = fs::symlink_metadata(root).is_ok_and(|root| root.is_symlink());
        if is_link && !tree.root_link {
            return Err(wrong(format!("its root `{}` is a link", tree.root)));
        }
        let real = fs::canonicalize(root).map_err(|error| wrong(format!("its root `{}`: {error}", tree.root)))?;
        let ignore = Ignore::new(&tree.ignore).map_err(|error| wrong(error.to_string()))?;
        outside(&config.state_dir, &real, &ignore).map_err(wrong)?;
        Ok(KeptTree { name: tree.name.clone(), real, ignore: tree.ignore.clone() })
    };
    manifest.trees.iter().map(kept).collect()
}

/// What is remembered must not be part of what is undone.
fn outside(state_dir: &Path, root: &Path, ignore: &Ignore) -> Result<(), String> {
    if !root::is_inside(state_dir, root) {
        return Ok(());
    }
    let real = fs::canonicalize(state_dir).map_err(|error| error.to_string())?;
    let below = real.strip_prefix(root).map_err(|error| error.to_string())?;
    if ignore.hides(below.as_os_str().as_encoded_bytes(), true) {
        return Ok(());
    }
    Err(format!("the state directory `{}` is in it: let the tree ignore it", state_dir.display()))
}

/// All that must be so before anything is changed.
fn prepare(
    request: &Request<'_>,
    transaction: &Transaction,
    journal: &Journal,
    payload: &[u8],
) -> Result<(), ApplyError> {
    state::replace(&transaction.dir.join(PAYLOAD), payload)?;
    remember(&journal.trees, &transaction.dir, request.config.apply.limits)
        .map_err(|error| ApplyError::new(error.to_string()).hint("nothing was run"))?;
    pending::launch_undoer(transaction, &journal.id);
    let started = clock::monotonic();
    while !transaction.has_undoer()? {
        if started.elapsed() > LAUNCH_PATIENCE {
            return Err(ApplyError::new("nobody could be started to undo it").hint("nothing was run"));
        }
        thread::sleep(LAUNCH_POLL);
    }
    transaction.update(|journal| {
        journal.deadline_boot_ms = clock::boot_ms().saturating_add(journal.within_ms);
        journal.stage = Stage::Open;
        true
    })?;
    Ok(())
}

/// A change under way.
struct Change<'a> {
    request: &'a Request<'a>,
    transaction: &'a Transaction,
    manifest: Manifest,
}

enum Way {
    /// Confirmed, or given over to be undone.
    Settled,
    /// Nobody looks on any more.
    Lost,
}

/// What came from outside.
enum Signalled {
    Interrupted,
    Lost,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hang_up: hang_up? })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.interrupt.recv() => Signalled::Interrupted,
            _ = self.terminate.recv() => Signalled::Interrupted,
            _ = self.hang_up.recv() => Signalled::Lost,
        }
    }
}

impl Change<'_> {
    async fn run(self, mut signals: Signals) -> Result<Way, ApplyError> {
        let way = tokio::select! {
            biased;
            signalled = signals.next() => match signalled {
                Signalled::Lost => return Ok(Way::Lost),
                Signalled::Interrupted => self.undo("it was interrupted")?,
            },
            way = self.to_its_end() => way?,
        };
        Ok(way)
    }

    async fn to_its_end(&self) -> Result<Way, ApplyError> {
        let ended = tokio::select! {
            ended = self.command() => ended?,
            way = self.settled_elsewhere() => return way,
        };
        if let Some(because) = ended {
            return self.undo(&because);
        }
        tokio::select! {
            way = self.demanded() => way,
            way = self.settled_elsewhere() => way,
        }
    }

    /// Why it is undone after the command; `None` when that ended well.
    async fn command(&self) -> Result<Option<String>, ApplyError> {
        let [program, arguments @ ..] = self.request.command.as_slice() else {
            return Ok(Some("there is no command".into()));
        };
        let id = self.transaction.dir.file_name().unwrap_or_default();
        let spawned = Command::new(program).args(arguments).env("PORTCULLIS_APPLY", id).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return self.not_begun(&error.to_string()),
        };
        let running = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Process::of);
        self.transaction.update(|journal| {
            journal.running = running;
            true
        })?;
        let status = child.wait().await?;
        self.transaction.update(|journal| {
            (journal.running, journal.exit) = (None, Some(status.code().unwrap_or(-1)));
            // Until the first answer; it may take longer than there is time.
            journal.wanting = vec!["guards and controller had not answered".into()];
            true
        })?;
        Ok(why(status))
    }

    /// Such as a script without its interpreter: there is nothing to undo, and the one who waits may go. Who asked for its
    /// undoing in this very moment has it all the same.
    fn not_begun(&self, because: &str) -> Result<Option<String>, ApplyError> {
        if !self.transaction.step(Stage::Confirmed { by: "nobody: nothing was run".into() })? {
            return Ok(None);
        }
        let _ = fs::remove_dir_all(&self.transaction.dir);
        Err(cannot_be_run(because))
    }

    /// Somebody else decided: a person by `confirm` or `undo`, or the one who waits, at the deadline. While there is nobody who
    /// waits, somebody is started.
    async fn settled_elsewhere(&self) -> Result<Way, ApplyError> {
        let mut looks = interval(WATCH_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let journal = self.transaction.read()?;
            if journal.stage != Stage::Open {
                return Ok(Way::Settled);
            }
            if !self.transaction.has_undoer()? {
                (self.request.tell)("whoever waited to undo is gone; started anew");
                pending::launch_undoer(self.transaction, &journal.id);
            }
        }
    }

    /// Demands again and again; ends only when it stays.
    async fn demanded(&self) -> Result<Way, ApplyError> {
        let guards = Arc::new(Guards::new(
            self.manifest.clone(),
            self.request.config.checks.user,
            self.request.config.checks.root_commands.clone(),
        ));
        let controller = match &self.request.config.source {
            Source::Controller(settings) => {
                Some(Controller::new(settings).map_err(|error| ApplyError::new(error.to_string()))?)
            }
            Source::File(..) => None,
        };
        let mut told = Vec::new();
        loop {
            let outcomes = look(&guards).await;
            let reached = match &controller {
                Some(controller) => Some(controller.reach().await.map_err(|error| error.to_string())),
                None => None,
            };
            let shown = Shown {
                guards: &outcomes,
                controller: reached,
                needs_person: self.request.needs_person,
                guards_are_enough: self.request.guards_are_enough,
            };
            match shown.answer() {
                Answer::Stays(by) => {
                    self.transaction.step(Stage::Confirmed { by: by.into() })?;
                    return Ok(Way::Settled);
                }
                Answer::Wanting(wanting) if wanting != told => {
                    self.tell(&wanting)?;
                    told = wanting;
                }
                Answer::Wanting(_) => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn tell(&self, wanting: &[String]) -> Result<(), ApplyError> {
        self.transaction.update(|journal| {
            journal.wanting = wanting.to_vec();
            journal.stage == Stage::Open
        })?;
        let id = self.transaction.dir.file_name().unwrap_or_default().to_string_lossy();
        for line in wanting {
            let hint = if line == A_PERSON { format!(": portcullis-agent confirm {id}") } else { String::new() };
            (self.request.tell)(&format!("not yet: {line}{hint}"));
        }
        Ok(())
    }

    fn undo(&self, because: &str) -> Result<Way, ApplyError> {
        // If somebody confirmed it in this very moment, that stands.
        self.transaction.step(Stage::Undoing { because: because.into(), troubles: Vec::new() })?;
        Ok(Way::Settled)
    }
}

async fn look(guards: &Arc<Guards>) -> Vec<Outcome> {
    if !guards.are_there() {
        return Vec::new();
    }
    let guards_there = Arc::clone(guards);
    tokio::task::spawn_blocking(move || guards_there.look()).await.unwrap_or_else(|_| {
        // Without outcomes nothing would be demanded.
        vec![Outcome::new(
            "guards",
            "guard",
            portcullis::outcome::Status::Unknown,
            Some("they came to no outcome".into()),
        )]
    })
}

fn why(status: ExitStatus) -> Option<String> {
    (!status.success()).then(|| format!("the command ended with {status}"))
}

/// Who asks: by `sudo`, or by number.
pub fn person() -> String {
    let name = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| env::var(name).ok());
    let uid = rustix::process::getuid().as_raw();
    name.map_or_else(
        || format!("user {uid}"),
        |name| text::visible(&name.chars().take(NAME_CHARS_MAX).collect::<String>()),
    )
}

/// The one who waits says so in milliseconds, with systemd in a second.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(15);
const LAUNCH_POLL: Duration = Duration::from_millis(10);
const WATCH_EVERY: Duration = Duration::from_millis(500);
const NAME_CHARS_MAX: usize = 64;
