//! Notices of lifecycle actions, from an SQS queue: EventBridge's events, Auto Scaling's own messages, either of them wrapped by SNS.
//!
//! They only make things sooner. A notice says "look at this group", and nothing in it is believed; lost, late and double ones
//! change nothing. A message is deleted after its work: when its group was described by a question asked since. Until then it
//! stays in the queue, and comes again. What is no notice of ours is deleted at once, or it would clog the queue: tests, other
//! groups', and what cannot be read, which is counted and logged.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portcullis::{instance::GroupName, text, timestamp::Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    clock::Clock,
    metrics::{Kind, Metrics},
    providers::Pending,
    reconcile::{Notices, Snapshot},
};

/// A message, and what it is deleted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Names this receipt of it.
    pub handle: String,
    /// Its text.
    pub body: String,
}

/// Where messages come from.
pub trait Queue: Send + Sync {
    /// Waits a while for some; none is an answer too.
    fn receive(&self) -> Pending<'_, Result<Vec<Message>, String>>;

    /// Deletes what was received.
    fn delete<'a>(&'a self, handles: &'a [String]) -> Pending<'a, Result<(), String>>;
}

/// What the source works with.
pub struct Source {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Groups whose notices count.
    pub gated: BTreeSet<GroupName>,
    /// Where notices are dropped off.
    pub notices: Notices,
    /// Where it is seen that a group was described.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long is waited for what.
    pub patience: Patience,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a description after a notice.
    pub described_within: Duration,
    /// Before a queue that failed is asked again; doubled each time, up to a minute.
    pub backoff_min: Duration,
}

impl Default for Patience {
    /// A description takes a second or so, well below any queue's visibility timeout of use.
    fn default() -> Self {
        Self { described_within: Duration::from_secs(20), backoff_min: Duration::from_secs(1) }
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notice {
    /// Something happened in a group.
    Of(GroupName),
    /// Auto Scaling tries whether it may send.
    Test,
    /// An event that is none of Auto Scaling's.
    Foreign,
    /// Nothing that can be read.
    Malformed,
}

impl Source {
    /// Receives for ever. A queue that cannot be reached is told and tried again: descriptions go on without it.
    pub async fn run(mut self) {
        // So that the first failure is news.
        self.metrics.notice_queue_reached.set(1);
        let mut backoff = self.patience.backoff_min;
        loop {
            match self.queue.receive().await {
                Ok(messages) => {
                    self.reached(true);
                    backoff = self.patience.backoff_min;
                    self.work(messages).await;
                }
                Err(because) => {
                    self.failed("received from", &because);
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn work(&mut self, messages: Vec<Message>) {
        let received_at = self.clock.now();
        let messages: Vec<_> = messages.into_iter().map(|message| (self.sorted(&message), message.handle)).collect();
        let groups: BTreeSet<_> = messages.iter().filter_map(|(group, _)| group.clone()).collect();
        groups.iter().for_each(|group| self.notices.notice(group.clone()));
        let described = self.described(&groups, received_at).await;
        let is_done = |group: &Option<GroupName>| group.as_ref().is_none_or(|group| described.contains(group));
        let done: Vec<_> = messages.into_iter().filter(|(group, _)| is_done(group)).map(|(_, handle)| handle).collect();
        if done.is_empty() {
            return;
        }
        // What could not be deleted comes again, and does no harm.
        if let Err(because) = self.queue.delete(&done).await {
            self.failed("deleted from", &because);
        }
    }

    /// The gated group that a message is about; `None` for what is to be deleted at once.
    fn sorted(&self, message: &Message) -> Option<GroupName> {
        let (kind, group) = match read(&message.body) {
            Notice::Of(group) if self.gated.contains(&group) => ("lifecycle", Some(group)),
            Notice::Of(_) | Notice::Foreign => ("foreign", None),
            Notice::Test => ("test", None),
            Notice::Malformed => {
                let body: String = text::visible(&message.body).chars().take(LOGGED_CHARS_MAX).collect();
                tracing::warn!(body, "a message in the queue of notices cannot be read, and is deleted");
                ("malformed", None)
            }
        };
        self.metrics.notices.get_or_create(&Kind { kind }).inc();
        group
    }

    /// Those that were described by a question asked since, waiting for all of them for a while.
    async fn described(&mut self, groups: &BTreeSet<GroupName>, since: Timestamp) -> BTreeSet<GroupName> {
        let is_described = |snapshot: &Snapshot, group: &GroupName| {
            snapshot.observed.groups.get(group).is_some_and(|group| group.asked_at >= Some(since))
        };
        let all = self.snapshots.wait_for(|snapshot| groups.iter().all(|group| is_described(snapshot, group)));
        // In time or not: what is described then is what counts.
        let _ = tokio::time::timeout(self.patience.described_within, all).await;
        let snapshot = Arc::clone(&self.snapshots.borrow());
        groups.iter().filter(|group| is_described(&snapshot, group)).cloned().collect()
    }

    fn failed(&self, done: &str, because: &str) {
        if self.reached(false) {
            tracing::warn!(because, "the queue of notices cannot be {done}: descriptions go on without it");
        }
    }

    /// Notes whether it can be reached; tells whether that is news.
    fn reached(&self, reached: bool) -> bool {
        if !reached {
            self.metrics.notice_queue_failures.inc();
        }
        self.metrics.notice_queue_reached.set(i64::from(reached)) != i64::from(reached)
    }
}

fn read(body: &str) -> Notice {
    let Ok(Value::Object(mut message)) = serde_json::from_str(body) else { return Notice::Malformed };
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    if message.get("Type").and_then(Value::as_str) == Some("Notification") {
        let inner = message.get("Message").and_then(text).and_then(|inner| serde_json::from_str(&inner).ok());
        let Some(Value::Object(inner)) = inner else { return Notice::Malformed };
        message = inner;
    }
    if message.get("Event").and_then(Value::as_str) == Some("autoscaling:TEST_NOTIFICATION") {
        return Notice::Test;
    }
    let about = match (message.get("source").and_then(Value::as_str), message.get("detail")) {
        (Some("aws.autoscaling"), Some(detail)) => detail.get(GROUP),
        (Some(_), Some(_)) => return Notice::Foreign,
        _ => message.get(GROUP),
    };
    about.and_then(text).map_or(Notice::Malformed, |name| Notice::Of(GroupName(name)))
}

const GROUP: &str = "AutoScalingGroupName";
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Enough to see what it is.
const LOGGED_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
