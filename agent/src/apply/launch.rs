//! Starting a process that is nobody's child: it outlives whoever asked for it, his shell, his session, and the agent.
//!
//! Where systemd runs the machine the process becomes a unit of its own, since systemd ends with a session or a service all that
//! was ever started in it; should it be killed, it is started again. Elsewhere it gets a session of its own and no parent but
//! the first process.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use crate::checks::command::{PATH, find};

/// Starts this program with `arguments`, as the unit `name`.
pub(crate) fn start(name: &str, arguments: &[&OsStr]) -> Result<(), String> {
    if Path::new(BOOTED).is_dir() {
        match by_systemd(name, arguments) {
            Ok(()) => return Ok(()),
            Err(because) => tracing::warn!("systemd-run: {because}; started without a unit instead"),
        }
    }
    detached(arguments).map_err(|error| error.to_string())
}

fn by_systemd(name: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let program = find("systemd-run").map_err(|error| error.to_string())?;
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--quiet", "--collect", "--no-ask-password"])
        .arg(format!("--unit={name}"))
        .args(["Restart=on-failure", "RestartSec=1", "StartLimitIntervalSec=0"].map(|p| format!("--property={p}")))
        .arg("--")
        .arg(this)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(portcullis::text::visible(said.trim())) }
}

/// By a process in between, which makes the session and ends at once.
fn detached(arguments: &[&OsStr]) -> io::Result<()> {
    let status = quiet(COMMAND, arguments).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

fn quiet(command: &str, arguments: &[&OsStr]) -> Command {
    let mut quiet = Command::new("/proc/self/exe");
    quiet.arg0("portcullis-agent").args(Some(command).filter(|command| !command.is_empty())).args(arguments);
    quiet.env_clear().env("PATH", PATH).current_dir("/");
    quiet.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet
}

/// `__detach`: the process in between.
pub fn detach(arguments: &[std::ffi::OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(std::ffi::OsString::as_os_str).collect();
    let started = rustix::process::setsid().map_err(io::Error::from).and_then(|_| quiet("", &arguments).spawn());
    if started.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// There when systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
const COMMAND: &str = "__detach";
