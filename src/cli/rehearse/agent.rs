//! Running the real agent on the copy.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, anyhow};
use portcullis::outcome::Outcome;
use serde::Deserialize;

use crate::cli::{answer::Hint as _, files};

/// The agent, and what it is to believe.
pub(super) struct Agent {
    pub(super) program: PathBuf,
    pub(super) trust: Vec<PathBuf>,
    pub(super) threshold: usize,
    /// `NAME=VALUE`, of the instance that is rehearsed.
    pub(super) facts: Vec<String>,
}

#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

impl Agent {
    /// The outcomes of the trees of `manifest` as they are below `root`.
    pub(super) fn trees(&self, manifest: &Path, root: &Path) -> anyhow::Result<Vec<Outcome>> {
        let mut command = Command::new(&self.program);
        command.args(self.words(manifest)).arg("--root").arg(root).arg("--trees-only");
        self.outcomes(&mut command)
    }

    /// The outcomes of everything, with `bound` directories in the place of real ones, for this one run and for nobody else.
    pub(super) fn within(&self, manifest: &Path, bound: &[(PathBuf, PathBuf)]) -> anyhow::Result<Vec<Outcome>> {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", BIND, "sh"]);
        bound.iter().for_each(|(from, to)| {
            command.arg(from).arg(to);
        });
        command.arg("--").arg(&self.program).args(self.words(manifest));
        self.outcomes(&mut command)
    }

    fn words(&self, manifest: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["check".into(), "--json".into(), "--manifest".into(), manifest.into()];
        for key in &self.trust {
            words.extend(["--trust".into(), key.into()]);
        }
        for fact in &self.facts {
            words.extend(["--fact".into(), fact.into()]);
        }
        words.extend(["--threshold".into(), self.threshold.to_string().into()]);
        words
    }

    fn outcomes(&self, command: &mut Command) -> anyhow::Result<Vec<Outcome>> {
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("failed to run `{}`", files::shown(&self.program)));
        let output = output.hint(Some("name the agent's program with `--agent PATH`"))?;
        let report: Result<Report, _> = serde_json::from_slice(&output.stdout);
        report.map(|report| report.outcomes).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow!(
                "failed to check the copy: {}",
                portcullis::text::visible(said.trim().trim_start_matches("error: "))
            )
        })
    }
}

/// The agent beside this program, else the one in the PATH.
pub(super) fn find(asked: Option<&Path>) -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name(NAME)).filter(|path| path.is_file());
    asked.map(Path::to_path_buf).or_else(beside).unwrap_or_else(|| NAME.into())
}

const NAME: &str = "portcullis-agent";

/// Pairs of what is bound and where, `--`, and the command. A place that is not there cannot be bound over.
const BIND: &str = r#"while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 2; shift 2; done; shift; exec "$@""#;
