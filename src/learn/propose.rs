//! From observations to a proposal.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{
    checks::checks,
    compare::Side,
    ignores::ignores,
    names,
    observation::{INSTANCES_MAX, Kind, Observation, bytes},
    templates::explain,
    write::{self, TreeDraft},
};

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// `portcullis.toml`, with comments.
    pub spec: String,
    /// Templates, to be put where the release is built from, in the place of the files that they render to.
    pub templates: Vec<TemplateFile>,
    /// How much is left for a person to decide.
    pub questions: usize,
    /// Two, by their index, that seem to be one instance: comparing it with itself says nothing.
    pub twice: Option<(usize, usize)>,
}

/// A template that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Absolute, of the file that it renders to, as bytes.
    pub renders: Vec<u8>,
    /// With places for facts.
    pub text: String,
}

/// What to propose for these instances; more than [`INSTANCES_MAX`] are not looked at.
pub fn propose(observations: &[Observation]) -> Proposal {
    let observations = &observations[..observations.len().min(INSTANCES_MAX)];
    let mut templates = Vec::new();
    let mut trees: Vec<TreeDraft> = Vec::new();
    for side in Side::all(observations) {
        let draft = tree(&side, observations, &trees, &mut templates);
        trees.push(draft);
    }
    outer_ignores(&mut trees);
    let checks = checks(observations);
    let questions = trees.iter().map(|tree| tree.asks.len()).sum::<usize>() + checks.asks.len();
    let questions = questions + usize::from(checks.left_out > 0);
    let spec = write::spec(observations.len(), &trees, &checks);
    Proposal { spec, templates, questions, twice: twice(observations) }
}

/// The first two that are alike in everything, or by the name that the instance has for the controller.
fn twice(observations: &[Observation]) -> Option<(usize, usize)> {
    let name = |one: &Observation| one.facts.get("instance").cloned();
    let is_same = |a: &Observation, b: &Observation| a == b || name(a).is_some() && name(a) == name(b);
    let pairs = (0..observations.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
    pairs.into_iter().find(|&(first, second)| is_same(&observations[first], &observations[second]))
}

fn tree(
    side: &Side<'_>,
    observations: &[Observation],
    others: &[TreeDraft],
    templates: &mut Vec<TemplateFile>,
) -> TreeDraft {
    let rendered = rendered(side, observations);
    let explained: BTreeSet<&str> = rendered.keys().copied().collect();
    let mut found = ignores(side, &explained);
    // The template itself is where the release is built from, and on no instance.
    found.patterns.extend(rendered.keys().map(|path| super::generalise::Reasoned {
        pattern: format!("/{}.tmpl", super::generalise::quoted(path)),
        why: "the template is not on the instances, only what it renders to".into(),
    }));
    let hidden = found.globs();
    let counts = |path: &str| !hidden.hides(&bytes(path), side.is_directory(path));
    let mut notes = Vec::new();
    let mut attributes = Vec::new();
    match side.disagreement(&counts, &|one| if one.kind == Kind::Link { 0 } else { one.mode }) {
        None => attributes.push("mode"),
        Some((path, total)) => notes.push(format!("modes differ ({total}, the first at {path}): not compared")),
    }
    match side.disagreement(&counts, &|one| (one.uid, one.gid)) {
        None if side.instances > 1 => attributes.push("owner"),
        None => notes.push(
            "owners were seen on one instance only: add \"owner\" to `attributes` if they are the same on all".into(),
        ),
        Some((path, total)) => notes.push(format!("owners differ ({total}, the first at {path}): not compared")),
    }
    let stem = side.root.trim_end_matches('/');
    templates.extend(rendered.iter().map(|(path, text)| TemplateFile {
        renders: [stem.as_bytes(), b"/", &bytes(path)].concat(),
        text: text.clone(),
    }));
    TreeDraft {
        name: name(side.root, others),
        root: side.root.into(),
        root_link: side.root_link,
        entries: side.things.len(),
        text: keeps_text(side),
        secret: secrets(side),
        attributes,
        templates: rendered.into_keys().map(|path| format!("/{}.tmpl", super::generalise::quoted(path))).collect(),
        patterns: found.patterns,
        asks: found.asks,
        notes,
    }
}

/// Files whose differences facts explain, with their templates.
fn rendered<'a>(side: &Side<'a>, observations: &[Observation]) -> BTreeMap<&'a str, String> {
    let facts: Vec<&BTreeMap<String, String>> = observations.iter().map(|observation| &observation.facts).collect();
    let template = |(path, all): (&&'a str, &Vec<Option<&super::Seen>>)| {
        side.difference(path)?;
        let texts: Option<Vec<&str>> = all.iter().map(|one| one.and_then(|one| one.text.as_deref())).collect();
        let texts = texts.filter(|texts| texts.len() > 1)?;
        Some((*path, explain(&texts, &facts)?))
    };
    side.things.iter().filter_map(template).collect()
}

/// The last component of a root that says something, unique among trees.
fn name(root: &str, others: &[TreeDraft]) -> String {
    let parts = root.split('/').rev().filter(|part| !part.is_empty() && !DULL.contains(part));
    let base: String = parts.take(1).flat_map(str::chars).filter(|c| !c.is_control()).take(100).collect();
    let last = || root.rsplit('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(100).collect();
    let base: String = if base.is_empty() { last() } else { base };
    let base = if base.is_empty() { "tree".into() } else { base };
    let taken = |name: &str| others.iter().any(|other| other.name == name);
    let mut name = base.clone();
    for number in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("{base} {number}");
    }
    name
}

/// Small trees of configuration: there a difference is worth showing word by word.
fn keeps_text(side: &Side<'_>) -> bool {
    let sizes = side.things.values().filter_map(|all| all.iter().flatten().find_map(|one| one.size));
    side.is_configuration() && side.things.len() <= TEXT_ENTRIES_MAX && sizes.sum::<u64>() <= TEXT_TREE_BYTES_MAX
}

/// Files that must not travel as text, by name.
fn secrets(side: &Side<'_>) -> Vec<String> {
    let is_file = |path: &&&str| side.things[**path].iter().flatten().any(|one| one.kind == Kind::File);
    let secret = side.things.keys().filter(is_file).filter(|path| names::is_secret(&bytes(path)));
    secret.take(SECRETS_MAX).map(|path| format!("/{}", super::generalise::quoted(path))).collect()
}

/// A tree inside another is ignored in the outer one: the format wants it so.
fn outer_ignores(trees: &mut [TreeDraft]) {
    let roots: Vec<(String, String)> = trees.iter().map(|tree| (tree.root.clone(), tree.name.clone())).collect();
    for tree in trees {
        let stem = format!("{}/", tree.root.trim_end_matches('/'));
        for (root, name) in roots.iter().filter(|(root, _)| *root != tree.root) {
            if let Some(inner) = root.strip_prefix(&stem) {
                let pattern = format!("/{}/", super::generalise::quoted(inner));
                let why = format!("is the tree `{name}`");
                tree.patterns.push(super::generalise::Reasoned { pattern, why });
            }
        }
    }
}

/// Components that many roots share.
const DULL: [&str; 14] = [
    "current",
    "public",
    "html",
    "htdocs",
    "www",
    "web",
    "public_html",
    "dist",
    "var",
    "srv",
    "usr",
    "share",
    "opt",
    "home",
];

/// More is no configuration that people read.
const TEXT_ENTRIES_MAX: usize = 1_000;

/// All texts of one tree: a manifest is fetched by every instance.
const TEXT_TREE_BYTES_MAX: u64 = 2 << 20;

/// More are better said with a wildcard, by a person.
const SECRETS_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::{
        digest::Digest,
        learn::observation::{Seen, SeenTree, VERSION},
        spec::Spec,
    };

    /// Lines `path content`, `path/` for a directory, `path|` for a socket; a trailing `*` makes it executable.
    fn instance(name: &str, root: &str, lines: &[&str]) -> Observation {
        let entry = |line: &&str| {
            let (path, content) = line.split_once(' ').unwrap_or((line, ""));
            let kind = match path.chars().last() {
                Some('/') => Kind::Dir,
                Some('|') => Kind::Other,
                _ => Kind::File,
            };
            let is_file = kind == Kind::File;
            let mode = if path.ends_with('*') || kind == Kind::Dir { 0o755 } else { 0o644 };
            let content = content.replace("\\n", "\n");
            Seen {
                path: path.trim_end_matches(['/', '|', '*']).into(),
                kind,
                mode,
                uid: 0,
                gid: 0,
                size: is_file.then_some(content.len() as u64),
                sha256: is_file.then(|| Digest::of(content.as_bytes())),
                target: None,
                text: is_file.then_some(content),
                code: false,
                recent: false,
            }
        };
        let trees =
            [SeenTree { root: root.into(), root_link: false, entries: lines.iter().map(entry).collect() }].into();
        let facts = [("instance".to_string(), name.to_string())].into();
        Observation { version: VERSION, facts, trees, ..Observation::default() }
    }

    fn patterns(all: &[Observation]) -> Vec<String> {
        let spec = Spec::parse(&propose(all).spec).unwrap();
        spec.trees.into_iter().flat_map(|tree| tree.ignore).collect()
    }

    const APP: [&str; 4] = ["index.php code", "lib/", "lib/a.php code", "storage/"];

    #[test]
    fn what_differs_is_generalised_and_code_never_ignored() {
        for (one, two, ignored, questions) in [
            // Logs, many and few; directories by name.
            (
                &["storage/logs/", "storage/logs/1.log a"][..],
                &["storage/logs/", "storage/logs/2.log b"][..],
                &["storage/logs/**"][..],
                0,
            ),
            (&["storage/a.log x"], &["storage/a.log y"], &["storage/*.log", "!storage/*.log*/"], 0),
            (
                &["storage/a.log.1.gz x", "app.pid 1"],
                &["app.pid 2"],
                &[
                    "/*.pid",
                    "!/*.pid*/",
                    "storage/*.log",
                    "storage/*.log.[0-9]",
                    "storage/*.log.[0-9].gz",
                    "storage/*.log.[0-9][0-9]",
                    "storage/*.log.[0-9][0-9].gz",
                    "!storage/*.log*/",
                ],
                0,
            ),
            (
                &["a.log-20261120 x"],
                &[],
                &[
                    "/*.log",
                    "/*.log-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]",
                    "/*.log-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].gz",
                    "!/*.log*/",
                ],
                0,
            ),
            // Code that differs is asked about.
            (&["lib/b.php x"], &["lib/b.php y"], &[], 1),
            (&["bin* x"], &["bin* y"], &[], 1),
            (&["lib/b.php x"], &[], &[], 1),
            // Code where things come and go is kept if it can be, and nothing is ignored if it cannot.
            (
                &["cache/", "cache/.htaccess deny", "cache/x.png 1"],
                &["cache/", "cache/.htaccess deny", "cache/x.png 2"],
                &["cache/**", "!cache/.htaccess"],
                0,
            ),
            (&["cache/", "cache/v/", "cache/v/a.php 1"], &["cache/", "cache/v/", "cache/v/a.php 2"], &[], 1),
            // A folder of code with a telling name.
            (&["Cache/", "Cache/a.php 1", "Cache/x 1"], &["Cache/", "Cache/a.php 2", "Cache/x 1"], &[], 1),
            (&["Cache/", "Cache/a.php 1", "Cache/b.php 1"], &["Cache/", "Cache/a.php 1", "Cache/b.php 2"], &[], 1),
            // The same on both: part of the release, whatever it is called.
            (&["tmp/", "tmp/keep x"], &["tmp/", "tmp/keep x"], &[], 0),
            (&["tmp/", "tmp/a.png x"], &["tmp/", "tmp/a.png x"], &[], 0),
            (&["tmp/"], &["tmp/"], &["tmp/**"], 0),
            // Several of one kind, and one alone.
            (
                &["img/", "img/a.jpg 1", "img/b.jpg 1", "img/c.jpg 1"],
                &["img/", "img/a.jpg 2", "img/b.jpg 2", "img/c.jpg 2"],
                &["img/*.jpg", "!img/*.jpg*/"],
                0,
            ),
            (
                &["img/", "img/a.jpg 1", "img/b.jpg 1", "img/c.jpg 1", "lib/d.jpg 1"],
                &["img/", "img/a.jpg 2", "img/b.jpg 2", "img/c.jpg 2", "lib/d.jpg 1"],
                &["img/*.jpg", "!img/*.jpg*/"],
                0,
            ),
            (
                &["img/", "img/a.jpg 1", "img/b.jpg 1", "img/c.jpg 1", "img/d.jpg 1"],
                &["img/", "img/a.jpg 2", "img/b.jpg 2", "img/c.jpg 2", "img/d.jpg 1"],
                &["/img/a.jpg", "/img/b.jpg", "/img/c.jpg"],
                0,
            ),
            (
                &["img/", "img/.jpg 1", "img/b.jpg 1", "img/c.jpg 1"],
                &["img/", "img/.jpg 2", "img/b.jpg 2", "img/c.jpg 2"],
                &["/img/.jpg", "/img/b.jpg", "/img/c.jpg"],
                0,
            ),
            // The pattern would take out what may be a program.
            (
                &["img/", "img/a.jpg 1", "img/b.jpg 1", "img/c.jpg 1", "img/d.jpg* 1"],
                &["img/", "img/a.jpg 2", "img/b.jpg 2", "img/c.jpg 2", "img/d.jpg* 2"],
                &[],
                2,
            ),
            (&["img/", "img/[a].jpg 1"], &["img/", "img/[a].jpg 2"], &["/img/\\[a\\].jpg"], 0),
            (&["new/", "new/a.jpg 1"], &[], &[], 1),
            (&["new/", "new/a.php 1"], &[], &[], 1),
            // What is not known is asked about, wherever it lies: one by one if they are few.
            (&["cache/", "cache/x 1"], &["cache/", "cache/x 2"], &[], 1),
            (&["cache/", "cache/x 1", "cache/y.png 1"], &["cache/", "cache/x 2"], &["cache/**", "!cache/x"], 1),
            (&["cache/", "cache/1 a", "cache/2 a", "cache/3 a", "cache/4 a", "cache/5 a"], &["cache/"], &[], 1),
            (&["cache/", "cache/1 a", "cache/2 a", "cache/3 a", "cache/4 a"], &["cache/"], &[], 4),
            (&["cache/", "cache/x 1"], &[], &[], 1),
            (
                &["cache/", "cache/v/", "cache/v/a.php 1", "cache/x.png 1"],
                &["cache/", "cache/v/", "cache/v/a.php 1", "cache/x.png 2"],
                &["/cache/x.png"],
                0,
            ),
            // More that is a file here and a directory there than is harmless.
            (
                &["cache/", "cache/a/", "cache/b/", "cache/x.png 1"],
                &["cache/", "cache/a 1", "cache/b 1", "cache/x.png 2"],
                &["/cache/x.png"],
                2,
            ),
            (&["server.crt a", "Makefile a", "d.svg a"], &["server.crt b", "Makefile b", "d.svg b"], &[], 3),
            (&["a.php7 a", "a.phtml a", "a.phar a"], &["a.php7 b", "a.phtml b", "a.phar b"], &[], 3),
            (&["a.jpg/"], &["a.jpg x"], &[], 1),
            // No manifest can have it.
            (&["php.s|"], &["php.s|"], &["/php.s"], 0),
            (&["php.s|"], &["php.s x"], &[], 1),
        ] {
            let all = [instance("i-1", "/app", &[&APP, one].concat()), instance("i-2", "/app", &[&APP, two].concat())];
            assert_eq!(patterns(&all), ignored, "{one:?} {two:?}\n{}", propose(&all).spec);
            assert_eq!(propose(&all).questions, questions, "{one:?} {two:?}");
        }
    }

    #[test]
    fn one_instance_by_names_alone() {
        let one = instance("i-1", "/app", &["a.php x", "logs/", "logs/x.log 1", "run.pid 7", "uploads/"]);
        assert_eq!(patterns(&[one]), ["logs/**", "uploads/**", "/*.pid", "!/*.pid*/"]);
    }

    /// A directory may be called like a log, and hold what is run.
    #[test]
    fn no_directory_is_ignored_for_what_files_are_called() {
        let logs = |content| ["a.log", "a.log.1", "b.pid"].map(|name| format!("{name} {content}"));
        let [one, two] = ["1", "2"].map(|content| {
            let logs = logs(content);
            instance("i", "/app", &[&APP[..], &[logs[0].as_str(), &logs[1], &logs[2]]].concat())
        });
        let ignore = crate::glob::Ignore::new(&patterns(&[one, two])).unwrap();
        for (path, hidden) in [
            ("z.log", true),
            ("z.log.7.gz", true),
            ("z.pid", true),
            ("z.log/a.php", false),
            ("z.log.7/a.php", false),
            ("z.log.7.gz/a.php", false),
            ("z.pid/a.php", false),
        ] {
            assert_eq!(ignore.hides(path.as_bytes(), false), hidden, "{path}");
        }
    }

    #[test]
    fn a_fact_becomes_a_template() {
        let instance = |name: &str, more: &str| {
            let site = format!("site.conf server {name};\\n{more}");
            instance(name, "/etc/nginx", &[&site, "mime.types x"])
        };
        let found = propose(&[instance("i-0a1", ""), instance("i-0b2", "")]);
        assert_eq!(
            found.templates,
            [TemplateFile { renders: b"/etc/nginx/site.conf".into(), text: "server {{ instance }};\n".into() }]
        );
        assert!(found.spec.contains("templates = [\"/site.conf.tmpl\"]"), "{}", found.spec);
        assert_eq!(found.questions, 0);
        let found = propose(&[instance("i-0a1", "a"), instance("i-0b2", "b")]);
        assert_eq!((found.templates.len(), found.questions), (0, 1), "{}", found.spec);
    }

    #[test]
    fn the_same_instance_twice() {
        let (one, two) = (instance("i-1", "/app", &APP), instance("i-2", "/app", &APP));
        let mut later = one.clone();
        later.trees[0].entries[0].mode = 0o600;
        let mut nameless = two.clone();
        nameless.facts.clear();
        for (all, twice) in [
            (&[&one, &two][..], None),
            (&[&one, &two, &one], Some((0, 2))),
            (&[&two, &one, &later], Some((1, 2))),
            (&[&nameless, &two], None),
            (&[&nameless, &nameless], Some((0, 1))),
            (&[&one], None),
        ] {
            let all: Vec<Observation> = all.iter().map(|one| (*one).clone()).collect();
            assert_eq!(propose(&all).twice, twice);
        }
    }

    #[test]
    fn attributes_that_agree() {
        let one = || instance("i-1", "/app", &APP);
        let mut two = instance("i-2", "/app", &APP);
        let parsed = |all: &[Observation]| Spec::parse(&propose(all).spec).unwrap().trees[0].attributes;
        assert_eq!((parsed(&[one()]).mode, parsed(&[one()]).owner), (true, false));
        assert!(parsed(&[one(), two.clone()]).owner);
        two.trees[0].entries[0].uid = 33;
        two.trees[0].entries[2].mode = 0o600;
        assert_eq!(parsed(&[one(), two]), crate::manifest::Attributes::default());
    }

    #[test]
    fn trees_in_trees_and_names_that_would_break_out() {
        let mut one = instance("i-1", "/srv/a\"b\nc", &["x\ny.log 1", "*.log 1", "site.key k"]);
        one.trees.push(SeenTree { root: "/srv".into(), root_link: false, entries: Vec::new() });
        one.trees.push(SeenTree { root: "/srv/shop/current".into(), root_link: false, entries: Vec::new() });
        let spec = Spec::parse(&propose(&[one]).spec).unwrap();
        let names: Vec<&str> = spec.trees.iter().map(|tree| tree.name.as_str()).collect();
        assert_eq!(names, ["a\"bc", "srv", "shop"]);
        assert_eq!(name("/var/www/html", &[]), "html");
        assert_eq!(spec.trees[1].ignore, ["/a\"b\nc/", "/shop/current/"]);
    }
}
