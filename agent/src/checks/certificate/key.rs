//! Whether a private key is the one of a certificate. Nothing of the key is ever told, not even of one that is broken.

use portcullis::text;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use x509_parser::{asn1_rs::FromDer as _, x509::SubjectPublicKeyInfo};

use super::{Certificate, Problem, Problems, file};

/// Compares the public halves.
pub(super) fn belongs(certificate: &Certificate, path: &str, problems: &mut Problems) {
    match file::read(path).and_then(|bytes| public_of(&bytes, path)) {
        Err(problem) => problems.push(problem),
        Ok(public) if public_key(&public).is_some_and(|public| Some(public) == public_key(&certificate.spki)) => {}
        Ok(_) => {
            let text = format!("and the key in {} do not belong together", text::visible(path));
            problems.push(Problem::fail(&certificate.place(), text));
        }
    }
}

/// The public half of the first private key in a file, with its algorithm.
fn public_of(bytes: &[u8], path: &str) -> Result<Vec<u8>, Problem> {
    let shown = text::visible(path);
    let key = if bytes.starts_with(DER_SEQUENCE) {
        PrivateKeyDer::try_from(bytes).map_err(|_| Problem::fail("", format!("{shown} holds no private key")))?
    } else {
        // The errors of the reader quote what they read.
        PrivateKeyDer::from_pem_slice(bytes).map_err(|_| unreadable(bytes, &shown))?
    };
    let key = any_supported_type(&key).map_err(|_| {
        let known = "RSA from 2048 bits, ECDSA on P-256 and P-384, Ed25519";
        Problem::unknown(
            "",
            format!("the key in {shown} is broken or of a kind that cannot be compared here ({known})"),
        )
    })?;
    match key.public_key() {
        Some(public) => Ok(public.to_vec()),
        None => Err(Problem::unknown("", format!("the key in {shown} does not tell its public half"))),
    }
}

fn unreadable(bytes: &[u8], shown: &str) -> Problem {
    let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    if has(b"ENCRYPTED") {
        return Problem::unknown("", format!("the key in {shown} is encrypted: it cannot be compared"));
    }
    if has(b"PRIVATE KEY") {
        return Problem::fail("", format!("the private key in {shown} is ill-formed"));
    }
    Problem::fail("", format!("{shown} holds no private key"))
}

/// Without the algorithm, which may be written in more than one way.
fn public_key(spki: &[u8]) -> Option<Vec<u8>> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    Some(spki.subject_public_key.data.to_vec())
}

const DER_SEQUENCE: &[u8] = &[0x30];
