//! What goes wrong meanwhile: the cloud throttles, fails, loses and delays, and shows what was; and the controller is killed.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Result;
use portcullis_cloud::{Fault, Server, What};
use portcullis_drill::gate::Gate;
use tokio::time::{sleep, timeout};

use super::random::Random;

/// Orders one fault after the other, for ever.
pub(crate) async fn faults(cloud: Arc<Server>, mut random: Random) -> Infallible {
    loop {
        sleep(Duration::from_millis(random.between(300, 2_000))).await;
        let fault = fault(&mut random);
        cloud.lock().inject(fault);
    }
}

fn fault(random: &mut Random) -> Fault {
    let action = random.percent(70).then(|| "CompleteLifecycleAction".to_owned());
    let calls = u32::try_from(random.between(1, 4)).unwrap_or(1);
    match random.between(0, 8) {
        0 => Fault::Throttle { calls: calls * 4, action },
        1 => Fault::Unavailable { calls, action },
        2 => Fault::LoseRequest { calls, action },
        3 | 4 => Fault::LoseAnswer { calls, action },
        5 => Fault::Duplicate { calls, action },
        6 => Fault::DelayAnswer { calls, action, delay_ms: random.between(200, 2_500) },
        7 => Fault::DescribeLag { lag_ms: random.between(0, 4_000) },
        _ => Fault::ActionLag { lag_ms: random.between(0, 2_500) },
    }
}

/// How often it was killed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kills {
    pub(crate) at_random: u32,
    /// While the answer to a CONTINUE that the cloud had taken was on its way.
    pub(crate) after_a_call: u32,
}

/// Kills the controller `times`, within about `span`, and starts it again at once.
pub(crate) async fn kills(
    cloud: &Server,
    gate: &mut Gate,
    mut random: Random,
    times: u64,
    span: Duration,
) -> Result<Kills> {
    let (mut kills, pause_ms) = (Kills::default(), u64::try_from(span.as_millis())? * 2 / times.max(1));
    for _ in 0..times {
        sleep(Duration::from_millis(random.between(200, pause_ms.max(400)))).await;
        if random.percent(50) && is_sent(cloud).await {
            kills.after_a_call += 1;
        } else {
            kills.at_random += 1;
        }
        gate.kill().await?;
        gate.restart().await?;
    }
    Ok(kills)
}

/// Waits for the next CONTINUE that is taken, and keeps its answer back; false if none comes.
async fn is_sent(cloud: &Server) -> bool {
    let (mut changes, mut after) = (cloud.changes(), {
        let mut cloud = cloud.lock();
        let action = Some("CompleteLifecycleAction".to_owned());
        cloud.inject(Fault::DelayAnswer { calls: 1, action, delay_ms: 1_000 });
        cloud.last_event()
    });
    let sent = async {
        loop {
            let page = cloud.lock().events_since(after);
            after = page.next;
            if page.events.iter().any(|event| is_continue(&event.what)) {
                return true;
            }
            if changes.changed().await.is_err() {
                return false;
            }
        }
    };
    timeout(CALL_PATIENCE, sent).await.unwrap_or_default()
}

fn is_continue(what: &What) -> bool {
    matches!(what, What::Called { action, result: Some(result), code: None, .. }
        if action == "CompleteLifecycleAction" && result == "CONTINUE")
}

/// Whatever is killed later is killed all the same.
const CALL_PATIENCE: Duration = Duration::from_secs(6);

/// Up to `count` of them.
pub(crate) fn some_of(ids: &BTreeSet<String>, count: usize, random: &mut Random) -> Vec<String> {
    let mut left: Vec<String> = ids.iter().cloned().collect();
    let mut taken = Vec::new();
    while taken.len() < count && !left.is_empty() {
        let index = usize::try_from(random.between(0, left.len() as u64 - 1)).unwrap_or_default();
        taken.push(left.swap_remove(index));
    }
    taken
}
