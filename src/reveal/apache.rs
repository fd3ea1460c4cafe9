//! Apache httpd: a directive a line, sections in angle brackets, `${NAME}` from `Define`.

use alloc::{
    borrow::ToOwned as _,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{At, Files, Reading, Revealed, Role, address, certificate_name, is_glob, parent, resolve};

/// What the configuration `config` among `files` reveals, with all that it includes. Relative paths are relative to
/// `ServerRoot`; to the directory of `config`, where that is not set. `defines` are the values of `${NAME}` that come from
/// elsewhere: from the environment, or from `-D`.
pub fn apache(config: &str, files: &Files, defines: &BTreeMap<String, String>) -> Revealed {
    let reading = Reading::default();
    let mut reader = Reader { root: parent(config).into(), files, defines: defines.clone(), reading };
    let mut hosts = alloc::vec![Host::default()];
    reader.file(config, &mut hosts, 0);
    while !hosts.is_empty() {
        reader.close(&mut hosts);
    }
    reader.reading.revealed
}

struct Reader<'a> {
    root: String,
    files: &'a Files,
    defines: BTreeMap<String, String>,
    reading: Reading,
}

/// The main server, or a virtual host in it.
#[derive(Default)]
struct Host {
    names: Vec<String>,
    certificates: Vec<(String, At)>,
    keys: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, hosts: &mut Vec<Host>, depth: usize) {
        let Some(text) = self.files.text(path) else { return };
        if !self.reading.may_read(path, text, depth) {
            return;
        }
        for (line, text) in logical_lines(text) {
            let at = At { file: path.to_owned(), line };
            let words = words(&text);
            let Some(directive) = words.first() else { continue };
            match directive.to_ascii_lowercase().as_str() {
                "<virtualhost" if hosts.len() == 1 => hosts.push(Host::default()),
                "</virtualhost>" if hosts.len() == 2 => self.close(hosts),
                "include" | "includeoptional" => self.include(&at, &words, hosts, depth),
                lower => self.directive(&at, lower, &words, hosts),
            }
        }
    }

    fn close(&mut self, hosts: &mut Vec<Host>) {
        let Some(host) = hosts.pop() else { return };
        self.reading.names(&host.names);
        for (index, (file, at)) in host.certificates.iter().enumerate() {
            let key = host.keys.get(index).cloned();
            self.reading.certificate(at, file.clone(), key, &host.names);
        }
    }

    fn include(&mut self, at: &At, words: &[String], hosts: &mut Vec<Host>, depth: usize) {
        for word in words.iter().skip(1) {
            let Some(pattern) = self.path(at, "Include", word) else { continue };
            let files = self.files;
            let mut found = files.matching(&pattern);
            if found.is_empty() && !is_glob(&pattern) {
                // A directory: all that is in it.
                found = files.below(&pattern);
            }
            self.reading.include(at, &pattern, &found);
            for path in found {
                self.file(path, hosts, depth + 1);
            }
        }
    }

    fn directive(&mut self, at: &At, directive: &str, words: &[String], hosts: &mut [Host]) {
        let (Some(value), Some(host)) = (words.get(1), hosts.last_mut()) else { return };
        match directive {
            "serverroot" => self.root = resolve("/", value),
            "define" => self.define(value, words.get(2)),
            // Its variables come from the environment; the server says it itself.
            "pidfile" => {
                self.reading.revealed.pid_file = self.substituted(value).map(|file| resolve(&self.root, &file));
            }
            "servername" | "serveralias" => {
                let host_of = |name: &String| name.split(':').next().unwrap_or(name).to_owned();
                let names = words[1..].iter().map(host_of).filter(|name| certificate_name(name).is_some());
                host.names.extend(names);
            }
            "sslcertificatefile" | "sslproxymachinecertificatefile" => {
                if let Some(file) = self.path(at, &words[0], value) {
                    host.certificates.push((file, at.clone()));
                }
            }
            "sslcertificatekeyfile" => host.keys.extend(self.path(at, &words[0], value)),
            "listen" => {
                let tls = words.get(2).is_some_and(|protocol| protocol.eq_ignore_ascii_case("https"));
                if let Some(address) = self.known(at, "Listen", value).and_then(|value| address(&value, None)) {
                    let tls = tls || address.port == 443;
                    self.reading.listen(at, address, tls);
                }
            }
            "proxypass" | "proxypassmatch" | "proxypassreverse" | "balancermember" | "sethandler" => {
                words[1..].iter().for_each(|word| self.upstream(at, word));
            }
            _ => self.reference(at, directive, words),
        }
    }

    fn reference(&mut self, at: &At, directive: &str, words: &[String]) {
        let Some((role, index)) = role(directive) else { return };
        let Some(value) = words.get(index) else { return };
        let (role, value) = match directive {
            "rewritemap" => match value.split_once(':') {
                Some(("prg", program)) => (Role::Part, program.split(' ').next().unwrap_or_default()),
                Some((kind, file)) if kind != "int" && !kind.contains("dbd") => (role, file),
                _ => return,
            },
            "sslpassphrasedialog" => match value.strip_prefix("exec:") {
                Some(program) => (role, program.split(' ').next().unwrap_or_default()),
                None => return,
            },
            // What has no slash is a value, or sought elsewhere.
            "sslopensslconfcmd" | "perlrequire" | "perlconfigrequire" | "perlpostconfigrequire"
                if !value.contains('/') =>
            {
                return;
            }
            _ => (role, value.as_str()),
        };
        if let Some(file) = self.path(at, &words[0], value) {
            self.reading.reference(at, role, file);
        }
    }

    fn define(&mut self, name: &str, value: Option<&String>) {
        if self.defines.len() < DEFINES_MAX {
            let value = self.substituted(value.map_or("", String::as_str)).unwrap_or_default();
            self.defines.insert(name.to_owned(), value);
        }
    }

    /// `http://host:port/path`, `ajp://…`, `fcgi://…`, `unix:/socket|fcgi://any`; `proxy:` goes before in handlers.
    fn upstream(&mut self, at: &At, word: &str) {
        let word = word.strip_prefix("proxy:").unwrap_or(word);
        if let Some(socket) = word.strip_prefix("unix:") {
            // The URL behind it says which protocol is spoken there, and no address.
            let socket = socket.split('|').next().unwrap_or(socket);
            let socket = self.known(at, "unix", socket);
            return socket.into_iter().for_each(|socket| self.reading.socket(at, &socket));
        }
        let Some((scheme, rest)) = word.split_once("://") else { return };
        let Some(rest) = self.known(at, scheme, rest) else { return };
        let usual_port = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" | "h2c" => Some(80),
            "https" | "wss" | "h2" => Some(443),
            "ajp" => Some(8009),
            "fcgi" => Some(8000),
            _ => return,
        };
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        if let Some(address) = address(host, usual_port) {
            self.reading.upstream(at, address);
        }
    }

    fn path(&mut self, at: &At, directive: &str, value: &str) -> Option<String> {
        let Some(value) = self.substituted(value) else {
            self.reading.unclear_file(at, format!("{directive} {value}: it depends on a variable"));
            return None;
        };
        let is_file = !value.is_empty() && !value.starts_with("pkcs11:") && !value.starts_with('|');
        is_file.then(|| resolve(&self.root, &value))
    }

    /// The value with its variables filled in; `None`, and said so, if one of them is not known.
    fn known(&mut self, at: &At, directive: &str, value: &str) -> Option<String> {
        let known = self.substituted(value);
        if known.is_none() {
            self.reading.unclear(at, format!("{directive} {value}: it depends on a variable"));
        }
        known
    }

    fn substituted(&self, value: &str) -> Option<String> {
        let (mut out, mut rest) = (String::new(), value);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            out.push_str(self.defines.get(name)?);
            rest = after;
            if out.len() > VALUE_BYTES_MAX {
                return None;
            }
        }
        out.push_str(rest);
        Some(out)
    }
}

/// What the file is for that a directive names, and which of its words that is. Modules (`LoadModule`, `LoadFile`) belong to the
/// system, as the server does.
fn role(directive: &str) -> Option<(Role, usize)> {
    Some(match directive {
        "sslcacertificatefile"
        | "sslproxycacertificatefile"
        | "sslcertificatechainfile"
        | "sslproxymachinecertificatechainfile"
        | "sslcadnrequestfile"
        | "sslocsprespondercertificatefile" => (Role::Authority, 1),
        "ldaptrustedglobalcert" => (Role::Authority, 2),
        "sslcarevocationfile"
        | "sslproxycarevocationfile"
        | "typesconfig"
        | "mimemagicfile"
        | "sslsessionticketkeyfile"
        | "ssldhparamfile"
        | "sslpassphrasedialog"
        | "sslsrpverifierfile" => (Role::Data, 1),
        "sslopensslconfcmd" => (Role::Data, 2),
        "authuserfile" | "authgroupfile" | "authdbmuserfile" | "authdbmgroupfile" => (Role::Live, 1),
        "rewritemap" => (Role::Live, 2),
        "perlrequire" | "perlconfigrequire" | "perlpostconfigrequire" | "luaquickhandler" => (Role::Part, 1),
        "luamaphandler" | "luaauthzprovider" | "luainputfilter" | "luaoutputfilter" => (Role::Part, 2),
        hook if hook.starts_with("luahook") => (Role::Part, 1),
        _ => return None,
    })
}

/// Lines without comments, those that end with a backslash taken together with the next; numbered by their first.
fn logical_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = text.lines().enumerate();
    core::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut whole = first.trim().to_string();
        while whole.ends_with('\\') && whole.len() < VALUE_BYTES_MAX {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim_end());
        }
        if whole.starts_with('#') {
            whole.clear();
        }
        Some((index + 1, whole))
    })
}

/// Separated by blanks; quotes hold them together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() && words.len() < WORDS_MAX {
        let (word, after) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// A value longer than this is none.
const VALUE_BYTES_MAX: usize = 8_192;

/// Words of one line: a `ServerAlias` may have many.
const WORDS_MAX: usize = 1_024;

/// Variables: more is no configuration.
const DEFINES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn revealed(text: &str) -> Revealed {
        let mut files = Files::default();
        files.insert("/etc/apache2/apache2.conf", text);
        files.insert(
            "/etc/apache2/sites/shop.conf",
            "<VirtualHost *:443>\nServerName shop.example:443\nSSLCertificateFile ${D}/a.pem\n</VirtualHost>",
        );
        let defines = [("RUN".to_string(), "/run/a".to_string())];
        apache("/etc/apache2/apache2.conf", &files, &BTreeMap::from(defines))
    }

    #[test]
    fn certificates() {
        for (text, found) in [
            (
                "SSLCertificateFile ssl/a.pem\nSSLCertificateKeyFile \"/k/a.key\"",
                vec!["/etc/apache2/ssl/a.pem /k/a.key "],
            ),
            ("# SSLCertificateFile a", vec![]),
            ("Define D /opt\nIncludeOptional sites/*.conf", vec!["/opt/a.pem - shop.example"]),
            ("Define D /opt\nInclude sites", vec!["/opt/a.pem - shop.example"]),
            ("Include sites/*.conf", vec![]),
            ("ServerRoot /srv\nsslcertificatefile \\\n  a.pem", vec!["/srv/a.pem - "]),
            (
                "<VirtualHost *>\nServerName a.b\nServerAlias c.d *.e.f\nSSLCertificateFile /x\n</VirtualHost>",
                vec!["/x - a.b,c.d,*.e.f"],
            ),
        ] {
            let one = |certificate: &super::super::Certificate| {
                let key = certificate.key.as_deref().unwrap_or("-");
                format!("{} {key} {}", certificate.file, certificate.names.join(","))
            };
            assert_eq!(revealed(text).certificates.iter().map(one).collect::<Vec<_>>(), found, "{text}");
        }
        assert_eq!(
            revealed("Include sites/*.conf").unclear[0].what,
            "SSLCertificateFile ${D}/a.pem: it depends on a variable"
        );
    }

    #[test]
    fn other_files() {
        use Role::{Authority, Data, Live, Part};
        for (text, role, file) in [
            ("SSLCACertificateFile ca.pem", Authority, "/etc/apache2/ca.pem"),
            ("SSLProxyCARevocationFile /crl", Data, "/crl"),
            ("LDAPTrustedGlobalCert CA_BASE64 /ldap.pem", Authority, "/ldap.pem"),
            ("TypesConfig /etc/mime.types", Data, "/etc/mime.types"),
            ("SSLSessionTicketKeyFile /t", Data, "/t"),
            ("SSLOpenSSLConfCmd DHParameters \"/dh.pem\"", Data, "/dh.pem"),
            ("SSLPassPhraseDialog exec:/bin/ask", Data, "/bin/ask"),
            ("AuthUserFile ${RUN}/users", Live, "/run/a/users"),
            ("RewriteMap m txt:/m.txt", Live, "/m.txt"),
            ("RewriteMap m \"prg:/bin/map fast\"", Part, "/bin/map"),
            ("LuaHookAccessChecker /h.lua check", Part, "/h.lua"),
            ("LuaMapHandler ^/a /h.lua", Part, "/h.lua"),
            ("PerlRequire /p.pl", Part, "/p.pl"),
        ] {
            let revealed = revealed(text);
            let found: Vec<_> = revealed.references.iter().map(|found| (found.role, found.file.as_str())).collect();
            assert_eq!(found, [(role, file)], "{text}");
        }
        for text in [
            "RewriteMap m int:tolower",
            "SSLPassPhraseDialog builtin",
            "SSLOpenSSLConfCmd Curves P-256",
            "LoadModule a /a.so",
        ] {
            assert!(revealed(text).references.is_empty(), "{text}");
        }
        for (text, unclear) in [
            ("AuthUserFile ${X}/u", &[(true, "AuthUserFile ${X}/u: it depends on a variable")][..]),
            ("Listen ${X}", &[(false, "Listen ${X}: it depends on a variable")]),
            ("PidFile ${X}", &[]),
        ] {
            let revealed = revealed(text);
            let found: Vec<_> = revealed.unclear.iter().map(|found| (found.is_file, found.what.as_str())).collect();
            assert_eq!(found, unclear, "{text}");
        }
    }

    #[test]
    fn all_else() {
        let revealed = revealed(
            "PidFile ${RUN}/a.pid\nListen 80\nListen 10.0.0.1:8443 https\nListen [::]:443\nInclude /opt/*.conf\n\
             ProxyPass /app http://app.internal:8080/ retry=0\nProxyPass /no !\nBalancerMember https://b.internal\n\
             SetHandler \"proxy:unix:/run/php.sock|fcgi://localhost\"\nSSLCACertificateFile ca.pem",
        );
        assert_eq!(revealed.pid_file.as_deref(), Some("/run/a/a.pid"));
        let listens: Vec<_> =
            revealed.listens.iter().map(|listen| format!("{} {}", listen.address, listen.tls)).collect();
        assert_eq!(listens, ["*:80 false", "10.0.0.1:8443 true", "*:443 true"]);
        let upstreams: Vec<_> = revealed.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
        assert_eq!(upstreams, ["app.internal:8080", "b.internal:443"]);
        assert_eq!(revealed.sockets[0].path, "/run/php.sock");
        assert_eq!(revealed.references[0].file, "/etc/apache2/ca.pem");
        assert_eq!((&*revealed.includes[0].pattern, revealed.includes[0].found.len()), ("/opt/*.conf", 0));
    }

    #[test]
    fn whatever_comes_it_ends() {
        let expanding = "Define A aaaaaaaaaa\n".to_string() + &"Define A ${A}${A}\n".repeat(1_000);
        assert!(revealed(&expanding).certificates.is_empty());
        assert!(revealed("Include apache2.conf\nInclude apache2.conf").is_cut);
        assert!(revealed(&"\\\n".repeat(100_000)).files.len() == 1);
    }
}
