//! What the name and the beginning of a file say about it. Only what is known to be data is ever ignored by them: a name that
//! is not known, or has no ending, may be that of a program, a key or a configuration.

use crate::secrets;

/// Whether a file looks like configuration.
pub fn is_configuration(path: &[u8]) -> bool {
    let name = name(path);
    let known = [&b".htaccess"[..], b".user.ini", b"nginx.conf", b"fastcgi_params", b"mime.types"];
    has_ending(name, &CONFIGURATION) || known.contains(&name)
}

/// Whether a file is known by its name to be data that nobody runs, reads as configuration, or trusts. One ending only: for
/// Apache `shell.php.jpg` may be a program.
pub(super) fn is_data(path: &str) -> bool {
    if is_secret(path.as_bytes()) {
        return false;
    }
    let mut parts = file_name(path).split_once('.').map_or("", |(_, endings)| endings).rsplit('.');
    let last = parts.next().unwrap_or_default();
    let is_media = DATA.iter().any(|known| last.eq_ignore_ascii_case(known)) && parts.all(is_number);
    is_media || volatile(path).is_some()
}

/// Whether a file begins like a program, a page, a key or a certificate, or has the beginning of one in it, whatever its name.
/// Visitors write `<?php` into logs: there only the very beginning counts.
pub fn is_code(path: &[u8], beginning: &[u8]) -> bool {
    let start = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    let is_log = str::from_utf8(path).is_ok_and(|path| volatile(path).is_some());
    let holds = |mark: &&[u8]| beginning.windows(mark.len()).any(|part| part.eq_ignore_ascii_case(mark));
    CODE_BEGINS.iter().any(|mark| start.starts_with(mark)) || !is_log && CODE_HOLDS.iter().any(holds)
}

/// Whether a file's name says that its content is nobody else's business.
pub fn is_secret(path: &[u8]) -> bool {
    let name = name(path).to_ascii_lowercase();
    let has = |word: &&str| name.windows(word.len()).any(|part| part == word.as_bytes());
    secrets::by_name(path).is_some()
        || SECRET.iter().any(has)
        || has_ending(&name, &SECRET_ENDINGS)
        || name.starts_with(b".env")
        || name.starts_with(b"id_")
}

/// Whether a text holds what is nobody else's business.
pub fn is_secret_text(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    secrets::by_content(text).is_some() || SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// Whether what is in a directory of that name comes and goes.
pub(super) fn is_volatile_directory(name: &str) -> bool {
    VOLATILE.contains(&name.to_ascii_lowercase().as_str())
}

/// Of a file that comes and goes, if its name says so: its ending, and what rotation put behind it (`.log` and `.1.gz`).
pub(super) fn volatile(path: &str) -> Option<(&'static str, &str)> {
    let name = file_name(path);
    VOLATILE_ENDINGS.into_iter().find_map(|ending| {
        let mut places = name.match_indices(ending).filter(|(at, _)| *at > 0);
        places.find_map(|(at, _)| {
            let behind = &name[at + ending.len()..];
            (behind.is_empty() || ending == ".log" && is_rotation(behind)).then_some((ending, behind))
        })
    })
}

/// What logrotate and its like put behind a name: a number or a date, and how it is compressed. Nothing else: `a.log.php` is
/// a program.
fn is_rotation(behind: &str) -> bool {
    behind.starts_with(['.', '-', '_'])
        && behind[1..].split(['.', '-', '_']).all(|part| is_number(part) || COMPRESSED.contains(&part))
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
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

/// Pictures, sounds, films and documents. No SVG, which may hold a script.
const DATA: [&str; 20] = [
    "jpg", "jpeg", "png", "gif", "webp", "avif", "heic", "bmp", "ico", "tif", "tiff", "mp3", "mp4", "m4a", "ogg",
    "wav", "webm", "mov", "avi", "pdf",
];

/// How programs, pages, keys and certificates begin.
const CODE_BEGINS: [&[u8]; 7] = [b"#!", b"<?", b"<%", b"\x7fELF", b"\0asm", b"\xca\xfe\xba\xbe", b"-----BEGIN "];

/// What stands in them, and by chance nowhere.
const CODE_HOLDS: [&[u8]; 3] = [b"<?php", b"<script", b"-----BEGIN "];

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

const VOLATILE_ENDINGS: [&str; 3] = [".log", ".pid", ".sock"];

const COMPRESSED: [&str; 5] = ["gz", "xz", "bz2", "zst", "lz4"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_data() {
        for (path, data) in [
            ("a/photo.jpg", true),
            ("a/PHOTO.2.JPG", true),
            ("a.php/photo.png", true),
            ("a/today.log", true),
            ("a/x.login.log", true),
            ("run/php8.2-fpm.pid", true),
            // Code, as servers run it.
            ("a/index.php", false),
            ("a/index.php7", false),
            ("a/index.phtml", false),
            ("a/index.phar", false),
            ("a/shell.php.jpg", false),
            ("a/shell.log.php", false),
            ("a/shell.log.phtml.gz", false),
            ("logo.svg", false),
            ("Makefile", false),
            ("Dockerfile", false),
            ("cache/noext", false),
            ("data.bin", false),
            // Keys, certificates, configuration.
            ("tls/server.crt", false),
            ("root/.ssh/authorized_keys", false),
            ("a/.htaccess", false),
            ("site.conf", false),
            ("tls/site.key", false),
            ("robots.txt", false),
            ("composer.lock", false),
            ("db_password.log", false),
            (".jpg/x", false),
            ("", false),
        ] {
            assert_eq!(is_data(path), data, "{path}");
        }
    }

    #[test]
    fn what_looks_like_configuration() {
        for (path, configuration) in
            [("a/site.CONF", true), ("a/.htaccess", true), ("mime.types", true), ("conf/a.php", false), ("conf", false)]
        {
            assert_eq!(is_configuration(path.as_bytes()), configuration, "{path}");
        }
    }

    #[test]
    fn what_begins_like_code() {
        for (path, content, code) in [
            ("a.jpg", "\u{feff} \n<?= 1", true),
            ("a.jpg", "GIF89a <?PHP system(1);", true),
            ("a.jpg", "<svg><Script>", true),
            ("a", "#!/bin/sh", true),
            ("a", "x\n-----BEGIN CERTIFICATE-----", true),
            ("a.log", "GET /?a=<?php system(1); <script>", false),
            ("a.log", "<?php system(1);", true),
            ("a.jpg", "picture #! <?", false),
            ("a", "", false),
        ] {
            assert_eq!(is_code(path.as_bytes(), content.as_bytes()), code, "{path} {content}");
        }
    }

    #[test]
    fn secrets_and_what_comes_and_goes() {
        for (path, secret) in [
            ("tls/site.key", true),
            ("a/.env.local", true),
            ("app/db_password.txt", true),
            ("a/server.ppk", true),
            ("a/site.pem", true),
            ("a/id_card", true),
            ("a/photo.jpg", false),
        ] {
            assert_eq!(is_secret(path.as_bytes()), secret, "{path}");
        }
        for (text, secret) in [
            ("db_Password = x", true),
            ("-----BEGIN PRIVATE KEY-----", true),
            ("joe:{PLAIN}x", true),
            ("listen 80;", false),
        ] {
            assert_eq!(is_secret_text(text), secret, "{text}");
        }
        assert!(is_volatile_directory("Cache") && !is_volatile_directory("lib"));
        for (path, found) in [
            ("a/x.log", Some((".log", ""))),
            ("x.log.1.gz", Some((".log", ".1.gz"))),
            ("x.log-20261120", Some((".log", "-20261120"))),
            ("x.login.log", Some((".log", ""))),
            ("x.logic", None),
            ("x.log.", None),
            ("x.log.php", None),
            ("x.log.1.php", None),
            (".log", None),
            ("app.pid", Some((".pid", ""))),
            ("app.pid.1", None),
            ("composer.lock", None),
        ] {
            assert_eq!(volatile(path), found, "{path}");
        }
    }
}
