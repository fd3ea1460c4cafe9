//! The real programs, built by cargo and found by what cargo says it built.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Where the real programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `portcullis`, the operator's command.
    pub cli: PathBuf,
    /// `portcullis-agent`.
    pub agent: PathBuf,
    /// `portcullis-controller`.
    pub controller: PathBuf,
}

/// One line of cargo's messages; most are of other kinds.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Programs {
    /// Builds every program of the workspace (nothing to do when they are built) and finds them.
    ///
    /// # Errors
    /// When cargo fails, or one of the programs is not among what it built.
    pub fn build() -> Result<Self> {
        let mut built = BTreeMap::new();
        for line in cargo_messages()?.lines() {
            let message: Message = serde_json::from_str(line).context("cargo printed something that is no message")?;
            if let (Some(path), Some(target)) = (message.executable, message.target) {
                built.insert(target.name, path);
            }
        }
        let mut program = |name: &str| built.remove(name).with_context(|| format!("cargo built no `{name}`"));
        Ok(Self {
            cli: program("portcullis")?,
            agent: program("portcullis-agent")?,
            controller: program("portcullis-controller")?,
        })
    }
}

fn cargo_messages() -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--workspace", "--bins", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        // As whoever asks was built itself.
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    if !output.status.success() {
        bail!("cargo build: {}", output.status);
    }
    String::from_utf8(output.stdout).context("cargo's messages")
}
