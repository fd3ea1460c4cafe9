//! Running what a manifest wants to have verified.

use std::{path::PathBuf, sync::Arc, time::Duration};

use portcullis::{manifest::Manifest, outcome::Outcome};

/// How checks are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Puts every path of the manifest under this directory: a mounted image, which no command can be run in.
    pub root: Option<PathBuf>,
    /// Trees only: other checks have no outcome at all.
    pub trees_only: bool,
    /// After this long a tree check is given up.
    pub tree_timeout: Duration,
    /// Commands, argv by argv, that may run as root; all others run as [`user`](Self::user).
    pub root_commands: Vec<Vec<String>>,
    /// User and group id of commands, when the agent is root.
    pub user: (u32, u32),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: None,
            trees_only: false,
            tree_timeout: Duration::from_secs(120),
            root_commands: Vec::new(),
            user: (65_534, 65_534),
        }
    }
}

/// Runs checks, and remembers which of them hang: keep one for the life of the process.
#[derive(Debug)]
pub struct Checks {
    options: Options,
}

impl Checks {
    /// Nothing hangs yet.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// The outcome of every tree and check of `manifest`, in its order, each exactly once: trees first, commands only after
    /// all trees passed. Blocks, at most for the sum of the deadlines: call it by `spawn_blocking`.
    pub fn run_all(&self, manifest: &Arc<Manifest>) -> Vec<Outcome> {
        let _ = (&self.options, manifest);
        Vec::new()
    }
}
