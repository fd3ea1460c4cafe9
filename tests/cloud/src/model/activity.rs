//! Scaling activities with AWS's texts.

use std::collections::VecDeque;

/// A scaling activity.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The id.
    pub id: String,
    /// The group.
    pub group: String,
    /// "Launching a new EC2 instance: i-…" and the like; after a failure with its reason.
    pub description: String,
    /// "At 2026-11-20T12:00:00Z …".
    pub cause: String,
    /// When it began, in milliseconds.
    pub started_ms: u64,
    /// When it ended, in milliseconds.
    pub ended_ms: Option<u64>,
    /// `PreInService`, `MidLifecycleAction`, `Successful`, `Cancelled`, `Failed`…
    pub status: &'static str,
    /// The reason for a bad end.
    pub message: Option<String>,
    /// 0 to 100.
    pub progress: u8,
}

/// A bounded list of activities, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activities(VecDeque<Activity>);

impl Activities {
    pub(crate) fn push(&mut self, activity: Activity) {
        if self.0.len() == ACTIVITIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(activity);
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Activity> {
        self.0.iter().rev()
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Activity> {
        self.newest_first().find(|activity| activity.id == id)
    }

    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut Activity)) {
        if let Some(activity) = self.0.iter_mut().rev().find(|activity| activity.id == id) {
            change(activity);
        }
    }
}

impl Activity {
    pub(crate) fn end(&mut self, now_ms: u64, status: &'static str) {
        (self.status, self.progress, self.ended_ms) = (status, 100, Some(now_ms));
    }

    /// Ends it badly, with the reason where AWS shows it: in the message and behind the description.
    pub(crate) fn fail(&mut self, now_ms: u64, status: &'static str, reason: &str) {
        self.end(now_ms, status);
        self.description = format!("{}.  Status Reason: {reason}", self.description);
        self.message = Some(reason.chars().take(MESSAGE_CHARS_MAX).collect());
    }
}

/// The text of an abandoned launch. `how` is `Lifecycle Action Completed with ABANDON Result` or `Heartbeat Timeout`.
pub(crate) fn abandoned_text(token: &str, how: &str) -> String {
    format!(
        "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token {token} was abandoned: {how}"
    )
}

/// Milliseconds as AWS writes a time: `2026-11-20T12:00:00Z` in texts.
pub(crate) fn time_text(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "9999-12-30T22:00:00Z".to_owned(), |time| time.to_string())
}

/// Activities kept; AWS keeps six weeks.
pub(crate) const ACTIVITIES_MAX: usize = 10_000;

/// The service's model bounds StatusMessage.
const MESSAGE_CHARS_MAX: usize = 255;
