//! Starting the server and the clients, and ending them whatever happens.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A running `portcullis-cloud`; killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Program {
    /// Starts it on a free port and waits for the line that says which.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis-cloud"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("listening on ").expect("the first line says where").trim().to_owned();
        Self { child, url }
    }

    /// Runs a command of the `aws` command line; its standard output, parsed, or its standard error.
    pub(crate) fn aws(&self, arguments: &[&str]) -> Result<serde_json::Value, String> {
        let output = self.client("aws").args(arguments).output().unwrap();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        let stdout = text(&output.stdout);
        Ok(if stdout.trim().is_empty() { serde_json::Value::Null } else { serde_json::from_str(&stdout).unwrap() })
    }

    /// Runs a Python script with boto3.
    pub(crate) fn python(&self, script: &str) -> Output {
        self.client("python").args(["-c", script]).output().unwrap()
    }

    /// Runs a script of bash in which `aws` is the real one; its standard output. A command that fails ends it.
    pub(crate) fn bash(&self, script: &str) -> Result<String, String> {
        assert!(venv().join("bin/aws").exists(), "{MISSING}");
        let path = format!("{}:{}", venv().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = self.with_credentials(Command::new("bash"));
        let output = command.env("PATH", path).args(["-euo", "pipefail", "-c", script]).output().unwrap();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn client(&self, name: &str) -> Command {
        let path = venv().join("bin").join(name);
        assert!(path.exists(), "{}: {MISSING}", path.display());
        self.with_credentials(Command::new(path))
    }

    fn with_credentials(&self, mut command: Command) -> Command {
        command
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_PAGER", "")
            .env_remove("AWS_PROFILE");
        command
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const MISSING: &str =
    "install the clients with: python3 -m venv target/venv && target/venv/bin/pip install -r tests/requirements.txt";

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn venv() -> PathBuf {
    std::env::var_os("PORTCULLIS_VENV")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/venv")), PathBuf::from)
}
