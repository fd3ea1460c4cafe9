//! A cloud with many instances that wait at their hooks, and a signed release of some size.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use portcullis::{
    digest::Digest,
    manifest::{Check, Entry, EntryKind, Manifest, PAYLOAD_TYPE, Tree},
    outcome::{Outcome, Status},
    signature::{Envelope, SigningKey},
};
use portcullis_cloud::{
    CreateAutoScalingGroup, LaunchTemplate, Options, PutLifecycleHook, Server, ServerOptions, Transition,
    UpdateAutoScalingGroup,
};

/// Our hook's name.
pub const HOOK: &str = "portcullis";

/// The simulated cloud, with its groups.
#[derive(Debug)]
pub struct Scene {
    /// The cloud.
    pub cloud: Server,
    /// The groups, by name, each with how many instances it is to have.
    pub groups: Vec<(String, u32)>,
}

impl Scene {
    /// Groups that are still empty.
    ///
    /// # Errors
    /// When the cloud gets no port.
    pub async fn set(instances: u32, groups: u32) -> Result<Self> {
        let cloud = Server::start(ServerOptions::local(Options::default())).await.context("the simulated cloud")?;
        let share = |n| instances / groups + u32::from(n < instances % groups);
        let groups: Vec<_> = (0..groups).map(|n| (format!("group-{n}"), share(n))).collect();
        for (name, size) in &groups {
            let settings = UpdateAutoScalingGroup {
                min: Some(0),
                max: Some(*size),
                launch_template: Some(LaunchTemplate { name: Some("load".into()), ..Default::default() }),
                zones: vec!["eu-west-1a".into()],
                ..Default::default()
            };
            let hook =
                PutLifecycleHook { name: HOOK.into(), transition: Some(Transition::Launching), ..Default::default() };
            let group =
                CreateAutoScalingGroup { name: name.clone(), settings, hooks: vec![hook], ..Default::default() };
            cloud.lock().create_auto_scaling_group(&group)?;
        }
        Ok(Self { cloud, groups })
    }

    /// Launches all of them; they begin to wait. Gives each instance's id with its group.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub fn launch(&self) -> Result<Vec<(String, String)>> {
        let mut cloud = self.cloud.lock();
        for (name, size) in &self.groups {
            cloud.set_desired_capacity(name, *size)?;
        }
        Ok(cloud.instances(None).into_iter().map(|view| (view.id, view.group)).collect())
    }

    /// How many are in service.
    pub fn in_service(&self) -> usize {
        self.cloud.lock().instances(None).iter().filter(|view| view.state.as_str() == "InService").count()
    }
}

/// A release, signed.
#[derive(Debug)]
pub struct Release {
    /// The signed manifest.
    pub envelope: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// The public key, PEM.
    pub trust: String,
    /// What an instance reports that is as it should be.
    pub passing: Arc<[Outcome]>,
}

impl Release {
    /// One with so many files, and the checks of an ordinary web server.
    pub fn make(files: u32) -> Self {
        let file = |n: u32| {
            let kind = EntryKind::File { size: 1_024, sha256: Digest::of(&n.to_be_bytes()), text: None };
            Entry { path: format!("{n:08}.php").into(), kind, mode: None, owner: None }
        };
        let checks = ["nginx parses", "php answers", "schema", "clock", "disk"];
        let manifest = Manifest {
            product: "load".into(),
            release: "1".into(),
            sequence: 1,
            trees: vec![
                Tree { entries: (0..files).map(file).collect(), ..Tree::new("app", "/srv/app") },
                Tree { entries: (0..20).map(file).collect(), ..Tree::new("nginx", "/etc/nginx") },
            ],
            checks: checks.map(|name| Check::command(name, ["true"])).into(),
        };
        let key = SigningKey::generate(Digest::of(b"the release key of a load that nobody else believes").as_bytes());
        let payload = manifest.to_payload();
        let digest = Digest::of(&payload);
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload);
        envelope.sign(&key);
        let passed = |name: &str, kind| Outcome { took_ms: 12, ..Outcome::new(name, kind, Status::Pass, None) };
        let trees = manifest.trees.iter().map(|tree| passed(&tree.name, "tree"));
        let passing = trees.chain(manifest.checks.iter().map(|check| passed(&check.name, check.kind.name()))).collect();
        Self { envelope: envelope.to_json(), digest, trust: key.public().to_pem(), passing }
    }
}
