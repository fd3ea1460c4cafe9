//! One contract for all stores.

use portcullis::timestamp::Timestamp;

use super::{Batch, Entry, Store, StoreError, Write, memory::MemoryStore, redb::RedbStore};

fn put(path: &str, expected: Option<u64>, value: &str) -> Write {
    Write::put(path, expected, value.into())
}

fn writes(writes: Vec<Write>) -> Batch {
    Batch { writes, events: Vec::new() }
}

fn entry(text: &str) -> Entry {
    Entry { at: Timestamp(1), kind: "verdict", group: None, instance: None, actor: "test".into(), text: text.into() }
}

fn contract(store: &dyn Store) {
    let mut changes = store.watch();
    assert_eq!(store.get("a/1").unwrap(), None);
    let first =
        store.commit(writes(vec![put("a/1", None, "x"), put("a/2", None, "y"), put("b/1", None, "z")])).unwrap();
    assert_eq!(store.get("a/1").unwrap().map(|found| (found.revision, found.value)), Some((first, b"x".to_vec())));
    let paths: Vec<_> = store.list("a/").unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a/1", "a/2"]);
    let told: Vec<_> = (0..3).map(|_| changes.try_recv().unwrap()).map(|one| (one.path, one.revision)).collect();
    assert_eq!(told, [("a/1".into(), first), ("a/2".into(), first), ("b/1".into(), first)]);

    // One conflict, and nothing of the batch happens.
    let before = store.list("").unwrap();
    for (path, expected) in [("a/1", None), ("a/1", Some(first + 7)), ("new", Some(first))] {
        let batch =
            Batch { writes: vec![put("a/2", Some(first), "!"), put(path, expected, "!")], events: vec![entry("!")] };
        let refused = store.commit(batch);
        assert!(matches!(&refused, Err(StoreError::Conflict { path: at }) if at == path), "{refused:?}");
    }
    assert_eq!((store.list("").unwrap(), store.events(0, 9).unwrap()), (before, vec![]));
    assert!(changes.try_recv().is_err());

    // Removing, and making again: the revision never comes back.
    let second = store.commit(writes(vec![Write { path: "a/1".into(), expected: Some(first), value: None }])).unwrap();
    assert_eq!(store.get("a/1").unwrap(), None);
    let third = store.commit(writes(vec![put("a/1", None, "again")])).unwrap();
    assert!(first < second && second < third);

    // The audit counts from 1 without gaps.
    for text in ["one", "two", "three"] {
        store.commit(Batch { writes: Vec::new(), events: vec![entry(text)] }).unwrap();
    }
    let events = store.events(1, 1).unwrap();
    assert_eq!((events.len(), events[0].sequence, events[0].text.as_str()), (1, 2, "two"));
    assert_eq!((store.events(0, 99).unwrap().len(), *store.audited().borrow()), (3, 3));
}

#[test]
fn memory_keeps_the_contract() {
    contract(&MemoryStore::new());
}

#[test]
fn redb_keeps_the_contract_and_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let (keys, events) = {
        let store = RedbStore::open(&path).unwrap();
        contract(&store);
        (store.list("").unwrap(), store.events(0, 99).unwrap())
    };
    let store = RedbStore::open(&path).unwrap();
    assert_eq!((store.list("").unwrap(), store.events(0, 99).unwrap(), *store.audited().borrow()), (keys, events, 3));
    let revision = store.commit(writes(vec![put("after", None, "x")])).unwrap();
    assert!(store.list("").unwrap().iter().all(|(_, found)| found.revision <= revision));
}

#[test]
fn a_copy_of_the_file_in_mid_flight_opens_with_all_that_was_committed() {
    // What a kill leaves behind: the bytes on disk, without a clean close.
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("store.redb"), dir.path().join("copy.redb"));
    let store = RedbStore::open(&path).unwrap();
    for n in 0..20 {
        store.commit(Batch { writes: vec![put(&format!("k/{n:02}"), None, "v")], events: vec![entry("x")] }).unwrap();
    }
    std::fs::copy(&path, &copy).unwrap();
    let reopened = RedbStore::open(&copy).unwrap();
    assert_eq!(reopened.list("").unwrap(), store.list("").unwrap());
    assert_eq!(reopened.events(0, 99).unwrap(), store.events(0, 99).unwrap());
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let _first = RedbStore::open(&path).unwrap();
    let second = RedbStore::open(&path).unwrap_err().to_string();
    assert!(second.contains("in use by another process"), "{second}");
}
