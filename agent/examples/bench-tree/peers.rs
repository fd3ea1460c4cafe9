//! What people use today for the same work.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use super::corpus::{Corpus, agent};

/// A program that compares a tree with a list.
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: &'static str,
    /// What `apt-get install` wants.
    package: &'static str,
    /// Writes its list, in the tree's directory.
    prepare: fn(&Corpus) -> anyhow::Result<()>,
    command: fn(&Corpus) -> Command,
    /// Exit statuses that say no more than that it looked.
    pub(super) accepted: &'static [i32],
}

impl Peer {
    /// Its command, where it is installed.
    pub(super) fn prepared(&self, corpus: &Corpus) -> anyhow::Result<bool> {
        let mut find = command("sh", &["-c", &format!("command -v {}", self.program)]);
        if !find.stdout(Stdio::null()).status()?.success() {
            eprintln!("{}: not installed; apt-get install {}", self.name, self.package);
            return Ok(false);
        }
        (self.prepare)(corpus)?;
        Ok(true)
    }

    pub(super) fn command(&self, corpus: &Corpus) -> Command {
        let mut command = (self.command)(corpus);
        command.current_dir(corpus.at("tree"));
        command
    }
}

/// `portcullis-agent check`.
pub(super) fn ours(directory: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(agent()?);
    command.args(["check", "--manifest"]).arg(directory.join("manifest.json"));
    command.arg("--trust").arg(directory.join("key.pub"));
    Ok(command)
}

/// The floor: this very program, with a bare loop.
pub(super) fn bare(word: &str, directory: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(word).arg(directory.join("list")).arg(directory.join("tree"));
    Ok(command)
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs `script` in the tree unless `file` is there already; what it prints goes to `file`.
fn once(corpus: &Corpus, file: &str, script: &str) -> anyhow::Result<()> {
    if corpus.at(file).exists() {
        return Ok(());
    }
    let draft = corpus.at("draft");
    let mut shell = command("sh", &["-c", script]);
    let status = shell.current_dir(corpus.at("tree")).stdout(File::create(&draft)?).status()?;
    anyhow::ensure!(status.success(), "{script}: {status}");
    Ok(std::fs::rename(draft, corpus.at(file))?)
}

fn aide_config(corpus: &Corpus) -> anyhow::Result<()> {
    let (tree, database) = (corpus.at("tree"), corpus.at("aide.db"));
    let config = format!(
        "database_in=file:{0}\ndatabase_out=file:{0}\ngzip_dbout=no\nreport_url=stdout\n{1} ftype+sha256\n",
        database.display(),
        tree.display()
    );
    std::fs::write(corpus.at("aide.conf"), config)?;
    if !database.exists() {
        let status = command("aide", &["--init", "-c"]).arg(corpus.at("aide.conf")).stdout(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "aide --init: {status}");
    }
    Ok(())
}

/// All that are compared with.
pub(super) const PEERS: &[Peer] = &[
    Peer {
        name: "sha256sum -c",
        program: "sha256sum",
        package: "coreutils",
        prepare: |_| Ok(()),
        command: |corpus| {
            let mut command = command("sha256sum", &["-c", "--quiet"]);
            command.arg(corpus.at("list"));
            command
        },
        accepted: &[],
    },
    Peer {
        name: "b3sum --check (BLAKE3)",
        program: "b3sum",
        package: "b3sum",
        prepare: |corpus| once(corpus, "list.b3", "find . -type f -print0 | xargs -0 b3sum"),
        command: |corpus| {
            let mut command = command("b3sum", &["--check", "--quiet"]);
            command.arg(corpus.at("list.b3"));
            command
        },
        accepted: &[],
    },
    Peer {
        name: "rhash -c",
        program: "rhash",
        package: "rhash",
        prepare: |_| Ok(()),
        command: |corpus| {
            let mut command = command("rhash", &["--sha256", "--skip-ok", "-c"]);
            command.arg(corpus.at("list"));
            command
        },
        accepted: &[],
    },
    Peer {
        name: "hashdeep -a",
        program: "hashdeep",
        package: "hashdeep",
        prepare: |corpus| once(corpus, "list.hashdeep", "hashdeep -c sha256 -r -l ."),
        command: |corpus| {
            let mut command = command("hashdeep", &["-c", "sha256", "-r", "-l", "-a", "-k"]);
            command.arg(corpus.at("list.hashdeep")).arg(".");
            command
        },
        accepted: &[],
    },
    Peer {
        name: "mtree -f",
        program: "mtree",
        package: "mtree-netbsd",
        prepare: |corpus| once(corpus, "list.mtree", "mtree -c -k type,sha256 -p ."),
        command: |corpus| {
            let mut command = command("mtree", &["-p", ".", "-f"]);
            command.arg(corpus.at("list.mtree"));
            command
        },
        accepted: &[],
    },
    Peer {
        name: "aide --check",
        program: "aide",
        package: "aide",
        prepare: aide_config,
        command: |corpus| {
            let mut command = command("aide", &["--check", "-c"]);
            command.arg(corpus.at("aide.conf"));
            command
        },
        // Bits for added, removed, changed: the root's own times.
        accepted: &[1, 2, 3, 4, 5, 6, 7],
    },
];
