//! AWS Auto Scaling (AWS.md). Exactly one request a call: retry and backoff belong to the decision, so the SDK's are off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_autoscaling::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{AutoScalingGroup, Instance, LifecycleHook, ScalingActivityStatusCode},
};
use aws_smithy_http_client::tls::{Provider as TlsProvider, rustls_provider::CryptoMode};
use portcullis::{
    action::{Departure, Held},
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Custody, GroupFacts, Hook, InstanceFacts},
    record::Way,
    text,
};

use super::{Call, Described, Pending, Provider};
use crate::{clock::Clock, config::Aws, sources::lifecycle_queue::Queue};

mod examine;
mod health;
mod protection;
mod queue;
mod template;

/// The Auto Scaling API of one account and Region, and the load balancers'.
#[derive(Debug, Clone)]
pub struct AwsProvider {
    client: Client,
    balancing: aws_sdk_elasticloadbalancingv2::Client,
    queue: Option<queue::SqsQueue>,
    /// The groups whose instances are being replaced, as last asked for.
    refreshing: Arc<Mutex<BTreeSet<GroupName>>>,
}

impl AwsProvider {
    /// A client with credentials from the usual chain. `call_timeout` bounds each request as a whole.
    pub async fn connect(aws: &Aws, call_timeout: Duration) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(TlsProvider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(call_timeout.min(CONNECT_TIMEOUT))
            .operation_timeout(call_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &aws.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &aws.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        Self {
            client: Client::new(&config),
            balancing: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            queue: aws.lifecycle_queue_url.as_ref().map(|url| queue::SqsQueue::new(&config, url)),
            refreshing: Arc::default(),
        }
    }

    async fn describe_all(&self, groups: &[GroupName]) -> Described {
        let (mut all, hangs) = (Described::new(), AtomicBool::new(false));
        for chunk in groups.chunks(NAMES_MAX) {
            match self.groups(chunk).await {
                Ok(found) => all.extend(self.with_hooks(chunk, found, &hangs).await),
                Err(answer) => all.extend(chunk.iter().map(|name| (name.clone(), Err(answer.clone())))),
            }
        }
        all
    }

    /// The groups of these names, page by page.
    async fn groups(&self, names: &[GroupName]) -> Result<BTreeMap<GroupName, AutoScalingGroup>, Answer> {
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

    /// AWS gives the hooks of one group a call.
    async fn with_hooks(
        &self,
        names: &[GroupName],
        mut found: BTreeMap<GroupName, AutoScalingGroup>,
        hangs: &AtomicBool,
    ) -> Described {
        let mut all = Described::new();
        for name in names {
            let described = match found.remove(name) {
                Some(group) => match self.hooks_and_warm_pool(name, &group).await {
                    Ok((hooks, warm)) => {
                        let facts = facts(&group, &warm, hooks);
                        let facts = self.with_health(group.target_group_arns(), facts, hangs).await;
                        let facts = self.with_activities(name, facts).await;
                        Ok(Some(self.with_refresh(name, facts).await))
                    }
                    Err(answer) => Err(answer),
                },
                None => Ok(None),
            };
            all.insert(name.clone(), described);
        }
        all
    }

    /// Why launches failed, in the cloud's words; asked for only while too few serve. That it is not told is no reason to know
    /// nothing of the group.
    async fn with_activities(&self, name: &GroupName, facts: GroupFacts) -> GroupFacts {
        if !facts.is_short() {
            return facts;
        }
        let request = self.client.describe_scaling_activities().auto_scaling_group_name(&name.0);
        let Ok(sent) = request.max_records(ACTIVITIES_LOOKED_AT).send().await else { return facts };
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

    async fn hooks_and_warm_pool(
        &self,
        name: &GroupName,
        group: &AutoScalingGroup,
    ) -> Result<(Vec<Hook>, Vec<Instance>), Answer> {
        Ok((self.hooks(name).await?, self.warm_pool(name, group).await?))
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

    async fn complete(&self, held: &Held, result: &str) -> Answer {
        let request = self.client.complete_lifecycle_action().auto_scaling_group_name(&held.group.0);
        let request = request.lifecycle_hook_name(&held.hook).instance_id(&held.instance.0);
        accepted(request.lifecycle_action_result(result).send().await)
    }

    async fn heartbeat(&self, held: &Held) -> Answer {
        let request = self.client.record_lifecycle_action_heartbeat().auto_scaling_group_name(&held.group.0);
        accepted(request.lifecycle_hook_name(&held.hook).instance_id(&held.instance.0).send().await)
    }
}

/// An instance's way out of traffic and back.
///
/// `EnterStandby` takes it off the number that is wanted, and `ExitStandby` puts it back on, always: so nothing is launched in its
/// place, and the group is what it was when it comes back. (Without the first, every withdrawal would leave the group one larger, or
/// could not be undone at the maximum.) Where the group would get below its minimum, AWS refuses; the ruling says so.
impl AwsProvider {
    async fn enter_standby(&self, departure: &Departure) -> Answer {
        let request = self.client.enter_standby().auto_scaling_group_name(&departure.group.0);
        let request = request.instance_ids(&departure.instance.0).should_decrement_desired_capacity(true);
        accepted(request.send().await)
    }

    async fn exit_standby(&self, departure: &Departure) -> Answer {
        let request = self.client.exit_standby().auto_scaling_group_name(&departure.group.0);
        accepted(request.instance_ids(&departure.instance.0).send().await)
    }

    /// Whoever decided knows more than the grace period: it is for instances that have not come up yet.
    async fn replace(&self, departure: &Departure) -> Answer {
        let request = self.client.set_instance_health().instance_id(&departure.instance.0);
        accepted(request.health_status("Unhealthy").should_respect_grace_period(false).send().await)
    }
}

impl Provider for AwsProvider {
    fn describe<'a>(&'a self, groups: &'a [GroupName]) -> Pending<'a, Described> {
        Box::pin(self.describe_all(groups))
    }

    fn perform(&self, call: Call) -> Pending<'_, Answer> {
        Box::pin(async move {
            match &call {
                Call::Admit(held) => self.complete(held, "CONTINUE").await,
                Call::GiveUp(held) => self.complete(held, "ABANDON").await,
                Call::KeepWaiting(held) => self.heartbeat(held).await,
                Call::Withdraw(departure) => match departure.way {
                    Way::Standby => self.enter_standby(departure).await,
                    Way::Replace => self.replace(departure).await,
                },
                Call::Return(departure) => self.exit_standby(departure).await,
                Call::Protect(protection) => self.protect(protection).await,
            }
        })
    }

    fn queue(&self) -> Option<Arc<dyn Queue>> {
        self.queue.clone().map(|queue| Arc::new(queue) as Arc<dyn Queue>)
    }

    fn examine<'a>(
        &'a self,
        groups: &'a [(GroupName, String)],
        clock: &'a Clock,
    ) -> Pending<'a, Option<portcullis::doctor::Cloud>> {
        Box::pin(async move { Some(self.examine_all(groups, clock).await) })
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
fn hook_of(hook: &LifecycleHook) -> Hook {
    let seconds = |given: Option<i32>, default| given.and_then(|given| u64::try_from(given).ok()).unwrap_or(default);
    let heartbeat_timeout_s = seconds(hook.heartbeat_timeout(), 3_600);
    Hook {
        name: hook.lifecycle_hook_name().unwrap_or_default().into(),
        heartbeat_timeout_s,
        global_timeout_s: seconds(hook.global_timeout(), (100 * heartbeat_timeout_s).min(48 * 3_600)),
        abandons_by_default: hook.default_result() != Some("CONTINUE"),
    }
}

fn accepted<T, E: ProvideErrorMetadata + std::error::Error + 'static>(sent: Result<T, SdkError<E>>) -> Answer {
    sent.map_or_else(|error| answer_of(&error), |_| Answer::Accepted)
}

fn answer_of<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Answer {
    match error {
        SdkError::ServiceError(service) => {
            let (code, message) = (service.err().code().unwrap_or(""), service.err().message().unwrap_or(""));
            classify(service.raw().status().as_u16(), code, message)
        }
        other => Answer::Unknown { because: text::visible(&DisplayErrorContext(other).to_string()) },
    }
}

/// What the service's answer means. "No active Lifecycle Action" also comes transiently while the instance still waits
/// (AWS.md): describing tells.
fn classify(status: u16, code: &str, message: &str) -> Answer {
    let throttled = code.starts_with("Throttl") || code == "RequestLimitExceeded" || message.contains("Rate exceeded");
    let because = text::visible(&format!("{status} {code}: {message}"));
    if throttled || status == 429 {
        Answer::Throttled
    } else if code == "ValidationError" && message.contains("No active Lifecycle Action found") {
        Answer::NoActiveAction
    } else if (400..500).contains(&status) {
        Answer::Refused { because }
    } else {
        Answer::Unknown { because }
    }
}

/// The newest come first.
const ACTIVITIES_LOOKED_AT: i32 = 10;
/// Different ones.
const ACTIVITIES_KEPT: usize = 3;
/// AWS's own sentences are shorter.
const ACTIVITY_CHARS_MAX: usize = 300;
/// AWS takes up to 50 names unless told otherwise.
const NAMES_MAX: usize = 50;
const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
/// A connection that takes longer does not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes connections, and never answers.
    pub(super) async fn silent() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept().await);
            }
        });
        url
    }

    #[test]
    fn what_answers_mean() {
        let gone = "No active Lifecycle Action found with instance ID i-0123";
        for (status, code, message, meaning) in [
            (400, "ValidationError", gone, "no active action"),
            (400, "ValidationError", "AutoScalingGroup name not found", "refused"),
            (400, "Throttling", "Rate exceeded", "throttled"),
            (400, "ThrottlingException", "", "throttled"),
            (503, "RequestLimitExceeded", "", "throttled"),
            (403, "AccessDenied", "not authorized", "refused"),
            (500, "InternalFailure", "", "unknown"),
            (503, "ServiceUnavailable", "", "unknown"),
            (200, "", "", "unknown"),
        ] {
            let answer = match classify(status, code, message) {
                Answer::Accepted => "accepted",
                Answer::Throttled => "throttled",
                Answer::NoActiveAction => "no active action",
                Answer::Refused { .. } => "refused",
                Answer::Unknown { .. } => "unknown",
            };
            assert_eq!(answer, meaning, "{status} {code} {message}");
        }
    }

    #[test]
    fn hooks_have_the_clouds_defaults() {
        let hook = hook_of(&LifecycleHook::builder().lifecycle_hook_name("h").heartbeat_timeout(7_200).build());
        assert_eq!((hook.heartbeat_timeout_s, hook.global_timeout_s, hook.abandons_by_default), (7_200, 172_800, true));
    }
}
