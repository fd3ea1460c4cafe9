//! Instance refresh: every instance from before it is replaced, one at a time, the old one first.

use super::lifecycle::Termination;
use super::state::LifecycleState as State;
use super::{Cloud, Due};

/// One refresh of a group.
#[derive(Clone, Debug)]
pub struct InstanceRefresh {
    /// Its id.
    pub id: String,
    /// `InProgress`, `Successful`, `Failed` or `Cancelled`.
    pub status: &'static str,
    /// Why it waits or ended, for people.
    pub reason: Option<&'static str>,
    /// What becomes of instances that are protected from scale-in.
    pub protected: ForProtected,
    /// When it began, in milliseconds.
    pub started_ms: u64,
    /// When it ended, in milliseconds.
    pub ended_ms: Option<u64>,
    /// How many it has to replace.
    pub to_update: usize,
    pub(crate) waits_since_ms: Option<u64>,
}

/// What a refresh does about instances that are protected from scale-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForProtected {
    /// Waits an hour for them, and fails.
    #[default]
    Wait,
    /// Leaves them as they are.
    Ignore,
    /// Replaces them too.
    Refresh,
}

impl ForProtected {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "Wait",
            Self::Ignore => "Ignore",
            Self::Refresh => "Refresh",
        }
    }

    /// From AWS's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Wait, Self::Ignore, Self::Refresh].into_iter().find(|known| known.as_str() == word)
    }
}

impl Cloud {
    /// Takes the next step of the refresh under way, when all that are wanted serve.
    pub(crate) fn refresh(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(mut refresh) = group.refreshes.last().filter(|refresh| refresh.ended_ms.is_none()).cloned() else {
            return;
        };
        let serving = self.counted(name).filter(|instance| instance.state == State::InService).count();
        if serving < group.desired as usize {
            return;
        }
        let old = self.counted(name).filter(|instance| instance.launched_ms < refresh.started_ms);
        let old: Vec<_> = old.filter(|old| !old.protected || refresh.protected != ForProtected::Ignore).collect();
        let next = old.iter().find(|old| !old.protected || refresh.protected == ForProtected::Refresh);
        let next = next.map(|instance| instance.id.clone());
        refresh.to_update = old.len();
        (refresh.reason, refresh.waits_since_ms) = match (old.len(), &next) {
            (1.., None) => (Some(WAITS), refresh.waits_since_ms.or(Some(self.now_ms))),
            _ => (None, None),
        };
        if old.is_empty() {
            refresh.end("Successful", None, self.now_ms);
        } else if let Some(ends_ms) = refresh.waits_since_ms.map(|since_ms| since_ms + WAIT_MAX_MS) {
            if self.now_ms >= ends_ms {
                refresh.end("Failed", Some(WAITS), self.now_ms);
            } else {
                self.wake(ends_ms, Due::Group(name.to_owned()));
            }
        }
        if let Some(kept) = self.groups.get_mut(name).and_then(|group| group.refreshes.last_mut()) {
            *kept = refresh;
        }
        if let Some(id) = next {
            let cause = "an instance was taken out of service in response to an instance refresh.";
            self.terminate(&id, &Termination { cause: cause.into(), runs_hooks: true });
            self.reconcile(name);
        }
    }
}

impl InstanceRefresh {
    pub(crate) fn end(&mut self, status: &'static str, reason: Option<&'static str>, now_ms: u64) {
        (self.status, self.reason, self.ended_ms) = (status, reason, Some(now_ms));
    }
}

const WAITS: &str = "Waiting for instances that are protected from scale in.";

/// AWS gives up after about an hour without progress.
const WAIT_MAX_MS: u64 = 3_600_000;
