//! The small form of `cargo scale-out`: a few instances, a few kills, the same judge.

use std::time::Duration;

use anyhow::Result;
use portcullis_wire::{
    programs,
    scale_out::{ScaleOut, Trouble},
};

/// Invariants 1, 6 and 8: whatever goes wrong meanwhile, each ready instance has one accepted CONTINUE a wait, and no other any.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_ready_is_let_in_once_and_nobody_else() -> Result<()> {
    for seed in [1, 2] {
        let run = ScaleOut {
            instances: 24,
            seed,
            trouble: Trouble { kills: (3, 5), faults: true },
            limits: "describe_every = \"1s\"\nbackoff_max = \"4s\"\n",
            patience: Duration::from_secs(90),
        };
        let figures = run.run(programs()).await?;
        println!("seed {seed}: {figures}");
        assert!(figures.admitted > 10 && figures.held > 1, "{figures}");
    }
    Ok(())
}
