//! What must never travel as text: decided by a file's name and by what it holds, whoever asks.
//!
//! A manifest is published and a report is kept, so both are read by more people than the file itself. What is recognised
//! are keys and lists of passwords in their usual forms and places. A password that stands in the middle of a
//! configuration is not: such a file is to be marked `secret` in the spec. To withhold too much costs a diff; to withhold too
//! little cannot be undone.

/// Why a text is withheld, as a fragment for people: “it is …”.
pub type Secret = &'static str;

/// Whether a file of this path is to be withheld, whatever it holds: a template's name counts like the one it renders, and a
/// backup's like the one it was made of.
pub fn by_name(path: &[u8]) -> Option<Secret> {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let mut name = lower.as_slice();
    loop {
        if let Some((_, _, secret)) = NAMES.iter().find(|(begin, end, _)| fits(name, begin, end)) {
            return Some(secret);
        }
        let shorter = COPIES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()));
        name = shorter.filter(|shorter| !shorter.is_empty())?;
    }
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
    if MARKS.iter().any(|mark| text.contains(mark)) || text.lines().any(is_wireguard) {
        return Some(KEY);
    }
    let is_list = text.lines().any(|line| {
        let mut words = line.split(is_separator);
        is_password_entry(line) || words.any(|word| is_hash(word) || word == HAPROXY_PASSWORD)
    });
    if is_list || is_des_list(text) || is_netrc(text) { Some(PASSWORDS) } else { None }
}

/// `PrivateKey = …`.
fn is_wireguard(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| {
        key.trim().eq_ignore_ascii_case("privatekey") && value.trim().len() >= WIREGUARD_CHARS
    })
}

/// `user:{SHA}…`, or a line of `.pgpass`: `host:port:database:user:password`.
fn is_password_entry(line: &str) -> bool {
    let scheme = line.split_once(":{").and_then(|(_, rest)| rest.split_once('}'));
    let is_scheme = scheme.is_some_and(|(name, rest)| {
        name.len() >= 3
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
            && rest.len() >= HASH_CHARS_MIN
            && rest.bytes().all(is_base64)
    });
    let mut fields = line.split(':');
    let is_pgpass = fields.clone().count() == 5
        && !line.starts_with('#')
        && fields.nth(1).is_some_and(|port| port == "*" || port.parse::<u16>().is_ok())
        && fields.nth(2).is_some_and(|password| !password.is_empty());
    is_scheme || is_pgpass
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
fn is_des_list(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
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
fn is_netrc(text: &str) -> bool {
    let mut words = text.split_whitespace();
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
    ("", "privkey.pem", KEY),
    ("id_rsa", EXACTLY, KEY),
    ("id_dsa", EXACTLY, KEY),
    ("id_ecdsa", EXACTLY, KEY),
    ("id_ecdsa_sk", EXACTLY, KEY),
    ("id_ed25519", EXACTLY, KEY),
    ("id_ed25519_sk", EXACTLY, KEY),
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
    (".npmrc", EXACTLY, CREDENTIALS),
    (".pypirc", EXACTLY, CREDENTIALS),
    (".git-credentials", EXACTLY, CREDENTIALS),
    ("credentials", EXACTLY, CREDENTIALS),
    (".env", EXACTLY, CREDENTIALS),
    (".env.", "", CREDENTIALS),
    ("", ".env", CREDENTIALS),
];

/// What is put behind the name of a file for a copy of it, and behind the name of a template.
const COPIES: &[&str] = &[
    "~",
    "-",
    ".bak",
    ".old",
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

/// What stands in private keys, and nowhere else.
const MARKS: &[&str] = &["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----", "PuTTY-User-Key-File-", "AGE-SECRET-KEY-1"];

/// How the names of schemes of crypt(3) begin.
const SCHEMES: &[&str] =
    &["apr1", "1", "2a", "2b", "2x", "2y", "5", "6", "7", "y", "gy", "md5", "sha1", "argon2", "scrypt", "pbkdf2"];

/// Comes before a password in plain text.
const HAPROXY_PASSWORD: &str = "insecure-password";

/// The shortest hash that is in use, MD5 in base64, has 22.
const HASH_CHARS_MIN: usize = 20;
/// 32 bytes in base64.
const WIREGUARD_CHARS: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, secret) in [
            ("ssl/site.key", Some(KEY)),
            ("SITE.KEY", Some(KEY)),
            ("site.key.bak", Some(KEY)),
            ("site.key.tmpl", Some(KEY)),
            ("site.key.orig~", Some(KEY)),
            ("site.key.pub", None),
            ("site.pem", None), // by what it holds
            ("live/shop/privkey.pem", Some(KEY)),
            ("root/.ssh/id_rsa", Some(KEY)),
            ("root/.ssh/id_rsa.pub", None),
            ("ssh/ssh_host_ed25519_key", Some(KEY)),
            ("ssh/ssh_host_ed25519_key.pub", None),
            ("a.p12", Some(STORE)),
            ("a.pfx", Some(STORE)),
            ("cacerts.jks", Some(STORE)),
            (".htpasswd", Some(PASSWORDS)),
            ("conf/htpasswd.users", Some(PASSWORDS)),
            ("admin.htpasswd", Some(PASSWORDS)),
            ("shadow-", Some(PASSWORDS)),
            ("gshadow", Some(PASSWORDS)),
            ("passwd", None),
            ("shadows.css", None),
            (".netrc", Some(PASSWORDS)),
            (".pgpass", Some(PASSWORDS)),
            (".env", Some(CREDENTIALS)),
            (".env.production", Some(CREDENTIALS)),
            ("environment", None),
            (".aws/credentials", Some(CREDENTIALS)),
            ("nginx.conf", None),
            ("key", None),
            ("monkey.conf", None),
            ("id_rsa/readme", None),
            ("~", None),
            ("", None),
        ] {
            assert_eq!(by_name(path.as_bytes()), secret, "{path}");
        }
        assert_eq!(by_name(b"\xff.key"), Some(KEY));
    }

    #[test]
    fn contents() {
        let hash = "abcdefgh$0123456789abcdefghijkl";
        for (text, secret) in [
            ("-----BEGIN PRIVATE KEY-----\nMIG", Some(KEY)),
            ("x\n-----BEGIN RSA PRIVATE KEY-----", Some(KEY)),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", Some(KEY)),
            ("{\"private_key\":\"-----BEGIN PRIVATE KEY-----\\nMII\"}", Some(KEY)),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", Some(KEY)),
            ("-----BEGIN CERTIFICATE-----\nMIG", None),
            ("-----BEGIN PUBLIC KEY-----\nMIG", None),
            ("PuTTY-User-Key-File-3: ssh-ed25519", Some(KEY)),
            ("[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", Some(KEY)),
            ("ssl_certificate_key /etc/ssl/site.key;", None),
            (&alloc::format!("joe:$apr1${hash}"), Some(PASSWORDS)),
            ("joe:$2y$05$abcdefghijklmnopqrstuuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0", Some(PASSWORDS)),
            (&alloc::format!("a\nroot:$6${hash}:19000:0:99999:7:::"), Some(PASSWORDS)),
            (&alloc::format!("root:$y$j9T${hash}:19000"), Some(PASSWORDS)),
            ("a:$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaGhhc2g", Some(PASSWORDS)),
            (&alloc::format!("userlist ops\n  user joe password $5${hash}"), Some(PASSWORDS)),
            ("  user joe insecure-password tiger", Some(PASSWORDS)),
            ("joe:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", Some(PASSWORDS)),
            ("joe:{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr", Some(PASSWORDS)),
            ("joe:rqXexS6ZhobKA\nann:abJnggxhB/yWI\n", Some(PASSWORDS)),
            ("joe:rqXexS6ZhobKA\nlisten 80;\n", None),
            ("machine a.example login joe password tiger", Some(PASSWORDS)),
            ("machine a.example\n  login joe\n  password tiger", Some(PASSWORDS)),
            ("a password for the login of a machine", None),
            ("db.internal:5432:shop:joe:tiger", Some(PASSWORDS)),
            ("*:*:*:joe:tiger", Some(PASSWORDS)),
            ("# host:port:database:user:password", None),
            ("root:x:0:0:root:/root:/bin/bash", None),
            ("rewrite ^/(.*)/(.*)$ /index.php?a=$1$2&b=$args last;", None),
            ("log_format main '$remote_addr - $remote_user [$time_local] \"$request\"';", None),
            ("server_name a.example;\nlisten 80;\n", None),
            ("", None),
        ] {
            assert_eq!(by_content(text), secret, "{text}");
        }
    }
}
