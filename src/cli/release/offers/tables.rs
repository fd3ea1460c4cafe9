//! What is revealed and not checked, as tables for the spec.

use std::{collections::BTreeSet, fmt::Write as _};

use portcullis::{
    check::web_server::Server,
    manifest::{CheckKind, Manifest},
    reveal::{Address, At, Revealed, Role},
    text,
};

use super::Listed;

/// TOML for all that no check of `manifest` looks at; empty when there is nothing.
pub(super) fn tables(
    server: Server,
    config: &str,
    revealed: &Revealed,
    manifest: &Manifest,
    listed: &Listed,
) -> String {
    let mut offers = Offers { manifest, out: String::new(), tables: 0, names: BTreeSet::new() };
    offers.web_server(server, config);
    for certificate in &revealed.certificates {
        offers.certificate(&certificate.file, certificate.key.as_deref(), &certificate.names, &certificate.at);
    }
    for reference in revealed.references.iter().filter(|reference| reference.role == Role::Authority) {
        offers.authority(&reference.file, &reference.at);
    }
    for listen in &revealed.listens {
        offers.listen(&listen.address, &listen.at);
    }
    for upstream in &revealed.upstreams {
        offers.upstream(&upstream.address, &upstream.at);
    }
    offers.remarks(revealed, listed);
    offers.out
}

struct Offers<'a> {
    manifest: &'a Manifest,
    out: String,
    tables: usize,
    names: BTreeSet<String>,
}

impl Offers<'_> {
    fn web_server(&mut self, server: Server, config: &str) {
        let is_checked = self.manifest.checks.iter().any(|check| match &check.kind {
            CheckKind::WebServer(wanted) => wanted.configs().any(|checked| checked == config),
            _ => false,
        });
        if !is_checked {
            let word = match server {
                Server::Nginx => "nginx",
                Server::Apache => "apache",
                Server::Haproxy => "haproxy",
            };
            let table = format!("web_server = {{ server = {}, config = {} }}", quoted(word), quoted(config));
            self.table(&format!("{word} as it sees itself"), &table, None);
        }
    }

    fn certificate(&mut self, file: &str, key: Option<&str>, names: &[String], at: &At) {
        if self.is_checked(file) {
            return;
        }
        let mut table = format!("certificate = {{ file = {}", quoted(file));
        if let Some(key) = key {
            let _ = write!(table, ", key = {}", quoted(key));
        }
        let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
        if !names.is_empty() {
            let _ = write!(table, ", names = [{}]", names.join(", "));
        }
        self.table(&format!("certificate {file}"), &(table + " }"), Some(at));
    }

    fn authority(&mut self, file: &str, at: &At) {
        if !self.is_checked(file) {
            let table = format!("certificate = {{ file = {}, collection = true }}", quoted(file));
            self.table(&format!("certificates {file}"), &table, Some(at));
        }
    }

    fn listen(&mut self, address: &Address, at: &At) {
        let host = address.host.as_deref().filter(|host| host.parse::<std::net::IpAddr>().is_ok());
        let shown = host.map_or_else(|| address.port.to_string(), |_| address.to_string());
        let port = address.port.to_string();
        let is_checked = self.manifest.checks.iter().any(|check| {
            let summary = check.kind.summary();
            check.kind.name() == "listen"
                && words(&summary).any(|word| word == port || word.ends_with(&format!(":{port}")))
        });
        if !is_checked {
            self.table(
                &format!("listens on {shown}"),
                &format!("listen = {{ address = {} }}", quoted(&shown)),
                Some(at),
            );
        }
    }

    fn upstream(&mut self, address: &Address, at: &At) {
        let shown = address.to_string();
        if !self.manifest.checks.iter().any(|check| check.kind.summary().contains(&shown)) {
            self.table(&format!("{shown} answers"), &format!("tcp = {{ connect = {} }}", quoted(&shown)), Some(at));
        }
    }

    /// What is no table: a file that no tree has, and what cannot be told.
    fn remarks(&mut self, revealed: &Revealed, listed: &Listed) {
        let mut remarks: Vec<_> = revealed
            .files
            .iter()
            .filter(|file| !listed.contains(*file))
            .map(|file| format!("# `{}` is part of it, and in no tree", text::visible(file)))
            .collect();
        let at = |at: &At| format!("{}:{}", text::visible(&at.file), at.line);
        let named = revealed.references.iter().filter(|it| it.role != Role::Authority && !listed.contains(&it.file));
        remarks.extend(named.map(|it| format!("# {}: `{}` is in no tree", at(&it.at), text::visible(&it.file))));
        remarks.extend(revealed.sockets.iter().map(|socket| {
            let path = text::visible(&socket.path);
            format!("# {}: `{path}` is a socket: `process` or `unit` can check who serves it", at(&socket.at))
        }));
        remarks.extend(revealed.unclear.iter().map(|it| format!("# {}: {}", at(&it.at), text::visible(&it.what))));
        for include in revealed.includes.iter().filter(|include| include.found.is_empty()) {
            remarks.push(format!("# {}: `{}` includes nothing here", at(&include.at), text::visible(&include.pattern)));
        }
        if revealed.is_cut {
            remarks.push("# There is more than was read.".into());
        }
        let left = remarks.len().saturating_sub(TABLES_MAX);
        remarks.iter().take(TABLES_MAX).for_each(|remark| self.line(remark));
        if left > 0 {
            self.line(&format!("# … and {left} more"));
        }
        if self.tables > TABLES_MAX {
            self.line(&format!("# … and {} more checks", self.tables - TABLES_MAX));
        }
    }

    fn is_checked(&self, certificate: &str) -> bool {
        self.manifest.checks.iter().any(|check| match &check.kind {
            CheckKind::Certificate(wanted) => wanted.file.as_deref() == Some(certificate),
            _ => false,
        })
    }

    fn table(&mut self, name: &str, table: &str, at: Option<&At>) {
        if !self.names.insert(name.into()) {
            return;
        }
        self.tables += 1;
        if self.tables <= TABLES_MAX {
            let said = at.map(|at| format!("  # {}:{}", text::visible(&at.file), at.line)).unwrap_or_default();
            let _ = write!(self.out, "[[check]]{said}\nname = {}\n{table}\n\n", quoted(name));
        }
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

fn words(summary: &str) -> impl Iterator<Item = &str> {
    summary.split([' ', ','])
}

/// A TOML string: JSON's escapes are a part of TOML's, and what else could confuse a terminal is escaped as there.
fn quoted(text: &str) -> String {
    text::escaped_json(&serde_json::Value::from(text).to_string())
}

/// A spec is written by people, and so much of it they can read at once.
const TABLES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use portcullis::{
        reveal::{self, Files},
        spec::Spec,
    };

    use super::*;

    const NGINX: &str = "http { include /opt/x.conf; include none/*; server { listen 443 ssl; server_name shop.example;
        ssl_certificate /etc/ssl/shop.pem; ssl_certificate_key /etc/ssl/shop.key; ssl_trusted_certificate \"/c\\u{1b}a\";
        proxy_pass http://10.0.0.1:8080; proxy_pass http://$x;
        auth_basic_user_file users; ssl_dhparam /etc/nginx/nginx.conf; ssl_crl /etc/ssl/shop.crl;
        fastcgi_pass unix:/run/php.sock; } }";

    fn offered(spec: &str) -> String {
        let mut files = Files::default();
        files.insert("/etc/nginx/nginx.conf", &NGINX.replace("\\u{1b}", "\u{1b}"));
        files.insert("/opt/x.conf", "");
        let revealed = reveal::nginx("/etc/nginx/nginx.conf", &files);
        let manifest = Spec::parse(spec).unwrap().into_manifest("1".into(), 1);
        let listed = Listed::from(["/etc/nginx/nginx.conf".to_string()]);
        tables(Server::Nginx, "/etc/nginx/nginx.conf", &revealed, &manifest, &listed)
    }

    #[test]
    fn all_of_it() {
        let expected = "[[check]]
name = \"nginx as it sees itself\"
web_server = { server = \"nginx\", config = \"/etc/nginx/nginx.conf\" }

[[check]]  # /etc/nginx/nginx.conf:2
name = \"certificate /etc/ssl/shop.pem\"
certificate = { file = \"/etc/ssl/shop.pem\", key = \"/etc/ssl/shop.key\", names = [\"shop.example\"] }

[[check]]  # /etc/nginx/nginx.conf:2
name = \"certificates /c\\u001ba\"
certificate = { file = \"/c\\u001ba\", collection = true }

[[check]]  # /etc/nginx/nginx.conf:1
name = \"listens on 443\"
listen = { address = \"443\" }

[[check]]  # /etc/nginx/nginx.conf:3
name = \"10.0.0.1:8080 answers\"
tcp = { connect = \"10.0.0.1:8080\" }

# `/opt/x.conf` is part of it, and in no tree
# /etc/nginx/nginx.conf:4: `/etc/nginx/users` is in no tree
# /etc/nginx/nginx.conf:4: `/etc/ssl/shop.crl` is in no tree
# /etc/nginx/nginx.conf:5: `/run/php.sock` is a socket: `process` or `unit` can check who serves it
# /etc/nginx/nginx.conf:3: http://$x: it depends on a variable
# /etc/nginx/nginx.conf:1: `/etc/nginx/none/*` includes nothing here
";
        let offered = offered("[[tree]]\nname = 'a'\nroot = '/etc/nginx'");
        assert_eq!(offered, expected);
        toml::from_str::<toml::Table>(&offered).unwrap();
    }

    #[test]
    fn what_is_checked_is_not_offered() {
        let spec = "[[check]]\nname = 'a'\nweb_server = { server = 'nginx', config = '/etc/nginx/nginx.conf' }
[[check]]\nname = 'b'\nlisten = { address = '0.0.0.0:443' }
[[check]]\nname = 'd'\ncertificate = { file = '/etc/ssl/shop.pem' }
[[check]]\nname = 'c'\ntcp = { connect = '10.0.0.1:8080' }\n";
        let offered = offered(spec);
        for checked in ["web_server", "listen = ", "tcp = ", "shop.pem"] {
            assert!(!offered.contains(checked), "{offered}");
        }
        assert!(offered.contains("certificate = "), "{offered}");
    }
}
