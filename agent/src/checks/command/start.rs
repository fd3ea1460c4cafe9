//! The agent's side: starts a supervisor, and waits no longer than it must.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    Finished,
    exchange::{Ending, Request},
    output::{self, Limits},
};
use crate::clock;

/// What the threads that read from the supervisor have to tell.
enum Event {
    /// Its answer, or nothing if it died.
    Answer(String),
    /// Too much came, and still comes.
    Flood,
    /// All that the command wrote, of which this was kept.
    Output(Vec<u8>),
}

/// Runs a command to its end. The error is for people.
pub(super) fn run(request: &Request, program: &Path, limits: Limits) -> Result<Finished, String> {
    let mut child = Command::new(program)
        .arg(super::supervise::COMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("not run: its supervisor could not be started: {error}"))?;
    let finished = attend(&mut child, request, limits);
    if finished.is_err() {
        // It answers no more; its death takes the command with it (`confine`).
        let _ = child.kill();
    }
    // Off this thread: there are states in which a killed process takes its time to die.
    thread::spawn(move || child.wait());
    finished
}

fn attend(child: &mut Child, request: &Request, limits: Limits) -> Result<Finished, String> {
    let (sender, events) = channel();
    let mut lifeline = child.stdin.take();
    listen(child, limits, &sender)?;
    drop(sender);
    send(lifeline.as_mut(), request)?;
    let deadline = clock::monotonic() + Duration::from_millis(request.timeout_ms) + SUPERVISOR_GRACE;
    let (mut output, mut answer, mut flooded) = (Vec::new(), None, false);
    while answer.is_none() || lifeline.is_some() {
        match next(&events, deadline) {
            Ok(Event::Answer(text)) => {
                answer = Some(text);
                // Closed before the output's end is waited for.
                lifeline = None;
            }
            Ok(Event::Flood) => {
                flooded = true;
                lifeline = None;
            }
            Ok(Event::Output(kept)) => output = kept,
            Err(_) => return Err("its supervisor gave no answer".into()),
        }
    }
    // All that could write is dead: the output's end is near, unless something could not be killed.
    let patience = clock::monotonic() + OUTPUT_GRACE;
    while let Ok(event) = next(&events, patience) {
        match event {
            Event::Output(kept) => output = kept,
            Event::Flood => flooded = true,
            Event::Answer(_) => {}
        }
    }
    let ending = match answer.as_deref().map(serde_json::from_str) {
        Some(Ok(Ending::Abandoned)) if flooded => Ending::Flooded,
        Some(Ok(ending)) => ending,
        _ => return Err("its supervisor died".into()),
    };
    Ok(Finished { ending, output })
}

fn next(events: &Receiver<Event>, until: Instant) -> Result<Event, RecvTimeoutError> {
    events.recv_timeout(until.saturating_duration_since(clock::monotonic()))
}

fn listen(child: &mut Child, limits: Limits, sender: &Sender<Event>) -> Result<(), String> {
    let (Some(answers), Some(output)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its supervisor has no pipes".into());
    };
    let to = sender.clone();
    thread::spawn(move || {
        let mut text = String::new();
        // Whatever is wrong with it shows when it is parsed.
        let _ = answers.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
        let _ = to.send(Event::Answer(text));
    });
    let to = sender.clone();
    thread::spawn(move || {
        let kept = output::drain(output, limits, || {
            let _ = to.send(Event::Flood);
        });
        let _ = to.send(Event::Output(kept));
    });
    Ok(())
}

fn send(lifeline: Option<&mut ChildStdin>, request: &Request) -> Result<(), String> {
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    lifeline
        .ok_or_else(|| "its supervisor has no pipes".to_string())?
        .write_all(&line)
        .map_err(|error| format!("its supervisor does not listen: {error}"))
}

/// How long after the deadline the supervisor may take to kill all and answer.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(7);

/// How long after the answer output may still be in the pipe.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

const ANSWER_BYTES_MAX: u64 = 64 * 1024;
