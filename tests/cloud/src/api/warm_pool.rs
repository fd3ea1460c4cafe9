//! Warm pools on the wire.

use super::Operation;
use super::describe::{write_instance, write_pool};
use super::page::{Page, PageLimits, PageRequest};
use crate::error::ApiError;
use crate::model::{Cloud, InstanceView, Rests, WarmPool};
use crate::wire::{Params, Xml};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "PutWarmPool", run: put },
    Operation { name: "DeleteWarmPool", run: delete },
    Operation { name: "DescribeWarmPool", run: describe },
];

impl Cloud {
    /// `DescribeWarmPool`: the pool, if there is one, and its instances.
    pub fn describe_warm_pool(
        &self,
        group: &str,
        page: &PageRequest,
    ) -> Result<(Option<WarmPool>, Page<InstanceView>), ApiError> {
        let pool = self.group(group)?.warm_pool.clone();
        let mut shown = self.described();
        shown.retain(|instance| instance.group == group && instance.state.is_warm());
        Ok((pool, page.cut(shown, &PAGE, |instance| instance.id.clone())?))
    }
}

fn put(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    let rests = params.text("PoolState").map(|word| {
        let text = "Member must satisfy enum value set: [Stopped, Running, Hibernated]";
        Rests::parse(word).ok_or_else(|| ApiError::constraint(word, "PoolState", text))
    });
    // -1 takes the group's maximum.
    let prepared_max = match params.integer("MaxGroupPreparedCapacity")? {
        Some(-1) => None,
        _ => params.count("MaxGroupPreparedCapacity")?,
    };
    let pool = WarmPool {
        min: params.count("MinSize")?.unwrap_or_default(),
        prepared_max,
        rests: rests.transpose()?.unwrap_or_default(),
        ..WarmPool::default()
    };
    cloud.put_warm_pool(&params.group()?, &pool)
}

fn delete(cloud: &mut Cloud, params: &Params, _: &mut Xml) -> Result<(), ApiError> {
    cloud.delete_warm_pool(&params.group()?, params.boolean("ForceDelete")?.unwrap_or(false))
}

fn describe(cloud: &mut Cloud, params: &Params, xml: &mut Xml) -> Result<(), ApiError> {
    let (pool, page) = cloud.describe_warm_pool(&params.group()?, &PageRequest::parse(params)?)?;
    write_pool(xml, pool.as_ref());
    page.write(xml, "Instances", |xml, instance| {
        write_instance(xml, instance, if instance.healthy { "Healthy" } else { "Unhealthy" });
    });
    Ok(())
}

/// AWS: 50 by default and at most.
const PAGE: PageLimits = PageLimits { default: 50, max: 50 };
