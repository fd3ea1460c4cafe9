//! The gate where there is no cloud: the real controller and agents, and a real HAProxy under load. What each trap of HAProxy
//! would let through is counted on the servers themselves: users who reach a machine that was not proven.

use std::time::Duration;

use anyhow::Result;
use balancer::Balancer;
use portcullis_drill::{gate::Setup, site::Deploy};
use portcullis_wire::programs;
use world::{Load, Machines};

mod balancer;
mod withdrawn;
mod world;

fn with(balancers: &[&Balancer]) -> Setup {
    let balancers = balancers.iter().map(|balancer| balancer.socket.clone()).collect();
    Setup { balancers, limits: "undescribed_after = \"2s\"\n", ..Setup::default() }
}

/// `ready` is UP before any check, and a server that is `disabled` in the configuration keeps bit 4 for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_let_in_when_it_is_proven_and_not_before() -> Result<()> {
    let machines = Machines::start("prove", &["s1", "s2"]).await?;
    let servers = [machines.disabled("s1"), machines.disabled("s2")];
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let deadline = Setup { admission_deadline: Duration::from_secs(4), ..with(&[&balancer]) };
    let mut world = machines.gated(deadline).await?;
    let load = Load::on(balancer.address);

    world.joins("s2", Deploy::Halted)?;
    world.gate.until_explained("s2", "missing", Duration::from_secs(45)).await?;
    assert_eq!((world.asked("s1"), world.asked("s2")), (0, 0), "nobody is proven");
    world.joins("s1", Deploy::Whole)?;
    world.until_asked("s1").await?;
    world.gate.until_explained("s1", "admitted", Duration::from_secs(45)).await?;
    assert_eq!(world.asked("s2"), 0);

    // Past its deadline it stays where it is, and nothing is tried; it is never too late.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.gate.until_explained("s2", "missing", Duration::from_secs(45)).await?;
    assert_eq!(world.asked("s2"), 0);
    world.deploy("s2", Deploy::Whole)?;
    world.until_asked("s2").await?;
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(!events.contains("ABANDON") && !events.contains("heartbeat"), "{events}");
    assert!(load.tally().0 > 100, "{:?}", load.tally());
    Ok(())
}

/// A server that is not `disabled` takes traffic at start. Nobody takes it away, which could empty the fleet; it is named.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_serves_from_the_start_is_named() -> Result<()> {
    let machines = Machines::start("bypass", &["s1", "s2"]).await?;
    let servers = [machines.disabled("s1"), ("s2", machines.address("s2"), String::new())];
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let mut world = machines.gated(with(&[&balancer])).await?;
    let _load = Load::on(balancer.address);
    world.until_said(&["status"], "bypassed").await?;
    world.gate.until_explained("s2", "without having passed the gate", Duration::from_secs(45)).await?;
    world.joins("s1", Deploy::Whole)?;
    world.until_asked("s1").await?;
    world.until_asked("s2").await?;
    assert!(!balancer.holds("s2").await?);
    // Taken out by hand, it is a server like any other.
    balancer.ask("set server shop/s2 state maint").await?;
    world.gate.until_explained("s2", "no report", Duration::from_secs(45)).await?;
    let before = world.asked("s2");
    world.until_asked("s1").await?;
    assert_eq!(world.asked("s2"), before);
    world.joins("s2", Deploy::Whole)?;
    world.until_asked("s2").await?;
    Ok(())
}

/// HAProxy forgets what it was told, in both directions: who was let in is let in again, without waiting for the agent's next
/// report, and who was held is held again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_reload_are_asserted_again() -> Result<()> {
    let machines = Machines::start("restart", &["s1", "s2", "s3"]).await?;
    let servers = [machines.disabled("s1"), machines.disabled("s2"), ("s3", machines.address("s3"), String::new())];
    let mut balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    balancer.ask("set server shop/s3 state maint").await?;
    let mut world = machines.gated(with(&[&balancer])).await?;
    let load = Load::on(balancer.address);
    world.joins("s1", Deploy::Whole)?;
    world.joins("s2", Deploy::Halted)?;
    world.until_asked("s1").await?;
    world.gate.until_explained("s2", "missing", Duration::from_secs(45)).await?;
    world.gate.until_explained("s3", "no report", Duration::from_secs(45)).await?;

    // With its state saved, as deploy/haproxy.md has it, a reload forgets nothing, and no user notices.
    let failed = load.tally().1;
    balancer.reload(true).await?;
    assert!(!balancer.holds("s1").await? && balancer.holds("s2").await? && balancer.holds("s3").await?);
    world.until_asked("s1").await?;
    assert_eq!((load.tally().1, world.asked("s2"), world.asked("s3")), (failed, 0, 0));

    balancer.reload(false).await?;
    balancer.until_held("s1", false).await?;
    balancer.until_held("s3", true).await?;
    world.until_asked("s1").await?;
    std::fs::remove_file(world.join("balancer/state"))?;
    balancer.restart().await?;
    assert!(balancer.holds("s1").await?, "it forgot");
    balancer.until_held("s1", false).await?;
    balancer.until_held("s3", true).await?;
    world.until_asked("s1").await?;
    assert_eq!(world.asked("s2"), 0);
    let explained = world.gate.until_explained("s3", "no report", Duration::from_secs(45)).await?;
    assert!(explained.contains("held"), "{explained}");
    let events = world.gate.cli(&["events"]).await?.done()?.stdout;
    assert!(events.contains("it gets traffic though it is held"), "{events}");
    let of_s1: Vec<&str> = events.lines().filter(|line| line.contains("verdict shop/s1 ")).collect();
    let let_in = of_s1.iter().position(|line| line.contains("admitted")).expect("it was let in");
    assert!(of_s1[let_in..].iter().all(|line| line.contains("admitted")), "it waited anew: {of_s1:?}");
    assert!(balancer.holds("s2").await? && !balancer.holds("s1").await?);
    Ok(())
}

/// Two balancers: one that hangs, or is gone, is named, and the other goes on. When it is back it is told what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_hangs_delays_nobody() -> Result<()> {
    let machines = Machines::start("hang", &["s1"]).await?;
    let servers = [machines.disabled("s1")];
    let good = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let folder = machines.scratch.join("other");
    std::fs::create_dir_all(&folder)?;
    let hanging = tokio::net::UnixListener::bind(folder.join("admin.sock"))?;
    let mut setup = with(&[&good]);
    setup.balancers.push(folder.join("admin.sock"));
    let mut world = machines.gated(setup).await?;
    let load = Load::on(good.address);
    world.joins("s1", Deploy::Whole)?;
    world.until_asked("s1").await?;
    world.until_said(&["status"], "undescribed").await?;
    drop(hanging);
    world.until_said(&["status"], "refused").await?;
    std::fs::remove_file(folder.join("admin.sock"))?;
    let back = Balancer::start(folder, &servers).await?;
    back.until_held("s1", false).await?;
    let users = Load::on(back.address);
    world.until_asked("s1").await?;
    assert!(users.tally().0 + load.tally().0 > 0);
    Ok(())
}

/// An agent-check that says `ready` ends anybody's maintenance. It has no say in what is held.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_check_is_advice() -> Result<()> {
    let machines = Machines::start("agent-check", &["s1"]).await?;
    let says_ready = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = says_ready.local_addr()?.port();
    let (name, address, rest) = machines.disabled("s1");
    let servers = [(name, address, format!("{rest} agent-check agent-port {port} agent-inter 100ms"))];
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let mut world = machines.gated(with(&[&balancer])).await?;
    world.gate.until_explained("s1", "no report", Duration::from_secs(45)).await?;
    let _load = Load::on(balancer.address);
    let speaking = tokio::spawn(async move {
        while let Ok((mut stream, _)) = says_ready.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"ready\n").await;
        }
    });
    world.until_asked("s1").await?;
    world.until_said(&["events"], "it gets traffic though it is held").await?;
    balancer.until_held("s1", true).await?;
    let after = world.asked("s1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(balancer.holds("s1").await? && world.asked("s1") <= after + 4, "requests under way at most");
    world.joins("s1", Deploy::Whole)?;
    world.until_asked("s1").await?;
    balancer.until_held("s1", false).await?;
    speaking.abort();
    Ok(())
}

/// Servers that are added at run time come in maintenance, with a check that does not run. They are gated like any other, and
/// their check is switched on before they are let in.
#[tokio::test(flavor = "multi_thread")]
async fn an_added_server_is_gated_and_checked() -> Result<()> {
    let machines = Machines::start("added", &["s1", "s2"]).await?;
    let servers = [machines.disabled("s1")];
    let balancer = Balancer::start(machines.scratch.join("balancer"), &servers).await?;
    let mut world = machines.gated(with(&[&balancer])).await?;
    let _load = Load::on(balancer.address);
    let added = format!("add server shop/s2 {} check inter 100ms", world.servers["s2"].address);
    assert!(balancer.ask(&added).await?.contains("registered"));
    world.gate.until_explained("s2", "no report", Duration::from_secs(45)).await?;
    assert_eq!(world.asked("s2"), 0);
    world.joins("s2", Deploy::Whole)?;
    world.until_asked("s2").await?;
    // A web server that ends is noticed: its check runs.
    world.servers.remove("s2");
    balancer.until_down("s2").await?;
    Ok(())
}

/// What deploy/haproxy.md has people write is what both programs take.
#[test]
fn the_document_is_right() -> Result<()> {
    let page = std::fs::read_to_string(portcullis_wire::top().join("deploy/haproxy.md"))?;
    let block = |language: &str| {
        let begin = page.find(&format!("```{language}\n")).expect("there is such a block") + language.len() + 4;
        let block = &page[begin..begin + page[begin..].find("```").expect("it ends")];
        block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line).to_owned() + "\n").collect::<String>()
    };
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let haproxy = file("haproxy.cfg", &block("haproxy").replace("user haproxy group portcullis ", ""))?;
    portcullis_wire::run("haproxy".as_ref(), ["-c".as_ref(), "-f".as_ref(), haproxy.as_os_str()]).exits(0);
    let example = std::fs::read_to_string(portcullis_wire::top().join("deploy/controller.toml"))?;
    let (rest, groups) = example.split_once("[groups.web]").expect("it has a group");
    let (before, after) = rest.split_once("[aws]").expect("it has a cloud");
    let after = &after[after.find("[trust]").expect("it trusts somebody")..];
    let limits = &groups[groups.find("[limits]").expect("it has limits")..];
    let written = format!("{before}{after}{}{limits}", block("toml"));
    let key = folder.path().join("release.key");
    portcullis_wire::run(&programs().cli, ["key".as_ref(), "generate".as_ref(), "--out".as_ref(), key.as_os_str()])
        .exits(0);
    let token = file("token", "a-token-that-is-long-enough")?;
    let url = file("url", "https://alerts.example/hook")?.display().to_string();
    let written = written
        .replace("/etc/portcullis/release.key.pub", &format!("{}.pub", key.display()))
        .replace("/etc/portcullis/tokens/ana", &token.display().to_string())
        .replace("/etc/portcullis/pager.url", &url)
        .replace("/etc/portcullis/dead-man.url", &url)
        .replace("0.0.0.0:7420", "127.0.0.1:7420")
        .replace("[agents.tls]\ncert", "# cert")
        .replace("\nkey  = ", "\n# key  = ");
    let config = file("controller.toml", &written)?;
    let arguments = ["check-config".as_ref(), "--config".as_ref(), config.as_os_str()];
    portcullis_wire::run(&programs().controller, arguments).exits(0);
    Ok(())
}
