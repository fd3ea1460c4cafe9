//! Protection from scale-in, and the instance refresh that it would get in the way of (AWS.md, "Levers and limits").

use std::sync::PoisonError;

use aws_sdk_autoscaling::types::{InstanceRefresh, InstanceRefreshStatus, ScaleInProtectedInstances};
use portcullis::{
    action::Protection,
    instance::GroupName,
    observation::{Answer, GroupFacts, Refresh},
    text,
};

use super::{AwsProvider, accepted, answer_of, describe::Look};

impl AwsProvider {
    /// AWS takes 50 ids a request, and all of them or none. What is refused for one does not keep the others from it; what came
    /// of all is seen when the group is described.
    pub(super) async fn protect(&self, protection: &Protection) -> Answer {
        let mut refused = None;
        for ids in protection.instances.chunks(IDS_MAX) {
            let request = self.client.set_instance_protection().auto_scaling_group_name(&protection.group.0);
            let ids = ids.iter().map(|id| id.0.clone()).collect();
            let request = request.set_instance_ids(Some(ids)).protected_from_scale_in(protection.protected);
            match accepted(request.send().await) {
                Answer::Accepted => {}
                answer @ Answer::Refused { .. } => drop(refused.get_or_insert(answer)),
                answer @ (Answer::Throttled | Answer::NoActiveAction | Answer::Unknown { .. }) => return answer,
            }
        }
        refused.unwrap_or(Answer::Accepted)
    }

    /// Asked for only while an instance is protected, and on until what was seen is over: nobody else is waited for. That it is not
    /// told is no reason to know nothing of the group.
    pub(super) async fn with_refresh(&self, name: &GroupName, facts: GroupFacts, look: &Look) -> GroupFacts {
        let known = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        if !known && !facts.instances.iter().any(|instance| instance.protected) {
            return facts;
        }
        let request = self.client.describe_instance_refreshes().auto_scaling_group_name(&name.0);
        let sent = match request.max_records(REFRESHES_LOOKED_AT).send().await {
            Ok(sent) => sent,
            Err(error) => {
                look.does_without("DescribeInstanceRefreshes", name.as_str(), &answer_of(&error)).await;
                return facts;
            }
        };
        let refresh = sent.instance_refreshes().iter().find(|refresh| replaces(refresh)).map(refresh_of);
        let mut refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        if refresh.is_some() {
            refreshing.insert(name.clone());
        } else {
            refreshing.remove(name);
        }
        GroupFacts { refresh, ..facts }
    }
}

/// Whether it takes instances out, or soon will.
fn replaces(refresh: &InstanceRefresh) -> bool {
    use InstanceRefreshStatus::{InProgress, Pending, RollbackInProgress};
    matches!(refresh.status(), Some(Pending | InProgress | RollbackInProgress))
}

/// AWS waits for protected instances unless told otherwise.
fn refresh_of(refresh: &InstanceRefresh) -> Refresh {
    use ScaleInProtectedInstances::{Ignore, Refresh as Replace};
    let protected = refresh.preferences().and_then(|preferences| preferences.scale_in_protected_instances());
    let percent = refresh.percentage_complete().unwrap_or(0);
    let because = refresh.status_reason().map(|because| format!(": {because}")).unwrap_or_default();
    Refresh {
        id: refresh.instance_refresh_id().unwrap_or_default().into(),
        waits_for_protected: !matches!(protected, Some(Ignore | Replace)),
        said: text::visible(&format!("{percent} % done{because}")).chars().take(SAID_CHARS_MAX).collect(),
    }
}

/// AWS's limit.
const IDS_MAX: usize = 50;
/// The newest come first; at most one is under way.
const REFRESHES_LOOKED_AT: i32 = 5;
/// AWS's own sentences are shorter.
const SAID_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::RefreshPreferences;

    use super::*;

    #[test]
    fn what_waits_for_whom() {
        for (behaviour, waits) in
            [(None, true), (Some("Wait"), true), (Some("Ignore"), false), (Some("Refresh"), false)]
        {
            let preferences = RefreshPreferences::builder();
            let preferences =
                preferences.set_scale_in_protected_instances(behaviour.map(ScaleInProtectedInstances::from));
            let refresh = InstanceRefresh::builder().preferences(preferences.build()).status_reason("so").build();
            let refresh = refresh_of(&refresh);
            assert_eq!((refresh.waits_for_protected, &*refresh.said), (waits, "0 % done: so"), "{behaviour:?}");
        }
        for (status, active) in [
            ("Pending", true),
            ("InProgress", true),
            ("RollbackInProgress", true),
            ("Baking", false),
            ("Successful", false),
            ("Cancelling", false),
            ("Failed", false),
        ] {
            let refresh = InstanceRefresh::builder().status(InstanceRefreshStatus::from(status)).build();
            assert_eq!(replaces(&refresh), active, "{status}");
        }
    }
}
