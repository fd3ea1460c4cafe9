//! Without a controller: the manifest in a file is verified and checked again and again; ready is what passed last.

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::checker::Checker;
use crate::{
    board::Board,
    config::Intervals,
    manifests::{self, Rules},
    pace,
};

/// All that it takes.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) manifest: PathBuf,
    pub(super) rules: Arc<Rules>,
    pub(super) checker: Checker,
    pub(super) board: Board,
    pub(super) intervals: Intervals,
}

impl Alone {
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let pause = self.round().await;
            sleep(pace::spread(pause, 10, pace::random())).await;
        }
    }

    /// The file is read anew each time: a deploy in place replaces it with what it deployed.
    async fn round(&mut self) -> Duration {
        match manifests::from_file(&self.manifest, Arc::clone(&self.rules)).await {
            Ok(release) => {
                let checked = self.checker.check(&release).await;
                self.board.checked(checked);
            }
            Err(error) => self.board.no_release(error.to_string()),
        }
        if self.board.now().is_ready() { self.intervals.serving } else { self.intervals.waiting }
    }
}
