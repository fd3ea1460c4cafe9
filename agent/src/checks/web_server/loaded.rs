//! Whether what runs has loaded the configuration since it last changed.
//!
//! A reload that failed leaves the old workers: so what counts is when these were started, not when somebody asked for it.
//!
//! - nginx: the *oldest* worker that is not on its way out. One that crashed is replaced by one with the old configuration,
//!   so a young worker proves nothing as long as an older one is there. (Where a single worker crashes after the change,
//!   the new one cannot be told from a reload.)
//! - Apache: children come and go all the time; but the parent writes its pid file anew each time it has read its
//!   configuration, and only then.
//! - HAProxy: the *newest* worker of the master; a worker that dies takes the master with it. Without a master, the process.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use portcullis::check::web_server::{Server, WebServer};

use super::{
    Reads, Task, Verdict, Way,
    cover::shown,
    processes::{self, Process},
};
use crate::checks::{
    command,
    moment::{self, Change, Moment, Order},
    way::way,
};

mod besides;
mod instance;

/// Compares the time of the latest change with that of the load.
pub(super) fn verdict(
    wanted: &WebServer,
    task: &Task<'_>,
    reads: &Reads,
    ways: &[Way],
    warnings: &mut Vec<String>,
) -> Verdict {
    let loaded = match loaded(wanted, task, reads, warnings) {
        Ok(loaded) => loaded,
        Err(verdict) => return verdict,
    };
    match changes(reads, ways) {
        Ok(changes) => match moment::latest(&changes, loaded.at) {
            Some(change) => compare(loaded, change.at, &change.path),
            None => Verdict::Unknown("nothing is known of its configuration".into()),
        },
        Err(error) => Verdict::Unknown(format!("its files changed meanwhile: {error}")),
    }
}

fn changes(reads: &Reads, ways: &[Way]) -> io::Result<Vec<Change>> {
    let included = reads.directories.iter().map(|directory| way(directory));
    let included = included.collect::<io::Result<Vec<_>>>()?;
    moment::changes(ways.iter().chain(&included))
}

/// When, and by which clock.
#[derive(Clone, Copy)]
struct Loaded {
    at: Moment,
    /// Told by a file, as changes are: the same clock.
    by_file: bool,
}

fn compare(loaded: Loaded, changed: Moment, path: &Path) -> Verdict {
    if changed.is_in_the_future() {
        return Verdict::Unknown(format!("`{}` changed in the future: is the clock right?", shown(path)));
    }
    let (at, change) = if loaded.by_file { (loaded.at.sharp(), changed.sharp()) } else { (loaded.at, changed) };
    match at.compare(change) {
        Order::After => Verdict::Pass,
        Order::Before => Verdict::Fail {
            expected: format!("a reload after `{}` changed at {} (reload the server)", shown(path), changed.shown()),
            actual: format!("last loaded at {}", loaded.at.shown()),
        },
        Order::TooClose => Verdict::Unknown(format!(
            "`{}` changed at {}, the same moment as the server loaded it: reload the server once more",
            shown(path),
            changed.shown()
        )),
    }
}

/// Finds what runs with this configuration, and when that loaded it.
fn loaded(wanted: &WebServer, task: &Task<'_>, reads: &Reads, warnings: &mut Vec<String>) -> Result<Loaded, Verdict> {
    let program = executable(wanted).map_err(Verdict::Unknown)?;
    let seen = processes::running(Path::new(&program))
        .map_err(|error| Verdict::Unknown(format!("processes cannot be looked at: {error}")))?;
    let (ours, others) = instance::ours(wanted, task, &seen.processes);
    if ours.is_empty() {
        return Err(match seen.hidden {
            Some(error) => Verdict::Unknown(format!(
                "whether `{program}` runs cannot be told: {error} (hint: the agent needs CAP_SYS_PTRACE to see what others run)"
            )),
            None => not_running(wanted, &program, &others),
        });
    }
    if let Some(verdict) = besides::verdict(wanted.server, &ours, reads) {
        return Err(verdict);
    }
    warnings.extend(replaced(&ours, &program));
    let pid_file = wanted.pid_file.as_ref().map(PathBuf::from).or_else(|| reads.pid_file.clone());
    match wanted.server {
        Server::Nginx => nginx(&ours, &seen.processes, pid_file.as_deref(), warnings),
        Server::Apache => apache(&ours, pid_file.as_deref()),
        Server::Haproxy => haproxy(&ours, &seen.processes),
    }
}

fn replaced(ours: &[&Process], program: &str) -> Option<String> {
    let is_old = ours.iter().any(|process| process.is_replaced);
    is_old.then(|| format!("`{program}` was replaced since it was started: what runs is the old one"))
}

/// The program that really runs: what is asked for Apache's configuration is a script that starts another.
fn executable(wanted: &WebServer) -> Result<String, String> {
    let name = wanted.program();
    let is_script = matches!(name.rsplit('/').next(), Some("apache2ctl" | "apachectl"));
    match (wanted.server, is_script) {
        (Server::Apache, true) => command::real_path("apache2").or_else(|_| command::real_path("httpd")),
        _ => command::real_path(name),
    }
}

fn not_running(wanted: &WebServer, program: &str, others: &[String]) -> Verdict {
    let configs: Vec<_> = wanted.configs().map(portcullis::text::visible).collect();
    let others = match others {
        [] => "none".into(),
        others => format!("only {}", super::list(others)),
    };
    Verdict::Fail { expected: format!("a running `{program}` with {}", configs.join(", ")), actual: others }
}

fn nginx(
    masters: &[&Process],
    all: &[Process],
    pid_file: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Loaded, Verdict> {
    let is_master = |pid| masters.iter().any(|master| master.pid == pid);
    // A cache manager is started with the workers, and its master starts it with the same configuration.
    let works = |process: &&Process| {
        let title = &process.title;
        is_master(process.parent)
            && ["nginx: worker process", "nginx: cache manager process"].iter().any(|kind| title.starts_with(kind))
            && !title.contains("is shutting down")
    };
    let oldest = all.iter().filter(works).map(|process| process.start_ticks).min();
    let Some(ticks) = oldest else {
        return Err(Verdict::Fail { expected: "workers".into(), actual: "a master without any".into() });
    };
    if let Some(file) = pid_file
        && !pid_in(file).is_some_and(is_master)
    {
        warnings.push(format!("`{}` does not name the running master: a reload will not reach it", shown(file)));
    }
    Ok(Loaded { at: Moment::of_ticks(ticks), by_file: false })
}

fn apache(parents: &[&Process], pid_file: Option<&Path>) -> Result<Loaded, Verdict> {
    let unknown = |why: String| Verdict::Unknown(format!("when it was loaded cannot be told: {why}"));
    let file = pid_file.ok_or_else(|| unknown("no `pid_file` is known".into()))?;
    let pid = pid_in(file).ok_or_else(|| unknown(format!("`{}` names no process", shown(file))))?;
    if !parents.iter().any(|parent| parent.pid == pid) {
        return Err(unknown(format!("`{}` names process {pid}, which is not it", shown(file))));
    }
    let at = fs::metadata(file).map(|metadata| Moment::of_change(&metadata));
    Ok(Loaded { at: at.map_err(|error| unknown(error.to_string()))?, by_file: true })
}

fn haproxy(masters: &[&Process], all: &[Process]) -> Result<Loaded, Verdict> {
    let is_master = |process: &Process| process.title.split(' ').any(|argument| matches!(argument, "-W" | "-Ws"));
    let mut newest = None;
    for master in masters {
        let workers = all.iter().filter(|process| process.parent == master.pid).map(|process| process.start_ticks);
        let started = if is_master(master) { workers.max() } else { workers.max().or(Some(master.start_ticks)) };
        newest = newest.max(started);
    }
    match newest {
        Some(ticks) => Ok(Loaded { at: Moment::of_ticks(ticks), by_file: false }),
        None => Err(Verdict::Fail { expected: "workers".into(), actual: "a master without any".into() }),
    }
}

fn pid_in(file: &Path) -> Option<u32> {
    let text = super::haproxy::text(file).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
