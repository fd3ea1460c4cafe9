//! A controller with a fake cloud, and agents that are as good or bad as a test wants.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use portcullis::{
    api::{Challenged, ENROL_PAYLOAD_TYPE, Enrol, Enrolled, Identity, InstanceStatus},
    challenge::Request,
    digest::Digest,
    facts::Template,
    instance::{GroupName, InstanceId, LifecycleState},
    manifest::{self, Check, Entry, EntryKind, Manifest, Tree},
    observation::{Answer, Custody, GroupFacts, Hook, InstanceFacts},
    outcome::{Outcome, Status},
    report::{self, Report},
    signature::{Envelope, SigningKey},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    clock::Clock,
    config::Config,
    providers::{Call, Finder, Found, Pending, Provider},
    run::Controller,
    stores::{Store, memory::MemoryStore, redb::RedbStore},
};

pub(super) const TOKEN: &str = "an-operators-token-of-some-length";

/// A cloud of one group, `web`, that does what it is told.
#[derive(Default)]
pub(super) struct FakeCloud {
    states: Mutex<BTreeMap<InstanceId, LifecycleState>>,
    pub(super) calls: Mutex<Vec<Call>>,
}

impl FakeCloud {
    pub(super) fn put(&self, instance: &str, state: &str) {
        self.states.lock().unwrap().insert(instance.into(), LifecycleState::from(state.to_string()));
    }

    pub(super) fn state(&self, instance: &str) -> String {
        self.states.lock().unwrap().get(&InstanceId::from(instance)).map_or_else(String::new, ToString::to_string)
    }

    pub(super) fn remove(&self, instance: &str) {
        self.states.lock().unwrap().remove(&InstanceId::from(instance));
    }

    fn facts(&self) -> GroupFacts {
        let instances = self.states.lock().unwrap().clone().into_iter();
        let hook = Hook {
            name: "portcullis".into(),
            heartbeat_timeout_s: 3_600,
            global_timeout_s: 172_800,
            abandons_by_default: true,
        };
        GroupFacts {
            desired: 2,
            launch_hooks: vec![hook],
            suspended: vec![],
            activities: vec![],
            launch_template: None,
            custody: Custody::AtLaunch,
            unseen: vec![],
            refresh: None,
            instances: instances
                .map(|(instance, state)| InstanceFacts {
                    instance,
                    state,
                    launch_template: None,
                    protected: false,
                    healthy: None,
                })
                .collect(),
        }
    }
}

impl Provider for FakeCloud {
    fn describe<'a>(&'a self, groups: &'a [GroupName], finder: Finder) -> Pending<'a, ()> {
        Box::pin(async move {
            for name in groups {
                let facts = Ok((name.as_str() == "web").then(|| self.facts()));
                finder.send(Found::Group(name.clone(), facts)).await.unwrap();
            }
        })
    }

    fn perform(&self, call: Call) -> Pending<'_, Answer> {
        if let Call::Admit(held) = &call {
            self.put(held.instance.as_str(), "InService");
        }
        self.calls.lock().unwrap().push(call);
        Box::pin(async { Answer::Accepted })
    }
}

/// A running controller.
pub(super) struct World {
    pub(super) controller: Controller,
    pub(super) store: Arc<dyn Store>,
    pub(super) cloud: Arc<FakeCloud>,
    pub(super) clock: Clock,
    pub(super) release_key: SigningKey,
    dir: tempfile::TempDir,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with("").await
    }

    /// With a limit on the requests of one agents' address.
    pub(super) async fn with_limit(requests_per_minute_max: u32) -> Self {
        let limit = format!("[agents]\nrequests_per_minute_max = {requests_per_minute_max}");
        Self::of(&CONFIG.replace("[agents]", &limit)).await
    }

    /// With TLS for agents, by two files.
    pub(super) async fn with_tls(cert: &Path, key: &Path) -> Self {
        let tls = format!("[agents]\ntls = {{ cert = {cert:?}, key = {key:?} }}");
        Self::of(&CONFIG.replace("[agents]", &tls)).await
    }

    /// With further lines for agents.
    pub(super) async fn with_agents(lines: &str) -> Self {
        Self::of(&CONFIG.replace("[agents]", &format!("[agents]\n{lines}"))).await
    }

    /// With further tables.
    pub(super) async fn with_tables(tables: &str) -> Self {
        Self::of(&format!("{CONFIG}{tables}")).await
    }

    /// With further lines at the beginning of the configuration.
    pub(super) async fn with(lines: &str) -> Self {
        Self::of(&format!("{lines}\n{CONFIG}")).await
    }

    /// With a store on disk.
    pub(super) async fn on_disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(&dir.path().join("store.redb")).unwrap());
        Self::in_folder(CONFIG, dir, store).await
    }

    async fn of(text: &str) -> Self {
        Self::in_folder(text, tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new())).await
    }

    async fn in_folder(text: &str, dir: tempfile::TempDir, store: Arc<dyn Store>) -> Self {
        let release_key = SigningKey::generate(&[7; 32]);
        std::fs::write(dir.path().join("release.key.pub"), release_key.public().to_pem()).unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        std::fs::write(dir.path().join("controller.toml"), text).unwrap();
        let (cloud, clock) = (Arc::new(FakeCloud::default()), Clock::system());
        let controller = Self::controller(dir.path(), &store, &cloud, &clock).await;
        Self { controller, store, cloud, clock, release_key, dir }
    }

    async fn controller(dir: &Path, store: &Arc<dyn Store>, cloud: &Arc<FakeCloud>, clock: &Clock) -> Controller {
        let config = Config::read(&dir.join("controller.toml")).unwrap();
        let provider = Arc::clone(cloud);
        Controller::start(config, Arc::clone(store), provider, clock.clone()).await.unwrap()
    }

    /// A second controller on the same store.
    pub(super) async fn beside(&self) -> Self {
        let controller = Self::controller(self.dir.path(), &self.store, &self.cloud, &self.clock).await;
        let (store, cloud, clock) = (Arc::clone(&self.store), Arc::clone(&self.cloud), self.clock.clone());
        let dir = tempfile::tempdir().unwrap();
        Self { controller, store, cloud, clock, release_key: SigningKey::generate(&[7; 32]), dir }
    }

    /// The same store under a new controller.
    pub(super) async fn restart(self) -> Self {
        let Self { controller, store, cloud, clock, release_key, dir } = self;
        controller.stop().await;
        let controller = Self::controller(dir.path(), &store, &cloud, &clock).await;
        Self { controller, store, cloud, clock, release_key, dir }
    }

    pub(super) fn operator(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        request(&self.controller.operators, method, path, &header, body)
    }

    pub(super) fn agent(&self, path: &str, body: &[u8]) -> Reply {
        request(&self.controller.agents, "POST", path, "", body)
    }

    pub(super) fn metrics(&self) -> String {
        String::from_utf8(request(&self.controller.operators, "GET", "/metrics", "", b"").body).unwrap()
    }

    /// A manifest with one check, named after its release, signed by the trusted key.
    pub(super) fn envelope(&self, release: &str, sequence: u64) -> (Digest, Vec<u8>) {
        signed_manifest("shop", release, sequence, &self.release_key)
    }

    pub(super) fn publish(&self, release: &str, sequence: u64) -> Digest {
        let (digest, envelope) = self.envelope(release, sequence);
        self.operator("POST", "/v1/releases", &envelope).is(200);
        digest
    }

    /// A release with one tree, `app`, and one template in it.
    pub(super) fn publish_template(&self, release: &str, template: &str) -> Digest {
        let kind = EntryKind::Template { template: Template::parse(template).unwrap() };
        let entry = Entry { path: b"a".to_vec(), kind, mode: None, owner: None };
        let tree = Tree { entries: vec![entry], ..Tree::new("app", "/app") };
        let (product, release) = ("shop".into(), release.into());
        let manifest = Manifest { product, release, sequence: 99, trees: vec![tree], checks: vec![] };
        let (digest, envelope) = signed(&manifest, &self.release_key);
        self.operator("POST", "/v1/releases", &envelope).is(200);
        digest
    }

    pub(super) fn promote(&self, release: &str) {
        self.operator("POST", "/v1/groups/web/promote", json!({"release": release}).to_string().as_bytes()).is(200);
    }

    pub(super) fn join_token(&self, group: &str, uses: u32) -> String {
        let wish = json!({"group": group, "expires_in_s": 3600, "uses": uses}).to_string();
        let reply = self.operator("POST", "/v1/join-tokens", wish.as_bytes()).is(200);
        reply.json::<Value>()["token"].as_str().unwrap().into()
    }

    pub(super) fn instance(&self, id: &str) -> Option<InstanceStatus> {
        let reply = self.operator("GET", &format!("/v1/instances/{id}"), b"");
        (reply.status == 200).then(|| reply.json())
    }

    /// Asks until `found` finds something.
    pub(super) async fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Clock::monotonic() + Duration::from_secs(30);
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(Clock::monotonic() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An instance in the cloud, whose wait is on record.
    pub(super) async fn waiting(&self, id: &str) {
        self.cloud.put(id, "Pending:Wait");
        self.until("its wait is on record, and held for more than that", |world| {
            let reason = world.instance(id)?.reason?;
            (reason.code() != "wait_not_recorded").then_some(())
        })
        .await;
    }

    /// Everything in the store, but the audit, and the lease, which the loop takes when it comes to it.
    pub(super) fn listing(&self) -> Vec<(String, crate::stores::Versioned)> {
        self.store.list("").unwrap().into_iter().filter(|(path, _)| path != "lease").collect()
    }
}

/// An agent of an instance of `web`.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) key: [u8; 32],
    pub(super) instance: InstanceId,
    pub(super) boot: String,
    pub(super) binding: String,
}

impl Agent {
    pub(super) fn new(instance: &str, key: u8) -> Self {
        Self { key: [key; 32], instance: instance.into(), boot: "boot-1".into(), binding: String::new() }
    }

    pub(super) fn signing_key(&self) -> SigningKey {
        SigningKey::generate(&self.key)
    }

    pub(super) fn enrolment(&self, evidence: Identity) -> Enrol {
        Enrol {
            audience: "gate".into(),
            instance: self.instance.clone(),
            boot_id: self.boot.as_str().into(),
            public_key: self.signing_key().public().to_pem(),
            evidence,
        }
    }

    pub(super) fn enrol(&mut self, world: &World, evidence: Identity) -> Reply {
        let reply = world.agent("/v1/enrol", &self.sealed(ENROL_PAYLOAD_TYPE, &self.enrolment(evidence)));
        if reply.status == 200 {
            self.binding = reply.json::<Enrolled>().binding;
        }
        reply
    }

    /// Enrolled with a token of its own.
    pub(super) fn enrolled(mut self, world: &World) -> Self {
        let token = world.join_token("web", 1);
        self.enrol(world, Identity::JoinToken(token)).is(200);
        self
    }

    pub(super) fn request(&self) -> Request {
        Request { audience: "gate".into(), binding: self.binding.clone(), boot_id: self.boot.as_str().into() }
    }

    pub(super) fn challenge(&self, world: &World) -> Challenged {
        let body = self.sealed(portcullis::challenge::PAYLOAD_TYPE, &self.request());
        world.agent("/v1/challenge", &body).is(200).json()
    }

    /// A report that passes everything, in answer to `challenged`.
    pub(super) fn passing(&self, challenged: &Challenged, manifest: Digest) -> Report {
        Report {
            audience: "gate".into(),
            binding: self.binding.clone(),
            instance: self.instance.clone(),
            boot_id: self.boot.as_str().into(),
            group: challenged.group.clone(),
            wait: challenged.wait,
            manifest,
            challenge: challenged.challenge.clone(),
            facts: BTreeMap::new(),
            outcomes: vec![outcome("smoke", Status::Pass)],
        }
    }

    pub(super) fn report(&self, world: &World, report: &Report) -> Reply {
        world.agent("/v1/report", &self.sealed(report::PAYLOAD_TYPE, report))
    }

    pub(super) fn sealed(&self, payload_type: &str, message: &impl Serialize) -> Vec<u8> {
        let mut envelope = Envelope::unsigned(payload_type, serde_json::to_vec(message).unwrap());
        envelope.sign(&self.signing_key());
        envelope.to_json()
    }
}

pub(super) fn outcome(check: &str, status: Status) -> Outcome {
    Outcome::new(check, "command", status, (status != Status::Pass).then(|| "exit code 1".into()))
}

pub(super) fn signed_manifest(product: &str, release: &str, sequence: u64, key: &SigningKey) -> (Digest, Vec<u8>) {
    let check = Check::command("smoke", ["true", release]);
    let manifest =
        Manifest { product: product.into(), release: release.into(), sequence, trees: vec![], checks: vec![check] };
    signed(&manifest, key)
}

fn signed(manifest: &Manifest, key: &SigningKey) -> (Digest, Vec<u8>) {
    let payload = manifest.to_payload();
    let digest = Digest::of(&payload);
    let mut envelope = Envelope::unsigned(manifest::PAYLOAD_TYPE, payload);
    envelope.sign(key);
    (digest, envelope.to_json())
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// A problem of this kind, well-formed.
    #[track_caller]
    pub(super) fn is_problem(&self, kind: &str, status: u16) {
        let problem: portcullis::api::Problem = self.json();
        assert_eq!(
            (problem.kind, problem.status),
            (format!("urn:portcullis:problem:{kind}"), status),
            "{}",
            problem.detail
        );
        assert_eq!(self.status, status);
        assert!(self.head.to_lowercase().contains("content-type: application/problem+json"), "{}", self.head);
    }

    #[track_caller]
    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// One request on a connection of its own.
pub(super) fn request(base: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses a large body answers before it has read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(!answer.is_empty(), "{error}");
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

const CONFIG: &str = r#"
audience = "gate"
store = "unused"
[agents]
listen = "127.0.0.1:0"
[operators]
listen = "127.0.0.1:0"
tokens = [{ name = "ana", file = "token" }]
[trust]
keys = ["release.key.pub"]
[groups.web]
mode = "enforce"
product = "shop"
sequence_min = 10
[groups.other]
mode = "observe"
[limits]
describe_every = "100ms"
"#;
