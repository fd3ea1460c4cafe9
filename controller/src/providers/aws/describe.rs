//! Describing groups: what is asked of all at once, and what AWS tells of one group a call.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleHook, ScalingActivityStatusCode};
use portcullis::{
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Custody, GroupFacts, Hook, InstanceFacts},
    text,
};
use tokio::task::JoinSet;

use super::{
    super::{Facts, Finder, Found},
    AwsProvider, answer_of, template,
};

/// One description that is under way: what its groups have in common.
#[derive(Debug, Clone)]
pub(super) struct Look {
    finder: Finder,
    /// Whether a balancer did not answer in time.
    pub(super) hangs: Arc<AtomicBool>,
}

impl Look {
    pub(super) fn new(finder: Finder) -> Self {
        Self { finder, hangs: Arc::default() }
    }

    /// Whatever is missing for want of this answer, nobody waits for it; but one budget is for all calls.
    pub(super) async fn does_without(&self, call: &str, of: &str, answer: &Answer) {
        tracing::warn!(call, of, answer = crate::act::in_words(answer), "a description does without it");
        if *answer == Answer::Throttled {
            let _ = self.finder.send(Found::Throttled).await.is_ok();
        }
    }

    /// Nobody is left to hear it when time is over: that is as good.
    async fn tell(&self, name: GroupName, facts: Facts) {
        let _ = self.finder.send(Found::Group(name, facts)).await.is_ok();
    }
}

impl AwsProvider {
    /// A few groups at a time. One of which the cloud is slow to speak keeps its place, and nobody else from theirs.
    pub(super) async fn describe_all(&self, groups: &[GroupName], look: Look) {
        let mut under_way = JoinSet::new();
        for chunk in groups.chunks(NAMES_MAX) {
            let mut found = match self.groups(chunk).await {
                Ok(found) => found,
                Err(answer) => {
                    for name in chunk {
                        look.tell(name.clone(), Err(answer.clone())).await;
                    }
                    continue;
                }
            };
            for name in chunk {
                if under_way.len() == GROUPS_AT_ONCE {
                    drop(under_way.join_next().await);
                }
                let (this, look, name, group) = (self.clone(), look.clone(), name.clone(), found.remove(name));
                under_way.spawn(async move {
                    let facts = this.describe_one(&name, group, &look).await;
                    look.tell(name, facts).await;
                });
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn describe_one(&self, name: &GroupName, group: Option<AutoScalingGroup>, look: &Look) -> Facts {
        let Some(group) = group else { return Ok(None) };
        let (hooks, warm) = (self.hooks(name).await?, self.warm_pool(name, &group).await?);
        let facts = facts(&group, &warm, hooks);
        let facts = self.with_health(group.target_group_arns(), facts, look).await;
        let facts = self.with_activities(name, facts, look).await;
        Ok(Some(self.with_refresh(name, facts, look).await))
    }

    /// The groups of these names, page by page.
    pub(super) async fn groups(&self, names: &[GroupName]) -> Result<BTreeMap<GroupName, AutoScalingGroup>, Answer> {
        let names = names.iter().map(|name| name.0.clone()).collect();
        let request = self.client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(names));
        let mut pages = request.into_paginator().send();
        let mut found = BTreeMap::new();
        while let Some(page) = pages.next().await {
            for group in page.map_err(|error| answer_of(&error))?.auto_scaling_groups.unwrap_or_default() {
                let name = GroupName::from(group.auto_scaling_group_name().unwrap_or_default());
                found.insert(name, group);
            }
        }
        Ok(found)
    }

    /// Why launches failed, in the cloud's words; asked for only while too few serve. That it is not told is no reason to know
    /// nothing of the group.
    async fn with_activities(&self, name: &GroupName, facts: GroupFacts, look: &Look) -> GroupFacts {
        if !facts.is_short() {
            return facts;
        }
        let request = self.client.describe_scaling_activities().auto_scaling_group_name(&name.0);
        let sent = match request.max_records(ACTIVITIES_LOOKED_AT).send().await {
            Ok(sent) => sent,
            Err(error) => {
                look.does_without("DescribeScalingActivities", name.as_str(), &answer_of(&error)).await;
                return facts;
            }
        };
        let mut activities = Vec::new();
        for activity in sent.activities() {
            let failed = matches!(activity.status_code(), Some(ScalingActivityStatusCode::Failed));
            let said = activity.status_message().filter(|said| failed && !said.is_empty());
            if let Some(said) =
                said.map(|said| text::visible(said).chars().take(ACTIVITY_CHARS_MAX).collect::<String>())
                && !activities.contains(&said)
            {
                activities.push(said);
            }
        }
        activities.truncate(ACTIVITIES_KEPT);
        GroupFacts { activities, ..facts }
    }

    /// The instances of its warm pool, which the group itself does not list. Not to know them is not to know the group: absence
    /// would end their waits.
    async fn warm_pool(&self, name: &GroupName, group: &AutoScalingGroup) -> Result<Vec<Instance>, Answer> {
        let mut instances = Vec::new();
        if group.warm_pool_configuration().is_some() {
            let mut pages = self.client.describe_warm_pool().auto_scaling_group_name(&name.0).into_paginator().send();
            while let Some(page) = pages.next().await {
                instances.extend(page.map_err(|error| answer_of(&error))?.instances.unwrap_or_default());
            }
        }
        Ok(instances)
    }

    async fn hooks(&self, group: &GroupName) -> Result<Vec<Hook>, Answer> {
        let sent = self.client.describe_lifecycle_hooks().auto_scaling_group_name(&group.0).send().await;
        let hooks = sent.map_err(|error| answer_of(&error))?.lifecycle_hooks.unwrap_or_default();
        Ok(hooks.iter().filter(|hook| hook.lifecycle_transition() == Some(LAUNCHING)).map(hook_of).collect())
    }
}

fn facts(group: &AutoScalingGroup, warm: &[Instance], launch_hooks: Vec<Hook>) -> GroupFacts {
    GroupFacts {
        desired: group.desired_capacity().and_then(|desired| u32::try_from(desired).ok()).unwrap_or(0),
        launch_hooks,
        suspended: group.suspended_processes().iter().filter_map(|one| one.process_name().map(Into::into)).collect(),
        instances: group.instances().iter().chain(warm).filter_map(instance_of).collect(),
        activities: Vec::new(),
        launch_template: template::of_group(group),
        custody: Custody::AtLaunch,
        unseen: Vec::new(),
        refresh: None,
    }
}

fn instance_of(instance: &Instance) -> Option<InstanceFacts> {
    let template = instance.launch_template().map(|template| {
        let name = template.launch_template_id().or(template.launch_template_name()).unwrap_or_default();
        format!("{name}:{}", template.version().unwrap_or_default())
    });
    Some(InstanceFacts {
        instance: InstanceId::from(instance.instance_id()?),
        state: LifecycleState::from(instance.lifecycle_state().map_or("", |state| state.as_str()).to_string()),
        launch_template: template.or_else(|| instance.launch_configuration_name().map(Into::into)),
        protected: instance.protected_from_scale_in().unwrap_or(false),
        healthy: None,
    })
}

/// AWS's defaults stand in for what a hook does not say: 3600 s, ABANDON.
pub(super) fn hook_of(hook: &LifecycleHook) -> Hook {
    let seconds = |given: Option<i32>, default| given.and_then(|given| u64::try_from(given).ok()).unwrap_or(default);
    let heartbeat_timeout_s = seconds(hook.heartbeat_timeout(), 3_600);
    Hook {
        name: hook.lifecycle_hook_name().unwrap_or_default().into(),
        heartbeat_timeout_s,
        global_timeout_s: seconds(hook.global_timeout(), (100 * heartbeat_timeout_s).min(48 * 3_600)),
        abandons_by_default: hook.default_result() != Some("CONTINUE"),
    }
}

/// The newest come first.
const ACTIVITIES_LOOKED_AT: i32 = 10;
/// Different ones.
const ACTIVITIES_KEPT: usize = 3;
/// AWS's own sentences are shorter.
const ACTIVITY_CHARS_MAX: usize = 300;
/// With five calls of a tenth of a second each, a hundred groups take some seconds; many more at a time would be the burst that AWS
/// throttles, and all of them may hang, each for as long as a call may take.
const GROUPS_AT_ONCE: usize = 8;
/// AWS takes up to 50 names unless told otherwise.
pub(super) const NAMES_MAX: usize = 50;
pub(super) const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_have_the_clouds_defaults() {
        let hook = hook_of(&LifecycleHook::builder().lifecycle_hook_name("h").heartbeat_timeout(7_200).build());
        assert_eq!((hook.heartbeat_timeout_s, hook.global_timeout_s, hook.abandons_by_default), (7_200, 172_800, true));
    }
}
