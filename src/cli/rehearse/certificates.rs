//! Certificates that a check should not take, made by the `openssl` command: the product itself makes none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::scratch::Scratch;

/// A certificate in the place of the real one.
pub(super) struct Forged {
    /// What is wrong with it, as a fragment that follows “is”.
    pub(super) what: &'static str,
    /// What the check has to say for it to be noticed.
    pub(super) advice: &'static str,
    pub(super) pem: Vec<u8>,
}

/// In the place of `real`, whose key is `key`, for `names`. Each is wrong in one way, as far as one who does not have the
/// authority's key can make it so: all are signed by themselves.
pub(super) fn forged(
    scratch: &Scratch,
    real: &Path,
    key: Option<&Path>,
    names: &[String],
) -> anyhow::Result<Vec<Forged>> {
    let folder = scratch.file("certificates");
    fs::create_dir_all(&folder).context("failed to create a folder")?;
    let own = folder.join("own.key");
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"], &[&own])?;
    let of_check = key.unwrap_or(&own);
    let forge = Forge { folder: &folder };
    let others = ["rehearsal.invalid".to_owned()];
    let names = if names.is_empty() { &["localhost".to_owned()][..] } else { names };
    let mut forged = Vec::new();
    for (what, advice, key, names, dates) in [
        ("expired", EXPIRES, of_check, names, ["20200101000000Z", "20200201000000Z"]),
        ("not yet valid", EXPIRES, of_check, names, ["20980101000000Z", "20990101000000Z"]),
        ("for another name", "add `names` to the check", of_check, &others[..], VALID),
        ("of another key", "add `key` to the check", &*own, names, VALID),
    ] {
        forged.push(Forged { what, advice, pem: forge.make(key, names, dates)? });
    }
    let whole = fs::read(real).context("failed to read the certificate's copy")?;
    forged.push(Forged { what: "cut in half", advice: EXPIRES, pem: whole[..whole.len() / 2].to_vec() });
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
