//! What `portcullis doctor` asks the cloud: descriptions that the loop has no use for, and a rehearsal of the calls that would
//! change something, on an instance that there is not.

use std::time::Duration;

use aws_sdk_autoscaling::{
    error::{ProvideErrorMetadata, SdkError},
    types::{AutoScalingGroup, Instance, InstanceMaintenancePolicy, LifecycleHook, LifecycleState},
};
use portcullis::{
    doctor::{Cloud, Group, Hook, Probe, Settings, Trouble},
    instance::GroupName,
    observation::Answer,
    text,
};

use super::{
    AwsProvider, answer_of,
    describe::{LAUNCHING, NAMES_MAX, hook_of},
};
use crate::clock::Clock;

impl AwsProvider {
    pub(super) async fn examine_all(&self, groups: &[(GroupName, String)], clock: &Clock) -> Cloud {
        let (mut cloud, mut silent) = (Cloud::default(), Silent::default());
        for chunk in groups.chunks(NAMES_MAX) {
            let names: Vec<_> = chunk.iter().map(|(name, _)| name.clone()).collect();
            let described = match &silent.cloud {
                Some(trouble) => Err(trouble.clone()),
                None => self.groups(&names).await.map_err(|answer| {
                    let trouble = untold("autoscaling:DescribeAutoScalingGroups", &answer);
                    silent.cloud = matches!(answer, Answer::Unknown { .. }).then(|| trouble.clone());
                    trouble
                }),
            };
            for (name, hook) in chunk {
                if let Some(trouble) = &silent.cloud {
                    cloud.groups.insert(name.clone(), unanswered(trouble));
                    continue;
                }
                let described = described.as_ref().map(|found| found.get(name)).map_err(Clone::clone);
                let (group, ahead_ms) = self.examine_one(name, hook, described, clock, &mut silent).await;
                cloud.groups.insert(name.clone(), group);
                cloud.ahead_ms = cloud.ahead_ms.or(ahead_ms);
            }
        }
        cloud
    }

    async fn examine_one(
        &self,
        name: &GroupName,
        hook: &str,
        described: Result<Option<&AutoScalingGroup>, Trouble>,
        clock: &Clock,
        silent: &mut Silent,
    ) -> (Group, Option<i64>) {
        let found = described.as_ref().ok().copied().flatten();
        let target_groups = found.map(AutoScalingGroup::target_group_arns);
        let (calls, ahead_ms) = self.rehearse(name, hook, found, clock).await;
        let group = Group {
            hooks: self.all_hooks(name).await,
            simple_scaling: self.simple_scaling(name).await,
            probes: self.probes_in_time(target_groups.unwrap_or_default(), silent).await,
            rehearsed: calls.into_iter().chain(self.ask_at_need(name).await).collect(),
            settings: described.map(|group| group.map(settings)),
        };
        (group, ahead_ms)
    }

    async fn all_hooks(&self, name: &GroupName) -> Result<Vec<Hook>, Trouble> {
        let sent = self.client.describe_lifecycle_hooks().auto_scaling_group_name(&name.0).send().await;
        let sent = sent.map_err(|error| trouble("autoscaling:DescribeLifecycleHooks", &error))?;
        Ok(sent.lifecycle_hooks().iter().map(doctors_hook).collect())
    }

    async fn simple_scaling(&self, name: &GroupName) -> Result<Vec<String>, Trouble> {
        let request = self.client.describe_policies().auto_scaling_group_name(&name.0).policy_types("SimpleScaling");
        let (mut pages, mut names) = (request.into_paginator().send(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble("autoscaling:DescribePolicies", &error))?;
            names.extend(page.scaling_policies().iter().filter_map(|policy| policy.policy_name().map(Into::into)));
        }
        Ok(names)
    }

    async fn probes_in_time(&self, arns: &[String], silent: &mut Silent) -> Result<Vec<Probe>, Trouble> {
        if let Some(trouble) = silent.balancers.as_ref().filter(|_| !arns.is_empty()) {
            return Err(trouble.clone());
        }
        let asked = tokio::time::timeout(BALANCERS_ANSWER_MAX, self.probes(arns)).await;
        asked.unwrap_or_else(|_| {
            let because = Answer::Unknown { because: "no answer in time".into() };
            let trouble = untold("elasticloadbalancing:DescribeTargetGroups", &because);
            silent.balancers = Some(trouble.clone());
            Err(trouble)
        })
    }

    async fn probes(&self, arns: &[String]) -> Result<Vec<Probe>, Trouble> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let request = self.balancing.describe_target_groups().set_target_group_arns(Some(arns.to_vec()));
        let sent = request.send().await;
        let sent = sent.map_err(|error| trouble("elasticloadbalancing:DescribeTargetGroups", &error))?;
        let health = self.balancing.describe_target_health().set_target_group_arn(arns.first().cloned()).send().await;
        health.map_err(|error| trouble("elasticloadbalancing:DescribeTargetHealth", &error))?;
        let probe = |group: &aws_sdk_elasticloadbalancingv2::types::TargetGroup| Probe {
            target_group: group.target_group_name().unwrap_or_default().into(),
            port: group.health_check_port().unwrap_or_default().into(),
            path: group.health_check_path().map(Into::into),
        };
        Ok(sent.target_groups().iter().map(probe).collect())
    }

    /// What the loop asks only when it has a reason to.
    async fn ask_at_need(&self, name: &GroupName) -> [Result<(), Trouble>; 3] {
        let activities = self.client.describe_scaling_activities().auto_scaling_group_name(&name.0).max_records(1);
        let refreshes = self.client.describe_instance_refreshes().auto_scaling_group_name(&name.0).max_records(1);
        let pool = self.client.describe_warm_pool().auto_scaling_group_name(&name.0).max_records(1);
        let (activities, refreshes, pool) = tokio::join!(activities.send(), refreshes.send(), pool.send());
        [
            activities.map(drop).map_err(|error| trouble("autoscaling:DescribeScalingActivities", &error)),
            refreshes.map(drop).map_err(|error| trouble("autoscaling:DescribeInstanceRefreshes", &error)),
            pool.map(drop).map_err(|error| trouble("autoscaling:DescribeWarmPool", &error)),
        ]
    }

    /// IAM is asked before the instance is looked for: whoever may not is told so, and nothing is done for whoever may. The
    /// cloud's refusal also tells its time.
    async fn rehearse(
        &self,
        name: &GroupName,
        hook: &str,
        group: Option<&AutoScalingGroup>,
        clock: &Clock,
    ) -> (Vec<Result<(), Trouble>>, Option<i64>) {
        let heartbeat = self.client.record_lifecycle_action_heartbeat().auto_scaling_group_name(&name.0);
        let complete = self.client.complete_lifecycle_action().auto_scaling_group_name(&name.0);
        let complete = complete.lifecycle_hook_name(hook).instance_id(NOBODY).lifecycle_action_result("CONTINUE");
        let protect = self.client.set_instance_protection().auto_scaling_group_name(&name.0).instance_ids(NOBODY);
        let enter = self.client.enter_standby().auto_scaling_group_name(&name.0).instance_ids(NOBODY);
        let exit = self.client.exit_standby().auto_scaling_group_name(&name.0).instance_ids(NOBODY);
        let (heartbeat, complete, protect, enter, exit, health) = tokio::join!(
            heartbeat.lifecycle_hook_name(hook).instance_id(NOBODY).send(),
            complete.send(),
            protect.protected_from_scale_in(false).send(),
            enter.should_decrement_desired_capacity(true).send(),
            exit.send(),
            self.rehearse_health(group),
        );
        let ahead_ms = heartbeat.as_ref().err().and_then(|error| ahead_ms(error, clock));
        let rehearsed = vec![
            rehearsed("autoscaling:RecordLifecycleActionHeartbeat", heartbeat),
            rehearsed("autoscaling:CompleteLifecycleAction", complete),
            rehearsed("autoscaling:SetInstanceProtection", protect),
            rehearsed("autoscaling:EnterStandby", enter),
            rehearsed("autoscaling:ExitStandby", exit),
            health,
        ];
        (rehearsed, ahead_ms)
    }

    /// This call names no group, and whether it is permitted depends on the instance's: so one that there is, and that AWS finds
    /// healthy a moment before, is said to be healthy: whoever is to be replaced must not be kept. Without such an instance it is
    /// not rehearsed.
    async fn rehearse_health(&self, group: Option<&AutoScalingGroup>) -> Result<(), Trouble> {
        let is_well = |instance: &&Instance| {
            instance.health_status() == Some("Healthy")
                && instance.lifecycle_state() == Some(&LifecycleState::InService)
        };
        let Some(name) = group.and_then(AutoScalingGroup::auto_scaling_group_name) else { return Ok(()) };
        let asked = self.client.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
        // That it may not be asked has been told.
        let Ok(described) = asked else { return Ok(()) };
        let well = described.auto_scaling_groups().iter().flat_map(AutoScalingGroup::instances).find(is_well);
        let Some(id) = well.and_then(Instance::instance_id) else { return Ok(()) };
        let request = self.client.set_instance_health().instance_id(id).health_status("Healthy");
        rehearsed("autoscaling:SetInstanceHealth", request.send().await)
    }
}

/// Who did not answer: asking again, group by group, would take longer than anybody waits for the doctor.
#[derive(Debug, Default)]
struct Silent {
    cloud: Option<Trouble>,
    balancers: Option<Trouble>,
}

/// All that is known of a group when the cloud does not answer.
fn unanswered(trouble: &Trouble) -> Group {
    Group {
        settings: Err(trouble.clone()),
        hooks: Err(trouble.clone()),
        simple_scaling: Err(trouble.clone()),
        probes: Err(trouble.clone()),
        rehearsed: vec![Err(trouble.clone())],
    }
}

fn settings(group: &AutoScalingGroup) -> Settings {
    let policy = group.instance_maintenance_policy();
    let percent = policy.and_then(InstanceMaintenancePolicy::min_healthy_percentage);
    Settings {
        healthy_percent_min: percent.and_then(|percent| u32::try_from(percent).ok()),
        suspended: group.suspended_processes().iter().filter_map(|one| one.process_name().map(Into::into)).collect(),
        replaces_by_target_health: group.health_check_type().is_some_and(|kinds| kinds.contains("ELB")),
    }
}

fn doctors_hook(hook: &LifecycleHook) -> Hook {
    let known = hook_of(hook);
    Hook {
        name: known.name,
        launching: hook.lifecycle_transition() == Some(LAUNCHING),
        heartbeat_timeout_s: known.heartbeat_timeout_s,
        global_timeout_s: known.global_timeout_s,
        abandons_by_default: known.abandons_by_default,
    }
}

/// Any other refusal than for want of a permission means that it may.
fn rehearsed<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    call: &str,
    sent: Result<T, SdkError<E>>,
) -> Result<(), Trouble> {
    let Err(error) = sent else { return Ok(()) };
    let trouble = trouble(call, &error);
    match answer_of(&error) {
        Answer::Accepted | Answer::NoActiveAction => Ok(()),
        Answer::Refused { .. } if !trouble.denied && error.code() == Some("ValidationError") => Ok(()),
        Answer::Refused { .. } | Answer::Throttled | Answer::Unknown { .. } => Err(trouble),
    }
}

fn trouble<E: ProvideErrorMetadata + std::error::Error + 'static>(call: &str, error: &SdkError<E>) -> Trouble {
    let denied = error.code().is_some_and(|code| code.starts_with("AccessDenied") || code == "UnauthorizedOperation");
    Trouble { denied, ..untold(call, &answer_of(error)) }
}

fn untold(call: &str, answer: &Answer) -> Trouble {
    let because = crate::act::in_words(answer);
    let denied = matches!(answer, Answer::Refused { because } if because.contains("AccessDenied"));
    Trouble { call: call.into(), denied, because: text::visible(&because) }
}

/// How far our clock is ahead, by the `Date` of an answer: whole seconds, so that half of one has passed on average.
fn ahead_ms<E>(error: &SdkError<E>, clock: &Clock) -> Option<i64> {
    let date = error.raw_response()?.headers().get("date")?;
    let format = aws_sdk_autoscaling::primitives::DateTimeFormat::HttpDate;
    let date = aws_sdk_autoscaling::primitives::DateTime::from_str(date, format).ok()?;
    let now_ms = i64::try_from(clock.now().0).ok()?;
    Some(now_ms - date.to_millis().ok()? - 500)
}

/// Much longer than an answer takes.
const BALANCERS_ANSWER_MAX: Duration = Duration::from_secs(5);
/// An id that AWS will never give.
const NOBODY: &str = "i-00000000000000000";

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::{
        Client,
        config::{BehaviorVersion, Builder, Region, timeout::TimeoutConfig},
    };

    use super::{super::tests::silent, *};

    /// The doctor is asked when something is wrong, and whoever asks waits a minute at most.
    #[tokio::test]
    async fn a_cloud_that_does_not_answer_is_asked_once() {
        let mut provider = AwsProvider::connect(&crate::config::Aws::default(), Duration::from_secs(1)).await;
        let config = Builder::new().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(1)).build();
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = config.endpoint_url(silent().await).allow_no_auth().http_client(http).timeout_config(timeouts);
        provider.client = Client::from_conf(config.build());
        let groups: Vec<_> = (0..120).map(|n| (GroupName(format!("g{n}")), "portcullis".into())).collect();
        let clock = Clock::system();
        let examined = provider.examine_all(&groups, &clock);
        let cloud = tokio::time::timeout(Duration::from_secs(5), examined).await.unwrap();
        assert_eq!(cloud.groups.len(), 120);
        assert!(cloud.groups.values().all(|group| group.settings.is_err() && group.probes.is_err()));
    }
}
