//! Target health: in service is not yet traffic, and the balancers know.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};
use portcullis::{
    instance::{InstanceId, LifecycleState},
    observation::GroupFacts,
};

use super::{AwsProvider, answer_of, describe::Look};

impl AwsProvider {
    /// Asks every target group of a group. That one does not answer is no reason to know nothing of the group: what its balancers
    /// say is then unknown. Where one hangs, nobody waits for another in the same description: it would become too old to act on.
    pub(super) async fn with_health(&self, target_groups: &[String], mut facts: GroupFacts, look: &Look) -> GroupFacts {
        if !facts.instances.iter().any(|instance| instance.state == LifecycleState::InService) {
            return facts;
        }
        let mut said = Vec::new();
        for arn in target_groups {
            if look.hangs.load(Ordering::Relaxed) {
                return facts;
            }
            let asked = self.balancing.describe_target_health().target_group_arn(arn).send();
            match tokio::time::timeout(ANSWER_MAX, asked).await {
                Ok(Ok(sent)) => said.push(by_instance(sent.target_health_descriptions())),
                Err(_) => {
                    look.hangs.store(true, Ordering::Relaxed);
                    tracing::warn!(target_group = arn, "no answer in time: targets' health is not known");
                    return facts;
                }
                Ok(Err(error)) => {
                    look.does_without("DescribeTargetHealth", arn, &answer_of(&error)).await;
                    return facts;
                }
            }
        }
        for instance in &mut facts.instances {
            if instance.state == LifecycleState::InService {
                instance.healthy = Some(said.iter().all(|of_group| is_healthy(of_group, &instance.instance)));
            }
        }
        facts
    }
}

/// By id; more than one port of an instance may be registered, and one that is healthy will do.
fn by_instance(targets: &[TargetHealthDescription]) -> BTreeMap<InstanceId, bool> {
    let mut healthy = BTreeMap::new();
    for described in targets {
        let id = described.target().and_then(|target| target.id()).unwrap_or_default();
        let state = described.target_health().and_then(|health| health.state());
        *healthy.entry(InstanceId::from(id)).or_insert(false) |= state.is_some_and(gets_traffic);
    }
    healthy
}

/// Where nothing is checked (`unavailable`), or no balancer uses the target group (`unused`), nothing speaks against it.
fn gets_traffic(state: &TargetHealthStateEnum) -> bool {
    use TargetHealthStateEnum::{Healthy, Unavailable, Unused};
    matches!(state, Healthy | Unavailable | Unused)
}

/// What is not registered gets nothing. Of a target group of addresses, ids say nothing.
fn is_healthy(of_group: &BTreeMap<InstanceId, bool>, instance: &InstanceId) -> bool {
    let by_id = of_group.keys().all(|id| id.as_str().starts_with("i-"));
    of_group.get(instance).copied().unwrap_or(!by_id)
}

/// A fifth of the age that a description may have: it answers in a tenth of a second.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealth};

    use super::{super::tests::silent, *};

    fn target(id: &str, state: &str) -> TargetHealthDescription {
        let health = TargetHealth::builder().state(TargetHealthStateEnum::from(state)).build();
        let target = TargetDescription::builder().id(id).build();
        TargetHealthDescription::builder().target(target).target_health(health).build()
    }

    #[test]
    fn what_balancers_say() {
        for (targets, healthy) in [
            (&[("i-1", "healthy")][..], true),
            (&[("i-1", "unhealthy")], false),
            (&[("i-1", "initial")], false),
            (&[("i-1", "draining")], false),
            (&[("i-1", "unhealthy.draining")], false),
            (&[("i-1", "of-tomorrow")], false),
            (&[("i-1", "unused")], true),
            (&[("i-1", "unavailable")], true),
            (&[("i-1", "unhealthy"), ("i-1", "healthy")], true),
            (&[("i-2", "healthy")], false),
            (&[], false),
            (&[("10.0.0.7", "healthy")], true),
        ] {
            let described: Vec<_> = targets.iter().map(|(id, state)| target(id, state)).collect();
            assert_eq!(is_healthy(&by_instance(&described), &"i-1".into()), healthy, "{targets:?}");
        }
    }

    #[tokio::test]
    async fn balancers_that_hang_cost_a_description_a_moment() {
        use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Builder, Region};
        let mut provider = AwsProvider::connect(&crate::config::Aws::default(), Duration::from_secs(30)).await;
        let config = Builder::new().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = config.endpoint_url(silent().await).allow_no_auth().http_client(http);
        provider.balancing = aws_sdk_elasticloadbalancingv2::Client::from_conf(config.build());
        let facts = || GroupFacts {
            instances: vec![portcullis::observation::InstanceFacts {
                instance: "i-1".into(),
                state: LifecycleState::InService,
                launch_template: None,
                protected: false,
                healthy: None,
            }],
            ..GroupFacts::default()
        };
        let look = Look::new(tokio::sync::mpsc::channel(1).0);
        let groups = async {
            for _ in 0..3 {
                let seen = provider.with_health(&["arn:a".into(), "arn:b".into()], facts(), &look).await;
                assert_eq!(seen.instances[0].healthy, None);
            }
        };
        // A description may be 10 s old when somebody is let in on it.
        tokio::time::timeout(Duration::from_secs(5), groups).await.unwrap();
    }
}
