//! What happened, in order, for tests and drills to watch. AWS has no such log; it is not part of its API.

use std::collections::VecDeque;

use serde::Serialize;

use crate::model::{InstanceView, LifecycleState, TargetState};

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Counts up by one from 1; never reused.
    pub sequence: u64,
    /// The simulated time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub what: What,
}

/// The kinds of event.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A call was answered. `code` is the error's code, or `None` when it was accepted.
    Called {
        /// The API action.
        action: String,
        /// The group it names, if it names one.
        group: Option<String>,
        /// The instances it names.
        instances: Vec<String>,
        /// For `CompleteLifecycleAction`: CONTINUE or ABANDON.
        result: Option<String>,
        /// The error's code when it was refused.
        code: Option<&'static str>,
        /// The id of the access key that signed it.
        signer: Option<String>,
    },
    /// An instance was launched: start its programs.
    Launched {
        /// The instance as it is in this moment.
        instance: Box<InstanceView>,
    },
    /// An instance has a new root volume under its old id: start its programs anew.
    RootVolumeReplaced {
        /// The instance as it is in this moment.
        instance: Box<InstanceView>,
    },
    /// An instance's state changed. `to` being `Terminated` means that it is gone: end its programs.
    StateChanged {
        /// The instance.
        instance: String,
        /// Its group.
        group: String,
        /// The state it left.
        from: LifecycleState,
        /// The state it is in now.
        to: LifecycleState,
    },
    /// A lifecycle action ended.
    ActionEnded {
        /// The instance.
        instance: String,
        /// Its group.
        group: String,
        /// The hook.
        hook: String,
        /// CONTINUE or ABANDON.
        result: &'static str,
        /// `completed`, `heartbeat_timeout`, `global_timeout` or `hook_deleted`.
        by: &'static str,
    },
    /// A target's health changed; `to` is `None` once it is no longer registered.
    TargetChanged {
        /// The target group's ARN.
        target_group: String,
        /// The target, normally an instance id.
        target: String,
        /// What it is now.
        to: Option<TargetState>,
    },
    /// A notice as EventBridge would deliver it.
    Notice {
        /// The whole notice.
        notice: serde_json::Value,
    },
}

/// Events from a number on.
#[derive(Clone, Debug, Serialize)]
pub struct Events {
    /// The events, oldest first, at most [`EVENTS_PAGE_MAX`].
    pub events: Vec<Event>,
    /// Ask from here next time.
    pub next: u64,
    /// True when events that were asked for have been forgotten.
    pub gap: bool,
}

/// A bounded log of events.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventLog {
    kept: VecDeque<Event>,
    last: u64,
}

impl EventLog {
    /// Adds an event; the oldest is forgotten when the log is full.
    pub(crate) fn push(&mut self, at_ms: u64, what: What) {
        self.last += 1;
        if self.kept.len() == EVENTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Event { sequence: self.last, at_ms, what });
    }

    /// The number of the newest event; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Events with a number greater than `after`.
    pub(crate) fn since(&self, after: u64) -> Events {
        let first = self.kept.front().map_or(self.last + 1, |event| event.sequence);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = self.kept.iter().skip(skip).take(EVENTS_PAGE_MAX).cloned().collect();
        let next = events.last().map_or(after, |event| event.sequence);
        Events { events, next, gap: after + 1 < first }
    }
}

/// Events kept: hours of a busy drill, some tens of megabytes at the worst.
pub const EVENTS_MAX: usize = 100_000;

/// Events in one answer.
pub const EVENTS_PAGE_MAX: usize = 1_000;
