//! Any tree passes as it was built, and any one change is found: it and nothing else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// By path: `None` for a directory, else content.
type Shape = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Names that sort on both sides of the slash, and some that are no UTF-8.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"ab-.0!\xff".to_vec()), 1..4)
        .prop_filter("dots", |name| name != b"." && name != b"..")
}

fn shape() -> impl Strategy<Value = Shape> {
    let path = prop::collection::vec(name(), 1..5);
    prop::collection::vec((path, prop::collection::vec(any::<u8>(), 0..20)), 1..25).prop_map(|files| {
        let mut shape = Shape::new();
        for (path, content) in files {
            let parents: Vec<_> = (1..path.len()).map(|n| path[..n].join(&b"/"[..])).collect();
            let whole = path.join(&b"/"[..]);
            if shape.contains_key(&whole) || parents.iter().any(|parent| matches!(shape.get(parent), Some(Some(_)))) {
                continue;
            }
            shape.extend(parents.into_iter().map(|parent| (parent, None)));
            shape.insert(whole, Some(content));
        }
        shape
    })
}

fn made(shape: &Shape) -> Fixture {
    let fixture = fixture();
    for name in ["a", "a-b", "empty"] {
        fs::remove_dir_all(fixture.at(name)).unwrap();
    }
    for entry in fs::read_dir(fixture.dir.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (path, content) in shape {
        let path = fixture.dir.path().join(OsStr::from_bytes(path));
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(content) => fs::write(path, content).unwrap(),
        }
    }
    fixture.built()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn built_then_checked_passes(shape in shape()) {
        let fixture = made(&shape);
        let listed: Vec<_> = fixture.tree.entries.iter().map(|entry| entry.path.clone()).collect();
        prop_assert_eq!(listed, shape.keys().cloned().collect::<Vec<_>>());
        prop_assert_eq!(fixture.check().status, Status::Pass);
    }

    #[test]
    fn one_change_is_found_exactly(shape in shape(), which in any::<prop::sample::Index>(), how in 0..4) {
        let fixture = made(&shape);
        let entries: Vec<_> = shape.iter().collect();
        let (path, content) = *which.get(&entries);
        let at = fixture.dir.path().join(OsStr::from_bytes(path));
        let below = shape.keys().filter(|other| other.starts_with(&[&path[..], b"/"].concat())).count();
        let (problem, total) = match (how, content) {
            (0, Some(_)) => { fs::remove_file(&at).unwrap(); (Problem::Missing, 1) }
            (0, None) => { fs::remove_dir_all(&at).unwrap(); (Problem::Missing, 1 + below) }
            (1, Some(content)) => { fs::write(&at, [content, &b"!"[..]].concat()).unwrap(); (Problem::Content, 1) }
            (1, None) => { fs::write(at.join("~"), "").unwrap(); (Problem::Extra, 1) }
            (2, Some(content)) if !content.is_empty() => {
                let mut content = content.clone();
                content[0] ^= 1;
                fs::write(&at, content).unwrap();
                (Problem::Content, 1)
            }
            (_, Some(_)) => { fs::remove_file(&at).unwrap(); symlink("x", &at).unwrap(); (Problem::Type, 1) }
            (_, None) => { fs::remove_dir_all(&at).unwrap(); symlink("x", &at).unwrap(); (Problem::Type, 1) }
        };
        let outcome = fixture.check();
        let expected = if problem == Problem::Extra { [path, &b"/~"[..]].concat() } else { path.to_vec() };
        prop_assert_eq!(outcome.differences_total, Some(total as u64));
        prop_assert_eq!(&outcome.differences[0].path, &text::path(&expected));
        prop_assert_eq!(outcome.differences[0].problem, problem);
        prop_assert_eq!(outcome.status, Status::Fail);
    }
}
