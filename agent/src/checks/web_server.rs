//! Web servers as they see themselves: what the server says its configuration is, whether all of it is in trees, and
//! whether what runs has loaded it.
//!
//! Three parts, each with a name in the reason: `parses`, `includes`, `loaded`. The server's own program tells what it
//! includes, nobody else could; so it runs by the rules of commands, and after all trees have passed.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use portcullis::{
    check::web_server::{Server, WebServer},
    manifest::{CheckKind, Manifest},
    outcome::Status,
    reveal::{At, Certificate, Reference, Revealed, Role, is_glob},
    text,
};

use super::{
    Finding, Task, command,
    way::{Way, way},
};
use cover::{Trees, shown};

mod apache;
mod cover;
mod haproxy;
mod loaded;
mod nginx;
mod parses;
mod processes;

/// Asks the server, then looks for itself.
pub(super) fn run(wanted: &WebServer, task: &Task<'_>) -> Finding {
    let answer = match command::ask(&wanted.command(), task, OUTPUT_BYTES_MAX) {
        Ok(answer) => answer,
        Err(reason) => return Finding::unknown(format!("parses: {reason}")),
    };
    let warnings = parses::warnings(&answer);
    if answer.code != 0 {
        return finding(vec![Part { name: "parses", verdict: parses::refused(wanted, &answer) }], warnings);
    }
    let reads = match reads(wanted, &answer.output) {
        Ok(reads) => reads,
        Err(reason) => return Finding { warnings, ..Finding::unknown(format!("includes: {reason}")) },
    };
    judge(wanted, task, &reads, warnings)
}

fn judge(wanted: &WebServer, task: &Task<'_>, reads: &Reads, mut warnings: Vec<String>) -> Finding {
    let trees = Trees::new(task.manifest);
    let (includes, mut ways) = included(&trees, reads);
    for named in &reads.named {
        let way = way(&named.file);
        warnings.extend(named.warning(&trees, task.manifest, way.as_ref()));
        ways.extend(way.ok().filter(|_| named.is_loaded()));
    }
    warnings.extend_from_slice(&reads.warnings);
    let loaded = loaded::verdict(wanted, task, reads, &ways, &mut warnings);
    finding(vec![Part { name: "includes", verdict: includes }, Part { name: "loaded", verdict: loaded }], warnings)
}

/// What a server reads when it loads its configuration.
#[derive(Debug, Default)]
struct Reads {
    /// What must be in trees.
    files: Vec<PathBuf>,
    /// What may be elsewhere.
    named: Vec<Named>,
    /// Where what appears is included, and what disappears is not any more.
    directories: Vec<PathBuf>,
    /// Where the configuration says that the master writes its process id.
    pid_file: Option<PathBuf>,
    /// What its conditions ask for and was not defined when it was asked: a master that has it defined reads something else.
    undefined: BTreeSet<String>,
    /// Why it cannot be told what all it reads.
    unclear: Option<String>,
    /// What it names so that nobody can tell which file that is.
    warnings: Vec<String>,
}

/// A file that a statement names, and that others put there.
#[derive(Debug, Clone)]
struct Named {
    file: PathBuf,
    kind: Kind,
    said: String,
}

/// What for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Checks of certificates verify it.
    Certificate,
    /// Those do, too, with the certificate.
    Key,
    /// Parameters and the like.
    Data,
    /// Lists of users: read when they are needed.
    Live,
}

impl Named {
    fn is_loaded(&self) -> bool {
        self.kind != Kind::Live
    }

    /// That nobody looks at it.
    fn warning(&self, trees: &Trees<'_>, manifest: &Manifest, way: Result<&Way, &io::Error>) -> Option<String> {
        let Self { file, kind, said } = self;
        let uncovered = match way {
            Ok(way) => trees.uncovered(way)?,
            Err(error) => format!("`{}`: {error}", shown(file)),
        };
        match kind {
            Kind::Certificate if has_certificate_check(manifest, file) => None,
            Kind::Certificate if way.is_ok() => {
                Some(format!("`{}` ({said}) is neither in a tree nor in a `certificate` check", shown(file)))
            }
            Kind::Key => None,
            Kind::Certificate | Kind::Data | Kind::Live => Some(format!("{uncovered} ({said})")),
        }
    }
}

impl Reads {
    /// What `revealed` adds to the names of files.
    fn reveal(&mut self, revealed: &Revealed) {
        for Certificate { file, key, at, .. } in &revealed.certificates {
            self.name(Kind::Certificate, file, at);
            key.iter().for_each(|key| self.name(Kind::Key, key, at));
        }
        for Reference { file, role, at } in &revealed.references {
            match role {
                Role::Part => self.files.push(file.into()),
                Role::Authority => self.name(Kind::Certificate, file, at),
                Role::Data => self.name(Kind::Data, file, at),
                Role::Live => self.name(Kind::Live, file, at),
            }
        }
        for unclear in revealed.unclear.iter().filter(|unclear| unclear.is_file) {
            let what = text::visible(&unclear.what);
            self.warnings.push(format!("{}: {what}, so that file cannot be judged", place(&unclear.at)));
        }
        for include in revealed.includes.iter().filter(|include| !include.found.contains(&include.pattern)) {
            // Where the pattern begins to be one, and from there down to what it finds.
            let fixed =
                Path::new(&include.pattern).ancestors().skip(1).filter(|path| !is_glob(&path.to_string_lossy()));
            let fixed = fixed.take(1).collect::<Vec<_>>();
            let found = include.found.iter().flat_map(|path| Path::new(path).ancestors().skip(1));
            let found = found.filter(|path| fixed.iter().any(|fixed| path.starts_with(fixed)));
            self.directories.extend(found.map(Into::into));
            self.directories.extend(fixed.into_iter().map(Into::into));
            self.directories.push((&include.pattern).into());
        }
        self.directories.retain(|directory| directory.is_dir());
        self.directories.sort_unstable();
        self.directories.dedup();
        if revealed.is_cut {
            self.unclear = Some("there is more of it than is looked at".into());
        }
    }
}

impl Reads {
    fn name(&mut self, kind: Kind, file: &str, at: &At) {
        self.named.push(Named { file: file.into(), kind, said: place(at) });
    }
}

fn place(at: &At) -> String {
    format!("{}:{}", text::visible(&at.file), at.line)
}

fn reads(wanted: &WebServer, output: &[u8]) -> Result<Reads, String> {
    match wanted.server {
        Server::Nginx => nginx::reads(wanted, output),
        Server::Apache => apache::reads(wanted, output),
        Server::Haproxy => haproxy::reads(wanted),
    }
}

/// Whether every file is in a tree; and the way to each.
fn included(trees: &Trees<'_>, reads: &Reads) -> (Verdict, Vec<Way>) {
    let (mut outside, mut ways) = (Vec::new(), Vec::new());
    for file in &reads.files {
        match way(file) {
            Ok(way) => {
                outside.extend(trees.uncovered(&way));
                ways.push(way);
            }
            Err(error) => return (Verdict::Unknown(format!("`{}`: {error}", shown(file))), ways),
        }
    }
    outside.dedup();
    let verdict = match (&*outside, &reads.unclear) {
        ([], None) => Verdict::Pass,
        ([], Some(unclear)) => Verdict::Unknown(unclear.clone()),
        _ => Verdict::Fail { expected: "every file in a tree".into(), actual: list(&outside) },
    };
    (verdict, ways)
}

fn list(of: &[String]) -> String {
    let (first, rest) = of.split_at(of.len().min(LISTED_MAX));
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    format!("{}{more}", first.join(", "))
}

/// Whether a check of the manifest looks at that certificate by itself.
fn has_certificate_check(manifest: &Manifest, file: &Path) -> bool {
    manifest.checks.iter().any(|check| match &check.kind {
        CheckKind::Certificate(wanted) => wanted.file.as_ref().is_some_and(|checked| Path::new(checked) == file),
        _ => false,
    })
}

/// One of the three.
struct Part {
    name: &'static str,
    verdict: Verdict,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Pass,
    Unknown(String),
    Fail { expected: String, actual: String },
}

/// The worst part decides; all that did not pass are told. What follows a part that did not pass is not told of at all.
fn finding(parts: Vec<Part>, warnings: Vec<String>) -> Finding {
    let (mut finding, mut reasons) = (Finding::pass(), Vec::new());
    for Part { name, verdict } in parts {
        match verdict {
            Verdict::Pass => {}
            Verdict::Unknown(reason) => {
                finding.status = finding.status.max(Status::Unknown);
                reasons.push(format!("{name}: {reason}"));
            }
            Verdict::Fail { expected, actual } => {
                finding.status = Status::Fail;
                reasons.push(format!("{name}: expected {expected}, actual {actual}"));
                finding.expected.get_or_insert(expected);
                finding.actual.get_or_insert(actual);
            }
        }
    }
    finding.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    Finding { warnings: bounded(warnings), ..finding }
}

/// The first of them, and how many more there are.
fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(WARNINGS_MAX);
    warnings.truncate(WARNINGS_MAX);
    warnings.extend((more > 0).then(|| format!("and {more} more warnings")));
    warnings
}

/// What a server prints of its configuration: hosts of thousands of sites have some megabytes.
const OUTPUT_BYTES_MAX: usize = 32 << 20;

/// Files that a reason names.
const LISTED_MAX: usize = 10;

const WARNINGS_MAX: usize = 20;

#[cfg(test)]
mod tests;
