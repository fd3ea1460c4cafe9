//! What must never travel as text: decided by a file's name and by what it holds, whoever asks.
//!
//! A manifest is published and a report is kept, so both are read by more people than the file itself. What is recognised
//! are keys and lists of passwords in their usual forms and places. A password that stands in the middle of a
//! configuration is not: such a file is to be marked `secret` in the spec. To withhold too much costs a diff; to withhold too
//! little cannot be undone.

use alloc::string::String;

#[cfg(test)]
mod tests;

/// Why a text is withheld, as a fragment for people: “it is …”.
pub type Secret = &'static str;

/// Whether a file of this path is to be withheld, whatever it holds: a template's name counts like the one it renders, and a
/// backup's like the one it was made of.
pub fn by_name(path: &[u8]) -> Option<Secret> {
    let path = [b"/", path.to_ascii_lowercase().as_slice()].concat();
    let mut name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // The public half of a key is there to be shown.
    if name.ends_with(b".pub") {
        return None;
    }
    loop {
        if let Some((_, _, secret)) = NAMES.iter().find(|(begin, end, _)| fits(name, begin, end)) {
            return Some(secret);
        }
        let Some(shorter) = shorter(name) else { return by_place(&path) };
        name = shorter;
    }
}

/// The name without what makes it that of a copy: a word, or a number, or an editor's mark in front.
fn shorter(name: &[u8]) -> Option<&[u8]> {
    let mark = || EDITORS.iter().find_map(|prefix| name.strip_prefix(prefix.as_bytes()));
    let word = COPIES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()));
    let number = || {
        let end = name.iter().rposition(|byte| !byte.is_ascii_digit())?;
        let (shorter, mark) = (&name[..end], name[end]);
        // `site.key.~1~`, of which the last mark is gone already.
        let shorter = shorter.strip_suffix(b".").filter(|_| mark == b'~').unwrap_or(shorter);
        (end + 1 < name.len() && matches!(mark, b'.' | b'-' | b'_' | b'~')).then_some(shorter)
    };
    word.or_else(number).or_else(mark).filter(|shorter| !shorter.is_empty())
}

fn by_place(path: &[u8]) -> Option<Secret> {
    let lies_in = |place: &str| path.windows(place.len()).any(|part| part == place.as_bytes());
    let lies_there = |place: &str| if place.ends_with('/') { lies_in(place) } else { path.ends_with(place.as_bytes()) };
    PLACES.iter().find(|(place, _)| lies_there(place)).map(|(_, secret)| *secret)
}

/// Beginning and end; of both at the ends of one name, neither overlaps the other.
fn fits(name: &[u8], begin: &str, end: &str) -> bool {
    name.strip_prefix(begin.as_bytes()).is_some_and(|rest| match end {
        EXACTLY => rest.is_empty(),
        end => rest.ends_with(end.as_bytes()),
    })
}

/// Whether a text is to be withheld for what stands in it.
pub fn by_content(text: &str) -> Option<Secret> {
    let upper = text.to_ascii_uppercase();
    // However it is laid out and quoted.
    let compact: String = upper.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\')).collect();
    CONTENTS.iter().find(|(is_there, _)| is_there(&Text { text, upper: &upper, compact: &compact })).map(|(_, it)| *it)
}

/// A text in the forms in which it is looked at.
struct Text<'a> {
    text: &'a str,
    /// In capital letters.
    upper: &'a str,
    /// In capital letters, without blanks, quotes and backslashes.
    compact: &'a str,
}

impl Text<'_> {
    fn any_line(&self, is_one: fn(&str) -> bool) -> bool {
        self.text.lines().any(is_one)
    }

    fn any_word(&self, is_one: fn(&str) -> bool) -> bool {
        self.text.split(is_separator).any(is_one)
    }

    /// What stands behind each `mark` in the compact form.
    fn behind<'m>(&'m self, mark: &'m str) -> impl Iterator<Item = &'m str> {
        self.compact.match_indices(mark).map(move |(at, _)| &self.compact[at + mark.len()..])
    }
}

/// However it is broken into lines, and wherever in what is encoded the key stands: behind its certificate, say.
fn is_key_in_base64(text: &Text<'_>) -> bool {
    let unbroken: String = text.text.split_whitespace().collect();
    MARKS_BASE64.iter().any(|mark| unbroken.contains(mark))
}

/// `"kty"` with the private `d`, or with the `k` of a secret shared by both sides (RFC 7517, RFC 7518).
fn is_jwk(text: &Text<'_>) -> bool {
    text.compact.contains("KTY:") && ["{D:", ",D:", "{K:", ",K:"].iter().any(|member| text.compact.contains(member))
}

/// `secret "…";` of BIND, `secret: …` of NSD and Knot.
fn is_tsig(text: &Text<'_>) -> bool {
    let words =
        text.text.split(|c: char| is_separator(c) || matches!(c, ';' | '{' | '}')).filter(|word| !word.is_empty());
    words.clone().zip(words.skip(1)).any(|(key, value)| {
        let is_key = value.len() >= TSIG_CHARS_MIN && value.len() % 4 == 0 && value.bytes().all(is_base64);
        key.eq_ignore_ascii_case("secret") && is_key && !value.starts_with('/')
    })
}

/// A key of AWS, or the password of wordpress, that is given and not taken from elsewhere.
fn is_given(text: &Text<'_>) -> bool {
    let given = |rest: &str| !ELSEWHERE.iter().any(|begin| rest.starts_with(begin));
    ASSIGNED.iter().any(|mark| text.behind(mark).any(given))
}

/// `tls.key: …`, `client-key-data: …` in base64.
fn is_kubernetes(line: &str) -> bool {
    let is_mark = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '+' | '-' | ',');
    line.split_once(':').is_some_and(|(name, value)| {
        let (name, value) = (name.trim_matches(is_mark), value.trim_matches(is_mark));
        (name.ends_with(".key") || name.ends_with("-key-data"))
            && value.len() >= HASH_CHARS_MIN
            && value.bytes().all(is_base64)
    })
}

/// `PrivateKey = …`.
fn is_wireguard(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| {
        key.trim().eq_ignore_ascii_case("privatekey") && value.trim().len() >= WIREGUARD_CHARS
    })
}

/// A line of `.pgpass`: `host:port:database:user:password`.
fn is_pgpass(line: &str) -> bool {
    let mut fields = line.split(':');
    fields.clone().count() == 5
        && !line.starts_with('#')
        && fields.nth(1).is_some_and(|port| port == "*" || port.parse::<u16>().is_ok())
        && fields.nth(2).is_some_and(|password| !password.is_empty())
}

/// `user:realm:` and MD5 or SHA-256 in hexadecimal, of htdigest.
fn is_htdigest(line: &str) -> bool {
    let mut fields = line.trim_end().split(':');
    let hash = fields.clone().nth(2).unwrap_or_default();
    fields.clone().count() == 3
        && fields.next().is_some_and(|user| !user.is_empty())
        && matches!(hash.len(), 32 | 64)
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `{SSHA}…`, `{PLAIN}…`, and `userPassword: …` of LDIF. A brace behind a `$` is a variable's.
fn is_scheme(line: &str) -> bool {
    let is_one = |at: usize| {
        let Some((name, rest)) = line[at + 1..].split_once('}') else { return false };
        let (name, value) = (name.to_ascii_uppercase(), rest.split(is_separator).next().unwrap_or_default());
        let is_hash = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && HASHED.iter().any(|known| name.contains(known))
            && value.len() >= HASH_CHARS_MIN;
        !line[..at].ends_with('$') && (is_hash || PLAIN.contains(&name.as_str()) && !value.is_empty())
    };
    let is_ldif = line.get(..LDIF.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(LDIF));
    is_ldif || line.match_indices('{').any(|(at, _)| is_one(at))
}

/// A word of crypt(3): `$6$salt$hash`, `$apr1$…`, `$2y$05$…`, `$argon2id$…`. At the beginning of a word only, and with another
/// `$`: in a web server's rules `$1` is a group.
fn is_hash(word: &str) -> bool {
    let Some((scheme, rest)) = word.strip_prefix('$').and_then(|rest| rest.split_once('$')) else { return false };
    SCHEMES.iter().any(|known| scheme.starts_with(known) && scheme.len() <= known.len() + 8)
        && rest.len() >= HASH_CHARS_MIN
        && rest.contains('$')
        && rest.bytes().all(|byte| is_base64(byte) || matches!(byte, b'$' | b'.' | b',' | b'-' | b'_'))
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ':' | '"' | '\'')
}

/// Nothing but `user:hash` with the hash of old, 13 characters.
fn is_des_list(text: &Text<'_>) -> bool {
    let mut lines = text.text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
    let is_entry = |line: &str| {
        line.split_once(':').is_some_and(|(user, hash)| {
            !user.is_empty()
                && hash.len() == 13
                && hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
        })
    };
    lines.peek().is_some() && lines.all(is_entry)
}

/// `machine … login … password …`, in one line or in several.
fn is_netrc(text: &Text<'_>) -> bool {
    let mut words = text.text.split_whitespace();
    ["machine", "login", "password"].iter().all(|wanted| words.any(|word| word == *wanted))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

const KEY: Secret = "a private key";
const PASSWORDS: Secret = "a list of passwords";
const STORE: Secret = "a store of keys";
const CREDENTIALS: Secret = "credentials";

/// Stands for nothing after the beginning.
const EXACTLY: &str = "\0";

/// How names of secrets begin and end, in lower case.
const NAMES: &[(&str, &str, Secret)] = &[
    ("", ".key", KEY),
    ("", ".ppk", KEY),
    ("", ".p8", KEY),
    ("", "-key.pem", KEY),
    ("", "_key.pem", KEY),
    ("", ".key.pem", KEY),
    ("key.pem", EXACTLY, KEY),
    ("", "privkey.pem", KEY),
    ("privkey", ".pem", KEY),
    ("id_rsa", "", KEY),
    ("id_dsa", "", KEY),
    ("id_ecdsa", "", KEY),
    ("id_ed25519", "", KEY),
    ("ssh_host_", "_key", KEY),
    ("", ".p12", STORE),
    ("", ".pfx", STORE),
    ("", ".jks", STORE),
    ("", ".keystore", STORE),
    ("", ".bcfks", STORE),
    ("", ".kdbx", STORE),
    ("", ".keytab", STORE),
    ("htpasswd", "", PASSWORDS),
    (".htpasswd", "", PASSWORDS),
    ("", ".htpasswd", PASSWORDS),
    ("htdigest", "", PASSWORDS),
    (".htdigest", "", PASSWORDS),
    ("shadow", EXACTLY, PASSWORDS),
    ("gshadow", EXACTLY, PASSWORDS),
    ("opasswd", EXACTLY, PASSWORDS),
    (".pgpass", EXACTLY, PASSWORDS),
    ("pgpass", EXACTLY, PASSWORDS),
    (".netrc", EXACTLY, PASSWORDS),
    ("_netrc", EXACTLY, PASSWORDS),
    (".my.cnf", EXACTLY, CREDENTIALS),
    (".mylogin.cnf", EXACTLY, CREDENTIALS),
    (".dockercfg", EXACTLY, CREDENTIALS),
    (".dockerconfigjson", EXACTLY, CREDENTIALS),
    ("kubeconfig", EXACTLY, CREDENTIALS),
    ("", ".kubeconfig", CREDENTIALS),
    (".npmrc", EXACTLY, CREDENTIALS),
    (".pypirc", EXACTLY, CREDENTIALS),
    (".git-credentials", EXACTLY, CREDENTIALS),
    ("credentials", EXACTLY, CREDENTIALS),
    ("credentials.", "", CREDENTIALS),
    ("secrets.", "", CREDENTIALS),
    (".vault-token", EXACTLY, CREDENTIALS),
    (".s3cfg", EXACTLY, CREDENTIALS),
    (".boto", EXACTLY, CREDENTIALS),
    (".env", "", CREDENTIALS),
    ("", ".env", CREDENTIALS),
];

/// Where secrets lie whose names say nothing: in a folder, or under one name in it.
const PLACES: &[(&str, Secret)] = &[
    ("/ssl/private/", KEY),
    ("/tls/private/", KEY),
    ("/pki/private/", KEY),
    ("/.docker/config.json", CREDENTIALS),
    ("/.kube/config", CREDENTIALS),
];

/// What is put behind the name of a file for a copy of it, and behind the name of a template.
const COPIES: &[&str] = &[
    "~",
    "#",
    ".bak",
    "-bak",
    "_bak",
    ".backup",
    "-backup",
    ".old",
    "-old",
    "_old",
    ".copy",
    "-",
    ".orig",
    ".save",
    ".swp",
    ".tmp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
    ".rpmsave",
    ".rpmnew",
    ".tmpl",
    ".template",
    ".tpl",
    ".in",
];

/// What editors put before the name of what is being edited.
const EDITORS: &[&str] = &[".#", "#"];

/// What a text may hold, in the order in which it is looked for.
#[expect(clippy::type_complexity, reason = "a table: how it is told, and what it is")]
const CONTENTS: &[(fn(&Text<'_>) -> bool, Secret)] = &[
    (|text| MARKS.iter().any(|mark| text.upper.contains(mark)), KEY),
    (is_key_in_base64, KEY),
    (|text| text.any_line(is_wireguard), KEY),
    (|text| text.any_line(is_kubernetes), KEY),
    (is_jwk, KEY),
    (is_tsig, KEY),
    (is_given, CREDENTIALS),
    (|text| text.any_line(is_scheme), PASSWORDS),
    (|text| text.any_line(is_pgpass), PASSWORDS),
    (|text| text.any_line(is_htdigest), PASSWORDS),
    (|text| text.any_word(is_hash), PASSWORDS),
    (|text| text.any_word(|word| word == HAPROXY_PASSWORD), PASSWORDS),
    (is_des_list, PASSWORDS),
    (is_netrc, PASSWORDS),
];

/// What stands in private keys, in capital letters: PEM, RFC 4716, OpenPGP, PuTTY, age.
const MARKS: &[&str] =
    &["PRIVATE KEY----", "PRIVATE KEY ----", "PRIVATE KEY BLOCK----", "PUTTY-USER-KEY-FILE-", "AGE-SECRET-KEY-1"];

/// `PRIVATE KEY` in base64, beginning at the first, second and third of three bytes: what of it does not depend on its neighbours.
const MARKS_BASE64: &[&str] = &["UFJJVkFURSBL", "SVZBVEUgS0VZ", "UklWQVRFIEtF"];

/// Comes before a secret in the compact form of a text.
const ASSIGNED: &[&str] = &[
    "AWS_SECRET_ACCESS_KEY=",
    "AWS_SECRET_ACCESS_KEY:",
    "SECRETACCESSKEY=",
    "SECRETACCESSKEY:",
    "DEFINE(DB_PASSWORD,",
];

/// How it begins when it is not given, but taken from elsewhere.
const ELSEWHERE: &[&str] = &["$", "GETENV", ")", "{{"];

/// In the names of schemes whose value is a hash: `{SSHA256}`, `{BLF-CRYPT}`.
const HASHED: &[&str] = &["SHA", "MD5", "CRYPT", "ARGON2", "PBKDF2", "NTLM", "LANMAN"];

/// The names of schemes whose value is the password.
const PLAIN: &[&str] = &["PLAIN", "CLEAR", "CLEARTEXT"];

/// A password in LDIF, also in base64 (`userPassword:: …`).
const LDIF: &str = "userpassword:";

/// How the names of schemes of crypt(3) begin.
const SCHEMES: &[&str] =
    &["apr1", "1", "2a", "2b", "2x", "2y", "5", "6", "7", "y", "gy", "md5", "sha1", "argon2", "scrypt", "pbkdf2"];

/// Comes before a password in plain text.
const HAPROXY_PASSWORD: &str = "insecure-password";

/// The shortest hash that is in use, MD5 in base64, has 22.
const HASH_CHARS_MIN: usize = 20;
/// 80 bits in base64, the shortest key that is in use.
const TSIG_CHARS_MIN: usize = 16;
/// 32 bytes in base64.
const WIREGUARD_CHARS: usize = 44;
