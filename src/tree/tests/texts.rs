//! Texts that are kept, and what is rendered, against trees that change meanwhile.

use super::*;

fn texts() -> Texts {
    Texts { keep: true, secret: vec![], templates: vec!["*.tmpl".into()] }
}

/// Of the entries that have one.
fn kept(entries: &[Entry]) -> Vec<(String, String)> {
    let text = |entry: &Entry| match &entry.kind {
        EntryKind::File { text: Some(text), .. } => Some((text::path(&entry.path), text.to_string())),
        _ => None,
    };
    entries.iter().filter_map(text).collect()
}

#[test]
fn the_budget_is_for_all_trees_together() {
    let fixture = fixture();
    let mut budget = 10;
    let contents = read_with(&fixture.tree, &texts(), fixture.dir.path(), &mut budget, &NoProgress).unwrap();
    let kept = kept(&contents.entries);
    let kept: Vec<_> = kept.iter().map(|(path, text)| (&**path, &**text)).collect();
    assert_eq!(kept, [("a-b/x", ""), ("a.b", "x"), ("a/b.txt", "hello"), ("a/c/deep", "deep")]);
    assert_eq!((budget, contents.over), (0, 1), "`odd` has no room");
}

/// The text is of the bytes that were hashed, or there is no manifest.
#[test]
fn a_text_that_changes_after_it_was_hashed() {
    struct AfterHashing<'a>(&'a Path, AtomicU64);
    impl Progress for AfterHashing<'_> {
        fn hashed(&self, files: u64, _: u64) {
            if self.1.fetch_add(files, Ordering::SeqCst) + files == 5 && files > 0 {
                fs::write(self.0.join("a/b.txt"), "hellO").unwrap();
            }
        }
    }
    let fixture = fixture();
    let progress = AfterHashing(fixture.dir.path(), AtomicU64::new(0));
    let error = read_with(&fixture.tree, &texts(), fixture.dir.path(), &mut 100, &progress).unwrap_err();
    assert_eq!(error.to_string(), "`a/b.txt` changed while it was read");
}

/// What differs is told with a diff; what is swapped for something else meanwhile is not opened for one.
#[test]
fn a_diff_is_of_a_regular_file_below_the_root() {
    let mut fixture = fixture();
    let contents = read_with(&fixture.tree, &texts(), fixture.dir.path(), &mut 100, &NoProgress).unwrap();
    fixture.tree.entries = contents.entries;
    fs::write(fixture.at("a/b.txt"), "hello, world").unwrap();
    let diff = |outcome: &Outcome| outcome.differences[0].diff.clone();
    let outcome = fixture.check();
    assert!(diff(&outcome).unwrap().contains("\n-hello\n"), "{outcome:?}");

    struct Swap<'a>(&'a Path, AtomicU64);
    impl Progress for Swap<'_> {
        fn hashed(&self, files: u64, _: u64) {
            // All others have been hashed; of another size, it is not.
            if self.1.fetch_add(files, Ordering::SeqCst) + files == 4 && files > 0 {
                fs::remove_file(self.0.join("a/b.txt")).unwrap();
                symlink("/etc/passwd", self.0.join("a/b.txt")).unwrap();
            }
        }
    }
    let outcome = check(&fixture.tree, fixture.dir.path(), &Swap(fixture.dir.path(), AtomicU64::new(0)));
    assert_eq!((outcome.status, diff(&outcome)), (Status::Fail, None), "{outcome:?}");
}

/// Of an ignored directory, a template is taken all the same; and what it stands for has its mode.
#[test]
fn rendered_is_what_another_machine_must_have() {
    let mut fixture = fixture().with(|tree| {
        tree.ignore = vec!["/a-b".into()];
        tree.attributes.mode = true;
    });
    let texts = Texts { templates: vec!["a-b/*.tmpl".into(), "a/*.tmpl".into()], ..Texts::default() };
    fs::write(fixture.at("a/id.tmpl"), "{{ instance }}").unwrap();
    chmod(&fixture.at("a/id.tmpl"), 0o604);
    fixture.tree.entries = read_with(&fixture.tree, &texts, fixture.dir.path(), &mut 0, &NoProgress).unwrap().entries;
    let mut facts = crate::facts::Facts::default();
    facts.insert("instance", &"i-1").unwrap();
    let rendered = fixture.tree.rendered(&facts).into_owned();
    assert_eq!(shown(&check(&rendered, fixture.dir.path(), &NoProgress)), ["a/id missing file -"]);
    fs::write(fixture.at("a/id"), "i-1").unwrap();
    chmod(&fixture.at("a/id"), 0o604);
    assert_eq!(check(&rendered, fixture.dir.path(), &NoProgress).status, Status::Pass);
    // As it stands, a template is never compared: without facts nothing can be told.
    assert_eq!(fixture.differences(), ["a/id unreadable - the fact `instance` is not known here"]);
    assert_eq!(fixture.check().status, Status::Unknown);
    // A template from where the tree does not look has nothing to stand for there.
    fs::write(fixture.at("a-b/y.tmpl"), "").unwrap();
    let error = read_with(&fixture.tree, &texts, fixture.dir.path(), &mut 0, &NoProgress).unwrap_err();
    assert_eq!(error.to_string(), "`a-b/y` is rendered from a template, but the tree ignores it");
}
