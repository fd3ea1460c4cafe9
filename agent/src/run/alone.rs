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
    /// What is in the file, where that is believed.
    pub(super) last: Option<Release>,
    /// What was believed last, in a copy of ours: whatever becomes of the file, what serves is watched by it.
    pub(super) believed: Option<Release>,
    pub(super) copy: PathBuf,
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
                News::Differs(looked, _) => self.checked(*looked),
            }
        }
    }

    /// The file is looked at each time: a deploy in place replaces it with what it deployed.
    async fn round(&mut self) -> Duration {
        let (last, rules, program) = (self.last.take(), Arc::clone(&self.rules), self.program.clone());
        // Before it is read: whatever takes its place afterwards is another.
        let seen = manifests::seal(&self.manifest);
        let release = match manifests::from_file(&self.manifest, last, rules, program).await {
            Ok(release) => {
                self.last = Some(release.clone());
                self.keep(&release).await;
                self.patrol.over(Some(&release), &mut self.board).await;
                release
            }
            Err(error) => {
                self.board.no_release(error.to_string());
                let serves = self.board.now().is_latched();
                let believed = self.believed.clone().filter(|believed| serves && believed.is_there());
                self.patrol.over_instead(believed.as_ref(), seen, &mut self.board).await;
                let Some(believed) = believed else { return self.pause() };
                believed
            }
        };
        let round = self.checker.check(&release, What::All);
        match self.patrol.unless_overtaken(round, &mut self.board, nobody).await {
            Ok(checked) => self.checked(checked),
            Err(News::Differs(looked, _)) => {
                self.checked(*looked);
                return Duration::ZERO;
            }
            Err(News::Round) => return Duration::ZERO,
        }
        self.pause()
    }

    fn pause(&self) -> Duration {
        if self.board.now().is_ready() { self.intervals.serving } else { self.intervals.waiting }
    }

    /// A round or a look came to this. Before it serves nothing is restored, as what is there was never right; nor while what
    /// is in the file is not believed, as a deploy may be at work.
    fn checked(&mut self, checked: Checked) {
        if self.last.is_none() {
            return self.board.checked_meanwhile(checked);
        }
        if let Some(release) = self.patrol.release().filter(|_| self.board.now().serves()) {
            self.restorer.after(release, &checked.outcomes);
        }
        self.board.checked(checked);
    }

    async fn keep(&mut self, release: &Release) {
        if self.believed.as_ref().is_some_and(|kept| kept.digest == release.digest && kept.is_there()) {
            return;
        }
        let (copy, rules, program) = (self.copy.clone(), Arc::clone(&self.rules), self.program.clone());
        let kept = manifests::copy(release, copy, rules, program).await;
        self.believed =
            kept.map_err(|error| tracing::warn!("the manifest is not kept, should its file be replaced: {error}")).ok();
    }
}

/// There is no controller to ask for a challenge.
async fn nobody() -> Option<Infallible> {
    None
}
