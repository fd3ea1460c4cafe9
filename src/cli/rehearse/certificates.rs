//! Certificates that a check should not take, made by the `openssl` command: the product itself makes none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use portcullis::check::certificate::Certificate;

use super::scratch::Scratch;

/// A certificate in the place of the real one.
pub(super) struct Forged {
    /// What is wrong with it, as a fragment that follows “is”.
    pub(super) what: &'static str,
    /// What the check has to say for it to be noticed.
    pub(super) advice: &'static str,
    /// What of a check is asked about it.
    pub(super) asked: Asked,
    pub(super) pem: Vec<u8>,
}

/// One thing that a check can ask. A certificate that is wrong in one way may be wrong in others too, since we have neither the
/// authority's key nor always the real one: what fails for those would hide that nobody asks for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing but what every check asks.
    Dates,
    Names,
    Key,
    Roots,
}

impl Asked {
    /// The part of a check that asks this. What is asked together holds together, so it fails exactly where this part of
    /// the whole fails.
    pub(super) fn part_of(self, check: &Certificate) -> Certificate {
        Certificate {
            names: check.names.clone().filter(|_| self == Self::Names),
            key: check.key.clone().filter(|_| self == Self::Key),
            roots: check.roots.clone().filter(|_| self == Self::Roots),
            ..check.clone()
        }
    }
}

/// A certificate with nothing wrong but its signature: where it does not pass, the failing of others says nothing.
pub(super) fn right(scratch: &Scratch) -> anyhow::Result<Forged> {
    let folder = folder(scratch)?;
    let key = own_key(&folder)?;
    let pem = Forge { folder: &folder }.make(&key, &["localhost".to_owned()], VALID)?;
    Ok(Forged { what: "right", advice: "", asked: Asked::Dates, pem })
}

fn folder(scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let folder = scratch.file("certificates");
    fs::create_dir_all(&folder).context("failed to create a folder")?;
    Ok(folder)
}

fn own_key(folder: &Path) -> anyhow::Result<PathBuf> {
    let own = folder.join("own.key");
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"], &[&own])?;
    Ok(own)
}

/// In the place of `real`, each wrong in a way that `check` can ask about: all are signed by themselves, with a key of ours.
pub(super) fn forged(scratch: &Scratch, real: &Path, check: &Certificate) -> anyhow::Result<Vec<Forged>> {
    let folder = folder(scratch)?;
    let key = own_key(&folder)?;
    let forge = Forge { folder: &folder };
    let (others, localhost) = (["rehearsal.invalid".to_owned()], ["localhost".to_owned()]);
    let names = check.names.as_deref().filter(|names| !names.is_empty()).unwrap_or(&localhost);
    let mut forged = Vec::new();
    for (what, advice, asked, names, dates) in [
        ("expired", EXPIRES, Asked::Dates, names, ["20200101000000Z", "20200201000000Z"]),
        ("not yet valid", EXPIRES, Asked::Dates, names, ["20980101000000Z", "20990101000000Z"]),
        ("for another name", "add `names` to the check", Asked::Names, &others[..], VALID),
        ("of another key", "add `key` to the check", Asked::Key, names, VALID),
        ("signed by itself", EXPIRES, Asked::Roots, names, VALID),
    ] {
        let can_be_asked = match asked {
            Asked::Dates => true,
            // Of a collection nobody asks for names or a key.
            Asked::Names | Asked::Key => !check.collection,
            // Where no roots are named, nobody needs to have signed it.
            Asked::Roots => check.roots.is_some(),
        };
        if can_be_asked {
            forged.push(Forged { what, advice, asked, pem: forge.make(&key, names, dates)? });
        }
    }
    let whole = fs::read(real).context("failed to read the certificate's copy")?;
    let half = whole[..whole.len() / 2].to_vec();
    forged.push(Forged { what: "cut in half", advice: EXPIRES, asked: Asked::Dates, pem: half });
    Ok(forged)
}

struct Forge<'a> {
    folder: &'a Path,
}

impl Forge<'_> {
    fn make(&self, key: &Path, names: &[String], [from, until]: [&str; 2]) -> anyhow::Result<Vec<u8>> {
        let [config, request, out] = ["ca.cnf", "request.pem", "out.pem"].map(|name| self.folder.join(name));
        self.write("index", "")?;
        self.write("serial", "01\n")?;
        let alternatives = names.iter().map(|name| alternative(name)).collect::<anyhow::Result<Vec<_>>>()?.join(",");
        let folder = self.folder.display();
        self.write("ca.cnf", &format!(
            "[ca]\ndefault_ca = c\n[c]\ndatabase = {folder}/index\nserial = {folder}/serial\nnew_certs_dir = {folder}\n\
             default_md = sha256\npolicy = p\nx509_extensions = x\n[p]\ncommonName = optional\n\
             [x]\nsubjectAltName = {alternatives}\n"
        ))?;
        openssl(&["req", "-new", "-subj", "/CN=portcullis rehearsal", "-key"], &[key, "-out".as_ref(), &request])?;
        let words = ["ca", "-batch", "-notext", "-selfsign", "-startdate", from, "-enddate", until, "-config"];
        let files = [&*config, "-keyfile".as_ref(), key, "-in".as_ref(), &request, "-out".as_ref(), &out];
        openssl(&words, &files)?;
        fs::read(&out).context("failed to read what `openssl` made")
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path: PathBuf = self.folder.join(name);
        fs::write(&path, content).context("failed to write for `openssl`")
    }
}

/// As an extension is written; nothing in a name may end it.
fn alternative(name: &str) -> anyhow::Result<String> {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Ok(format!("IP:{name}"));
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'*'));
    if !plain {
        bail!("`{}` is no name that a certificate can be made for", portcullis::text::visible(name));
    }
    Ok(format!("DNS:{name}"))
}

fn openssl(words: &[&str], files: &[&Path]) -> anyhow::Result<()> {
    let output = Command::new("openssl").args(words).args(files).stdin(Stdio::null()).output();
    let output = output.context("failed to run `openssl`, which makes the certificates")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`openssl {}` failed: {}", words[0], portcullis::text::visible(said.trim()));
    }
    Ok(())
}

const EXPIRES: &str = "please report it: it should have been noticed";

/// Valid now, and for as long as anyone wants it to be.
const VALID: [&str; 2] = ["20200101000000Z", "20990101000000Z"];
