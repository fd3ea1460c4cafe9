//! Checks for what listens and runs, on every instance that was seen.
//!
//! Each is written in the words of the kind of check that says most; where this program does not know that kind, in those of
//! the next.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{
    observation::{Listening, Observation, Running, SeenCertificate},
    write::string,
};
use crate::spec::Spec;

/// A check to be proposed: lines of TOML after its name, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposed {
    pub(super) name: String,
    pub(super) lines: String,
    pub(super) comment: String,
}

/// What is proposed besides trees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Checks {
    pub(super) proposed: Vec<Proposed>,
    /// What of a check differs between instances, with how.
    pub(super) asks: Vec<(String, String)>,
    /// How many more there would be.
    pub(super) left_out: usize,
}

/// For everything that all instances have.
pub(super) fn checks(observations: &[Observation]) -> Checks {
    let mut out: Vec<Proposed> = Vec::new();
    let mut asks = Vec::new();
    let servers = in_all(observations, |one| one.servers.iter().cloned().collect());
    out.extend(servers.iter().filter_map(|server| web_server(server)));
    out.extend(certificates(observations, &mut asks));
    out.extend(running(observations));
    out.extend(listening(observations));
    // Names are unique among checks, whatever programs are called.
    let mut names = BTreeSet::new();
    for check in &mut out {
        let (name, mut number) = (check.name.clone(), 1);
        while !names.insert(check.name.clone()) {
            number += 1;
            check.name = format!("{name} {number}");
        }
    }
    let left_out = out.len().saturating_sub(CHECKS_MAX);
    out.truncate(CHECKS_MAX);
    Checks { proposed: out, asks, left_out }
}

fn web_server(server: &str) -> Option<Proposed> {
    let config = match server {
        "nginx" => "/etc/nginx/nginx.conf",
        "apache" => "/etc/apache2/apache2.conf",
        "haproxy" => "/etc/haproxy/haproxy.cfg",
        _ => return None,
    };
    let kind = format!("web_server = {{ server = {}, config = {} }}", string(server), string(config));
    let comment = "its configuration parses, all that it includes is in a tree, and it has loaded it".into();
    first_known(&format!("{server} configuration"), &[kind], comment)
}

/// One for each file that all instances show, with what all agree about; the rest of it is asked about.
fn certificates(observations: &[Observation], asks: &mut Vec<(String, String)>) -> Vec<Proposed> {
    let files: BTreeSet<&String> =
        observations.iter().flat_map(|one| &one.certificates).map(|certificate| &certificate.file).collect();
    let check = |file: &String| {
        let agreed = Agreed::of(file, observations);
        asks.extend(agreed.asks.into_iter().map(|why| (format!("certificate {file}"), why)));
        let names: Vec<String> = agreed.names?.into_iter().map(|name| string(name)).collect();
        let key = agreed.key.map(|key| format!(", key = {}", string(key))).unwrap_or_default();
        let names = if names.is_empty() { String::new() } else { format!(", names = [{}]", names.join(", ")) };
        let kind = format!("certificate = {{ file = {}{key}{names} }}", string(file));
        first_known(&format!("certificate {file}"), &[kind], "a web server shows it".into())
    };
    files.into_iter().filter_map(check).collect()
}

/// What all instances agree about, of the certificate in one file.
struct Agreed<'a> {
    key: Option<&'a String>,
    /// `None` where an instance does not show it.
    names: Option<BTreeSet<&'a String>>,
    /// What they do not agree about.
    asks: Vec<String>,
}

impl<'a> Agreed<'a> {
    fn of(file: &str, observations: &'a [Observation]) -> Self {
        let shown =
            |one: &'a Observation| -> Vec<_> { one.certificates.iter().filter(|one| one.file == file).collect() };
        let all: Vec<Vec<&SeenCertificate>> = observations.iter().map(shown).collect();
        if all.iter().any(Vec::is_empty) {
            return Self { key: None, names: None, asks: ["not on every instance".into()].into() };
        }
        let keys: BTreeSet<Option<&String>> = all.iter().flatten().map(|one| one.key.as_ref()).collect();
        let other_keys = (keys.len() > 1).then(|| "its key is another file on each instance".into());
        let names_of = |shown: &Vec<&'a SeenCertificate>| shown.iter().flat_map(|one| &one.names).collect();
        let mut names = all.iter().map(names_of).collect::<Vec<BTreeSet<&String>>>().into_iter();
        let (mut common, mut every) = (names.next().unwrap_or_default(), BTreeSet::new());
        every.extend(common.iter().copied());
        for names in names {
            common.retain(|name| names.contains(name));
            every.extend(names);
        }
        let some: Vec<&str> = every.difference(&common).map(|name| name.as_str()).collect();
        let other_names = (!some.is_empty())
            .then(|| format!("it has names that are not those of every instance: {}", some.join(", ")));
        let key = keys.first().copied().flatten().filter(|_| keys.len() == 1);
        Self { key, names: Some(common), asks: other_keys.into_iter().chain(other_names).collect() }
    }
}

fn running(observations: &[Observation]) -> Vec<Proposed> {
    let all = in_all(observations, |one| one.running.iter().cloned().collect());
    let mut seen = BTreeSet::new();
    let mut check = |running: Running| {
        let unit = running.unit.filter(|unit| unit.ends_with(".service"));
        let what = unit.clone().unwrap_or_else(|| running.executable.clone());
        if is_noise(&running.executable) || !seen.insert(what) {
            return None;
        }
        let unit_kind = unit.map(|unit| format!("unit = {{ unit = {} }}", string(&unit)));
        let process = format!("process = {{ executable = {} }}", string(&running.executable));
        let kinds: Vec<String> = unit_kind.into_iter().chain([process]).collect();
        let name = format!("{} runs", program(&running.executable));
        first_known(&name, &kinds, String::new()).map(soon)
    };
    all.into_iter().filter_map(&mut check).collect()
}

fn listening(observations: &[Observation]) -> Vec<Proposed> {
    let ports = |one: &Observation| one.listening.iter().filter(|one| counts(one)).map(|one| one.port).collect();
    let all: BTreeSet<u16> = in_all(observations, ports);
    let first: BTreeMap<u16, &Listening> = observations
        .iter()
        .flat_map(|one| &one.listening)
        .filter(|listening| all.contains(&listening.port))
        .fold(BTreeMap::new(), |mut by_port, listening| {
            by_port.entry(listening.port).or_insert(listening);
            by_port
        });
    let check = |(port, listening): (u16, &Listening)| {
        // The same port on addresses that differ is what an instance's own address looks like: any address will do.
        let addresses: BTreeSet<&String> = observations
            .iter()
            .flat_map(|one| &one.listening)
            .filter(|one| one.port == port)
            .map(|one| &one.address)
            .collect();
        let address = if addresses.len() == 1 { socket(&listening.address, port) } else { port.to_string() };
        let executable = listening.executable.as_ref();
        let held_by = executable.map(|executable| format!(", executable = {}", string(executable))).unwrap_or_default();
        let listen = format!("listen = {{ address = {}{held_by} }}", string(&address));
        let tcp = format!("tcp = {{ connect = {} }}", string(&connect(&listening.address, port)));
        let who = executable.map_or("something", |executable| program(executable));
        first_known(&format!("{who} listens on {port}"), &[listen, tcp], String::new()).map(soon)
    };
    first.into_iter().filter_map(check).collect()
}

/// A service that has just been started is not up yet.
fn soon(mut check: Proposed) -> Proposed {
    check.lines.push_str("\nwithin = \"90s\"");
    check
}

/// What every instance has.
fn in_all<T: Ord>(observations: &[Observation], of: impl Fn(&Observation) -> BTreeSet<T>) -> BTreeSet<T> {
    let mut sets = observations.iter().map(of);
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |mut common, next| {
        common.retain(|one| next.contains(one));
        common
    })
}

/// The first of several kinds that specs can have, if any.
fn first_known(name: &str, kinds: &[String], comment: String) -> Option<Proposed> {
    let known = |kind: &&String| Spec::parse(&format!("[[check]]\nname = \"a\"\n{kind}\n")).is_ok();
    let lines = kinds.iter().find(known)?.clone();
    let name = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    Some(Proposed { name, lines, comment })
}

fn counts(listening: &Listening) -> bool {
    let noise = listening.executable.as_deref().is_some_and(is_noise);
    listening.port != SSH && listening.port < EPHEMERAL_MIN && !noise
}

/// What every machine has, and no release.
fn is_noise(executable: &str) -> bool {
    let program = program(executable);
    program.starts_with("systemd") || program.starts_with("portcullis") || NOISE.contains(&program)
}

fn program(executable: &str) -> &str {
    executable.rsplit('/').next().unwrap_or(executable)
}

fn socket(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Where to connect to for what listens on an address.
fn connect(address: &str, port: u16) -> String {
    match address {
        "0.0.0.0" => socket("127.0.0.1", port),
        "::" => socket("::1", port),
        address => socket(address, port),
    }
}

const SSH: u16 = 22;

/// Linux gives such ports to clients, and to servers that ask for any (`ip_local_port_range`).
const EPHEMERAL_MIN: u16 = 32_768;

const NOISE: [&str; 33] = [
    "init",
    "sshd",
    "dbus-daemon",
    "dbus-broker",
    "agetty",
    "cron",
    "crond",
    "atd",
    "rsyslogd",
    "chronyd",
    "ntpd",
    "dhclient",
    "dhcpcd",
    "udevd",
    "polkitd",
    "rpcbind",
    "getty",
    "login",
    "bash",
    "sh",
    "dash",
    "sleep",
    "tini",
    "NetworkManager",
    "amazon-ssm-agent",
    "ssm-agent-worker",
    "avahi-daemon",
    "irqbalance",
    "acpid",
    "unattended-upgr",
    "snapd",
    "containerd-shim",
    "multipathd",
];

/// More is a spec that nobody reads.
const CHECKS_MAX: usize = 200;

/// A name for people.
const NAME_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(listening: &[(&str, u16, &str)], running: &[(&str, Option<&str>)]) -> Observation {
        let listening = listening.iter().map(|(address, port, executable)| Listening {
            address: (*address).into(),
            port: *port,
            executable: Some((*executable).into()),
        });
        let running = running
            .iter()
            .map(|(executable, unit)| Running { executable: (*executable).into(), unit: unit.map(Into::into) });
        Observation { version: 1, listening: listening.collect(), running: running.collect(), ..Observation::default() }
    }

    #[test]
    fn what_all_have_and_no_noise() {
        let one = observation(
            &[
                ("0.0.0.0", 80, "/usr/sbin/nginx"),
                ("0.0.0.0", 22, "/usr/sbin/sshd"),
                ("127.0.0.1", 9_000, "/usr/bin/php"),
                ("::", 40_000, "/x"),
            ],
            &[],
        );
        let two = observation(&[("10.0.0.2", 80, "/usr/sbin/nginx"), ("::1", 5_432, "/pg")], &[]);
        let names = |all: &[Observation]| checks(all).proposed.into_iter().map(|check| check.name).collect::<Vec<_>>();
        assert_eq!(names(core::slice::from_ref(&one)), ["nginx listens on 80", "php listens on 9000"]);
        assert_eq!(names(&[one, two]), ["nginx listens on 80"]);
    }

    #[test]
    fn what_is_left_out_is_told() {
        let executables: Vec<String> = (0..203).map(|n| format!("/opt/bin/{n:03}")).collect();
        for (seen, left_out, told) in
            [(200, 0, None), (203, 3, Some("# and 3 more checks, too many for one spec: decide"))]
        {
            let running: Vec<_> = executables[..seen].iter().map(|executable| (executable.as_str(), None)).collect();
            let seen = [observation(&[], &running)];
            let found = checks(&seen);
            assert_eq!((found.proposed.len(), found.left_out), (200, left_out));
            let proposal = crate::learn::propose(&seen);
            assert_eq!(proposal.spec.lines().find(|line| line.starts_with("# and ")), told);
            assert_eq!(proposal.questions, usize::from(left_out > 0));
            toml::from_str::<toml::Table>(&proposal.spec).unwrap();
        }
    }

    #[test]
    fn certificates_that_differ_are_checked_for_what_is_common_and_asked_about() {
        let shows = |file: &str, key: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).into()).collect();
            let certificate = SeenCertificate { file: file.into(), key: Some(key.into()), names };
            Observation { version: 1, certificates: [certificate].into(), ..Observation::default() }
        };
        let first = shows("/a.pem", "/a.key", &["a.example", "one.example"]);
        let line = |more: &str| alloc::vec![format!("certificate = {{ file = \"/a.pem\"{more} }}")];
        for (second, lines, asked) in [
            (first.clone(), line(", key = \"/a.key\", names = [\"a.example\", \"one.example\"]"), &[][..]),
            (
                shows("/a.pem", "/a.key", &["a.example", "two.example"]),
                line(", key = \"/a.key\", names = [\"a.example\"]"),
                &["it has names that are not those of every instance: one.example, two.example"],
            ),
            (
                shows("/a.pem", "/b.key", &["b.example"]),
                line(""),
                &[
                    "its key is another file on each instance",
                    "it has names that are not those of every instance: a.example, b.example, one.example",
                ],
            ),
            (shows("/b.pem", "/a.key", &[]), Vec::new(), &["not on every instance", "not on every instance"]),
        ] {
            let found = checks(&[first.clone(), second]);
            assert_eq!(found.proposed.into_iter().map(|check| check.lines).collect::<Vec<_>>(), lines);
            assert_eq!(found.asks.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(), asked);
        }
    }

    #[test]
    fn an_unknown_kind_gives_way() {
        let kinds = ["soothsayer = { asked = true }", "tcp = { connect = \"127.0.0.1:80\" }"].map(String::from);
        assert_eq!(first_known("a", &kinds, String::new()).unwrap().lines, kinds[1]);
        assert_eq!(first_known("a", &kinds[..1], String::new()), None);
    }
}
