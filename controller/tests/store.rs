//! The store's file under real conditions: a process killed in the middle of writes, a full disk, a file that is damaged.
//!
//! The processes that are killed and starved are this test's own program, told by its environment what to be.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use portcullis::timestamp::Timestamp;
use portcullis_controller::{
    clock::Clock,
    stores::{Batch, Entry, Store as _, StoreError, Write, redb::RedbStore},
};

const ROLE: &str = "PORTCULLIS_STORE_TEST_ROLE";
const PLACE: &str = "PORTCULLIS_STORE_TEST_PLACE";

/// What a batch numbered `n` is: two keys and a line, which belong together.
fn batch(n: u64, padding: usize) -> Batch {
    let value = format!("{n}:{}", "x".repeat(padding));
    let write = |family: &str| Write::put(format!("{family}/{n:06}"), None, value.clone().into_bytes());
    let (kind, actor, text) = ("verdict", "test".into(), n.to_string());
    let event = Entry { at: Timestamp(n), kind, group: None, instance: None, actor, text };
    Batch { writes: vec![write("a"), write("b")], events: vec![event] }
}

fn fill(store: &RedbStore, numbers: std::ops::Range<u64>) {
    for n in numbers {
        store.commit(batch(n, 300)).unwrap();
    }
}

/// The numbers that are there; each whole.
fn numbers(store: &RedbStore) -> Vec<u64> {
    let family = |family: &str| -> BTreeMap<String, (u64, Vec<u8>)> {
        let all = store.list(family).unwrap().into_iter();
        all.map(|(path, found)| (path[2..].to_string(), (found.revision, found.value))).collect()
    };
    let (a, b) = (family("a/"), family("b/"));
    assert_eq!(a, b, "half of a batch");
    let numbers: Vec<u64> = a.keys().map(|n| n.parse().unwrap()).collect();
    let events = store.events(0, usize::MAX).unwrap();
    assert!(events.iter().enumerate().all(|(index, event)| event.sequence == index as u64 + 1), "a gap in the audit");
    let told: Vec<u64> = events.iter().map(|event| event.text.parse().unwrap()).collect();
    assert_eq!(told, numbers, "lines and keys belong together");
    numbers
}

/// This program again, in a role.
fn child(role: &str, place: &Path) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "role", "--nocapture"]).env(ROLE, role).env(PLACE, place);
    child
}

/// What this program is when it is started by a test below; nothing otherwise.
#[test]
fn role() {
    let place = env::var_os(PLACE).map(PathBuf::from).unwrap_or_default();
    match env::var(ROLE).as_deref() {
        Ok("writer") => writes_for_ever(&place),
        Ok("writers") => write_at_once_for_ever(&place),
        Ok("starved") => is_starved(&place),
        _ => {}
    }
}

/// Commits, and says so after each.
fn writes_for_ever(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    let mut out = std::io::stdout();
    let next = numbers(&store).last().map_or(0, |last| last + 1);
    for n in next.. {
        store.commit(batch(n, n as usize * 37 % 5_000)).unwrap();
        out.write_all(format!("\nacknowledged {n}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// The same from several threads, each with numbers of its own: what comes together is committed together.
fn write_at_once_for_ever(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    let first = there(&store).last().map_or(0, |last| last + WRITERS);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for n in (first + writer..).step_by(WRITERS as usize) {
                    store.commit(batch(n, n as usize * 37 % 500)).unwrap();
                    println!("\nacknowledged {n}");
                }
            });
        }
    });
}

/// The numbers that are there, each whole, in whatever order they came.
fn there(store: &RedbStore) -> Vec<u64> {
    let family = |family: &str| -> Vec<(u64, u64)> {
        let all = store.list(family).unwrap().into_iter();
        all.map(|(path, found)| (path[2..].parse().unwrap(), found.revision)).collect()
    };
    let (keys, events) = (family("a/"), store.events(0, usize::MAX).unwrap());
    assert_eq!(keys, family("b/"), "half of a batch");
    assert!(events.iter().enumerate().all(|(index, event)| event.sequence == index as u64 + 1), "a gap in the audit");
    let mut told: Vec<u64> = events.iter().map(|event| event.text.parse().unwrap()).collect();
    told.sort_unstable();
    let numbers: Vec<u64> = keys.into_iter().map(|(n, _)| n).collect();
    assert_eq!(told, numbers, "lines and keys belong together");
    numbers
}

const WRITERS: u64 = 8;

/// A small generator, so that a kill comes at another moment with each seed, and at the same with the same.
fn random(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

#[test]
fn what_was_acknowledged_to_many_at_once_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    for seed in 100..110 {
        let mut writers = child("writers", &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(writers.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut next = || lines.by_ref().find_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let mut promised: Vec<u64> = (0..1 + random(seed) % 60).filter_map(|_| next()).collect();
        thread::sleep(Duration::from_micros(random(seed * 1_000) % 4_000));
        writers.kill().unwrap();
        promised.extend(std::iter::from_fn(next));
        writers.wait().unwrap();
        assert!(!promised.is_empty(), "seed {seed}: it ended by itself");
        let there = there(&RedbStore::open(&path).unwrap());
        let lost: Vec<_> = promised.iter().filter(|n| there.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} were promised");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_in_the_middle_of_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut acknowledged = 0;
    for seed in 0..30 {
        let mut writer = child("writer", &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut until_next = || {
            let line =
                lines.by_ref().map(Result::unwrap).find_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
            last = line.or(last);
            line.is_some()
        };
        // Some are killed while they open what the last one left.
        for _ in 0..random(seed) % 25 {
            assert!(until_next(), "seed {seed}: it ended by itself");
        }
        thread::sleep(Duration::from_micros(random(seed * 1_000) % 4_000));
        writer.kill().unwrap();
        while until_next() {}
        writer.wait().unwrap();
        let there = if path.exists() { numbers(&RedbStore::open(&path).unwrap()) } else { Vec::new() };
        let promised = last.map_or(acknowledged, |last: u64| last + 1);
        let count = there.len() as u64;
        assert!(there.iter().copied().eq(0..count), "seed {seed}: {there:?}");
        assert!(count >= promised && count <= promised + 1, "seed {seed}: {count} are there, {promised} were promised");
        acknowledged = count;
    }
    assert!(acknowledged > 100, "too tame: {acknowledged}");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A disk of its own, that goes with the process.
    let mount = "mount -t tmpfs -o size=12m disk \"$1\" && shift && exec \"$@\"";
    let inner = child("starved", dir.path());
    let mut starved = Command::new("unshare");
    starved.args(["--map-root-user", "--mount", "sh", "-c", mount, "sh"]).arg(dir.path());
    starved.arg(inner.get_program()).args(inner.get_args()).env(ROLE, "starved").env(PLACE, dir.path());
    let output = starved.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("went on"), "{said}");
}

/// Writes until the disk is full; looks at what is there; makes room, and goes on.
fn is_starved(disk: &Path) {
    let (path, filler) = (disk.join("store.redb"), disk.join("filler"));
    let store = RedbStore::open(&path).unwrap();
    fill(&store, 0..3);
    fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let mut changes = store.watch();
    let (full, because) = (3..).find_map(|n| Some((n, store.commit(batch(n, 20_000)).err()?))).unwrap();
    let StoreError::Failed(because) = because else { panic!("{because}") };
    assert!(because.contains("store.redb") && because.contains("No space left on device"), "{because}");
    // Nothing of the batch that failed, all of the others; read through the file that failed and was opened anew.
    until("it can be read again", || store.get("a/000000").is_ok());
    assert_eq!(numbers(&store), (0..full).collect::<Vec<_>>());
    assert!(store.commit(batch(full, 20_000)).is_err(), "it is still full");
    fs::remove_file(&filler).unwrap();
    until("there is room again", || store.commit(batch(full, 20_000)).is_ok());
    assert_eq!(numbers(&store), (0..=full).collect::<Vec<_>>());
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push(change.path);
    }
    let committed = (3..=full).flat_map(|n| ["a", "b"].map(|family| format!("{family}/{n:06}")));
    assert!(committed.eq(told.iter().cloned()), "{told:?}");
    drop(store);
    assert_eq!(numbers(&RedbStore::open(&path).unwrap()), (0..=full).collect::<Vec<_>>());
    println!("went on");
}

#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Clock::monotonic() + Duration::from_secs(30);
    while !so() {
        assert!(Clock::monotonic() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_damaged_file_is_refused_by_its_name_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    {
        let store = RedbStore::open(&path).unwrap();
        fill(&store, 0..200);
    }
    let whole = fs::read(&path).unwrap();
    let there = |store: &RedbStore| (store.list("").unwrap(), store.events(0, 999).unwrap());
    let expected = there(&RedbStore::open(&path).unwrap());
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 9, 64, 320, 4_095, 4_096, 10_000, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        damaged.push((format!("cut off after {length}"), whole[..length].to_vec()));
    }
    let made_up = |length: usize| (0..length).map(|n| random(n as u64) as u8).collect::<Vec<u8>>();
    damaged.push(("of zeros".into(), vec![0; whole.len()]));
    damaged.push(("made up".into(), made_up(whole.len())));
    damaged.push(("a text".into(), b"audience = \"gate\"\n".to_vec()));
    damaged.push(("of another head".into(), [&made_up(512), &whole[512..]].concat()));
    damaged.push(("of another body".into(), [&whole[..4_096], &made_up(whole.len() - 4_096)].concat()));
    for (what, bytes) in &damaged {
        let said = refused(&path, bytes).unwrap_or_else(|| panic!("{what}: opened"));
        assert!(said.contains("move it away") && said.contains("It was not changed"), "{what}: {said}");
    }
    // A bit that has changed is noticed, or was nobody's.
    let mut noticed = 0;
    for seed in 0..40 {
        let mut bytes = whole.clone();
        let used = random(seed) as usize % bytes.len();
        bytes[used] ^= 1 << (seed % 8);
        match refused(&path, &bytes) {
            Some(_) => noticed += 1,
            None => assert_eq!(there(&RedbStore::open(&path).unwrap()), expected, "seed {seed}, byte {used}"),
        }
    }
    assert!(noticed > 0, "none of them hit anything");
    fs::write(&path, &whole).unwrap();
    assert_eq!(there(&RedbStore::open(&path).unwrap()), expected, "a copy that is put back is as good");
}

/// What is said of a file with these bytes, if it is refused; and then it is as it was.
fn refused(path: &Path, bytes: &[u8]) -> Option<String> {
    fs::write(path, bytes).unwrap();
    let error = RedbStore::open(path).err()?.to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(fs::read(path).unwrap() == bytes, "it was written to: {error}");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something was left beside it: {error}");
    Some(error)
}
