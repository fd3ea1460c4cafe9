//! HAProxy: sections, one statement a line, shell-like words. It tells nobody which files it reads, so those that its
//! statements name are found here.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{At, Files, Reading, Revealed, Role, address, resolve};

/// What configurations among `files` reveal, in their order, as with `-f` for each.
pub fn haproxy(configs: &[&str], files: &Files) -> Revealed {
    let mut reader = Reader { files, base: Base::default(), reading: Reading::default() };
    configs.iter().for_each(|config| reader.file(config));
    reader.reading.revealed
}

struct Reader<'a> {
    files: &'a Files,
    base: Base,
    reading: Reading,
}

/// Where relative paths begin.
#[derive(Default)]
struct Base {
    /// `default-path`: `current`, which is where the server was started; services are started in `/`.
    directory: Option<String>,
    certificates: Option<String>,
    authorities: Option<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str) {
        let Some(text) = self.files.text(path) else { return };
        if !self.reading.may_read(path, text, 0) {
            return;
        }
        for (index, line) in text.lines().enumerate() {
            let at = At { file: path.to_owned(), line: index + 1 };
            let words = words(line);
            self.line(&at, &words);
        }
    }

    fn line(&mut self, at: &At, words: &[String]) {
        let Some(keyword) = words.first() else { return };
        let value = words.get(1).map_or("", String::as_str);
        match keyword.as_str() {
            "crt-base" => self.base.certificates = self.path(at, keyword, value, None),
            "ca-base" => self.base.authorities = self.path(at, keyword, value, None),
            "default-path" => self.default_path(at, words),
            "pidfile" => self.reading.revealed.pid_file = self.path(at, keyword, value, None),
            "bind" => self.bind(at, words),
            "server" => words.get(2).into_iter().for_each(|address| self.upstream(at, address)),
            "errorfile" => words.get(2).into_iter().for_each(|file| self.part(at, keyword, file)),
            "lua-load-per-thread"
            | "lua-load"
            | "ssl-dh-param-file"
            | "51degrees-data-file"
            | "deviceatlas-json-file"
            | "wurfl-data-file" => self.part(at, keyword, value),
            _ => {}
        }
        self.options(at, words);
    }

    /// What may stand anywhere in a line: an option, and its file.
    fn options(&mut self, at: &At, words: &[String]) {
        for pair in words.windows(2) {
            let (option, value) = (pair[0].as_str(), pair[1].as_str());
            match option {
                "crt" => self.certificate(at, value),
                "crt-list" => self.crt_list(at, value),
                "ca-file" | "ca-verify-file" | "ca-sign-file" => {
                    self.below_authorities(at, option, value, Role::Authority);
                }
                "crl-file" => self.below_authorities(at, option, value, Role::Data),
                "tls-ticket-keys" => self.named(at, option, value, Role::Data),
                "-f" | "lf-file" => self.part(at, option, value),
                "errorfile" if words[0] != "errorfile" => self.part(at, option, value),
                "file" | "config"
                    if words.iter().any(|word| matches!(word.as_str(), "return" | "spoe" | "opentracing")) =>
                {
                    self.part(at, option, value);
                }
                _ => {}
            }
        }
        words.iter().for_each(|word| self.maps(at, word));
    }

    /// `path,map_beg(/etc/haproxy/hosts.map,default)`; a word may have several.
    fn maps(&mut self, at: &At, word: &str) {
        for (index, _) in word.match_indices("map") {
            let Some((kind, rest)) = word[index..].split_once('(') else { return };
            let is_map = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let is_start = index == 0 || !word.as_bytes()[index - 1].is_ascii_alphanumeric();
            let file = rest.split([',', ')']).next().unwrap_or_default();
            // Others than those from a file (`set-map(…)`) name it too.
            if is_map && is_start && file.contains(['/', '.']) {
                self.part(at, kind, file);
            }
        }
    }

    fn certificate(&mut self, at: &At, value: &str) {
        let base = self.base.certificates.clone();
        let Some(file) = self.path(at, "crt", value, base) else { return };
        let files = self.files;
        let within = files.below(&file);
        if within.is_empty() {
            self.reading.certificate(at, file, None, &[]);
        }
        let own = |path: &&str| ![".key", ".ocsp", ".issuer", ".sctl"].iter().any(|suffix| path.ends_with(suffix));
        for path in within.into_iter().filter(own) {
            self.reading.certificate(at, path.to_owned(), None, &[]);
        }
    }

    /// A line each: a certificate, options in brackets, names.
    fn crt_list(&mut self, at: &At, value: &str) {
        let Some(list) = self.path(at, "crt-list", value, None) else { return };
        let files = self.files;
        if let Some(text) = files.text(&list).filter(|text| self.reading.may_read(&list, text, 1)) {
            for (index, line) in text.lines().enumerate() {
                let at = At { file: list.clone(), line: index + 1 };
                if let Some(word) = words(line).first() {
                    self.certificate(&at, word);
                }
            }
        }
        self.reading.reference(at, Role::Part, list);
    }

    fn bind(&mut self, at: &At, words: &[String]) {
        let tls = words.iter().any(|word| word == "ssl");
        for part in words.get(1).map_or("", String::as_str).split(',') {
            if let Some(address) = self.known(at, "bind", part).and_then(|part| address(&part, None)) {
                self.reading.listen(at, address, tls);
            }
        }
    }

    fn upstream(&mut self, at: &At, value: &str) {
        let Some(value) = self.known(at, "server", value) else { return };
        let value = value.strip_prefix("unix@").unwrap_or(&value);
        if value.starts_with('/') {
            self.reading.socket(at, value);
        } else if let Some(address) = address(value, None) {
            self.reading.upstream(at, address);
        }
    }

    fn part(&mut self, at: &At, directive: &str, value: &str) {
        self.named(at, directive, value, Role::Part);
    }

    fn named(&mut self, at: &At, directive: &str, value: &str, role: Role) {
        let file = self.path(at, directive, value, None);
        file.into_iter().for_each(|file| self.reading.reference(at, role, file));
    }

    fn below_authorities(&mut self, at: &At, option: &str, value: &str, role: Role) {
        let base = self.base.authorities.clone();
        let file = self.path(at, option, value, base).filter(|_| value != "@system-ca");
        file.into_iter().for_each(|file| self.reading.reference(at, role, file));
    }

    fn default_path(&mut self, at: &At, words: &[String]) {
        let own = super::parent(&at.file);
        self.base.directory = match words.get(1).map(String::as_str) {
            Some("config") => Some(own.to_owned()),
            Some("parent") => Some(super::parent(own).to_owned()),
            Some("origin") => words.get(2).map(|path| resolve("/", path)),
            _ => None,
        };
    }

    fn path(&mut self, at: &At, directive: &str, value: &str, base: Option<String>) -> Option<String> {
        if value.contains(VARIABLE) {
            self.reading.unclear_file(at, unclear(directive, value));
            return None;
        }
        if value.is_empty() {
            return None;
        }
        let directory = self.base.directory.as_deref().unwrap_or("/");
        let base = base.map_or_else(|| directory.to_owned(), |base| resolve(directory, &base));
        Some(resolve(&base, value))
    }

    fn known(&mut self, at: &At, directive: &str, value: &str) -> Option<String> {
        if value.contains(VARIABLE) {
            self.reading.unclear(at, unclear(directive, value));
            return None;
        }
        Some(value.to_string())
    }
}

fn unclear(directive: &str, value: &str) -> String {
    format!("{directive} {}: it depends on a variable", value.replace(VARIABLE, "$"))
}

/// A line's words: blanks separate, `\` takes one character as it is, `"…"` may have variables, `'…'` has none, `#` begins a
/// comment. A variable is marked, so that a dollar that is none is not taken for one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_word, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = line.chars();
    while let Some(next) = chars.next() {
        match (next, quote) {
            ('\\', None | Some('"')) => {
                word.extend(chars.next());
                is_word = true;
            }
            ('"' | '\'', None) => {
                quote = Some(next);
                is_word = true;
            }
            (_, Some(quoted)) if next == quoted => quote = None,
            ('$', Some('"')) => word.push(VARIABLE),
            ('#', None) => break,
            (_, None) if next.is_ascii_whitespace() => {
                if is_word {
                    words.push(core::mem::take(&mut word));
                }
                is_word = false;
            }
            _ => {
                word.push(next);
                is_word = true;
            }
        }
        if words.len() >= WORDS_MAX {
            return words;
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// Stands for the `$` of a variable. It is no character of any text that could be meant.
const VARIABLE: char = '\u{1}';

/// HAProxy's own limit.
const WORDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn revealed(text: &str) -> Revealed {
        let mut files = Files::default();
        files.insert("/etc/haproxy/haproxy.cfg", text);
        files.insert("/etc/haproxy/certs/a.pem", "");
        files.insert("/etc/haproxy/certs/a.pem.key", "");
        files.insert("/etc/haproxy/list", "# all\na.pem [alpn h2] shop.example\n\n/abs/b.pem");
        haproxy(&["/etc/haproxy/haproxy.cfg"], &files)
    }

    #[test]
    fn words_of_a_line() {
        for (line, expected) in [
            ("bind :80 # all", vec!["bind", ":80"]),
            ("a\\ b 'c $d' \"e $f\"", vec!["a b", "c $d", "e \u{1}f"]),
            ("a '' \"\"", vec!["a", "", ""]),
            ("a 'no end", vec!["a", "no end"]),
            ("  ", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn files_that_it_reads() {
        for (text, certificates, references) in [
            ("bind :443 ssl crt /a.pem ca-file /ca.pem", vec!["/a.pem"], vec!["/ca.pem"]),
            ("crt-base /etc/haproxy/certs\nbind :443 ssl crt a.pem", vec!["/etc/haproxy/certs/a.pem"], vec![]),
            ("bind :443 ssl crt /etc/haproxy/certs", vec!["/etc/haproxy/certs/a.pem"], vec![]),
            (
                "crt-base /c\nbind :443 ssl crt-list /etc/haproxy/list",
                vec!["/c/a.pem", "/abs/b.pem"],
                vec!["/etc/haproxy/list"],
            ),
            ("default-path config\nerrorfile 503 errors/503.http", vec![], vec!["/etc/haproxy/errors/503.http"]),
            ("default-path origin /opt\nlua-load a.lua", vec![], vec!["/opt/a.lua"]),
            ("acl bad src -f /etc/haproxy/bad.lst", vec![], vec!["/etc/haproxy/bad.lst"]),
            ("use_backend %[hdr(host),lower,map_dom(/m/hosts.map,x)]", vec![], vec!["/m/hosts.map"]),
            ("http-request return status 200 content-type text/plain file /a.txt", vec![], vec!["/a.txt"]),
            ("filter spoe engine e config /spoe.cfg", vec![], vec!["/spoe.cfg"]),
            ("http-request deny errorfile /e.http", vec![], vec!["/e.http"]),
            // The name of a section, no file.
            ("errorfiles ours", vec![], vec![]),
            ("bind :443 ssl crt /a tls-ticket-keys /keys crl-file /crl", vec!["/a"], vec!["/keys", "/crl"]),
            ("http-request lua.x if { src -f \"${BAD}\" }", vec![], vec![]),
            ("# bind :443 ssl crt /a.pem", vec![], vec![]),
            ("bind :443 ssl crt \"${DIR}/a.pem\"", vec![], vec![]),
            ("server s 1.2.3.4:5 ssl ca-file @system-ca crt /client.pem", vec!["/client.pem"], vec![]),
        ] {
            let found = revealed(text);
            assert_eq!(found.certificates.iter().map(|it| &*it.file).collect::<Vec<_>>(), certificates, "{text}");
            assert_eq!(found.references.iter().map(|it| &*it.file).collect::<Vec<_>>(), references, "{text}");
        }
        let unclear = |text| revealed(text).unclear.into_iter().map(|it| (it.what, it.is_file)).next().unwrap();
        assert_eq!(unclear("lua-load \"$A\""), ("lua-load $A: it depends on a variable".into(), true));
        assert_eq!(unclear("bind \"$A\""), ("bind $A: it depends on a variable".into(), false));
    }

    #[test]
    fn addresses() {
        let revealed = revealed(
            "bind :80,127.0.0.1:443 ssl crt /a\nbind /run/s.sock\nserver a 10.0.0.1:80 check\nserver b unix@/s",
        );
        let listens: Vec<_> =
            revealed.listens.iter().map(|listen| format!("{} {}", listen.address, listen.tls)).collect();
        assert_eq!(listens, ["*:80 true", "127.0.0.1:443 true"]);
        let upstreams: Vec<_> = revealed.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
        assert_eq!(upstreams, ["10.0.0.1:80"]);
        assert_eq!(revealed.sockets.iter().map(|socket| &*socket.path).collect::<Vec<_>>(), ["/s"]);
    }
}
