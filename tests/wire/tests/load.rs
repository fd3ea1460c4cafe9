//! `cargo bench-controller`, small: that it runs, and that what it claims of any load holds of this one.

use std::time::Duration;

use anyhow::Result;
use portcullis_load::trial::{self, Plan};
use portcullis_wire::programs;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_served_beside_a_client_that_does_everything_wrong() -> Result<()> {
    let plan = Plan {
        controller: programs().controller.clone(),
        instances: 50,
        groups: 3,
        files: 100,
        every: Duration::from_secs(1),
        settle: Duration::from_secs(1),
        watch: Duration::from_secs(4),
        patience: Duration::from_secs(90),
    };
    let folder = tempfile::tempdir()?;
    let findings = trial::run(&plan, folder.path(), |how_far| println!("{how_far}")).await?;
    println!("{findings}");
    findings.hold()
}
