//! Agents, as the controller sees them: each with a key, an address and a connection of its own, and nothing that it checks.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hyper::StatusCode;
use portcullis::{
    api::{Answer, Challenged, ENROL_PAYLOAD_TYPE, Enrol, Enrolled, Identity, Problem},
    challenge,
    digest::Digest,
    instance::{BootId, InstanceId},
    outcome::Outcome,
    report::{self, Report},
    signature::{Envelope, SigningKey},
    verdict::Verdict,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    client::{Client, Reply},
    clock::Stopwatch,
    figures::Seen,
};

/// What is the same for all agents.
#[derive(Debug)]
pub struct Image {
    /// Where the controller listens to them.
    pub controller: SocketAddr,
    /// What it is called.
    pub audience: String,
    /// The join token of each group.
    pub tokens: BTreeMap<String, String>,
    /// The manifest that was checked.
    pub manifest: Digest,
    /// What came of it.
    pub passing: Arc<[Outcome]>,
    /// From one report to the next.
    pub every: Duration,
}

/// Agents that report for as long as this is not dropped.
#[derive(Debug)]
pub struct Fleet {
    board: Arc<Board>,
    _agents: JoinSet<()>,
}

/// What they saw.
#[derive(Debug, Default)]
struct Board {
    seen: Mutex<Seen>,
    admitted: AtomicUsize,
}

impl Fleet {
    /// Boots an agent on each of the instances (id and group); their first rounds are spread over one period.
    pub fn boot(instances: Vec<(String, String)>, image: &Arc<Image>) -> Self {
        let (board, mut agents) = (Arc::new(Board::default()), JoinSet::new());
        let count = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        for (number, (instance, group)) in (0..count).zip(instances) {
            let agent = Agent::new(number, &instance, group, image, &board);
            let first = image.every * number / count.max(1);
            agents.spawn(agent.run(first));
        }
        Self { board, _agents: agents }
    }

    /// How many were last told that they are admitted.
    pub fn admitted(&self) -> usize {
        self.board.admitted.load(Ordering::Relaxed)
    }

    /// What they saw since this was last asked.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut *self.board.seen())
    }
}

impl Board {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Agent {
    instance: InstanceId,
    group: String,
    boot: BootId,
    key: SigningKey,
    client: Client,
    binding: Option<String>,
    is_admitted: bool,
    image: Arc<Image>,
    board: Arc<Board>,
}

impl Agent {
    fn new(number: u32, instance: &str, group: String, image: &Arc<Image>, board: &Arc<Board>) -> Self {
        Self {
            instance: instance.into(),
            group,
            boot: BootId(format!("boot-{number}")),
            key: SigningKey::generate(Digest::of(instance.as_bytes()).as_bytes()),
            client: Client::new(address(number), image.controller),
            binding: None,
            is_admitted: false,
            image: Arc::clone(image),
            board: Arc::clone(board),
        }
    }

    async fn run(mut self, first: Duration) {
        tokio::time::sleep(first).await;
        let mut beat = interval(self.image.every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            while let Err(error) = self.round().await {
                *self.board.seen().failures.entry(format!("{error:#}")).or_default() += 1;
                tokio::time::sleep(AGAIN_AFTER.min(self.image.every)).await;
            }
        }
    }

    async fn round(&mut self) -> Result<()> {
        let began = Stopwatch::start();
        let binding = match &self.binding {
            Some(binding) => binding.clone(),
            None => self.enrol().await?,
        };
        let (audience, boot_id) = (self.image.audience.clone(), self.boot.clone());
        let request = challenge::Request { audience: audience.clone(), binding: binding.clone(), boot_id };
        let challenged: Challenged = self.say("/v1/challenge", challenge::PAYLOAD_TYPE, &request).await?;
        if challenged.group.as_str().is_empty() {
            bail!("not described yet");
        }
        let report = Report {
            audience,
            binding,
            instance: self.instance.clone(),
            boot_id: self.boot.clone(),
            group: challenged.group,
            wait: challenged.wait,
            manifest: self.image.manifest,
            challenge: challenged.challenge,
            facts: BTreeMap::new(),
            outcomes: self.image.passing.to_vec(),
        };
        let asked = Stopwatch::start();
        let answer: Answer = self.say("/v1/report", report::PAYLOAD_TYPE, &report).await?;
        let (report_took, round_took) = (asked.elapsed(), began.elapsed());
        self.hear(answer.verdict);
        let mut seen = self.board.seen();
        seen.reports.add(report_took);
        seen.rounds.add(round_took);
        Ok(())
    }

    async fn enrol(&mut self) -> Result<String> {
        let token = self.image.tokens.get(&self.group).context("a token for each group")?;
        let message = Enrol {
            audience: self.image.audience.clone(),
            instance: self.instance.clone(),
            boot_id: self.boot.clone(),
            public_key: self.key.public().to_pem(),
            evidence: Identity::JoinToken(token.clone()),
        };
        let enrolled: Enrolled = self.say("/v1/enrol", ENROL_PAYLOAD_TYPE, &message).await?;
        self.binding = Some(enrolled.binding.clone());
        Ok(enrolled.binding)
    }

    fn hear(&mut self, verdict: Verdict) {
        let is_admitted = verdict == Verdict::Admitted;
        match (self.is_admitted, is_admitted) {
            (false, true) => drop(self.board.admitted.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.board.admitted.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.is_admitted = is_admitted;
    }

    /// One signed message, and its answer. An agent gives up after as long as this.
    async fn say<T: DeserializeOwned>(&mut self, path: &str, kind: &str, message: &impl Serialize) -> Result<T> {
        let mut envelope = Envelope::unsigned(kind, serde_json::to_vec(message)?);
        envelope.sign(&self.key);
        let sent = tokio::time::timeout(MESSAGE_TIMEOUT, self.client.post(path, envelope.to_json())).await;
        let reply = sent.with_context(|| format!("{path}: no answer in time"))?.with_context(|| path.to_string())?;
        refused(path, &reply)?;
        reply.read()
    }
}

/// The kind of a refusal, without what differs from agent to agent.
fn refused(path: &str, reply: &Reply) -> Result<()> {
    if reply.status == StatusCode::OK {
        return Ok(());
    }
    let kind = serde_json::from_slice(&reply.body).map_or(String::new(), |problem: Problem| problem.kind);
    bail!("{path}: {} {kind}", reply.status)
}

/// Loopback addresses from 127.1.0.1 on: none is the operators' or the abusive client's.
fn address(number: u32) -> Ipv4Addr {
    let part = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, part(1 + number / 62_500), part(number / 250 % 250), part(1 + number % 250))
}

/// The agent's own (`MESSAGE_TIMEOUT` of its `controller.rs`).
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// After a round that came to nothing; a real agent begins with a second, and takes longer each time.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_agent_has_an_address_of_its_own() {
        let all: BTreeSet<_> = (0..200_000).map(address).collect();
        assert_eq!((all.len(), all.first()), (200_000, Some(&Ipv4Addr::new(127, 1, 0, 1))));
        assert!(all.iter().all(|address| address.octets()[1] < 5 && ![0, 255].contains(&address.octets()[3])));
    }
}
