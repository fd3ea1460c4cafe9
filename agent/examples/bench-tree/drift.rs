//! From a write among many files to the moment at which a controller has taken the report that names the file.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use portcullis::tree::FRESH_MS;
use portcullis_agent::clock;

use super::{
    Options,
    corpus::Corpus,
    listener::{Listener, Wanted},
    serving::Serving,
};

/// A change to one file, and how it is undone.
struct Change {
    kind: &'static str,
    path: String,
    make: Box<dyn Fn() -> std::io::Result<()>>,
    undo: Box<dyn Fn() -> std::io::Result<()>>,
}

/// One change after the other, each undone before the next: with a rest in between, and without.
pub(super) fn run(options: &Options, corpus: &Corpus) -> anyhow::Result<()> {
    let rest = Duration::from_secs(options.rest_s);
    just_written(corpus, rest)?;
    thread::sleep(Duration::from_millis(FRESH_MS + 1_000));
    let listener = Listener::start(&fs::read(corpus.at("manifest.json"))?)?;
    let agent = Serving::start_gated(corpus, listener.address)?;
    // One that was broken off may have left a change behind.
    let made_anew = |error| anyhow::anyhow!("{error}; remove {}, it will be made anew", corpus.directory.display());
    listener.until(&Wanted::Pass, PATIENCE).map_err(made_anew)?;
    println!("\n{}", corpus.title("Drift, from the write to the accepted report that names the path"));
    println!("(changes in turn: content, added, removed, renamed, mode; each undone before the next)");
    // A storm is another matter: looks take a share of the time only.
    let all = [
        ("with a rest after each", options.samples, rest),
        ("in quick succession", options.samples / 5, Duration::ZERO),
    ];
    for (what, samples, rest) in all {
        // What was spent before is paid for.
        thread::sleep(PAID);
        let cpu = agent.cpu_s()?;
        let taken_ms = series(corpus, &listener, samples, rest, None)?;
        let spent = (agent.cpu_s()?.0 - cpu.0) + (agent.cpu_s()?.1 - cpu.1);
        print(&format!("{samples} changes {what}, {} s", rest.as_secs()), &taken_ms, spent);
    }
    Ok(())
}

/// In the minute after a deploy, when no file's times can be believed in full.
fn just_written(corpus: &Corpus, rest: Duration) -> anyhow::Result<()> {
    let listener = Listener::start(&fs::read(corpus.at("manifest.json"))?)?;
    for file in 0..corpus.files {
        // The change time, which nobody can set, is that of now.
        fs::set_permissions(corpus.at("tree").join(path_of(file)), fs::Permissions::from_mode(0o644))?;
    }
    let end = clock::monotonic() + Duration::from_millis(FRESH_MS);
    let agent = Serving::start_gated(corpus, listener.address)?;
    listener.until(&Wanted::Pass, PATIENCE)?;
    let cpu = agent.cpu_s()?;
    let taken_ms = series(corpus, &listener, FRESH_SAMPLES, rest, Some(end))?;
    let spent = (agent.cpu_s()?.0 - cpu.0) + (agent.cpu_s()?.1 - cpu.1);
    let samples = taken_ms.len();
    anyhow::ensure!(samples > 0, "too slow to show it");
    print(&format!("{samples} changes within a minute of all being written, {} s", rest.as_secs()), &taken_ms, spent);
    Ok(())
}

/// From each write to its report, in ascending order; only of those that were told, and undone, before `end`.
fn series(
    corpus: &Corpus,
    listener: &Listener,
    samples: usize,
    rest: Duration,
    end: Option<Instant>,
) -> anyhow::Result<Vec<u128>> {
    let is_over = || end.is_some_and(|end| clock::monotonic() >= end);
    let mut taken_ms = Vec::new();
    for sample in (0..samples).take_while(|_| !is_over()) {
        let change = change(corpus, sample);
        listener.forget();
        let began = clock::monotonic();
        (change.make)()?;
        let told = listener.until(&Wanted::Names(change.path.clone()), PATIENCE);
        let told = told.map_err(|error| anyhow::anyhow!("{} {}: {error}", change.kind, change.path))?;
        (change.undo)()?;
        listener.until(&Wanted::Pass, PATIENCE)?;
        if !is_over() {
            taken_ms.push(told.saturating_duration_since(began).as_millis());
        }
        thread::sleep(rest);
    }
    taken_ms.sort_unstable();
    Ok(taken_ms)
}

fn print(title: &str, taken_ms: &[u128], cpu_s: f64) {
    let at = |percent: usize| taken_ms.get((taken_ms.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    println!("\n{title}");
    for (name, percent) in [("median", 50), ("p90", 90), ("p99", 99), ("worst", 100)] {
        println!("{name:<34} {:>6} ms", at(percent).unwrap_or_default());
    }
    println!("{:<34} {:>6.2} s", "CPU for each change and its undoing", cpu_s / taken_ms.len().max(1) as f64);
}

fn change(corpus: &Corpus, sample: usize) -> Change {
    // Far from each other.
    let file = (sample * 7_919) % corpus.files;
    let path = path_of(file);
    let (at, beside) = (corpus.at("tree").join(&path), format!("{path}.bench"));
    let aside = corpus.at("tree").join(&beside);
    let away = corpus.at("aside");
    let (kind, path, make, undo): (_, _, Work, Work) = match sample % 5 {
        0 => ("content", path, flip(at.clone()), flip(at)),
        1 => {
            let (add, remove) = (aside.clone(), aside);
            ("added", beside, Box::new(move || fs::write(&add, "")), Box::new(move || fs::remove_file(&remove)))
        }
        // Out of the tree, and back: the same inode, so that it need not be written.
        2 => ("removed", path, rename(at.clone(), away.clone()), rename(away, at)),
        3 => ("renamed", path, rename(at.clone(), aside.clone()), rename(aside, at)),
        _ => ("mode", path, mode(at.clone(), 0o4755), mode(at, 0o644)),
    };
    Change { kind, path, make, undo }
}

fn path_of(file: usize) -> String {
    format!("{}/{}/file{file}.php", file / 2_100, file / 21)
}

type Work = Box<dyn Fn() -> std::io::Result<()>>;

/// Turns one byte over; twice is as before.
fn flip(path: PathBuf) -> Work {
    Box::new(move || {
        let mut bytes = fs::read(&path)?;
        bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes)
    })
}

fn rename(from: PathBuf, to: PathBuf) -> Work {
    Box::new(move || fs::rename(&from, &to))
}

fn mode(path: PathBuf, mode: u32) -> Work {
    Box::new(move || fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
}

/// With a rest after each, as many as fit into the minute on most machines.
const FRESH_SAMPLES: usize = 5;
/// Enough for the budget of looks to be whole again.
const PAID: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);
