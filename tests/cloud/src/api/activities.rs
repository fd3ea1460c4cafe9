//! Scaling activities, newest first.

use super::Operation;
use super::describe::iso_ms;
use super::page::{Page, PageLimits, PageRequest};
use crate::error::ApiError;
use crate::model::{Activity, Cloud};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[Operation { name: "DescribeScalingActivities", run: describe }];

/// Which activities to describe.
#[derive(Clone, Debug, Default)]
pub struct DescribeScalingActivities {
    /// Those of one group; `None` for all.
    pub group: Option<String>,
    /// Those with these ids; empty for all.
    pub ids: Vec<String>,
    /// Those of groups that are gone, too.
    pub include_deleted: bool,
    /// Which page.
    pub page: PageRequest,
}

impl Cloud {
    /// `DescribeScalingActivities`.
    pub fn describe_scaling_activities(&self, request: &DescribeScalingActivities) -> Result<Page<Activity>, ApiError> {
        if let Some(name) = request.group.as_ref().filter(|_| !request.include_deleted) {
            self.groups.get(name).ok_or_else(|| ApiError::no_group(name))?;
        }
        let wanted = |activity: &&Activity| {
            request.group.as_ref().is_none_or(|group| *group == activity.group)
                && (request.ids.is_empty() || request.ids.contains(&activity.id))
                && (request.include_deleted || self.groups.contains_key(&activity.group))
        };
        let found: Vec<Activity> = self.activities.newest_first().filter(wanted).cloned().collect();
        request.page.cut(found, &PAGE, |activity| activity.id.clone())
    }
}

fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let page = cloud.describe_scaling_activities(&DescribeScalingActivities {
        group: params.text("AutoScalingGroupName").map(|_| params.group()).transpose()?,
        ids: params.texts("ActivityIds"),
        include_deleted: params.boolean("IncludeDeletedGroups")?.unwrap_or(false),
        page: PageRequest::parse(params)?,
    })?;
    page.write(xml, "Activities", write_activity);
    Ok(())
}

pub(super) fn write_activity(xml: &mut Xml, activity: &Activity) {
    xml.text("ActivityId", &activity.id);
    xml.text("AutoScalingGroupName", &activity.group);
    xml.text("Description", &activity.description);
    xml.text("Cause", &activity.cause);
    xml.text("StartTime", iso_ms(activity.started_ms));
    xml.optional("EndTime", activity.ended_ms.map(iso_ms));
    xml.text("StatusCode", activity.status);
    xml.optional("StatusMessage", activity.message.as_ref());
    xml.text("Progress", activity.progress);
    xml.text("Details", "{}");
}

/// AWS: 100 by default and at most.
const PAGE: PageLimits = PageLimits { default: 100, max: 100 };
