//! AWS Auto Scaling (AWS.md). Exactly one request a call: retry and backoff belong to the decision, so the SDK's are off.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_autoscaling::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider as TlsProvider, rustls_provider::CryptoMode};
use portcullis::{
    action::{Departure, Held},
    instance::GroupName,
    observation::Answer,
    record::Way,
    text,
};

use describe::Look;

use super::{Call, Finder, Pending, Provider};
use crate::{clock::Clock, config::Aws, sources::lifecycle_queue::Queue};

mod describe;
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
    fn describe<'a>(&'a self, groups: &'a [GroupName], finder: Finder) -> Pending<'a, ()> {
        Box::pin(self.describe_all(groups, Look::new(finder)))
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

fn accepted<T, E: ProvideErrorMetadata + std::error::Error + 'static>(sent: Result<T, SdkError<E>>) -> Answer {
    sent.map_or_else(|error| answer_of(&error), |_| Answer::Accepted)
}

fn answer_of<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Answer {
    match error {
        SdkError::ServiceError(service) => {
            let (code, message) = (service.err().code().unwrap_or(""), service.err().message().unwrap_or(""));
            classify(service.raw().status().as_u16(), code, message)
        }
        other => Answer::Unknown { because: text::visible(&in_words(other)) },
    }
}

/// An error with its causes: that credentials cannot be had is one of them.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
}
