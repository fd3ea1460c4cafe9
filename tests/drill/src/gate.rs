//! The gate, as an operator would set it up: a signed release, the controller's process, a join token, and the agent that is
//! baked into every image.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{interval, timeout},
};

use crate::{
    programs::Programs,
    scene::{GROUP, HOOK},
    site::Site,
};

/// What the controller calls itself, and agents call it.
const AUDIENCE: &str = "drill";

/// A release of the site, built and signed by the real command.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// The digest of its manifest.
    pub manifest: String,
    /// The signed manifest.
    pub envelope: PathBuf,
    /// The key that verifies it.
    pub trust: PathBuf,
}

impl Release {
    /// Builds and signs it in `folder`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn build(programs: &Programs, site: &Site, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (key, spec) = (folder.join("release.key"), folder.join("portcullis.toml"));
        let envelope = folder.join("manifest.json");
        fs::write(&spec, Site::spec())?;
        let name = "2026.11.20-1";
        run(&programs.cli, &["key", "generate", "--out", text(&key)?])?;
        run(
            &programs.cli,
            &[
                "release",
                "build",
                "--spec",
                text(&spec)?,
                "--release",
                name,
                "--root",
                text(site.staging())?,
                "--out",
                text(&envelope)?,
                "--key",
                text(&key)?,
            ],
        )?;
        let trust = folder.join("release.key.pub");
        let verified = run(&programs.cli, &["release", "verify", text(&envelope)?, "--trust", text(&trust)?])?;
        let manifest = verified.split_whitespace().find(|word| word.starts_with("sha256:"));
        let manifest = manifest.with_context(|| format!("`release verify` names no digest: {verified}"))?.to_owned();
        Ok(Self { name: name.into(), manifest, envelope, trust })
    }
}

/// A running controller, and what it takes to speak with it. It is killed when dropped.
#[derive(Debug)]
pub struct Gate {
    programs: Programs,
    folder: PathBuf,
    trust: PathBuf,
    controller: Child,
    agents_url: String,
    operators_url: String,
    operator_token: String,
}

/// What a command gave.
#[derive(Debug, Clone)]
pub struct Said {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// How the controller is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// Until when an instance must be ready.
    pub admission_deadline: Duration,
    /// Further lines under `[limits]`.
    pub limits: &'static str,
    /// Further lines under `[aws]`.
    pub aws: String,
    /// The Runtime APIs of the balancers, where these hold the instances instead of a cloud.
    pub balancers: Vec<PathBuf>,
    /// Further lines of the group.
    pub group: &'static str,
}

impl Default for Setup {
    /// Everything at its default, but looking at the cloud every second: the drill's cloud does not throttle.
    fn default() -> Self {
        let (admission_deadline, limits) = (Duration::from_secs(20 * 60), "describe_every = \"1s\"\n");
        let aws = String::new();
        Self { mode: "enforce", admission_deadline, limits, aws, group: "", balancers: Vec::new() }
    }
}

impl Gate {
    /// Starts the controller against a cloud, publishes and promotes the release, and makes a join token.
    ///
    /// # Errors
    /// When any of that fails.
    pub async fn start(programs: &Programs, release: &Release, cloud: &str, folder: &Path) -> Result<Self> {
        let gate = Self::set_up(programs, release, cloud, folder, &Setup::default()).await?;
        gate.publish(release).await?;
        gate.promote(release).await?;
        gate.make_join_token().await?;
        Ok(gate)
    }

    /// Starts the controller, and no more.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn set_up(
        programs: &Programs,
        release: &Release,
        cloud: &str,
        folder: &Path,
        setup: &Setup,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let operator_token = random_hex()?;
        write_secret(&folder.join("operator-token"), &operator_token)?;
        fs::write(folder.join("controller.toml"), controller_config(release, cloud, setup)?)?;
        let (controller, agents_url, operators_url) = start_controller(programs, folder).await?;
        let (programs, folder, trust) = (programs.clone(), folder.to_owned(), release.trust.clone());
        Ok(Self { programs, folder, trust, controller, agents_url, operators_url, operator_token })
    }

    /// Publishes a release, as CI would.
    ///
    /// # Errors
    /// When the controller refuses.
    pub async fn publish(&self, release: &Release) -> Result<Said> {
        self.cli(&["release", "publish", text(&release.envelope)?]).await?.done()
    }

    /// Makes it the wanted one.
    ///
    /// # Errors
    /// When the controller refuses.
    pub async fn promote(&self, release: &Release) -> Result<Said> {
        self.cli(&["release", "promote", &release.manifest, "--group", GROUP]).await?.done()
    }

    /// Makes the token that the image's agents enrol with.
    ///
    /// # Errors
    /// When the controller refuses.
    pub async fn make_join_token(&self) -> Result<Said> {
        let file = self.join_token();
        self.cli(&["token", "create", "--group", GROUP, "--uses", JOIN_TOKEN_USES, "--out", text(&file)?]).await?.done()
    }

    fn join_token(&self) -> PathBuf {
        self.folder.join("join-token")
    }

    /// Runs the operator's command against this controller.
    ///
    /// # Errors
    /// When it does not start, or does not end in time.
    pub async fn cli(&self, words: &[&str]) -> Result<Said> {
        let mut command = Command::new(&self.programs.cli);
        command.args(words).env("PORTCULLIS_CONTROLLER", &self.operators_url);
        command.env("PORTCULLIS_TOKEN", &self.operator_token).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(CLI_TIME_MAX, command.output()).await.context("the command does not end")??;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Waits until the explanation of an instance has `word` in it, and returns it.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub async fn until_explained(&self, instance: &str, word: &str, patience: Duration) -> Result<String> {
        let mut last = String::new();
        let asking = async {
            let mut again = interval(ASK_EVERY);
            loop {
                again.tick().await;
                last = self.cli(&["explain", instance]).await?.stdout;
                if last.contains(word) {
                    return anyhow::Ok(());
                }
            }
        };
        match timeout(patience, asking).await {
            Ok(asked) => asked.map(|()| last),
            Err(_) => bail!("`explain {instance}` says nothing of `{word}`, but: {last}"),
        }
    }

    /// Kills the controller, as a crash would: no signal to react to.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.controller.kill().await.context("the controller cannot be killed")
    }

    /// Starts it again on the same store and the same addresses.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let config = fs::read_to_string(self.folder.join("controller.toml"))?;
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        let config = config.replacen(ANY_PORT, &address(&self.agents_url), 1);
        let config = config.replacen(ANY_PORT, &address(&self.operators_url), 1);
        fs::write(self.folder.join("controller.toml"), config)?;
        (self.controller, self.agents_url, self.operators_url) = start_controller(&self.programs, &self.folder).await?;
        Ok(())
    }

    /// What is baked into the image.
    pub fn agent_image(&self) -> AgentImage {
        AgentImage {
            program: self.programs.agent.clone(),
            controller: self.agents_url.clone(),
            join_token: self.join_token(),
            trust: self.trust.clone(),
            watches: true,
        }
    }
}

impl Said {
    /// This, if the command ended with 0.
    ///
    /// # Errors
    /// When it did not, with what it said.
    pub fn done(self) -> Result<Self> {
        ensure!(self.code == Some(0), "exit {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}

/// The agent, with its configuration, as an image carries it.
#[derive(Debug, Clone)]
pub struct AgentImage {
    program: PathBuf,
    controller: String,
    join_token: PathBuf,
    trust: PathBuf,
    watches: bool,
}

impl AgentImage {
    /// The same, but it looks at files in its rounds only: of watches, all agents on one machine share what one user may have.
    pub fn without_watches(mut self) -> Self {
        self.watches = false;
        self
    }

    /// The same, but its controller is to be found there.
    pub fn with_controller(mut self, url: String) -> Self {
        self.controller = url;
        self
    }

    /// Where the controller is.
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// Boots it on an instance. Its root directory stands for the machine's, since all instances share one machine here.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, instance: &str, root: &Path) -> Result<Child> {
        let folder = root.join("run/agent");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("boot_id"), random_hex()?)?;
        fs::write(folder.join("agent.toml"), self.config(instance, root, &folder)?)?;
        let log = fs::File::create(folder.join("log"))?;
        Command::new(&self.program)
            .args(["run", "--config"])
            .arg(folder.join("agent.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the agent does not start")
    }

    fn config(&self, instance: &str, root: &Path, folder: &Path) -> Result<String> {
        let quote = |path: &Path| text(path).map(|path| format!("{path:?}"));
        Ok(format!(
            "audience = \"{AUDIENCE}\"\nstate_dir = {}\nboot_id_file = {}\nlisten = \"{ANY_PORT}\"\ntrust = [{}]\n\n\
             [controller]\nurl = \"{}\"\njoin_token_file = {}\n\n\
             [identity]\nsource = \"static\"\ninstance = \"{instance}\"\n\n\
             [checks]\nroot = {}\n\n[intervals]\nwaiting_s = 1\n\n[drift]\nwatch = {}\n",
            quote(&folder.join("state"))?,
            quote(&folder.join("boot_id"))?,
            quote(&self.trust)?,
            self.controller,
            quote(&self.join_token)?,
            quote(root)?,
            self.watches,
        ))
    }
}

fn controller_config(release: &Release, cloud: &str, setup: &Setup) -> Result<String> {
    let (holder, hook) = if setup.balancers.is_empty() {
        let aws = format!("[aws]\nregion = \"eu-west-1\"\nendpoint_url = \"{cloud}\"\n{}\n", setup.aws);
        (aws, format!("hook = \"{HOOK}\"\n"))
    } else {
        let balancer = |socket: &PathBuf| Ok(format!("[[haproxy]]\nsocket = {:?}\n", text(socket)?));
        (setup.balancers.iter().map(balancer).collect::<Result<String>>()?, String::new())
    };
    Ok(format!(
        "audience = \"{AUDIENCE}\"\nstore = \"controller.redb\"\n\n\
         [agents]\nlisten = \"{ANY_PORT}\"\n\n[operators]\nlisten = \"{ANY_PORT}\"\n\n\
         [[operators.tokens]]\nname = \"drill\"\nfile = \"operator-token\"\n\n\
         {holder}\n[trust]\nkeys = [{:?}]\n\n\
         [groups.{GROUP}]\nmode = \"{}\"\n{hook}admission_deadline = \"{}s\"\nproduct = \"shop\"\n{}\n\
         [limits]\n{}",
        text(&release.trust)?,
        setup.mode,
        setup.admission_deadline.as_secs(),
        setup.group,
        setup.limits,
    ))
}

/// Starts the controller and waits for the line that names its addresses.
async fn start_controller(programs: &Programs, folder: &Path) -> Result<(Child, String, String)> {
    let log = fs::File::options().create(true).append(true).open(folder.join("controller.log"))?;
    let mut child = Command::new(&programs.controller)
        .args(["run", "--config"])
        .arg(folder.join("controller.toml"))
        .envs([
            ("AWS_ACCESS_KEY_ID", "drill"),
            ("AWS_SECRET_ACCESS_KEY", "drill"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("the controller does not start")?;
    let stdout = child.stdout.take().context("the controller has an output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(START_TIME_MAX, lines.next_line()).await.context("the controller says nothing")??;
    let Some(line) = line else {
        bail!("the controller ended: {}", fs::read_to_string(folder.join("controller.log")).unwrap_or_default());
    };
    // `agents on http://…, operators on http://…`
    let urls: Vec<_> = line.split([' ', ',']).filter(|word| word.starts_with("http://")).map(str::to_owned).collect();
    let [agents, operators] = urls.try_into().map_err(|_| anyhow::anyhow!("the controller says: {line}"))?;
    Ok((child, agents, operators))
}

fn run(program: &Path, words: &[&str]) -> Result<String> {
    let output = std::process::Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.with_context(|| program.display().to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// One for each enrolment; a fleet of some hundred, and each of them anew.
const JOIN_TOKEN_USES: &str = "1000";

/// Loopback, any free port.
const ANY_PORT: &str = "127.0.0.1:0";

const ASK_EVERY: Duration = Duration::from_millis(200);
const CLI_TIME_MAX: Duration = Duration::from_secs(30);
const START_TIME_MAX: Duration = Duration::from_secs(30);
