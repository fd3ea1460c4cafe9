//! `__undo`: waits for a change to be confirmed; at the deadline, or when it is told to, puts everything back.
//!
//! Every step of it can be cut short and begun again. There is one of it for a change, by a lock.

use std::{fs::File, io::BufReader, path::Path, process::ExitCode, thread, time::Duration};

use portcullis::{glob::Ignore, manifest::Manifest};

use super::{
    commands,
    guards::{self, Guards},
    journal::{Journal, LISTINGS, PAYLOAD, REPLACED, Stage, Transaction, Undone},
    keep::Keeper,
    listing,
    put_back::{self, Changes, Target},
};
use crate::{clock, state::read_capped};

/// What is done besides putting files back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The undo commands are run, and the guards asked.
    Services,
    /// Nothing: at boot, before there are services.
    Nothing,
}

/// The whole life of the one who waits; `dir` is the folder of the change.
pub fn wait_and_undo(dir: &Path) -> ExitCode {
    let transaction = Transaction { dir: dir.into() };
    // Somebody may only have looked whether there is one.
    let lock = (0..LOCK_TRIES).find_map(|_| match transaction.undoer() {
        Ok(Some(lock)) => Some(lock),
        _ => {
            thread::sleep(POLL);
            None
        }
    });
    let Some(_lock) = lock else { return ExitCode::SUCCESS };
    loop {
        match transaction.read() {
            Ok(journal) => {
                if let Some(ended) = turn(&transaction, &journal) {
                    return ended;
                }
            }
            // Forgotten: nothing was changed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ExitCode::SUCCESS,
            // What cannot be read now may be readable later; giving up would be worse.
            Err(_) => {}
        }
        thread::sleep(POLL);
    }
}

/// One look at the journal; how it ends, if it does.
fn turn(transaction: &Transaction, journal: &Journal) -> Option<ExitCode> {
    match &journal.stage {
        Stage::Confirmed { .. } | Stage::Undone(_) => {
            transaction.drop_copies();
            return Some(ExitCode::SUCCESS);
        }
        Stage::Undoing { .. } => return Some(undo(transaction, After::Services)),
        Stage::Remembering if !journal.asked_by.is_alive() => return Some(ExitCode::SUCCESS),
        Stage::Remembering => {}
        Stage::Open => {
            if let Some(because) = due(journal) {
                // If it was confirmed in this very moment, that stands.
                let _ = transaction.step(Stage::Undoing { because, troubles: Vec::new() });
            }
        }
    }
    None
}

/// Why an open change is to be undone now.
pub(super) fn due(journal: &Journal) -> Option<String> {
    if boot_id(&journal.boot_id_file).is_some_and(|boot_id| boot_id != journal.boot_id) {
        return Some("the machine was started anew before it was confirmed".into());
    }
    let is_over = clock::boot_ms() >= journal.deadline_boot_ms;
    let within = portcullis::duration::Span::from_ms(journal.within_ms);
    is_over.then(|| match journal.exit {
        None => format!("the command was not done, and it was not confirmed within {within}"),
        Some(_) if journal.wanting.is_empty() => format!("it was not confirmed within {within}"),
        Some(_) => format!("it was not confirmed within {within}: {}", journal.wanting.join("; ")),
    })
}

/// The id of this boot; `None` where it cannot be told.
pub(crate) fn boot_id(file: &Path) -> Option<String> {
    let bytes = read_capped(file, 256).ok()?;
    Some(str::from_utf8(&bytes).ok()?.trim().to_string()).filter(|id| !id.is_empty())
}

/// Puts all back, once it has been decided. The one who calls holds the undoer's lock.
pub(super) fn undo(transaction: &Transaction, after: After) -> ExitCode {
    match try_to_undo(transaction, after) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            transaction.log(&format!("cannot undo: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is back.
fn try_to_undo(transaction: &Transaction, after: After) -> std::io::Result<bool> {
    let journal = transaction.read()?;
    let Stage::Undoing { because, .. } = &journal.stage else { return Ok(true) };
    transaction.log(&format!("undoing: {because}"));
    if let Some(running) = journal.running.filter(|_| boot_id(&journal.boot_id_file).as_ref() == Some(&journal.boot_id))
    {
        running.kill_all();
    }
    let changes = until_it_stands(transaction, &journal);
    for line in changes.lines.iter().chain(&changes.notes).chain(&changes.troubles) {
        transaction.log(line);
    }
    let mut undone = Undone {
        because: because.clone(),
        at: clock::now(),
        changes: changes.lines,
        changes_total: changes.total,
        notes: changes.notes,
        commands: Vec::new(),
        guards: Vec::new(),
        well: true,
    };
    if after == After::Services {
        services(transaction, &journal, &mut undone);
    }
    let (because, troubles) = (because.clone(), changes.troubles);
    let is_back = troubles.is_empty();
    let stage = if is_back { Stage::Undone(undone) } else { Stage::Undoing { because, troubles } };
    transaction.update(|journal| {
        journal.stage = stage;
        true
    })?;
    if is_back {
        transaction.drop_copies();
    }
    transaction.log(if is_back { "undone" } else { "not all could be put back: it will be tried again" });
    Ok(is_back)
}

/// Again and again, until a pass has nothing to do: something may still be writing.
fn until_it_stands(transaction: &Transaction, journal: &Journal) -> Changes {
    let mut all = Changes::default();
    let mut keeper = Keeper::new(transaction.dir.join(REPLACED), false);
    for attempt in 0..PASSES_MAX {
        let mut pass = Changes { notes: std::mem::take(&mut all.notes), ..Changes::default() };
        for (index, tree) in journal.trees.iter().enumerate() {
            if let Err(error) = one_tree(transaction, journal, index, &mut keeper, &mut pass) {
                pass.trouble(format!("{}: {error}", portcullis::text::visible(&tree.name)));
            }
        }
        let stands = pass.total == 0;
        all.total += pass.total;
        all.lines.append(&mut pass.lines);
        all.lines.truncate(put_back::LINES_MAX);
        (all.notes, all.troubles) = (pass.notes, pass.troubles);
        if stands && all.troubles.is_empty() {
            return all;
        }
        if !all.troubles.is_empty() {
            thread::sleep(TRY_AGAIN * attempt);
        }
    }
    if all.troubles.is_empty() {
        all.trouble("something goes on changing what is put back".into());
    }
    all
}

fn one_tree(
    transaction: &Transaction,
    journal: &Journal,
    index: usize,
    keeper: &mut Keeper,
    changes: &mut Changes,
) -> Result<(), String> {
    let tree = &journal.trees[index];
    let listing = File::open(transaction.dir.join(LISTINGS).join(index.to_string()));
    let wanted = listing.and_then(|file| listing::read(BufReader::new(file)));
    let wanted = wanted.map_err(|error| format!("what it was like cannot be read: {error}"))?;
    let ignore = Ignore::new(&tree.ignore).map_err(|error| error.to_string())?;
    let target = Target {
        name: &tree.name,
        real: &tree.real,
        ignore: &ignore,
        removes_extras: true,
        wanted: &wanted,
        dir: &transaction.dir,
    };
    put_back::put_back(&target, keeper, changes);
    Ok(())
}

/// Makes the services take back what was put back, and asks whether all is well.
fn services(transaction: &Transaction, journal: &Journal, undone: &mut Undone) {
    let tell = |lines: &mut Vec<String>, line: String| {
        transaction.log(&line);
        lines.push(line);
    };
    let timeout = Duration::from_millis(journal.undo_timeout_ms);
    for argv in &journal.undo {
        let shown = portcullis::text::visible(&argv.join(" "));
        let ended = commands::run(argv, timeout, &transaction.dir.join("output"));
        undone.well &= ended.is_ok();
        let line = ended.map_or_else(|because| format!("`{shown}`: {because}"), |()| format!("`{shown}`: done"));
        tell(&mut undone.commands, line);
    }
    let Some(guards) = guards_of(&transaction.dir.join(PAYLOAD), journal) else { return };
    let outcomes = guards.settle(clock::boot_ms() + GUARDS_MS_MAX);
    undone.well &= guards::hold(&outcomes);
    for outcome in &outcomes {
        tell(&mut undone.guards, guards::line(outcome));
    }
}

/// As they were verified before the change.
pub(super) fn guards_of(payload: &Path, journal: &Journal) -> Option<Guards> {
    let payload = read_capped(payload, portcullis::signature::EnvelopeLimits::MANIFEST.bytes_max).ok()?;
    let manifest = Manifest::parse(&payload).ok()?;
    Some(Guards::new(manifest, journal.user_ids, journal.root_commands.clone()))
}

/// How soon a confirmation is seen.
const POLL: Duration = Duration::from_millis(100);
const LOCK_TRIES: u32 = 20;
/// Whatever still writes was killed before, or is a service: it writes elsewhere.
const PASSES_MAX: u32 = 5;
/// A disk that is full may be less so in a moment.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// So long may a service take to be as it was, before it is told how it stands.
const GUARDS_MS_MAX: u64 = 15_000;
