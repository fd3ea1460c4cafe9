//! nginx: blocks, statements that end with a semicolon, quotes, comments, variables.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};

use super::{
    At, Files, Reading, Revealed, Role, address, certificate_name,
    nginx::token::{Statement, Statements},
    parent, resolve,
};

mod token;

/// What the configuration `config` among `files` reveals, with all that it includes. Relative paths of configuration are
/// relative to its directory, as in nginx.
pub fn nginx(config: &str, files: &Files) -> Revealed {
    let base = parent(config);
    let mut reader = Reader { base: base.into(), scripts: base.into(), files, reading: Reading::default() };
    let mut blocks = alloc::vec![Block::default()];
    reader.file(config, &mut blocks, 0);
    reader.close(&mut blocks, 0);
    reader.reading.revealed
}

/// The files in what `nginx -T` prints. Its headers cannot be told from comments that look like them: such a comment is
/// taken for one more file. For a verdict, take the length of each file from elsewhere.
pub fn nginx_dump(output: &str) -> Files {
    let mut files = Files::default();
    let (mut path, mut text) = (None::<&str>, String::new());
    for line in output.split_inclusive('\n') {
        let header = line.trim_end().strip_prefix(HEADER).and_then(|rest| rest.strip_suffix(':'));
        match header {
            Some(next) if next.starts_with('/') => {
                if let Some(path) = path.replace(next) {
                    files.insert(path, &text);
                }
                text.clear();
            }
            _ => text.push_str(line),
        }
    }
    if let Some(path) = path {
        files.insert(path, &text);
    }
    files
}

/// What `nginx -T` writes before the path of each file.
const HEADER: &str = "# configuration file ";

struct Reader<'a> {
    base: String,
    /// Where `js_import` begins.
    scripts: String,
    files: &'a Files,
    reading: Reading,
}

/// What has been said in a block so far. A block inside takes over the certificates of the one around it, if it has none.
#[derive(Default)]
struct Block {
    is_server: bool,
    is_upstream: bool,
    names: Vec<String>,
    certificates: Vec<(String, At)>,
    keys: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, blocks: &mut Vec<Block>, depth: usize) {
        let Some(text) = self.files.text(path) else { return };
        if !self.reading.may_read(path, text, depth) {
            return;
        }
        let opened = blocks.len();
        for statement in Statements::new(text) {
            let at = |line| At { file: path.to_owned(), line };
            match statement {
                Statement::Simple { line, words } => self.simple(&at(line), &words, blocks, depth),
                Statement::Open { words, .. } if blocks.len() < BLOCKS_MAX => blocks.push(block(&words)),
                Statement::Open { .. } => self.reading.revealed.is_cut = true,
                // An included file cannot close what it did not open.
                Statement::Close if blocks.len() > opened => self.close(blocks, blocks.len() - 1),
                Statement::Close => {}
            }
        }
        self.close(blocks, opened);
    }

    /// Ends all blocks but the outermost `left`.
    fn close(&mut self, blocks: &mut Vec<Block>, left: usize) {
        while blocks.len() > left {
            let Some(block) = blocks.pop() else { return };
            self.reading.names(&block.names);
            let around = blocks.iter().rev().find(|around| !around.certificates.is_empty());
            let whose = if block.certificates.is_empty() { around.filter(|_| block.is_server) } else { Some(&block) };
            // What stands outside of all servers counts by itself only when no server takes it over.
            for (index, (file, at)) in whose.iter().flat_map(|whose| &whose.certificates).enumerate() {
                let key = whose.and_then(|whose| whose.keys.get(index)).cloned();
                self.reading.certificate(at, file.clone(), key, &block.names);
            }
        }
    }

    fn simple(&mut self, at: &At, words: &[String], blocks: &mut Vec<Block>, depth: usize) {
        let (Some(directive), Some(value)) = (words.first(), words.get(1)) else { return };
        match directive.as_str() {
            "include" => self.include(at, value, blocks, depth),
            // A relative one would be relative to the prefix, which nobody told.
            "pid" if value.starts_with('/') => self.reading.revealed.pid_file = Some(resolve("/", value)),
            "server_name" => self.server_name(at, &words[1..], blocks),
            "ssl_certificate" | "proxy_ssl_certificate" | "grpc_ssl_certificate" | "uwsgi_ssl_certificate" => {
                let file = self.path(at, directive, value);
                if let Some((block, file)) = blocks.last_mut().zip(file) {
                    block.certificates.push((file, at.clone()));
                }
            }
            "ssl_certificate_key"
            | "proxy_ssl_certificate_key"
            | "grpc_ssl_certificate_key"
            | "uwsgi_ssl_certificate_key" => {
                let file = self.path(at, directive, value);
                if let Some((block, file)) = blocks.last_mut().zip(file) {
                    block.keys.push(file);
                }
            }
            "listen" => self.listen(at, words),
            "server" if blocks.last().is_some_and(|block| block.is_upstream) => self.upstream(at, value, Some(80)),
            "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
                self.upstream(at, value, None);
            }
            "js_path" => self.scripts = resolve(&self.base, value),
            _ => self.reference(at, directive, words),
        }
    }

    fn include(&mut self, at: &At, value: &str, blocks: &mut Vec<Block>, depth: usize) {
        let pattern = resolve(&self.base, value);
        let files = self.files;
        let found = files.matching(&pattern);
        self.reading.include(at, &pattern, &found);
        for path in found {
            self.file(path, blocks, depth + 1);
        }
    }

    fn server_name(&mut self, at: &At, names: &[String], blocks: &mut [Block]) {
        let Some(block) = blocks.last_mut() else { return };
        for name in names {
            match name.strip_prefix('.') {
                Some(bare) if certificate_name(bare).is_some() => {
                    block.names.extend([bare.to_owned(), format!("*.{bare}")]);
                }
                _ if certificate_name(name).is_some() => block.names.push(name.clone()),
                _ if name.starts_with('~') || name.contains('*') => {
                    self.reading.unclear(at, format!("server_name {name}"));
                }
                _ => {}
            }
        }
    }

    /// A listening socket is plain, of another family, or ours to look at.
    fn listen(&mut self, at: &At, words: &[String]) {
        let tls = words[2..].iter().any(|word| matches!(word.as_str(), "ssl" | "quic" | "http3"));
        let is_datagram = words[2..].iter().any(|word| matches!(word.as_str(), "udp" | "quic" | "http3"));
        if let Some(address) = address(&words[1], Some(80))
            && !is_datagram
        {
            self.reading.listen(at, address, tls);
        }
    }

    /// `value` is an address or a URL. A name without a port is that of an `upstream` block, where it cannot be an address.
    fn upstream(&mut self, at: &At, value: &str, usual_port: Option<u16>) {
        let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
        if let Some(socket) = rest.strip_prefix("unix:") {
            // A URL has its path behind that of the socket.
            return self.reading.socket(at, socket.split(':').next().unwrap_or(socket));
        }
        if value.contains('$') {
            return self.reading.unclear(at, format!("{value}: it depends on a variable"));
        }
        let host = rest.split('/').next().unwrap_or(rest);
        let usual_port = match scheme {
            _ if !host.contains('.') => usual_port,
            "http" | "grpc" => Some(80),
            "https" | "grpcs" => Some(443),
            _ => usual_port,
        };
        if let Some(address) = address(host, usual_port) {
            self.reading.upstream(at, address);
        }
    }

    fn reference(&mut self, at: &At, directive: &str, words: &[String]) {
        let Some((role, start)) = role(directive) else { return };
        let from = words.iter().position(|word| word == "from").filter(|_| start == Start::Scripts);
        let index = if directive == "set_by_lua_file" { 2 } else { from.map_or(1, |from| from + 1) };
        let Some(value) = words.get(index).filter(|value| *value != "off") else { return };
        let base = match start {
            Start::Configuration => self.base.clone(),
            Start::Scripts => self.scripts.clone(),
            Start::Elsewhere if value.starts_with(['/', '$']) => String::new(),
            Start::Elsewhere => {
                return self
                    .reading
                    .unclear_file(at, format!("{directive} {value}: it is relative to what is not written"));
            }
        };
        if let Some(file) = self.path_from(&base, at, directive, value) {
            self.reading.reference(at, role, file);
        }
    }

    /// A path relative to the configuration; `None` if it is none, or known only when a request comes.
    fn path(&mut self, at: &At, directive: &str, value: &str) -> Option<String> {
        self.path_from(&self.base.clone(), at, directive, value)
    }

    fn path_from(&mut self, base: &str, at: &At, directive: &str, value: &str) -> Option<String> {
        if value.is_empty() || ["data:", "engine:", "store:"].iter().any(|scheme| value.starts_with(scheme)) {
            return None;
        }
        if value.contains('$') {
            self.reading.unclear_file(at, format!("{directive} {value}: it depends on a variable"));
            return None;
        }
        Some(resolve(base, value))
    }
}

/// Where a relative path begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Configuration,
    Scripts,
    /// At the prefix, or where the server was started.
    Elsewhere,
}

/// What the file is for that a directive names, if it names one.
fn role(directive: &str) -> Option<(Role, Start)> {
    let towards = ["proxy_", "grpc_", "uwsgi_", "zone_sync_"].iter().find_map(|of| directive.strip_prefix(of));
    Some(match towards.unwrap_or(directive) {
        "ssl_client_certificate" | "ssl_trusted_certificate" => (Role::Authority, Start::Configuration),
        "ssl_crl"
        | "ssl_stapling_file"
        | "ssl_dhparam"
        | "ssl_session_ticket_key"
        | "ssl_password_file"
        | "quic_host_key" => (Role::Data, Start::Configuration),
        "geoip_country" | "geoip_city" | "geoip_org" => (Role::Data, Start::Elsewhere),
        "auth_basic_user_file" | "auth_jwt_key_file" => (Role::Live, Start::Configuration),
        "js_import" | "js_include" | "js_preload_object" => (Role::Part, Start::Scripts),
        "xslt_stylesheet" | "modsecurity_rules_file" => (Role::Part, Start::Configuration),
        "perl_require" => (Role::Part, Start::Elsewhere),
        lua if lua.ends_with("_by_lua_file") => (Role::Part, Start::Elsewhere),
        _ => return None,
    })
}

fn block(words: &[String]) -> Block {
    let is = |name| words.first().is_some_and(|word| word == name);
    Block { is_server: is("server"), is_upstream: is("upstream"), ..Block::default() }
}

/// Blocks in blocks; nginx needs six.
const BLOCKS_MAX: usize = 64;

#[cfg(test)]
mod tests;
