//! Out of everybody's way: a thread that runs only when no other wants to, and reads only when no other reads.

/// Gives this thread, and those that it starts from now on, the lowest priority there is. Where that is not to be had it
/// goes on as it was: late is better than never.
pub(crate) fn this_thread() {
    idle();
    // For kernels and containers that know no idle class.
    let _ = rustix::process::setpriority_process(None, NICE_MAX);
}

/// `SCHED_IDLE`. The block layer takes the class of a thread's requests from it as well, unless one was set by `ioprio_set`.
#[expect(unsafe_code, reason = "no safe crate of ours has `sched_setscheduler`")]
fn idle() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one `sched_param`, which lives until the call returns, and writes nothing; 0 is the calling
    // thread. The call can fail, but not break anything.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) };
}

const NICE_MAX: i32 = 19;

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    /// `policy` of `/proc/thread-self/sched` is there on kernels for debugging only: field 41 of `stat` is everywhere.
    fn policy() -> (String, String) {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        (fields[41 - 3].into(), fields[19 - 3].into())
    }

    #[test]
    fn a_calm_thread_and_what_it_starts_are_idle_and_no_other() {
        let calm = thread::spawn(|| {
            super::this_thread();
            (policy(), thread::spawn(policy).join().unwrap())
        });
        let expected = ("5".to_string(), "19".to_string());
        assert_eq!(calm.join().unwrap(), (expected.clone(), expected));
        assert_eq!(thread::spawn(policy).join().unwrap().0, "0");
    }
}
