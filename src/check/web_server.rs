//! `web_server`: a web server parses its configuration, every file it includes is in a tree, and it has loaded them.
//!
//! ```toml
//! [[check]]
//! name = "nginx as nginx sees it"
//! web_server = { server = "nginx", config = "/etc/nginx/nginx.conf" }
//! ```

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Wanted, command};
use crate::text;

/// A web server, and where it reads from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebServer {
    /// Which.
    pub server: Server,
    /// Its configuration, an absolute path; for HAProxy also a directory.
    pub config: String,
    /// HAProxy: further `-f`, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_configs: Vec<String>,
    /// nginx: `-p`; Apache: `-d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is asked for the configuration, where that is not the usual program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Where the master writes its process id, where its configuration does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<String>,
}

/// The servers that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// nginx.
    Nginx,
    /// Apache httpd.
    Apache,
    /// HAProxy.
    Haproxy,
}

impl Server {
    /// What is asked for the configuration, unless the spec says otherwise. `apache2ctl` sets what Debian's configuration
    /// takes from the environment, and then is `apache2`.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache2ctl",
            Self::Haproxy => "haproxy",
        }
    }
}

impl WebServer {
    /// What is asked for the configuration.
    pub fn program(&self) -> &str {
        self.program.as_deref().unwrap_or(self.server.program())
    }

    /// All configurations, in their order.
    pub fn configs(&self) -> impl Iterator<Item = &str> {
        core::iter::once(&self.config).chain(&self.more_configs).map(String::as_str)
    }

    /// The command that tells whether the configuration parses, and, but for HAProxy, what it includes. What the agent is to
    /// run as root, `root_commands` of its configuration lists exactly so.
    pub fn command(&self) -> Vec<String> {
        let mut argv = vec![self.program()];
        match self.server {
            Server::Nginx => {
                argv.extend(["-T", "-c", &self.config]);
                argv.extend(self.prefix.iter().flat_map(|prefix| ["-p", prefix]));
            }
            Server::Apache => {
                argv.extend(self.prefix.iter().flat_map(|prefix| ["-d", prefix]));
                argv.extend(["-f", &self.config, "-t", "-D", "DUMP_INCLUDES", "-D", "DUMP_RUN_CFG"]);
            }
            Server::Haproxy => {
                argv.push("-c");
                argv.extend(self.configs().flat_map(|config| ["-f", config]));
            }
        }
        argv.into_iter().map(String::from).collect()
    }
}

impl Wanted for WebServer {
    const NAME: &'static str = "web_server";

    /// Large configurations have thousands of names to be looked up.
    const TIMEOUT_MS: u64 = 30_000;

    fn validate(&self) -> Result<(), String> {
        let optional = [("prefix", &self.prefix), ("pid_file", &self.pid_file)];
        let optional = optional.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let more = self.more_configs.iter().map(|path| ("more_configs", path));
        for (key, path) in core::iter::once(("config", &self.config)).chain(more).chain(optional) {
            is_plain(path).map_err(|wrong| format!("`{key}` is `{}`, {wrong}", text::visible(path)))?;
        }
        if self.more_configs.len() > CONFIGS_MAX {
            return Err(format!("`more_configs` has more than {CONFIGS_MAX}"));
        }
        if self.server != Server::Haproxy && !self.more_configs.is_empty() {
            return Err("`more_configs` is for `haproxy` only".into());
        }
        if self.server == Server::Haproxy && self.prefix.is_some() {
            return Err("`prefix` is not for `haproxy`".into());
        }
        command::validate(&self.command()).map_err(|wrong| format!("`program` {wrong}"))
    }

    fn runs(&self) -> Option<Vec<String>> {
        Some(self.command())
    }

    fn summary(&self) -> String {
        let configs: Vec<_> = self.configs().map(text::visible).collect();
        format!("{} with {}", self.program(), configs.join(", "))
    }
}

/// Absolute, written in one way, and still one word where a server shows it in its title.
fn is_plain(path: &str) -> Result<(), &'static str> {
    let Some(below) = path.strip_prefix('/') else { return Err("not an absolute path") };
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("with an empty, `.` or `..` component");
    }
    if path.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("with a blank or a control character");
    }
    if path.len() > crate::manifest::PATH_BYTES_MAX { Err("too long for a path") } else { Ok(()) }
}

/// `-f` is for a few parts; many are a directory.
const CONFIGS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(table: &str) -> WebServer {
        toml::from_str(table).unwrap()
    }

    #[test]
    fn what_is_run() {
        for (table, argv) in [
            ("server = 'nginx'\nconfig = '/etc/nginx/nginx.conf'", "nginx -T -c /etc/nginx/nginx.conf"),
            ("server = 'nginx'\nconfig = '/a'\nprefix = '/p'\nprogram = '/opt/nginx'", "/opt/nginx -T -c /a -p /p"),
            (
                "server = 'apache'\nconfig = '/a'\nprefix = '/p'",
                "apache2ctl -d /p -f /a -t -D DUMP_INCLUDES -D DUMP_RUN_CFG",
            ),
            ("server = 'haproxy'\nconfig = '/a'\nmore_configs = ['/b']", "haproxy -c -f /a -f /b"),
        ] {
            let wanted = wanted(table);
            assert_eq!(wanted.command().join(" "), argv);
            assert_eq!(wanted.runs(), Some(wanted.command()), "what may run as root is what is run");
            assert_eq!(wanted.validate(), Ok(()));
        }
    }

    #[test]
    fn as_much_as_may_be() {
        let more = |count: usize| {
            let configs: Vec<_> = (0..count).map(|number| format!("/{number}")).collect();
            wanted(&format!("server = 'haproxy'\nconfig = '/a'\nmore_configs = {configs:?}"))
        };
        assert_eq!(more(2).summary(), "haproxy with /a, /0, /1");
        assert!(more(CONFIGS_MAX).validate().is_ok() && more(CONFIGS_MAX + 1).validate().is_err());
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        let max = crate::manifest::PATH_BYTES_MAX;
        assert_eq!((is_plain(&path(max)), is_plain(&path(max + 1))), (Ok(()), Err("too long for a path")));
    }

    #[test]
    fn what_is_refused() {
        for (table, because) in [
            ("server = 'nginx'\nconfig = 'nginx.conf'", "`config` is `nginx.conf`, not an absolute path"),
            ("server = 'nginx'\nconfig = '/a/../b'", "`config` is `/a/../b`, with an empty, `.` or `..` component"),
            ("server = 'nginx'\nconfig = '/a b'", "`config` is `/a b`, with a blank or a control character"),
            ("server = 'nginx'\nconfig = '/a'\npid_file = 'p'", "`pid_file` is `p`, not an absolute path"),
            ("server = 'nginx'\nconfig = '/a'\nmore_configs = ['/b']", "`more_configs` is for `haproxy` only"),
            ("server = 'haproxy'\nconfig = '/a'\nprefix = '/p'", "`prefix` is not for `haproxy`"),
            (
                "server = 'nginx'\nconfig = '/a'\nprogram = './nginx'",
                "`program` begins with a program that has an empty, `.` or `..` component",
            ),
        ] {
            assert_eq!(wanted(table).validate(), Err(because.into()));
        }
    }
}
