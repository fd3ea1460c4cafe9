//! What is proposed, word for word: people read it.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{Kind, Listening, Observation, Running, Seen, SeenCertificate, SeenTree, observation::VERSION, propose};
use crate::{digest::Digest, spec::Spec};

fn thing(path: &str, kind: Kind) -> Seen {
    let mode = if kind == Kind::File { 0o644 } else { 0o755 };
    Seen {
        path: path.into(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        size: None,
        sha256: None,
        target: None,
        text: None,
        code: false,
        recent: false,
    }
}

fn file(path: &str, content: &str) -> Seen {
    let (size, sha256) = (Some(content.len() as u64), Some(Digest::of(content.as_bytes())));
    Seen { size, sha256, text: Some(content.into()), ..thing(path, Kind::File) }
}

fn link(path: &str, target: &str) -> Seen {
    Seen { target: Some(target.into()), ..thing(path, Kind::Link) }
}

fn tree(root: &str, entries: impl IntoIterator<Item = Seen>) -> SeenTree {
    SeenTree { root: root.into(), root_link: false, entries: entries.into_iter().collect() }
}

fn instance(name: &str, trees: impl IntoIterator<Item = SeenTree>) -> Observation {
    let facts = [("instance".to_string(), name.to_string())].into();
    Observation { version: VERSION, facts, trees: trees.into_iter().collect(), ..Observation::default() }
}

/// Lines that begin so, of what is proposed.
fn lines(all: &[Observation], beginnings: &[&str]) -> Vec<String> {
    let spec = propose(all).spec;
    Spec::parse(&spec).unwrap();
    let wanted = |line: &&str| beginnings.iter().any(|beginning| line.starts_with(beginning));
    spec.lines().filter(wanted).map(String::from).collect()
}

#[test]
fn two_instances_word_for_word() {
    let one = |name: &str, more: &str| {
        let nginx = [
            thing("conf.d", Kind::Dir),
            file("conf.d/a.conf", "a"),
            link("enabled", "conf.d/a.conf"),
            link("other", more),
            file("site.conf", &format!("server_name {name};\n")),
            file("tls.key", "k"),
        ];
        let app = [
            file("app.pid", more),
            thing("img", Kind::Dir),
            file("img/a.jpg", more),
            file("img/b.jpg", more),
            file("img/c.jpg", more),
            file("index.php", more),
            thing("php.s", Kind::Other),
            file("site.key", "k"),
            if more == "1" { thing("thing", Kind::Dir) } else { file("thing", "") },
            file("worker", "w"),
        ];
        let mut one = instance(name, [tree("/etc/nginx", nginx), tree("/srv/app", app)]);
        one.trees[1].root_link = true;
        one.trees[1].entries[9].mode = if more == "1" { 0o644 } else { 0o600 };
        one.trees[1].entries[1].uid = if more == "1" { 0 } else { 33 };
        one
    };
    let (first, mut second) = (one("i-0a1", "1"), one("i-0b2", "2"));
    second.trees[1].entries.push(thing("only", Kind::Dir));
    let found = propose(&[first, second]);
    assert_eq!(
        found.spec,
        r#"# Proposed by `portcullis release learn`. Read it: it knows what it saw, not what you want.
# Seen on 2 instances.

[[tree]]   # 6 entries
name = "nginx"
root = "/etc/nginx"
extras = "refuse"
attributes = ["mode", "owner"]
text = true   # configuration: differences are shown word by word
secret = ["/tls.key"]
templates = ["/site.conf.tmpl"]
ignore = [
  "/site.conf.tmpl",   # the template is not on the instances, only what it renders to
]
# differs: other: leads elsewhere; may be code, configuration or a key: decide

[[tree]]   # 11 entries
name = "app"
root = "/srv/app"
extras = "refuse"
root_link = true   # its root is a symlink here
# modes differ (2, the first at thing): not compared
# owners differ (1, the first at img): not compared
ignore = [
  "/*.pid",   # 1 file: comes and goes, by its name
  "!/*.pid*/",   # but no directory of such a name
  "/php.s",   # a socket, FIFO, device or mount
  "img/*.jpg",   # 3 files: differ, each of them
  "!img/*.jpg*/",   # but no directory of such a name
]
# differs: index.php: another content; may be code, configuration or a key: decide
# differs: only: not on every instance; a directory, and what will be in it: decide
# differs: thing: another kind of thing; a directory, and what will be in it: decide
"#
    );
    assert_eq!(found.questions, 4);
}

/// It cannot be compared: names say what comes and goes, and the few files that just changed are asked about.
#[test]
fn one_instance_word_for_word() {
    let with_recent = |names: &[&str]| {
        let mut entries: Vec<Seen> = (0..20).map(|number| file(&format!("{number:02}.php"), "")).collect();
        let recent = names.iter().map(|name| Seen { recent: true, ..file(name, "") });
        entries.extend(recent.chain([Seen { recent: true, ..thing("folder", Kind::Dir) }]));
        let more = 40 - entries.len();
        entries.extend((0..more).map(|number| file(&format!("{number:02}.txt"), "")));
        instance("i-1", [tree("/srv/app", entries)])
    };
    let two = with_recent(&["a.php", "today.log"]);
    assert_eq!(
        propose(core::slice::from_ref(&two)).spec,
        r#"# Proposed by `portcullis release learn`. Read it: it knows what it saw, not what you want.
# Seen on one instance. What differs between instances shows only when two are compared.

[[tree]]   # 40 entries
name = "app"
root = "/srv/app"
extras = "refuse"
attributes = ["mode"]
# owners were seen on one instance only: add "owner" to `attributes` if they are the same on all
ignore = [
  "/*.log",   # 1 file: comes and goes, by its name
  "!/*.log*/",   # but no directory of such a name
]
# differs: a.php: changed within minutes of being looked at: decide
"#
    );
    let none: [&str; 0] = [];
    assert_eq!(lines(&[with_recent(&["a.php", "b.php", "c.php"])], &["# differs"]), none, "deployed just now");
    assert_eq!(lines(&[two.clone(), two], &["# differs"]), none, "two can be compared");
    let mut unread = instance("i-0a1", [tree("/etc/app", [file("id", "i-0a1")])]);
    unread.trees[0].entries[0].sha256 = None;
    assert_eq!(propose(&[unread]).templates, [], "one explains nothing");
}

#[test]
fn checks_word_for_word() {
    let listening = |address: &str, port, executable: Option<&str>| Listening {
        address: address.into(),
        port,
        executable: executable.map(Into::into),
    };
    let running =
        |executable: &str, unit: Option<&str>| Running { executable: executable.into(), unit: unit.map(Into::into) };
    let one = |name: &str, address: &str| Observation {
        servers: ["apache", "haproxy", "nginx", "other"].map(String::from).into(),
        certificates: [SeenCertificate { file: "/a.pem".into(), key: None, names: [name.into()].into() }].into(),
        listening: [
            listening("0.0.0.0", 80, Some("/usr/sbin/nginx")),
            listening("::", 443, Some("/usr/sbin/nginx")),
            listening("127.0.0.1", 9_000, None),
            listening(address, 8_080, Some("/usr/bin/java")),
            listening("::1", 32_767, Some("/usr/bin/java")),
            listening("::1", 32_768, Some("/usr/bin/java")),
            listening("0.0.0.0", 81, Some("not absolute")),
            listening("::", 82, Some("not absolute")),
            listening("0.0.0.0", 111, Some("/usr/sbin/rpcbind")),
        ]
        .into(),
        running: [
            running("/lib/systemd/systemd-resolved", Some("systemd-resolved.service")),
            running("/opt/a/worker", Some("worker.service")),
            running("/opt/b/worker", None),
            running("/opt/c/worker", Some("session-1.scope")),
            running("/usr/sbin/cron", Some("cron.service")),
            running("/usr/sbin/portcullis-agent", Some("portcullis-agent.service")),
        ]
        .into(),
        ..instance(name, [])
    };
    let found = propose(&[one("i-1", "10.0.0.1"), one("i-2", "10.0.0.2")]);
    assert_eq!(
        found.spec,
        r#"# Proposed by `portcullis release learn`. Read it: it knows what it saw, not what you want.
# Seen on 2 instances.

# differs: certificate /a.pem: it has names that are not those of every instance: i-1, i-2: decide

[[check]]   # its configuration parses, all that it includes is in a tree, and it has loaded it
name = "apache configuration"
web_server = { server = "apache", config = "/etc/apache2/apache2.conf" }

[[check]]   # its configuration parses, all that it includes is in a tree, and it has loaded it
name = "haproxy configuration"
web_server = { server = "haproxy", config = "/etc/haproxy/haproxy.cfg" }

[[check]]   # its configuration parses, all that it includes is in a tree, and it has loaded it
name = "nginx configuration"
web_server = { server = "nginx", config = "/etc/nginx/nginx.conf" }

[[check]]   # a web server shows it
name = "certificate /a.pem"
certificate = { file = "/a.pem" }

[[check]]
name = "worker runs"
unit = { unit = "worker.service" }
within = "90s"

[[check]]
name = "worker runs 2"
process = { executable = "/opt/b/worker" }
within = "90s"

[[check]]
name = "worker runs 3"
process = { executable = "/opt/c/worker" }
within = "90s"

[[check]]
name = "nginx listens on 80"
listen = { address = "0.0.0.0:80", executable = "/usr/sbin/nginx" }
within = "90s"

[[check]]
name = "not absolute listens on 81"
tcp = { connect = "127.0.0.1:81" }
within = "90s"

[[check]]
name = "not absolute listens on 82"
tcp = { connect = "[::1]:82" }
within = "90s"

[[check]]
name = "nginx listens on 443"
listen = { address = "[::]:443", executable = "/usr/sbin/nginx" }
within = "90s"

[[check]]
name = "java listens on 8080"
listen = { address = "8080", executable = "/usr/bin/java" }
within = "90s"

[[check]]
name = "something listens on 9000"
listen = { address = "127.0.0.1:9000" }
within = "90s"

[[check]]
name = "java listens on 32767"
listen = { address = "[::1]:32767", executable = "/usr/bin/java" }
within = "90s"
"#
    );
    assert_eq!(found.questions, 1);
}
