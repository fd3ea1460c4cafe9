//! Where the standing is written: seen by probes at once, told to the log and to systemd when it changes.

use std::sync::Arc;

use portcullis::{report::Cause, verdict::Verdict};
use tokio::sync::watch;

use crate::{
    metrics::Metrics,
    notify,
    standing::{Checked, Latch, Noticed, Standing},
    watch::Sight,
};

/// The one writer of the [`Standing`].
#[derive(Debug)]
pub(crate) struct Board {
    standing: watch::Sender<Arc<Standing>>,
    metrics: Arc<Metrics>,
    told: Option<String>,
}

impl Board {
    pub(crate) fn new(standing: Standing, metrics: Arc<Metrics>) -> Self {
        Self { standing: watch::Sender::new(Arc::new(standing)), metrics, told: None }
    }

    pub(crate) fn readers(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.subscribe()
    }

    pub(crate) fn now(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.borrow())
    }

    /// An admission of this boot that was kept.
    pub(crate) fn restored(&mut self) {
        self.change(|standing| standing.admitted = true);
    }

    /// A verification that was due; whatever was in its way is so no longer.
    pub(crate) fn checked(&mut self, checked: Checked) {
        self.take(checked, |standing| standing.trouble = None);
    }

    /// A verification while the controller cannot be asked: the trouble stays.
    pub(crate) fn checked_meanwhile(&mut self, checked: Checked) {
        self.take(checked, |_| {});
    }

    fn take(&mut self, checked: Checked, more: impl FnOnce(&mut Standing)) {
        let mut noticed = None;
        self.change(|standing| {
            noticed = standing.took(checked);
            more(standing);
        });
        match (noticed, self.now().checked.as_ref()) {
            (Some(Noticed::Drift), Some(checked)) => {
                self.metrics.drifted(checked.began_at);
                tracing::warn!("drift: {}", listed(&checked.drift));
            }
            (Some(Noticed::Mended), _) => tracing::info!("no drift any more"),
            (None, _) | (_, None) => {}
        }
    }

    /// How much is watched.
    pub(crate) fn sight(&mut self, sight: &Sight) {
        if self.now().sight.as_ref() != Some(sight) {
            self.change(|standing| standing.sight = Some(sight.clone()));
        }
    }

    pub(crate) fn answered(&mut self, verdict: Verdict, reason: String) -> Latch {
        let mut latch = Latch::Kept;
        self.change(|standing| {
            let Some(checked) = standing.checked.clone() else { return };
            latch = standing.answered(verdict, reason, checked.status);
        });
        latch
    }

    /// There is nothing to check by: what was proven before is no longer known to be wanted.
    pub(crate) fn no_release(&mut self, why: String) {
        self.change(|standing| {
            if !standing.is_latched() {
                standing.checked = None;
            }
            standing.trouble = Some(why);
        });
    }

    pub(crate) fn trouble(&mut self, why: String) {
        self.change(|standing| standing.trouble = Some(why));
    }

    fn change(&mut self, change: impl FnOnce(&mut Standing)) {
        // The copy is of a few words; outcomes are shared.
        self.standing.send_modify(|standing| change(Arc::make_mut(standing)));
        self.tell();
    }

    /// Tells what is new, once: a round every five seconds must not fill a journal.
    fn tell(&mut self) {
        let standing = self.now();
        let word = standing.why_not_ready().map_or("ready", |why| why.as_str());
        let lines = standing.news();
        let text = if lines.is_empty() { word.to_string() } else { format!("{word}; {}", lines.join("; ")) };
        if self.told.as_ref() == Some(&text) {
            return;
        }
        if standing.is_ready() && standing.trouble.is_none() {
            tracing::info!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        notify::status(&text);
        self.told = Some(text);
    }
}

/// One line, whatever is wrong.
fn listed(causes: &[Cause]) -> String {
    let mut told: Vec<_> = causes.iter().take(CAUSES_TOLD_MAX).map(ToString::to_string).collect();
    if causes.len() > CAUSES_TOLD_MAX {
        told.push(format!("… and {} more", causes.len() - CAUSES_TOLD_MAX));
    }
    told.join("; ")
}

/// Each names some paths.
const CAUSES_TOLD_MAX: usize = 8;
