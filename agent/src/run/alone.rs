//! Without a controller: the manifest in a file is verified and checked again and again; ready is what passed once, or, where
//! that is wanted, what passed last.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    checker::Checker,
    patrol::{News, Patrol},
};
use crate::{
    board::Board,
    checking::What,
    clock,
    config::Intervals,
    manifests::{self, Release, Rules},
    pace,
    restore::Restorer,
    standing::Checked,
};

/// All that it takes.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) manifest: PathBuf,
    pub(super) rules: Arc<Rules>,
    /// This program.
    pub(super) program: PathBuf,
    /// What was in the file last.
    pub(super) last: Option<Release>,
    pub(super) checker: Checker,
    pub(super) patrol: Patrol,
    pub(super) board: Board,
    pub(super) intervals: Intervals,
    pub(super) restorer: Restorer,
}

impl Alone {
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let pause = self.round().await;
            let due = clock::monotonic() + pace::spread(pause, 10, pace::random());
            self.rest(due).await;
        }
    }

    /// Until another round is due; drift is told meanwhile.
    async fn rest(&mut self, due: Instant) {
        while let Some(news) = self.patrol.until(due, &mut self.board, nobody).await {
            match news {
                News::Round => return self.checker.hurry(),
                News::Differs(looked, _) => self.drifted(*looked),
            }
        }
    }

    /// The file is looked at each time: a deploy in place replaces it with what it deployed.
    async fn round(&mut self) -> Duration {
        let (last, rules, program) = (self.last.take(), Arc::clone(&self.rules), self.program.clone());
        match manifests::from_file(&self.manifest, last, rules, program).await {
            Ok(release) => {
                self.last = Some(release.clone());
                self.patrol.over(Some(&release), &mut self.board).await;
                let round = self.checker.check(&release, What::All);
                match self.patrol.unless_overtaken(round, &mut self.board, nobody).await {
                    Ok(checked) => {
                        self.restore_if_serving(&release, &checked);
                        self.board.checked(checked);
                    }
                    Err(news) => {
                        if let News::Differs(looked, _) = news {
                            self.drifted(*looked);
                        }
                        return Duration::ZERO;
                    }
                }
            }
            Err(error) => {
                self.board.no_release(error.to_string());
                self.patrol.over(None, &mut self.board).await;
            }
        }
        if self.board.now().is_ready() { self.intervals.serving } else { self.intervals.waiting }
    }

    /// A look found it: nothing waits for the next round.
    fn drifted(&mut self, looked: Checked) {
        if let Some(release) = self.patrol.release() {
            self.restore_if_serving(release, &looked);
        }
        self.board.checked(looked);
    }

    /// Before it serves nothing is restored: what is there was never right.
    fn restore_if_serving(&self, release: &Release, checked: &Checked) {
        if self.board.now().serves() {
            self.restorer.after(release, &checked.outcomes);
        }
    }
}

/// There is no controller to ask for a challenge.
async fn nobody() -> Option<Infallible> {
    None
}
