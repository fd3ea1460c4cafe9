//! Which of several servers of the same program is the one with this configuration.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use portcullis::{
    check::web_server::{Server, WebServer},
    text,
};

use super::{Process, Task, command};
use crate::checks::procfs::Pid;

/// Masters with this configuration; and what other masters there are, for people.
pub(super) fn ours<'a>(wanted: &WebServer, task: &Task<'_>, all: &'a [Process]) -> (Vec<&'a Process>, Vec<String>) {
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    let mut defaults = None;
    for process in masters(wanted.server, all) {
        let mut defaults = || defaults.get_or_insert_with(|| Defaults::ask(wanted, task)).clone();
        let configs = configs(wanted.server, process, &mut defaults);
        let is_same = configs.len() == wanted.configs().count()
            && configs.iter().zip(wanted.configs()).all(|(one, other)| same(one, Path::new(other)));
        if is_same && is_of_the_right_user(process, Path::new(&wanted.config)) {
            ours.push(process);
        } else {
            let configs: Vec<_> = configs.iter().map(|config| super::shown(config)).collect();
            others.push(format!("process {} with {}", process.pid, configs.join(", ")));
        }
    }
    (ours, others)
}

/// Those that no other of them started. nginx says what it is: a master may be started by the one before it.
fn masters(server: Server, all: &[Process]) -> impl Iterator<Item = &Process> {
    all.iter().filter(move |process| match server {
        Server::Nginx => process.title.starts_with(NGINX_MASTER),
        Server::Apache | Server::Haproxy => !all.iter().any(|other| other.pid == process.parent),
    })
}

/// The configurations that a master was started with; empty where that cannot be told.
fn configs(server: Server, process: &Process, defaults: &mut dyn FnMut() -> Defaults) -> Vec<PathBuf> {
    // nginx's title has its arguments behind what it is; none of the paths that are looked for has a blank.
    let title = process.title.strip_prefix(NGINX_MASTER).unwrap_or(&process.title);
    let arguments: Vec<_> = title.split_whitespace().collect();
    let option = |name| values(&arguments, name);
    match server {
        Server::Haproxy => {
            let from = fs::read_link(Pid(process.pid).path("cwd")).unwrap_or_default();
            let mut parts = arguments.splitn(2, |argument| *argument == "--");
            let named = values(parts.next().unwrap_or_default(), "-f");
            let bare = parts.next().unwrap_or_default().iter().copied();
            named.into_iter().chain(bare).map(|config| from.join(config)).collect()
        }
        Server::Nginx | Server::Apache => {
            let (config, prefix) = if server == Server::Nginx { ("-c", "-p") } else { ("-f", "-d") };
            let (config, prefix) = (option(config).pop(), option(prefix).pop());
            let absolute = config.filter(|config| config.starts_with('/'));
            let path = absolute.map(PathBuf::from).unwrap_or_else(|| {
                let Defaults { prefix: usual_prefix, config: usual } = defaults();
                Path::new(prefix.unwrap_or(&usual_prefix)).join(config.unwrap_or(&usual))
            });
            vec![path]
        }
    }
}

/// The values of an option: `-f value` or `-fvalue`.
pub(super) fn values<'a>(arguments: &[&'a str], option: &str) -> Vec<&'a str> {
    let (mut found, mut rest) = (Vec::new(), arguments.iter());
    while let Some(argument) = rest.next() {
        match argument.strip_prefix(option) {
            Some("") => found.extend(rest.next()),
            Some(value) => found.push(value),
            None => {}
        }
    }
    found
}

fn same(one: &Path, other: &Path) -> bool {
    one == other
        || fs::canonicalize(one).ok().zip(fs::canonicalize(other).ok()).is_some_and(|(one, other)| one == other)
}

/// Anybody may start the program and call it what they like: root's, or whose the configuration is.
fn is_of_the_right_user(process: &Process, config: &Path) -> bool {
    let owner = fs::metadata(config).map(|metadata| metadata.uid()).ok();
    Pid(process.pid).user().is_some_and(|user| user == 0 || Some(user) == owner)
}

/// What the program was built with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Defaults {
    prefix: String,
    config: String,
}

impl Defaults {
    fn ask(wanted: &WebServer, task: &Task<'_>) -> Self {
        let argv = [wanted.program().to_string(), "-V".to_string()];
        let answer = command::ask(&argv, task, VERSION_BYTES_MAX);
        answer.map(|answer| Self::parse(&String::from_utf8_lossy(&answer.output))).unwrap_or_default()
    }

    /// `--prefix=/usr/share/nginx`; ` -D HTTPD_ROOT="/etc/apache2"`.
    fn parse(version: &str) -> Self {
        let value = |nginx: &str, apache: &str| {
            let word =
                version.split_whitespace().find_map(|word| word.strip_prefix(nginx).or(word.strip_prefix(apache)));
            text::visible(word.unwrap_or_default().trim_matches(['"', '\'']))
        };
        Self { prefix: value("--prefix=", "HTTPD_ROOT="), config: value("--conf-path=", "SERVER_CONFIG_FILE=") }
    }
}

const NGINX_MASTER: &str = "nginx: master process ";

const VERSION_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, arguments: &[&str]) -> Process {
        Process { pid, parent, title: arguments.join(" "), start_ticks: 0, is_replaced: false }
    }

    #[test]
    fn configurations() {
        let mut defaults = || Defaults { prefix: "/p".into(), config: "conf/n.conf".into() };
        for (server, arguments, config) in [
            (Server::Nginx, &["nginx: master process nginx -c /e/n.conf"][..], "/e/n.conf"),
            (Server::Nginx, &["nginx: master process nginx -c/e/n.conf -g daemon off;"], "/e/n.conf"),
            (Server::Nginx, &["nginx: master process /usr/sbin/nginx"], "/p/conf/n.conf"),
            (Server::Nginx, &["nginx: master process nginx -p /q -c n.conf"], "/q/n.conf"),
            (Server::Apache, &["/usr/sbin/apache2", "-k", "start"], "/p/conf/n.conf"),
            (Server::Apache, &["apache2", "-d", "/q", "-f", "a.conf"], "/q/a.conf"),
            (Server::Haproxy, &["haproxy", "-W", "--", "/e/h.cfg"], "/e/h.cfg"),
            (Server::Haproxy, &["haproxy", "-sf", "1", "-Ws", "-f", "/e/h.cfg"], "/e/h.cfg"),
        ] {
            let found = configs(server, &process(1, 0, arguments), &mut defaults);
            // `-sf` begins with no option that is looked for, its number with none at all.
            assert_eq!(found, [PathBuf::from(config)], "{arguments:?}");
        }
    }

    #[test]
    fn defaults() {
        let nginx =
            "configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf";
        assert_eq!(
            Defaults::parse(nginx),
            Defaults { prefix: "/usr/share/nginx".into(), config: "/etc/nginx/nginx.conf".into() }
        );
        let apache = " -D HTTPD_ROOT=\"/etc/apache2\"\n -D SERVER_CONFIG_FILE=\"apache2.conf\"\n";
        assert_eq!(Defaults::parse(apache), Defaults { prefix: "/etc/apache2".into(), config: "apache2.conf".into() });
    }

    /// Root's, or whose the configuration is; not anybody's who calls a program like it.
    #[test]
    fn whose_it_is() {
        use std::os::unix::{fs::chown, process::CommandExt as _};
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let config = tempfile::NamedTempFile::new().unwrap();
        let own = process(std::process::id(), 0, &["nginx"]);
        let mut nobodys = std::process::Command::new("sleep").arg("60").uid(65_534).spawn().unwrap();
        let other = process(nobodys.id(), 0, &["nginx"]);
        let before = is_of_the_right_user(&other, config.path());
        chown(config.path(), Some(65_534), None).unwrap();
        let after = is_of_the_right_user(&other, config.path());
        let roots = is_of_the_right_user(&own, config.path());
        nobodys.kill().unwrap();
        nobodys.wait().unwrap();
        assert_eq!((before, after, roots), (false, true, true));
    }

    #[test]
    fn who_is_a_master() {
        let all = [
            process(1, 0, &["nginx: master process nginx"]),
            process(2, 1, &["nginx: worker process"]),
            process(3, 1, &["nginx: master process nginx"]),
        ];
        let pids = |server| masters(server, &all).map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!((pids(Server::Nginx), pids(Server::Apache)), (vec![1, 3], vec![1]));
    }
}
