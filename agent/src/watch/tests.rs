use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
};

use tempfile::TempDir;

use super::*;

/// A tree with some directories, and what it ignores.
struct Site {
    dir: TempDir,
    tree: Tree,
}

impl Site {
    fn new(ignore: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("above/site");
        fs::create_dir_all(site.join("lib/deep")).unwrap();
        fs::create_dir_all(site.join("logs/old")).unwrap();
        for file in ["index", "lib/a", "lib/deep/b", "logs/today"] {
            fs::write(site.join(file), "as it was").unwrap();
        }
        let ignore = ignore.iter().map(ToString::to_string).collect();
        let tree = Tree { ignore, ..Tree::new("site", site.to_str().unwrap()) };
        Self { dir, tree }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("above/site").join(path)
    }

    async fn watched(&self) -> Watch {
        let mut watch = Watch::new();
        watch.over(vec![Target::new(&self.tree, None)]).await;
        watch
    }
}

async fn stirs(watch: &mut Watch) -> bool {
    timeout(PATIENCE, watch.stirred()).await.is_ok()
}

/// Not for as long as any of what is told takes to be told.
async fn stays_calm(watch: &mut Watch) -> bool {
    timeout(CALM, watch.stirred()).await.is_err()
}

const PATIENCE: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_millis(200);

/// A limit, and what is relied on to be told of it: the next round reads the file all the same.
#[tokio::test]
async fn a_write_by_a_name_outside_is_not_heard() {
    let site = Site::new(&[]);
    let outside = site.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::hard_link(site.at("lib/a"), outside.join("a")).unwrap();
    let mut watch = site.watched().await;
    fs::write(outside.join("a"), "other").unwrap();
    assert!(stays_calm(&mut watch).await, "if the kernel tells by now, the limit can go");
    fs::write(site.at("lib/a"), "more").unwrap();
    assert!(stirs(&mut watch).await);
}

#[tokio::test]
async fn every_change_is_heard() {
    let site = Site::new(&[]);
    let mut watch = site.watched().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 5 });
    assert!(stays_calm(&mut watch).await);
    fs::read(site.at("index")).unwrap();
    assert!(stays_calm(&mut watch).await, "reading is no change");
    let mode = |mode| fs::Permissions::from_mode(mode);
    let changes: [(&str, &dyn Fn()); 9] = [
        ("content", &|| fs::write(site.at("lib/a"), "other").unwrap()),
        ("added", &|| fs::write(site.at("lib/deep/new"), "").unwrap()),
        ("removed", &|| fs::remove_file(site.at("lib/deep/new")).unwrap()),
        ("renamed", &|| fs::rename(site.at("lib/a"), site.at("a")).unwrap()),
        ("mode", &|| fs::set_permissions(site.at("index"), mode(0o600)).unwrap()),
        ("mode of a directory", &|| fs::set_permissions(site.at("lib"), mode(0o700)).unwrap()),
        ("linked", &|| symlink("index", site.at("link")).unwrap()),
        ("directory", &|| fs::create_dir(site.at("lib/new")).unwrap()),
        ("directory removed", &|| fs::remove_dir_all(site.at("lib/deep")).unwrap()),
    ];
    for (what, change) in changes {
        change();
        assert!(stirs(&mut watch).await, "{what}");
        watch.refresh().await;
        assert!(stays_calm(&mut watch).await, "{what}: told once");
    }
    assert_eq!(*watch.sight(), Sight::Whole { directories: 5 });
}

#[tokio::test]
async fn what_is_ignored_is_not_heard() {
    let site = Site::new(&["logs/", "*.pid"]);
    let mut watch = site.watched().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 3 });
    fs::write(site.at("logs/today"), "more").unwrap();
    fs::write(site.at("lib/deep/server.pid"), "7").unwrap();
    fs::create_dir(site.at("lib/dir.pid")).unwrap();
    assert!(stays_calm(&mut watch).await);
    fs::write(site.at("lib/deep/server.pidx"), "7").unwrap();
    assert!(stirs(&mut watch).await);
}

/// What happens in a directory that came later, or has another name now, or whose name is only now one that is ignored.
#[tokio::test]
async fn new_and_moved_directories_are_watched() {
    let site = Site::new(&["/old"]);
    let mut watch = site.watched().await;
    fs::create_dir_all(site.at("new/deeper")).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::write(site.at("new/deeper/file"), "").unwrap();
    assert!(stirs(&mut watch).await);
    fs::rename(site.at("new"), site.at("lib/moved")).unwrap();
    watch.refresh().await;
    fs::write(site.at("lib/moved/deeper/file"), "other").unwrap();
    assert!(stirs(&mut watch).await);
    fs::rename(site.at("lib"), site.at("old")).unwrap();
    watch.refresh().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 3 });
    fs::write(site.at("old/a"), "other").unwrap();
    fs::write(site.at("old/moved/deeper/file"), "again").unwrap();
    assert!(stays_calm(&mut watch).await);
}

#[tokio::test]
async fn another_root_in_its_place_is_heard() {
    let site = Site::new(&[]);
    let mut watch = site.watched().await;
    let above = |name: &str| site.dir.path().join(name);
    fs::rename(site.at(""), above("above/former")).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 0 });
    fs::write(above("above/former/index"), "no longer ours").unwrap();
    assert!(stays_calm(&mut watch).await);
    fs::create_dir(site.at("")).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::write(site.at("index"), "").unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::rename(above("above"), above("elsewhere")).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::create_dir_all(site.at("lib")).unwrap();
    assert!(stirs(&mut watch).await, "one above another that was not there either");
    watch.refresh().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 2 });
}

/// How many a deploy is made: `current` is a link, and another one takes its place.
#[tokio::test]
async fn a_link_that_is_the_root_is_followed_when_it_may_be() {
    let mut site = Site::new(&[]);
    for release in ["one", "two"] {
        fs::create_dir_all(site.dir.path().join(release)).unwrap();
    }
    let current = site.dir.path().join("current");
    symlink("one", &current).unwrap();
    site.tree.root = current.to_str().unwrap().into();
    assert_eq!(*site.watched().await.sight(), Sight::Whole { directories: 0 }, "it must not be a link");
    site.tree.root_link = true;
    let mut watch = site.watched().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 1 });
    symlink("two", site.dir.path().join("next")).unwrap();
    fs::rename(site.dir.path().join("next"), &current).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::write(site.dir.path().join("one/file"), "").unwrap();
    assert!(stays_calm(&mut watch).await);
    fs::write(site.dir.path().join("two/file"), "").unwrap();
    assert!(stirs(&mut watch).await);
}

#[tokio::test]
async fn links_and_trees_within_trees() {
    let site = Site::new(&["lib/"]);
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), site.at("away")).unwrap();
    let inner = Tree::new("lib", site.at("lib").to_str().unwrap());
    let mut watch = Watch::new();
    watch.over(vec![Target::new(&site.tree, None), Target::new(&inner, None)]).await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 5 });
    fs::write(elsewhere.path().join("file"), "").unwrap();
    assert!(stays_calm(&mut watch).await, "it is the link that counts");
    fs::write(site.at("lib/a"), "other").unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    fs::write(site.at("index"), "other").unwrap();
    assert!(stirs(&mut watch).await, "above one tree and inside another");
    watch.over(vec![Target::new(&inner, None)]).await;
    watch.refresh().await;
    assert_eq!(*watch.sight(), Sight::Whole { directories: 2 });
    fs::write(site.at("index"), "again").unwrap();
    assert!(stays_calm(&mut watch).await, "of that tree nothing is wanted any more");
}

fn touched(watch: &mut Watch) -> Option<Vec<(usize, String)>> {
    let name = |path: &[u8]| portcullis::text::path(path);
    watch.touched().map(|touched| touched.iter().map(|(target, path)| (*target, name(path))).collect())
}

#[tokio::test]
async fn where_something_happened_is_known_and_told_once() {
    let site = Site::new(&["/logs/", "*.pid"]);
    let odd = site.at("lib").join(std::ffi::OsStr::from_bytes(b"\xff\\"));
    fs::create_dir(&odd).unwrap();
    let mut watch = site.watched().await;
    assert_eq!(touched(&mut watch), None);
    fs::write(site.at("index"), "other").unwrap();
    fs::remove_file(site.at("lib/deep/b")).unwrap();
    fs::write(odd.join("file"), "").unwrap();
    fs::write(site.at("lib/server.pid"), "7").unwrap();
    let wanted = ["", "lib/deep", "lib/\\xff\\\\"].map(|path| (0, path.to_string()));
    assert_eq!(touched(&mut watch), Some(wanted.to_vec()));
    assert_eq!(touched(&mut watch), None);
    assert!(stays_calm(&mut watch).await);
    fs::set_permissions(site.at("lib"), fs::Permissions::from_mode(0o700)).unwrap();
    let wanted = ["", "lib"].map(|path| (0, path.to_string()));
    assert_eq!(touched(&mut watch), Some(wanted.to_vec()), "it is an entry of the one above, and itself");
    fs::write(site.at("index"), "again").unwrap();
    watch.refresh().await;
    assert_eq!(touched(&mut watch), None, "the look sees it");
}

/// Directories that come or go, lost events, and more places than are worth it.
#[tokio::test]
async fn where_something_happened_is_not_always_known() {
    let site = Site::new(&[]);
    let mut watch = site.watched().await;
    let changes: [(&str, &dyn Fn()); 4] = [
        ("come", &|| fs::create_dir(site.at("new")).unwrap()),
        ("moved", &|| fs::rename(site.at("new"), site.at("lib/new")).unwrap()),
        ("gone", &|| fs::remove_dir(site.at("lib/new")).unwrap()),
        ("lost", &|| {
            for n in 0..40_000 {
                fs::write(site.at(if n % 2 == 0 { "lib/even" } else { "lib/odd" }), "").unwrap();
            }
        }),
    ];
    for (what, change) in changes {
        fs::write(site.at("index"), what).unwrap();
        change();
        assert_eq!(touched(&mut watch), None, "{what}");
        fs::write(site.at("index"), "more").unwrap();
        assert_eq!(touched(&mut watch), None, "{what}: not before what is watched is what should be");
        watch.refresh().await;
        fs::write(site.at("lib/a"), what).unwrap();
        assert_eq!(touched(&mut watch), Some(vec![(0, "lib".into())]), "{what}: afterwards");
    }
    for n in 0..=TOUCHED_MAX {
        fs::create_dir(site.at(&format!("lib/{n}"))).unwrap();
    }
    watch.refresh().await;
    let write = |dirs| (0..dirs).for_each(|n| fs::write(site.at(&format!("lib/{n}/file")), "").unwrap());
    write(TOUCHED_MAX);
    assert_eq!(touched(&mut watch).map(|touched| touched.len()), Some(TOUCHED_MAX));
    write(TOUCHED_MAX + 1);
    assert_eq!(touched(&mut watch), None, "too many");
    fs::write(site.at("lib/a"), "more").unwrap();
    assert_eq!(touched(&mut watch), Some(vec![(0, "lib".into())]));
    fs::write(site.at("lib/a"), "and more").unwrap();
    watch.forget();
    watch.over(vec![Target::new(&Tree::new("lib", site.at("lib").to_str().unwrap()), None)]).await;
    assert_eq!(touched(&mut watch), None, "of the trees that were watched before");
}

/// A directory may be of two trees, and a file in it be ignored by one of them.
#[tokio::test]
async fn where_trees_are_within_trees_each_is_told() {
    let site = Site::new(&["*.pid"]);
    let inner = Tree { ignore: vec!["/a".into()], ..Tree::new("lib", site.at("lib").to_str().unwrap()) };
    for trees in [[&site.tree, &inner], [&inner, &site.tree]] {
        let mut watch = Watch::new();
        watch.over(trees.map(|tree| Target::new(tree, None)).to_vec()).await;
        let index = |tree: &Tree| trees.iter().position(|one| one.name == tree.name).unwrap();
        let (outer, inner) = (index(&site.tree), index(&inner));
        for (file, wanted) in [
            ("lib/deep/b", vec![(outer, "lib/deep"), (inner, "deep")]),
            ("lib/a", vec![(outer, "lib")]),
            ("lib/server.pid", vec![(inner, "")]),
            ("index", vec![(outer, "")]),
        ] {
            fs::write(site.at(file), file).unwrap();
            let mut wanted: Vec<_> = wanted.into_iter().map(|(tree, path)| (tree, path.to_string())).collect();
            wanted.sort();
            assert_eq!(touched(&mut watch), Some(wanted), "{file}");
        }
    }
}

/// More than the kernel queues: it is known that something is not known, and all is watched again.
#[tokio::test]
async fn lost_events_are_noticed() {
    let site = Site::new(&[]);
    let mut watch = site.watched().await;
    let queued: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for n in 0..queued {
        let name = site.at(if n % 2 == 0 { "even" } else { "odd" });
        fs::write(&name, "").unwrap();
    }
    fs::create_dir(site.at("unheard")).unwrap();
    assert!(stirs(&mut watch).await);
    watch.refresh().await;
    assert_eq!((watch.overflows(), watch.sight()), (1, &Sight::Whole { directories: 6 }));
    fs::write(site.at("unheard/file"), "").unwrap();
    assert!(stirs(&mut watch).await);
}

#[test]
fn too_many_directories_are_not_watched_by_half() {
    let site = Site::new(&[]);
    let eye = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let targets = [Target::new(&site.tree, None)];
    assert_eq!(walk::walk(&eye, &targets, 5).unwrap().directories(), 5);
    assert!(walk::walk(&eye, &targets, 4).unwrap_err().to_string().contains("more than 4 directories"));
}
