//! What drifts is drained, stays so whatever a balancer forgets, and comes back on proof; what is reinstalled is another machine.

use std::time::Duration;

use anyhow::Result;
use portcullis_drill::{gate::Setup, site::Deploy};

use crate::{
    balancer::Balancer,
    with,
    world::{Load, Machines, World},
};

const PATIENCE: Duration = Duration::from_secs(45);
const ALL: [&str; 3] = ["s1", "s2", "s3"];

fn withdrawing(balancers: &[&Balancer]) -> Setup {
    let group = "on_drift = \"standby\"\nwithdraw_after = \"2s\"\nreturn_after = \"3s\"\n";
    Setup { group, ..with(balancers) }
}

/// All of them serve, proven, behind all balancers.
async fn all_serve(world: &mut World, balancers: &[&Balancer]) -> Result<()> {
    for name in ALL {
        world.joins(name, Deploy::Whole)?;
    }
    for name in ALL {
        for balancer in balancers {
            balancer.until_held(name, false).await?;
        }
        world.gate.until_explained(name, "admitted", PATIENCE).await?;
    }
    Ok(())
}

async fn gets_nothing(world: &World, name: &str) -> Result<()> {
    // What was under way is answered.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = world.asked(name);
    tokio::time::sleep(Duration::from_secs(1)).await;
    anyhow::ensure!(world.asked(name) == before, "users reach {name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drifted_server_is_drained_under_load_and_comes_back_on_proof() -> Result<()> {
    let machines = Machines::start("drain", &ALL).await?;
    let servers = ALL.map(|name| machines.disabled(name));
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let mut world = machines.gated(withdrawing(&[&balancer])).await?;
    all_serve(&mut world, &[&balancer]).await?;
    let load = Load::on(balancer.address);
    for name in ALL {
        world.until_asked(name).await?;
    }
    let file = world.drift("s1")?;
    balancer.until_drained("s1", true).await?;
    gets_nothing(&world, "s1").await?;
    let explained = world.gate.until_explained("s1", "out of traffic", PATIENCE).await?;
    assert!(explained.contains("withdrawn") && explained.contains("left-behind.php"), "{explained}");
    std::fs::remove_file(file)?;
    balancer.until_drained("s1", false).await?;
    world.until_asked("s1").await?;
    let (well, failed) = load.tally();
    assert!(well > 500 && failed == 0, "{failed} of {} failed", well + failed);
    Ok(())
}

/// One balancer is restarted while another still drains it; and one whose configuration lets it in at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_balancer_forgets_of_a_withdrawal_is_asserted_again() -> Result<()> {
    let machines = Machines::start("forgets", &ALL).await?;
    let servers = ALL.map(|name| machines.disabled(name));
    let mut holding = Balancer::start(machines.scratch.join("holding"), &servers).await?;
    let open = [("s1", machines.address("s1"), String::new()), servers[1].clone(), servers[2].clone()];
    let mut letting_in = Balancer::start(machines.scratch.join("letting-in"), &open).await?;
    letting_in.ask("set server shop/s1 state maint").await?;
    let mut world = machines.gated(withdrawing(&[&holding, &letting_in])).await?;
    all_serve(&mut world, &[&holding, &letting_in]).await?;
    let _users = [Load::on(holding.address), Load::on(letting_in.address)];
    world.until_asked("s1").await?;
    let file = world.drift("s1")?;
    holding.until_drained("s1", true).await?;
    letting_in.until_drained("s1", true).await?;
    gets_nothing(&world, "s1").await?;

    letting_in.restart().await?;
    letting_in.until_drained("s1", true).await?;
    gets_nothing(&world, "s1").await?;
    world.gate.until_explained("s1", "out of traffic", PATIENCE).await?;

    holding.restart().await?;
    assert!(holding.holds("s1").await?, "it is as its configuration has it");
    gets_nothing(&world, "s1").await?;
    std::fs::remove_file(file)?;
    holding.until_held("s1", false).await?;
    letting_in.until_drained("s1", false).await?;
    world.until_asked("s1").await?;
    world.gate.until_explained("s1", "admitted", PATIENCE).await?;
    Ok(())
}

/// The key was on its disk. The new one is nobody's until an operator says so, and the machine proves itself like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_reinstalled_server_comes_back_when_an_operator_says_that_it_was() -> Result<()> {
    let machines = Machines::start("reinstall", &["s1", "s2"]).await?;
    let servers = [machines.disabled("s1"), machines.disabled("s2")];
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let mut world = machines.gated(with(&[&balancer])).await?;
    for name in ["s1", "s2"] {
        world.joins(name, Deploy::Whole)?;
        balancer.until_held(name, false).await?;
    }
    world.reinstall("s1").await?;
    world.until_said(&["status"], "two keys claim").await?;
    balancer.ask("set server shop/s1 state maint").await?;
    world.gate.until_explained("s1", "two keys claim", PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(balancer.holds("s1").await?, "neither key is believed");
    let settle = ["settle", "s1", "new", "--reason", "reinstalled, OPS-12"];
    let told = world.gate.cli(&settle).await?.done()?.stdout;
    assert!(told.contains("the next key that enrols"), "{told}");
    balancer.until_held("s1", false).await?;
    world.gate.until_explained("s1", "admitted", PATIENCE).await?;
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(events.contains("reinstalled, OPS-12"), "{events}");
    let refused = world.gate.cli(&["settle", "s2", "old", "--reason", "nothing"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    Ok(())
}
