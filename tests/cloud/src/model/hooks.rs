//! Lifecycle actions: begun, kept alive, ended by a word, a timer or the deletion of their hook.

use super::group::{ActionResult, Hook, Transition};
use super::instance::Wait;
use super::state::LifecycleState as State;
use super::{Cloud, Due};
use crate::event::What;

/// What ended a lifecycle action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndedBy {
    Call,
    HeartbeatTimeout,
    GlobalTimeout,
    HookDeleted,
}

impl EndedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "completed",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::GlobalTimeout => "global_timeout",
            Self::HookDeleted => "hook_deleted",
        }
    }

    /// The end of AWS's text for an abandoned launch.
    const fn abandon_text(self) -> &'static str {
        match self {
            Self::Call | Self::HookDeleted => "Lifecycle Action Completed with ABANDON Result",
            Self::HeartbeatTimeout | Self::GlobalTimeout => "Heartbeat Timeout",
        }
    }
}

impl Cloud {
    /// Holds the instance for every hook of this kind; false when there is none.
    pub(crate) fn begin_waits(&mut self, id: &str, transition: Transition) -> bool {
        let Some(instance) = self.instances.get(id) else { return false };
        let Some(group) = self.groups.get(&instance.group) else { return false };
        let hooks: Vec<Hook> = group.hooks.values().filter(|hook| hook.transition == transition).cloned().collect();
        if hooks.is_empty() {
            return false;
        }
        let (state, activity) = (waiting_state(instance.state, transition), instance.activity.clone());
        if let Some(activity) = activity {
            self.activities.update(&activity, |activity| {
                (activity.status, activity.progress) = ("MidLifecycleAction", PROGRESS_WAITING);
            });
        }
        self.enter(id, state, None);
        for hook in &hooks {
            self.begin_wait(id, hook);
        }
        true
    }

    fn begin_wait(&mut self, id: &str, hook: &Hook) {
        let wait = Wait {
            hook: hook.name.clone(),
            token: self.random.uuid(),
            started_ms: self.now_ms,
            heartbeat_ends_ms: self.now_ms + u64::from(hook.heartbeat_timeout_s) * 1_000,
            global_ends_ms: self.now_ms + u64::from(hook.global_timeout_s()) * 1_000,
        };
        self.wake(wait.ends_ms(), Due::Instance(id.to_owned()));
        self.notify(id, hook, &wait);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.waits.insert(hook.name.clone(), wait);
        }
    }

    /// Restarts the heartbeat timer of a lifecycle action; the global one runs on.
    pub(crate) fn heartbeat(&mut self, id: &str, hook: &Hook) {
        let now_ms = self.now_ms;
        let Some(wait) = self.instances.get_mut(id).and_then(|instance| instance.waits.get_mut(&hook.name)) else {
            return;
        };
        wait.heartbeat_ends_ms = now_ms + u64::from(hook.heartbeat_timeout_s) * 1_000;
        let ends_ms = wait.ends_ms();
        self.wake(ends_ms, Due::Instance(id.to_owned()));
    }

    /// Gives every action whose timer ended its hook's default result.
    pub(crate) fn expire_waits(&mut self, id: &str) {
        let Some(instance) = self.instances.get(id) else { return };
        let ended: Vec<Wait> = instance.waits.values().filter(|wait| wait.ends_ms() <= self.now_ms).cloned().collect();
        let group = instance.group.clone();
        for wait in ended {
            // The default is read now, not when the wait began: changing it is a way out for held instances.
            let hook = self.groups.get(&group).and_then(|group| group.hooks.get(&wait.hook));
            let result = hook.map_or(ActionResult::Abandon, |hook| hook.default_result);
            let by =
                if wait.global_ends_ms <= self.now_ms { EndedBy::GlobalTimeout } else { EndedBy::HeartbeatTimeout };
            self.end_wait(id, &wait.hook, result, by);
        }
    }

    /// Ends one lifecycle action. A launch leaves `Pending:Wait` when all are done, or at the first ABANDON.
    pub(crate) fn end_wait(&mut self, id: &str, hook: &str, result: ActionResult, by: EndedBy) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(wait) = instance.waits.remove(hook) else { return };
        let (state, group) = (instance.state, instance.group.clone());
        let left = instance.waits.len();
        self.tell(What::ActionEnded {
            instance: id.to_owned(),
            group,
            hook: hook.to_owned(),
            result: result.as_str(),
            by: by.as_str(),
        });
        match (state, result) {
            (State::PendingWait | State::WarmedPendingWait, ActionResult::Abandon) => {
                self.abandon_launch(id, &wait.token, by.abandon_text());
            }
            (State::ReplacingRootVolumeWait, ActionResult::Abandon) => self.abandon_root_volume(id),
            (_, ActionResult::Continue) if left > 0 => {}
            _ => self.proceed(id, state),
        }
    }

    /// Leaves a waiting state for the one after it.
    fn proceed(&mut self, id: &str, from: State) {
        let to = match from {
            State::PendingWait => State::PendingProceed,
            State::TerminatingWait => State::TerminatingProceed,
            State::ReplacingRootVolumeWait => State::ReplacingRootVolumeProceed,
            State::WarmedPendingWait => State::WarmedPendingProceed,
            State::WarmedTerminatingWait => State::WarmedTerminatingProceed,
            // No other state holds a wait.
            _ => return,
        };
        if let Some(instance) = self.instances.get_mut(id) {
            instance.waits.clear();
        }
        self.enter(id, to, Some(self.options.delays.proceed_ms));
    }

    /// A deleted hook abandons what it holds.
    pub(crate) fn hook_deleted(&mut self, group: &str, hook: &str) {
        let held = self.instances.values().filter(|instance| instance.group == group);
        let held = held.filter(|instance| instance.waits.contains_key(hook));
        for id in held.map(|instance| instance.id.clone()).collect::<Vec<_>>() {
            self.end_wait(&id, hook, ActionResult::Abandon, EndedBy::HookDeleted);
        }
    }
}

/// Where an instance waits that is now in `state`.
const fn waiting_state(state: State, transition: Transition) -> State {
    match (state, transition) {
        (State::WarmedPending, _) => State::WarmedPendingWait,
        (State::WarmedTerminating, _) => State::WarmedTerminatingWait,
        (State::ReplacingRootVolume, _) => State::ReplacingRootVolumeWait,
        (_, Transition::Launching) => State::PendingWait,
        (_, Transition::Terminating) => State::TerminatingWait,
    }
}

/// The progress that AWS shows for a launch held at a hook.
const PROGRESS_WAITING: u8 = 60;
