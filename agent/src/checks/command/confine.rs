//! `__confine`: gives up all that a command must not have, and becomes it.
//!
//! One thread, and nothing before it in this process: the system calls that change the rights of a thread only change them
//! for all that there is.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    process::{Gid, Resource, Rlimit, Signal, Uid},
    thread as this_thread,
};

use super::{exchange::Request, executable::PATH};

/// The hidden command of the agent that this is.
pub(super) const COMMAND: &str = "__confine";

/// Becomes the command of `request` (JSON), in the cgroup whose directory is given. Returns only if that fails: stdin, a pipe,
/// has then been told why.
pub fn confine(request: &str, cgroup: Option<&Path>) -> ExitCode {
    // Closed by a successful exec; the command's own stdin is another.
    match rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) {
        Ok(told) => {
            let problem = become_it(request, cgroup);
            let _ = File::from(told).write_all(problem.as_bytes());
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Why it could not.
fn become_it(request: &str, cgroup: Option<&Path>) -> String {
    let request: Request = match serde_json::from_str(request) {
        Ok(request) => request,
        Err(error) => return format!("ill-formed request: {error}"),
    };
    if let Some(cgroup) = cgroup {
        // Where it may not be joined, the supervisor finds us by descent.
        let _ = std::fs::write(cgroup.join("cgroup.procs"), "0");
    }
    if let Err(error) = give_up_rights(&request) {
        return format!("its rights could not be taken away: {error}");
    }
    let error = Command::new(&request.program)
        .arg0(&request.argv[0])
        .args(&request.argv[1..])
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .exec();
    format!("`{}` cannot be executed: {error}", request.program)
}

fn give_up_rights(request: &Request) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    for (resource, limit) in limits(request.timeout_ms) {
        // A limit that is stricter already stays so.
        let before = rustix::process::getrlimit(resource);
        let limit = before.maximum.map_or(limit, |maximum| maximum.min(limit));
        rustix::process::setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    this_thread::set_no_new_privs(true)?;
    if let Some((uid, gid)) = request.user {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        this_thread::set_thread_groups(&[])?;
        this_thread::set_thread_res_gid(gid, gid, gid)?;
        this_thread::set_thread_res_uid(uid, uid, uid)?;
    }
    // After the change of user, which would clear it: should the supervisor be killed, this goes too.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Generous for a verification, and far from what an instance cannot spare.
fn limits(timeout_ms: u64) -> [(Resource, u64); 6] {
    [
        // In seconds of one processor; the deadline counts real time, of several.
        (Resource::Cpu, timeout_ms.div_ceil(1_000).saturating_mul(4).max(4)),
        // Address space, not memory: runtimes reserve much more than they use.
        (Resource::As, 8 << 30),
        (Resource::Fsize, 64 << 20),
        (Resource::Core, 0),
        (Resource::Nofile, 1_024),
        // Of the user, not of the command: others may run as it.
        (Resource::Nproc, 1_024),
    ]
}
