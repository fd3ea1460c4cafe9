//! Notices of lifecycle actions, in EventBridge's shape, into the event log.

use serde_json::json;

use super::Cloud;
use super::activity::time_text;
use super::group::{Hook, Transition};
use super::instance::Wait;
use crate::event::What;

impl Cloud {
    /// Tells that a lifecycle action began; faults may lose or double the notice.
    pub(crate) fn notify(&mut self, id: &str, hook: &Hook, wait: &Wait) {
        let Some(instance) = self.instances.get(id) else { return };
        let (group, replaces) = (instance.group.clone(), instance.replaces_root_volume());
        let (warm, from_pool) = (instance.state.is_warm(), instance.comes_from_pool());
        let (detail_type, mut origin, mut destination) = match hook.transition {
            Transition::Launching => ("EC2 Instance-launch Lifecycle Action", "EC2", "AutoScalingGroup"),
            Transition::Terminating => ("EC2 Instance-terminate Lifecycle Action", "AutoScalingGroup", "EC2"),
        };
        match hook.transition {
            Transition::Launching if warm => destination = "WarmPool",
            Transition::Launching if from_pool => origin = "WarmPool",
            Transition::Terminating if warm => origin = "WarmPool",
            Transition::Launching | Transition::Terminating => {}
        }
        let mut detail = json!({
            "LifecycleActionToken": wait.token,
            "AutoScalingGroupName": group,
            "LifecycleHookName": hook.name,
            "EC2InstanceId": id,
            "LifecycleTransition": hook.transition.as_str(),
            "Origin": origin,
            "Destination": destination,
        });
        if let Some(metadata) = &hook.metadata {
            detail["NotificationMetadata"] = json!(metadata);
        }
        if replaces {
            detail["Action"] = json!("ReplaceRootVolume");
        }
        let arn = self.groups.get(&group).map(|group| group.arn.clone());
        let notice = json!({
            "version": "0",
            "id": self.random.uuid(),
            "detail-type": detail_type,
            "source": "aws.autoscaling",
            "account": self.options.account,
            "time": time_text(self.now_ms),
            "region": self.options.region,
            "resources": [arn],
            "detail": detail,
        });
        for _ in 0..self.faults.notice_copies() {
            self.tell(What::Notice { notice: notice.clone() });
        }
    }

    /// What a new hook's target gets at once; it clogs a queue that nobody empties.
    pub(crate) fn notify_test(&mut self, group: &str, hook: &Hook) {
        let arn = self.groups.get(group).map(|group| group.arn.clone());
        let notice = json!({
            "AccountId": self.options.account,
            "RequestId": self.random.uuid(),
            "AutoScalingGroupARN": arn,
            "AutoScalingGroupName": group,
            "Service": "AWS Auto Scaling",
            "Event": "autoscaling:TEST_NOTIFICATION",
            "LifecycleHookName": hook.name,
            "Time": time_text(self.now_ms),
        });
        self.tell(What::Notice { notice });
    }
}
