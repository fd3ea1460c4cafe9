//! Lifecycle hooks, and completing or prolonging the actions they begin.

use super::Operation;
use crate::error::ApiError;
use crate::model::{ActionResult, Cloud, Hook, Transition};
use crate::wire::{Params, Text, Xml, integer_in};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "PutLifecycleHook", run: put },
    Operation { name: "DeleteLifecycleHook", run: delete },
    Operation { name: "DescribeLifecycleHooks", run: describe },
    Operation { name: "DescribeLifecycleHookTypes", run: types },
    Operation { name: "CompleteLifecycleAction", run: complete },
    Operation { name: "RecordLifecycleActionHeartbeat", run: heartbeat },
];

/// Creates a hook or changes the given fields of one.
#[derive(Clone, Debug, Default)]
pub struct PutLifecycleHook {
    /// The hook.
    pub name: String,
    /// What it holds; needed at creation.
    pub transition: Option<Transition>,
    /// 30 to 7200 seconds; 3600 at creation unless given.
    pub heartbeat_timeout_s: Option<i64>,
    /// ABANDON at creation unless given.
    pub default_result: Option<ActionResult>,
    /// Given in notices.
    pub metadata: Option<String>,
    /// Kept and described; nothing is sent to it.
    pub notification_target: Option<String>,
    /// Kept and described.
    pub role: Option<String>,
}

/// Names a lifecycle action in progress.
#[derive(Clone, Debug, Default)]
pub struct LifecycleAction {
    /// The group.
    pub group: String,
    /// The hook.
    pub hook: String,
    /// The instance; it or the token must be given.
    pub instance: Option<String>,
    /// The token; it or the instance must be given.
    pub token: Option<String>,
}

impl Cloud {
    /// `PutLifecycleHook`. A new hook misses instances that were launched before it; a changed `DefaultResult` counts
    /// for those that wait already.
    pub fn put_lifecycle_hook(&mut self, group: &str, request: &PutLifecycleHook) -> Result<(), ApiError> {
        let hooks = &self.group(group)?.hooks;
        let hook = request.applied_to(hooks.get(&request.name))?;
        if !hooks.contains_key(&hook.name) && hooks.len() >= HOOKS_MAX {
            return Err(ApiError::sender(
                "LimitExceeded",
                format!("A group cannot have more than {HOOKS_MAX} lifecycle hooks."),
            ));
        }
        if hook.notification_target.is_some() {
            self.notify_test(group, &hook);
        }
        self.group_mut(group)?.hooks.insert(hook.name.clone(), hook);
        Ok(())
    }

    /// `DeleteLifecycleHook`: abandons every launch that waits for it.
    pub fn delete_lifecycle_hook(&mut self, group: &str, hook: &str) -> Result<(), ApiError> {
        if self.group_mut(group)?.hooks.remove(hook).is_none() {
            return Err(ApiError::validation(format!(
                "No Lifecycle Hook found with name {hook} for AutoScalingGroup {group}"
            )));
        }
        self.hook_deleted(group, hook);
        Ok(())
    }

    /// `DescribeLifecycleHooks`: all, or those of the given names that exist.
    pub fn describe_lifecycle_hooks(&self, group: &str, names: &[String]) -> Result<Vec<Hook>, ApiError> {
        let hooks = self.group(group)?.hooks.values();
        Ok(hooks.filter(|hook| names.is_empty() || names.contains(&hook.name)).cloned().collect())
    }

    /// `CompleteLifecycleAction`. Not idempotent: a second call finds no active action.
    pub fn complete_lifecycle_action(
        &mut self,
        action: &LifecycleAction,
        result: ActionResult,
    ) -> Result<(), ApiError> {
        let id = self.find_action(action)?;
        self.end_wait(&id, &action.hook, result, crate::model::EndedBy::Call);
        Ok(())
    }

    /// `RecordLifecycleActionHeartbeat`: restarts the heartbeat timer, not the global one.
    pub fn record_lifecycle_action_heartbeat(&mut self, action: &LifecycleAction) -> Result<(), ApiError> {
        let id = self.find_action(action)?;
        if let Some(hook) = self.group(&action.group)?.hooks.get(&action.hook).cloned() {
            self.heartbeat(&id, &hook);
        }
        Ok(())
    }

    /// The instance whose action this is.
    fn find_action(&self, action: &LifecycleAction) -> Result<String, ApiError> {
        self.group(&action.group)?;
        if action.instance.is_none() && action.token.is_none() {
            return Err(ApiError::validation("Either InstanceId or LifecycleActionToken must be specified"));
        }
        // A ticking action that AWS has not caught up with yet is not found, though it is shown as waiting.
        let known_ms = self.now_ms.saturating_sub(self.faults.action_lag_ms());
        let mut members = self.instances.values().filter(|instance| instance.group == action.group);
        let found = members.find(|instance| {
            action.instance.as_ref().is_none_or(|id| *id == instance.id)
                && instance.waits.get(&action.hook).is_some_and(|wait| {
                    wait.started_ms <= known_ms && action.token.as_ref().is_none_or(|token| *token == wait.token)
                })
        });
        found.map(|instance| instance.id.clone()).ok_or_else(|| action.not_active())
    }
}

impl LifecycleAction {
    fn not_active(&self) -> ApiError {
        let which = match (&self.token, &self.instance) {
            (Some(token), _) => format!("token {token}"),
            (None, id) => format!("instance ID {}", id.as_deref().unwrap_or_default()),
        };
        ApiError::validation(format!("No active Lifecycle Action found with {which}"))
    }

    fn parse(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            group: params.required_limited("AutoScalingGroupName", &GROUP_OR_ARN)?,
            hook: params.required_limited("LifecycleHookName", &Text::HOOK)?,
            instance: params.limited("InstanceId", &Text::INSTANCE)?.map(str::to_owned),
            token: params.limited("LifecycleActionToken", &Text::TOKEN)?.map(str::to_owned),
        })
    }
}

impl PutLifecycleHook {
    /// The hook that results, on top of the one there is.
    pub(super) fn applied_to(&self, old: Option<&Hook>) -> Result<Hook, ApiError> {
        Text::HOOK.check("LifecycleHookName", &self.name)?;
        let transition = self.transition.or(old.map(|hook| hook.transition));
        let transition = transition
            .ok_or_else(|| ApiError::validation("LifecycleTransition is required when creating a lifecycle hook"))?;
        let timeout_s = self.heartbeat_timeout_s.map(heartbeat_timeout).transpose()?;
        let given = |new: &Option<String>, old: Option<&Option<String>>| new.clone().or(old.cloned().flatten());
        Ok(Hook {
            name: self.name.clone(),
            transition,
            heartbeat_timeout_s: timeout_s
                .or(old.map(|h| h.heartbeat_timeout_s))
                .unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT_S),
            default_result: self.default_result.or(old.map(|h| h.default_result)).unwrap_or(ActionResult::Abandon),
            metadata: given(&self.metadata, old.map(|hook| &hook.metadata)),
            notification_target: given(&self.notification_target, old.map(|hook| &hook.notification_target)),
            role: given(&self.role, old.map(|hook| &hook.role)),
        })
    }

    pub(super) fn parse(params: &Params) -> Result<Self, ApiError> {
        let owned = |name, limits| Ok(params.limited(name, limits)?.map(str::to_owned));
        Ok(Self {
            name: params.required_limited("LifecycleHookName", &Text::HOOK)?,
            transition: params.text("LifecycleTransition").map(transition).transpose()?,
            heartbeat_timeout_s: params.integer("HeartbeatTimeout")?,
            default_result: params.text("DefaultResult").map(|word| result("DefaultResult", word)).transpose()?,
            metadata: owned("NotificationMetadata", &Text::METADATA)?,
            notification_target: owned("NotificationTargetARN", &NOTIFICATION_TARGET)?,
            role: owned("RoleARN", &Text::NAME)?,
        })
    }
}

fn heartbeat_timeout(seconds: i64) -> Result<u32, ApiError> {
    integer_in("HeartbeatTimeout", seconds, HEARTBEAT_TIMEOUT_MIN_S, HEARTBEAT_TIMEOUT_MAX_S)
}

fn transition(word: &str) -> Result<Transition, ApiError> {
    let text = "Member must satisfy enum value set: \
                [autoscaling:EC2_INSTANCE_LAUNCHING, autoscaling:EC2_INSTANCE_TERMINATING]";
    Transition::parse(word).ok_or_else(|| ApiError::constraint(word, "LifecycleTransition", text))
}

fn result(name: &str, word: &str) -> Result<ActionResult, ApiError> {
    let text = "Member must satisfy enum value set: [CONTINUE, ABANDON]";
    ActionResult::parse(word).ok_or_else(|| ApiError::constraint(word, name, text))
}

fn put(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.put_lifecycle_hook(&params.group()?, &PutLifecycleHook::parse(params)?)
}

fn delete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.delete_lifecycle_hook(&params.group()?, &params.required_limited("LifecycleHookName", &Text::HOOK)?)
}

fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let (group, names) = (params.group()?, params.texts("LifecycleHookNames"));
    if names.len() > HOOKS_MAX {
        let text = format!("Member must have length less than or equal to {HOOKS_MAX}");
        return Err(ApiError::constraint(format!("{names:?}"), "LifecycleHookNames", &text));
    }
    let hooks = cloud.describe_lifecycle_hooks(&group, &names)?;
    xml.list("LifecycleHooks", &hooks, |xml, hook| {
        xml.text("LifecycleHookName", &hook.name);
        xml.text("AutoScalingGroupName", &group);
        xml.text("LifecycleTransition", hook.transition.as_str());
        xml.optional("NotificationTargetARN", hook.notification_target.as_ref());
        xml.optional("RoleARN", hook.role.as_ref());
        xml.optional("NotificationMetadata", hook.metadata.as_ref());
        xml.text("HeartbeatTimeout", hook.heartbeat_timeout_s);
        xml.text("GlobalTimeout", hook.global_timeout_s());
        xml.text("DefaultResult", hook.default_result.as_str());
    });
    Ok(())
}

fn types(_: &mut Cloud, _: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let all = [Transition::Launching, Transition::Terminating];
    xml.texts("LifecycleHookTypes", all.map(Transition::as_str));
    Ok(())
}

fn complete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let result = result("LifecycleActionResult", params.required("LifecycleActionResult")?)?;
    cloud.complete_lifecycle_action(&LifecycleAction::parse(params)?, result)
}

fn heartbeat(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.record_lifecycle_action_heartbeat(&LifecycleAction::parse(params)?)
}

/// `ResourceName`: these two calls alone take longer names.
const GROUP_OR_ARN: Text = Text { min: 1, max: 1_600, pattern: None };

/// `NotificationTargetResourceName`; empty takes a target away.
const NOTIFICATION_TARGET: Text = Text { min: 0, max: 255, pattern: None };

/// Hooks per group: AWS's quota.
const HOOKS_MAX: usize = 50;

/// AWS's limits and default for HeartbeatTimeout.
const HEARTBEAT_TIMEOUT_MIN_S: u32 = 30;
const HEARTBEAT_TIMEOUT_MAX_S: i64 = 7_200;
const HEARTBEAT_TIMEOUT_DEFAULT_S: u32 = 3_600;
