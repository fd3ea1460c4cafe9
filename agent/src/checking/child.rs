//! `__check`: the process that checks.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    process::{self, ExitCode},
    sync::Arc,
    thread,
};

use portcullis::{manifest::Manifest, outcome::Outcome, signature::EnvelopeLimits, text, tree::Care};

use super::exchange::{ANSWER_BYTES_MAX, Answer, Job, Order, Request, What};
use crate::{
    checks::{Checks, source::Source},
    manifests::{self, Rules},
    publish, state,
};

/// Reads a request from stdin, does what it says, and writes the answer to stdout. Ends at once when stdin does.
pub fn check() -> ExitCode {
    let mut line = Vec::new();
    let read = io::stdin().lock().take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line);
    // First of all, and at normal priority whatever else is not.
    thread::spawn(end_with_the_agent);
    let answer = match read.and_then(|_| Ok(serde_json::from_slice::<Request>(&line)?)) {
        Ok(request) => answer(request).unwrap_or_else(|because| Answer::Refused { because }),
        Err(error) => Answer::Refused { because: format!("a request that makes no sense: {error}") },
    };
    drop(line);
    match tell(&answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn end_with_the_agent() {
    // The agent writes nothing more: all that can come is the end.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    process::exit(ABANDONED);
}

fn tell(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(io::BufWriter::new(&mut out), answer)?;
    out.flush()
}

fn answer(request: Request) -> Result<Answer, String> {
    let Request { file, digest, rules, job } = request;
    let rules = Rules::try_from(rules).map_err(|error| error.to_string())?;
    let read = move || {
        state::read_capped(&file, EnvelopeLimits::MANIFEST.bytes_max)
            .map_err(|error| format!("`{}`: {error}", text::escape(file.as_os_str().as_encoded_bytes())))
    };
    match (job, digest) {
        (Job::Outline, _) => {
            let opened = manifests::open(&read()?, digest, &rules);
            let (digest, manifest) = opened.map_err(|error| error.to_string())?;
            let outline = String::from_utf8(manifest.outline().to_payload()).map_err(|error| error.to_string())?;
            Ok(Answer::Outline { digest, outline })
        }
        (Job::Check(order), Some(digest)) => {
            let outline = Manifest::parse_outline(order.outline.as_bytes()).map_err(|error| error.to_string())?;
            // By the agent's word the bytes of this digest were verified, when the trees passed.
            let is_known = matches!(order.what, What::Directories(_));
            let source = Source::of(digest, outline, move || {
                let envelope = read()?;
                let opened = match is_known {
                    true => manifests::open_known(&envelope, digest),
                    false => manifests::open(&envelope, Some(digest), &rules).map(|(_, manifest)| manifest),
                };
                opened.map_err(|error| error.to_string())
            });
            let source = Arc::new(source);
            let answer = checked(*order, &source);
            // The process takes it along when it ends, which is sooner than to free it entry by entry.
            std::mem::forget(source);
            Ok(answer)
        }
        (Job::Check(_), None) => Err("nobody says which manifest".into()),
    }
}

fn checked(order: Order, source: &Arc<Source>) -> Answer {
    let checks = Checks::remembering(order.options, order.memory);
    let facts = checks.facts(&source.outline);
    let outcomes: Vec<Outcome> = match order.what {
        What::All => checks.run_all_of(source, &facts),
        What::Trees => checks.run_trees_of(source, &facts, Care::Look),
        What::Directories(directories) => checks.glance_at(source, &facts, &directories),
    };
    let outcomes = publish::fitting_outcomes(outcomes, ANSWER_BYTES_MAX);
    Answer::Checked { outcomes, facts, memory: checks.memory() }
}

/// An outline has all that a manifest has but entries.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Exit status of one that was left alone.
const ABANDONED: i32 = 3;
