//! Root volume replacement: the same instance id with new content.
//!
//! An instance refresh may do this instead of launching. The *terminating* hooks hold the old content first
//! (`ReplacingRootVolume:Wait`); the new content then waits in an ordinary `Pending:Wait`.

use super::Cloud;
use super::group::Transition;
use super::lifecycle::Termination;
use super::state::LifecycleState as State;
use crate::error::ApiError;
use crate::event::What;

impl Cloud {
    /// Replaces an instance's root volume, from the group's present launch template. Only in service.
    pub fn replace_root_volume(&mut self, id: &str) -> Result<(), ApiError> {
        let instance = self.managed(id)?;
        if instance.state != State::InService {
            return Err(ApiError::validation(format!("The instance {id} is not in InService.")));
        }
        let group = instance.group.clone();
        let drains = self.deregister_everywhere(id);
        let cause = "an instance refresh replaced the root volume of an instance.";
        let text = format!("Replacing root volume of EC2 instance: {id}");
        let activity = self.begin_activity(&group, text, cause, "InProgress");
        if let Some(instance) = self.instances.get_mut(id) {
            instance.registered = false;
            instance.activity = Some(activity);
        }
        self.enter(id, State::ReplacingRootVolume, Some(if drains { self.options.delays.drain_ms } else { 0 }));
        Ok(())
    }

    /// Out of traffic: the terminating hooks come first.
    pub(crate) fn root_volume_drained(&mut self, id: &str) {
        if !self.begin_waits(id, Transition::Terminating) {
            self.enter(id, State::ReplacingRootVolumeProceed, Some(self.options.delays.proceed_ms));
        }
    }

    /// The new content is in place; it boots, and the launch hooks hold it like any launch.
    pub(crate) fn root_volume_replaced(&mut self, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if let Some(group) = self.groups.get(&instance.group) {
            instance.launch_template.clone_from(&group.launch_template);
            instance.launch_configuration.clone_from(&group.launch_configuration);
        }
        self.enter(id, State::RootVolumeReplaced, None);
        if let Some(instance) = self.instance(id) {
            self.tell(What::RootVolumeReplaced { instance: Box::new(instance) });
        }
        self.enter(id, State::Pending, Some(self.options.delays.boot_ms));
    }

    /// An abandoned replacement ends the instance; its hooks have had their say.
    pub(crate) fn abandon_root_volume(&mut self, id: &str) {
        let Some(group) = self.instances.get(id).map(|instance| instance.group.clone()) else { return };
        let cause = "an instance was taken out of service in response to its lifecycle action being abandoned.";
        self.terminate(id, &Termination { cause: cause.into(), runs_hooks: false });
        self.reconcile(&group);
    }
}
