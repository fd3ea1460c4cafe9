//! What the name of a thing says about it. Guesses, and used as such: what may be code or configuration is never ignored by
//! them.

/// Whether a file looks like configuration.
pub fn is_configuration(path: &[u8]) -> bool {
    let name = name(path);
    let known = [&b".htaccess"[..], b".user.ini", b"nginx.conf", b"fastcgi_params", b"mime.types"];
    has_ending(name, &CONFIGURATION) || known.contains(&name)
}

/// Whether a file must never be ignored by a guess: it is run, read as configuration, or trusted.
pub(super) fn is_dangerous(path: &[u8], is_executable: bool) -> bool {
    let name = name(path);
    is_executable || is_configuration(path) || is_secret(path) || has_ending(name, &CODE)
}

/// Whether a file's name says that its content is nobody else's business.
pub fn is_secret(path: &[u8]) -> bool {
    let name = name(path).to_ascii_lowercase();
    let has = |word: &&str| name.windows(word.len()).any(|part| part == word.as_bytes());
    SECRET.iter().any(has)
        || has_ending(&name, &SECRET_ENDINGS)
        || name.starts_with(b".env")
        || name.starts_with(b"id_")
}

/// Whether a text holds what is nobody else's business.
pub fn is_secret_text(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// Whether what is in a directory of that name comes and goes.
pub(super) fn is_volatile_directory(name: &str) -> bool {
    VOLATILE.contains(&name.to_ascii_lowercase().as_str())
}

/// The ending of a file that comes and goes (`.log`, also of `a.log.1.gz`), if its name says so.
pub(super) fn volatile_ending(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_rotated = |rest: &str| rest.is_empty() || rest.starts_with(['.', '-']);
    VOLATILE_ENDINGS
        .into_iter()
        .find(|ending| name.split_once(ending).is_some_and(|(stem, rest)| !stem.is_empty() && is_rotated(rest)))
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn has_ending(name: &[u8], endings: &[&str]) -> bool {
    let ending = name.iter().rposition(|&byte| byte == b'.').map(|dot| &name[dot + 1..]);
    ending.is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes())))
}

const CONFIGURATION: [&str; 16] = [
    "conf",
    "cfg",
    "cnf",
    "ini",
    "yml",
    "yaml",
    "toml",
    "json",
    "xml",
    "properties",
    "config",
    "service",
    "socket",
    "timer",
    "rules",
    "tmpl",
];

const CODE: [&str; 28] = [
    "php", "phtml", "phar", "inc", "py", "pyc", "pl", "pm", "rb", "sh", "bash", "js", "mjs", "cjs", "ts", "jsp", "jar",
    "war", "class", "cgi", "lua", "so", "html", "htm", "sql", "wasm", "twig", "exe",
];

const SECRET: [&str; 6] = ["htpasswd", "passwd", "password", "secret", "credential", "shadow"];

const SECRET_ENDINGS: [&str; 7] = ["key", "pem", "p12", "pfx", "jks", "kdbx", "gpg"];

const SECRET_WORDS: [&str; 6] = ["private key", "password", "passwd", "secret", "api_key", "access_key"];

const VOLATILE: [&str; 16] = [
    "log",
    "logs",
    "cache",
    "caches",
    "tmp",
    "temp",
    "sessions",
    "session",
    "run",
    "uploads",
    "upload",
    "spool",
    "locks",
    "__pycache__",
    "cache_data",
    "crash",
];

const VOLATILE_ENDINGS: [&str; 6] = [".log", ".pid", ".sock", ".swp", ".tmp", ".cache"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (path, dangerous, secret) in [
            ("a/index.php", true, false),
            ("a/INDEX.PHP", true, false),
            ("a/.htaccess", true, false),
            ("site.conf", true, false),
            ("tls/site.key", true, true),
            ("a/.env.local", true, true),
            ("app/db_password.txt", true, true),
            ("a/photo.jpg", false, false),
            ("a.php/photo", false, false),
            ("a/today.log", false, false),
        ] {
            assert_eq!(
                (is_dangerous(path.as_bytes(), false), is_secret(path.as_bytes())),
                (dangerous, secret),
                "{path}"
            );
        }
        assert!(is_dangerous(b"bin/run", true));
        for (path, ending) in [
            ("a/x.log", Some(".log")),
            ("x.log.1.gz", Some(".log")),
            ("x.log-20261120", Some(".log")),
            ("x.logic", None),
            (".log", None),
            ("app.pid", Some(".pid")),
            ("composer.lock", None),
        ] {
            assert_eq!(volatile_ending(path), ending, "{path}");
        }
    }
}
