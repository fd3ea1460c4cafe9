//! One contract for all stores. A new implementation is one line in [`everywhere`].

use std::{sync::Barrier, thread, time::Duration};

use portcullis::timestamp::Timestamp;
use tokio::sync::broadcast::error::TryRecvError;

use super::{Batch, CHANGES_MAX, Entry, Store, StoreError, Tenure, Write, memory::MemoryStore, redb::RedbStore};

/// Every store there is, empty, keeping few audit lines.
fn everywhere(contract: impl Fn(&dyn Store)) {
    contract(&MemoryStore::keeping(KEPT));
    let dir = tempfile::tempdir().unwrap();
    contract(&RedbStore::open_keeping(&dir.path().join("store.redb"), KEPT).unwrap());
}

const KEPT: u64 = 50;

fn put(path: &str, expected: Option<u64>, value: &str) -> Write {
    Write::put(path, expected, value.into())
}

fn remove(path: &str, expected: u64) -> Write {
    Write { path: path.into(), expected: Some(expected), value: None }
}

fn writes(writes: impl Into<Vec<Write>>) -> Batch {
    Batch { writes: writes.into(), events: Vec::new() }
}

fn lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> Batch {
    Batch { writes: Vec::new(), events: texts.into_iter().map(entry).collect() }
}

fn entry(text: &str) -> Entry {
    Entry { at: Timestamp(1), kind: "verdict", group: None, instance: None, actor: "test".into(), text: text.into() }
}

fn paths(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|(path, _)| path).collect()
}

#[track_caller]
fn conflicts(store: &dyn Store, batch: Batch, at: &str) {
    let refused = store.commit(batch);
    assert!(matches!(&refused, Err(StoreError::Conflict { path }) if path == at), "{refused:?}");
}

#[test]
fn a_write_happens_over_what_was_read_and_nothing_else() {
    everywhere(|store| {
        assert_eq!(store.get("a").unwrap(), None);
        let first = store.commit(writes([put("a", None, "x")])).unwrap();
        let found = store.get("a").unwrap().unwrap();
        assert_eq!((found.revision, found.value), (first, b"x".to_vec()));
        for expected in [None, Some(first + 1), Some(0)] {
            conflicts(store, writes([put("a", expected, "!")]), "a");
            conflicts(store, writes([put("absent", Some(first), "!")]), "absent");
        }
        conflicts(store, writes([remove("absent", first)]), "absent");
        let second = store.commit(writes([put("a", Some(first), "y")])).unwrap();
        conflicts(store, writes([put("a", Some(first), "late")]), "a");
        assert_eq!(store.get("a").unwrap().unwrap().value, b"y");
        assert!(second > first);
    });
}

#[test]
fn a_batch_happens_whole_or_not_at_all() {
    everywhere(|store| {
        let first = store.commit(writes([put("a", None, "x"), put("b", None, "y")])).unwrap();
        assert_eq!(store.get("b").unwrap().unwrap().revision, first, "one commit, one revision");
        let (mut changes, before) = (store.watch(), store.list("").unwrap());
        for (path, expected) in [("b", None), ("b", Some(first + 7)), ("new", Some(first))] {
            let writes = vec![put("a", Some(first), "!"), put("c", None, "!"), put(path, expected, "!")];
            conflicts(store, Batch { writes, events: vec![entry("!")] }, path);
        }
        conflicts(store, writes([put("a", Some(first), "1"), put("a", Some(first), "2")]), "a");
        conflicts(store, writes([put("d", None, "1"), put("d", None, "2")]), "d");
        assert_eq!((store.list("").unwrap(), store.events(0, 9).unwrap()), (before, vec![]));
        assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn revisions_ascend_and_never_come_back() {
    everywhere(|store| {
        let mut revisions = vec![store.commit(writes([put("a", None, "x")])).unwrap()];
        for _ in 0..3 {
            revisions.push(store.commit(writes([remove("a", *revisions.last().unwrap())])).unwrap());
            assert_eq!(store.get("a").unwrap(), None);
            revisions.push(store.commit(lines(["between"])).unwrap());
            revisions.push(store.commit(writes([put("a", None, "again")])).unwrap());
        }
        assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    });
}

#[test]
fn a_prefix_lists_what_begins_with_it_ascending() {
    everywhere(|store| {
        let all = ["b/1", "a/2", "a/10", "a", "a0", "a/ä", "a/\u{10ffff}", "b/", "A/1"];
        store.commit(writes(all.map(|path| put(path, None, path)))).unwrap();
        assert_eq!(paths(store, "a/"), ["a/10", "a/2", "a/ä", "a/\u{10ffff}"]);
        assert_eq!(paths(store, "b/"), ["b/", "b/1"]);
        assert_eq!(paths(store, "a/1"), ["a/10"]);
        assert_eq!((paths(store, "c"), paths(store, "").len()), (vec![], all.len()));
        assert!(paths(store, "").is_sorted());
    });
}

#[test]
fn changes_are_told_in_the_order_of_their_commits() {
    everywhere(|store| {
        let mut changes = store.watch();
        let first = store.commit(writes([put("b", None, "x"), put("a", None, "x")])).unwrap();
        let second = store.commit(writes([remove("a", first)])).unwrap();
        let mut told = || changes.try_recv().map(|change| (change.path, change.revision));
        assert_eq!(
            [told(), told(), told()],
            [Ok(("b".into(), first)), Ok(("a".into(), first)), Ok(("a".into(), second))]
        );
        assert_eq!(told(), Err(TryRecvError::Empty));
        // Whoever begins to watch is told of nothing that was before.
        assert_eq!(store.watch().try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn who_lags_learns_so_and_is_told_of_what_comes_after() {
    everywhere(|store| {
        let mut changes = store.watch();
        let many: Vec<_> = (0..CHANGES_MAX + 10).map(|n| put(&format!("k/{n}"), None, "x")).collect();
        store.commit(writes(many)).unwrap();
        assert!(matches!(changes.try_recv(), Err(TryRecvError::Lagged(missed)) if missed >= 10));
        assert_eq!(paths(store, "k/").len(), CHANGES_MAX + 10, "what was missed is there to be read");
        while changes.try_recv().is_ok() {}
        let last = store.commit(writes([put("last", None, "x")])).unwrap();
        assert_eq!(changes.try_recv().map(|change| change.revision), Ok(last));
    });
}

/// Adds one to a counter, again until nobody was quicker; and a twin of it in the same batch.
fn count(store: &dyn Store, revisions: &mut Vec<u64>) {
    loop {
        let now = store.get("counter").unwrap();
        let twin = store.get("twin").unwrap().map(|found| found.revision);
        let value = now.as_ref().map_or(0, |found| String::from_utf8_lossy(&found.value).parse().unwrap()) + 1_u32;
        let value = value.to_string();
        let batch = Batch {
            writes: vec![put("counter", now.map(|found| found.revision), &value), put("twin", twin, &value)],
            events: vec![entry(&value)],
        };
        match store.commit(batch) {
            Ok(revision) => return revisions.push(revision),
            Err(StoreError::Conflict { .. }) => {}
            Err(error @ StoreError::Failed(_)) => panic!("{error}"),
        }
    }
}

#[test]
fn of_many_who_write_at_once_nobody_is_lost() {
    const WRITERS: usize = 4;
    const EACH: usize = 10;
    everywhere(|store| {
        let (mut changes, together) = (store.watch(), Barrier::new(WRITERS));
        let mut revisions: Vec<u64> = thread::scope(|scope| {
            let write = || {
                let mut revisions = Vec::new();
                together.wait();
                (0..EACH).for_each(|_| count(store, &mut revisions));
                assert!(revisions.is_sorted());
                revisions
            };
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                let seen: Vec<_> = store.list("").unwrap().into_iter().map(|(_, found)| found).collect();
                assert!(seen.windows(2).all(|two| two[0] == two[1]), "half of a batch was seen: {seen:?}");
            }
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        let last = (WRITERS * EACH).to_string();
        assert_eq!(store.get("counter").unwrap().unwrap().value, last.as_bytes());
        let told: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok()).map(|change| change.revision).collect();
        revisions.sort_unstable();
        assert_eq!(told, revisions.iter().flat_map(|revision| [*revision; 2]).collect::<Vec<_>>());
        let counted: Vec<_> = store.events(0, 99).unwrap().into_iter().map(|event| event.text).collect();
        assert_eq!(counted, (1..=WRITERS * EACH).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn the_audit_counts_from_one_without_gaps() {
    everywhere(|store| {
        let mut audited = store.audited();
        assert_eq!((*audited.borrow_and_update(), store.events(0, 9).unwrap()), (0, vec![]));
        for text in ["one", "two", "three"] {
            store.commit(lines([text])).unwrap();
        }
        let events = store.events(1, 1).unwrap();
        assert_eq!((events.len(), events[0].sequence, events[0].text.as_str()), (1, 2, "two"));
        assert_eq!((store.events(0, 99).unwrap().len(), store.events(3, 99).unwrap().len()), (3, 0));
        assert!(audited.has_changed().unwrap());
        assert_eq!(*audited.borrow(), 3);
        assert_eq!(store.events(u64::MAX, 9).unwrap(), vec![]);
    });
}

#[test]
fn the_oldest_audit_lines_make_room() {
    everywhere(|store| {
        for _ in 0..4 {
            store.commit(lines(["x"; 30])).unwrap();
        }
        let kept: Vec<_> = store.events(0, 999).unwrap().into_iter().map(|event| event.sequence).collect();
        assert_eq!(kept, (120 - KEPT + 1..=120).collect::<Vec<_>>());
        assert_eq!((*store.audited().borrow(), store.audit_lines().unwrap()), (120, KEPT));
    });
}

/// Whoever is refused a thousand times pushes out refusals, and nothing that an operator or the controller did.
#[test]
fn strangers_make_room_for_strangers_only() {
    everywhere(|store| {
        store.commit(lines(["promoted", "withdrawn"])).unwrap();
        for number in 0..2 * KEPT {
            let kind = if number % 2 == 0 { "refused" } else { "incident" };
            let events = vec![Entry { kind, ..entry(&number.to_string()) }];
            store.commit(Batch { writes: Vec::new(), events }).unwrap();
        }
        store.commit(lines(["retired"])).unwrap();
        let kept: Vec<_> = store.events(0, 999).unwrap().into_iter().map(|event| event.text).collect();
        assert_eq!(kept, ["promoted", "withdrawn", "95", "96", "97", "98", "99", "retired"]);
        assert_eq!((*store.audited().borrow(), store.audit_lines().unwrap()), (2 * KEPT + 3, 8));
        let page: Vec<_> = store.events(2, 2).unwrap().into_iter().map(|event| event.sequence).collect();
        assert_eq!(page, [98, 99], "in their order, whoever caused them");
    });
}

#[test]
fn one_holds_the_lease() {
    const LONG: Duration = Duration::from_secs(3_600);
    everywhere(|store| {
        let epoch = |tenure: Tenure| match tenure {
            Tenure::Held { epoch } => epoch,
            Tenure::Others { holder } => panic!("`{holder}` has it"),
        };
        let lease = |holder: &str, length| store.lease(holder, length).unwrap();
        let first = epoch(lease("a", LONG));
        assert_eq!(lease("b", LONG), Tenure::Others { holder: "a".into() });
        assert_eq!(epoch(lease("a", LONG)), first, "to renew is not to begin anew");
        store.release("b").unwrap();
        assert_eq!(lease("b", LONG), Tenure::Others { holder: "a".into() }, "not b's to give back");
        store.release("a").unwrap();
        let second = epoch(lease("b", Duration::from_millis(1)));
        assert!(second > first);
        // It ends by itself, too.
        let third = loop {
            match lease("a", LONG) {
                Tenure::Held { epoch } => break epoch,
                Tenure::Others { holder } => assert_eq!(holder, "b"),
            }
        };
        assert!(third > second);
        assert_eq!(lease("b", LONG), Tenure::Others { holder: "a".into() });
    });
}

#[test]
fn of_many_who_want_the_lease_at_once_one_gets_it() {
    everywhere(|store| {
        let together = Barrier::new(8);
        let want = |n: u32| {
            together.wait();
            matches!(store.lease(&n.to_string(), Duration::from_secs(3_600)), Ok(Tenure::Held { .. }))
        };
        let held = thread::scope(|scope| {
            let want = &want;
            let all: Vec<_> = (0..8).map(|n| scope.spawn(move || want(n))).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|held| *held).count()
        });
        assert_eq!(held, 1);
    });
}

#[test]
fn a_file_is_the_same_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let before = |store: &RedbStore| (store.list("").unwrap(), store.events(0, 99).unwrap(), *store.audited().borrow());
    let (kept, revision, epoch) = {
        let store = RedbStore::open(&path).unwrap();
        store.commit(writes([put("a", None, "x"), put("b", None, "y")])).unwrap();
        let revision = store.commit(lines(["one", "two"])).unwrap();
        let epoch = store.lease("a", Duration::from_secs(3_600)).unwrap();
        (before(&store), revision, epoch)
    };
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(before(&store), kept);
    assert!(store.commit(writes([put("after", None, "x")])).unwrap() > revision);
    // The process that had it is gone, since the file could be opened.
    let Tenure::Held { epoch: next } = store.lease("b", Duration::from_secs(1)).unwrap() else { panic!("not had") };
    assert!(epoch != Tenure::Held { epoch: next }, "a new holder, a new epoch");
}

#[test]
fn a_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let _store = RedbStore::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "what it was made in is gone");
}
