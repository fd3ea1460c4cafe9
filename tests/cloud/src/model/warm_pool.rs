//! Warm pools: instances prepared ahead. The launch hook fires twice, once on the way into the pool
//! (`Warmed:Pending:Wait`) and once more, perhaps days later, on the way into service (`Pending:Wait`).

use super::Cloud;
use super::group::Group;
use super::instance::Instance;
use super::lifecycle::Termination;
use super::state::LifecycleState as State;
use crate::error::ApiError;

/// A group's warm pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmPool {
    /// The fewest instances in the pool.
    pub min: u32,
    /// The most instances of the group and the pool together; `None` is the group's maximum.
    pub prepared_max: Option<u32>,
    /// The state that instances rest in.
    pub rests: Rests,
    /// It is being emptied, and gone after that.
    pub deleting: bool,
}

/// The state that instances of a warm pool rest in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rests {
    /// Shut down; the default.
    #[default]
    Stopped,
    /// Running, out of service.
    Running,
    /// Asleep with its memory.
    Hibernated,
}

impl Rests {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Running => "Running",
            Self::Hibernated => "Hibernated",
        }
    }

    /// From AWS's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Stopped, Self::Running, Self::Hibernated].into_iter().find(|known| known.as_str() == word)
    }

    const fn state(self) -> State {
        match self {
            Self::Stopped => State::WarmedStopped,
            Self::Running => State::WarmedRunning,
            Self::Hibernated => State::WarmedHibernated,
        }
    }
}

impl WarmPool {
    /// The instances that the pool should hold.
    fn wanted(&self, group: &Group) -> usize {
        let spare = self.prepared_max.unwrap_or(group.max).saturating_sub(group.desired);
        if self.deleting { 0 } else { self.min.max(spare) as usize }
    }
}

impl Cloud {
    /// Fills or empties the pool, as the group's size leaves it.
    pub(crate) fn reconcile_pool(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(pool) = &group.warm_pool else { return };
        let (wanted, deleting) = (pool.wanted(group), pool.deleting);
        let pooled: Vec<String> = self.pooled(name).map(|instance| instance.id.clone()).collect();
        for _ in pooled.len()..wanted {
            if !self.may_launch(name) || !self.launch_or_fail(name, State::WarmedPending) {
                return;
            }
        }
        let cause = "an instance was taken out of the warm pool in response to a difference between desired and \
                     actual capacity.";
        for id in pooled.iter().skip(wanted) {
            self.terminate(id, &Termination { cause: cause.into(), runs_hooks: true });
        }
        let left = self.instances.values().any(|i| i.group == name && i.removed_ms.is_none() && i.state.is_warm());
        if let Some(group) = self.groups.get_mut(name).filter(|_| deleting && !left) {
            group.warm_pool = None;
        }
    }

    /// The instances in the pool or on their way into it.
    pub(crate) fn pooled(&self, name: &str) -> impl Iterator<Item = &Instance> {
        let present = self.instances.values().filter(|instance| instance.removed_ms.is_none());
        present.filter(move |i| i.group == name && i.state.is_warm() && !i.state.is_leaving())
    }

    /// An instance is prepared: it rests.
    pub(crate) fn warmed(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let (group, activity) = (instance.group.clone(), instance.activity.take());
        let now_ms = self.now_ms;
        if let Some(activity) = activity {
            self.activities.update(&activity, |activity| activity.end(now_ms, "Successful"));
        }
        let rests = self.groups.get(&group).and_then(|group| group.warm_pool.as_ref()).map(|pool| pool.rests);
        self.enter(id, rests.unwrap_or_default().state(), None);
        self.reconcile(&group);
    }

    /// Takes a resting instance towards service, if there is one. The launch hooks hold it once more.
    pub(crate) fn take_from_pool(&mut self, name: &str) -> bool {
        let Some(id) = self.pooled(name).find(|instance| instance.state.rests()).map(|instance| instance.id.clone())
        else {
            return false;
        };
        let cause = "an instance was taken from the warm pool in response to a difference between desired and \
                     actual capacity.";
        let text = format!("Launching a new EC2 instance from warm pool: {id}");
        let activity = self.begin_activity(name, text, cause, "PreInService");
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.activity = Some(activity);
        }
        self.enter(&id, State::Pending, Some(self.options.delays.boot_ms));
        true
    }

    /// `PutWarmPool`: makes or changes the pool.
    pub fn put_warm_pool(&mut self, group: &str, pool: &WarmPool) -> Result<(), ApiError> {
        let found = self.group_mut(group)?;
        if pool.prepared_max.is_some_and(|prepared_max| prepared_max < found.max) {
            let text = "MaxGroupPreparedCapacity must be greater than or equal to the group's MaxSize";
            return Err(ApiError::validation(text));
        }
        found.warm_pool = Some(WarmPool { deleting: false, ..pool.clone() });
        self.reconcile(group);
        Ok(())
    }

    /// `DeleteWarmPool`: its instances are terminated, by force without hooks.
    pub fn delete_warm_pool(&mut self, group: &str, force: bool) -> Result<(), ApiError> {
        let Some(pool) = &mut self.group_mut(group)?.warm_pool else {
            return Err(ApiError::validation(format!("No warm pool found for Auto Scaling group {group}")));
        };
        pool.deleting = true;
        let cause = "a user request deleted the warm pool.";
        for id in self.pooled(group).map(|instance| instance.id.clone()).collect::<Vec<_>>() {
            self.terminate(&id, &Termination { cause: cause.into(), runs_hooks: !force });
        }
        self.reconcile(group);
        Ok(())
    }
}

impl Default for WarmPool {
    /// As large as the group leaves room for, stopped.
    fn default() -> Self {
        Self { min: 0, prepared_max: None, rests: Rests::Stopped, deleting: false }
    }
}
