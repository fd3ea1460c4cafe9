//! One certificate: read by the X.509 parser, its form looked at, and what is needed of it kept.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use portcullis::{
    check::certificate::{
        margin::Validity,
        names::{self, Flaw, Names},
    },
    text::visible,
};
use x509_parser::{
    asn1_rs::{Any, FromDer as _},
    certificate::X509Certificate,
    error::X509Error,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::OID_X509_COMMON_NAME,
    public_key::PublicKey,
    x509::X509Version,
};

use super::{
    Problem, Problems,
    blocks::{Block, why},
};

/// What is kept of a certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Its place in its file or chain, from 1.
    pub(super) number: usize,
    pub(super) der: Vec<u8>,
    /// For people.
    pub(super) subject: String,
    /// For people.
    pub(super) issuer: String,
    /// As encoded: names are compared so.
    pub(super) subject_der: Vec<u8>,
    /// As encoded.
    pub(super) issuer_der: Vec<u8>,
    /// Its public key, with the algorithm.
    pub(super) spki: Vec<u8>,
    pub(super) validity: Validity,
    /// Kept of the first one only: no other is asked for its names.
    pub(super) names: Names,
}

impl Certificate {
    /// How it is called in problems.
    pub(super) fn place(&self) -> String {
        format!("certificate {} ({})", self.number, self.subject)
    }

    /// Whether it claims to be its own issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }
}

/// The certificate, if one can be made out; what is wrong with its form is told either way.
pub(super) fn parse(block: Block, problems: &mut Problems) -> Option<Certificate> {
    let place = block.place();
    if block.der.len() > DER_BYTES_MAX {
        problems.push(Problem::fail(&place, format!("has {} bytes, more than any client takes", block.der.len())));
        return None;
    }
    // The parser is not ours. Should it ever stop at something, it stops at that one certificate.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let mut found = Vec::new();
        let certificate = whole(&block, &place, &mut found);
        (certificate, found)
    }));
    let Ok((certificate, found)) = parsed else {
        problems.push(Problem::unknown(&place, "cannot be judged, by a defect of ours"));
        return None;
    };
    problems.extend(found);
    certificate.map(|certificate| Certificate { der: block.der, ..certificate })
}

/// All but `der`, which is still borrowed.
fn whole(block: &Block, place: &str, problems: &mut Vec<Problem>) -> Option<Certificate> {
    let (rest, x509) = match X509Certificate::from_der(&block.der) {
        Ok(parsed) => parsed,
        Err(error) => {
            problems.push(Problem::fail(place, format!("is ill-formed: {}", refused(&block.der, &error))));
            return None;
        }
    };
    let subject = name(&x509.subject().to_string());
    let place = format!("certificate {} ({subject})", block.number);
    if !rest.is_empty() {
        problems.push(Problem::fail(&place, format!("is followed by {} bytes that are no part of it", rest.len())));
    }
    form(&x509, &place, problems);
    let names = names_of(&x509, &place, problems);
    let validity = x509.validity();
    Some(Certificate {
        number: block.number,
        der: Vec::new(),
        subject,
        issuer: name(&x509.issuer().to_string()),
        subject_der: x509.subject.as_raw().to_vec(),
        issuer_der: x509.issuer.as_raw().to_vec(),
        spki: x509.subject_pki.raw.to_vec(),
        validity: Validity { from_s: validity.not_before.timestamp(), until_s: validity.not_after.timestamp() },
        names: if block.number == 1 { names } else { Names::default() },
    })
}

/// What the parser did not like, in words; where DER itself is broken, how.
fn refused(der: &[u8], error: &x509_parser::nom::Err<X509Error>) -> String {
    if der.is_empty() {
        return "it is empty".into();
    }
    match Any::from_der(der) {
        Err(_) => why(der),
        Ok((_, any)) if any.data.is_empty() => "there is nothing in it".into(),
        Ok(_) => match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
            x509_parser::nom::Err::Incomplete(_) => "a field is longer than what it is in".into(),
        },
    }
}

/// What RFC 5280 does not allow and clients refuse, or may.
fn form(x509: &X509Certificate<'_>, place: &str, problems: &mut Vec<Problem>) {
    let mut fail = |text: &str| problems.push(Problem::fail(place, text));
    if !matches!(x509.version(), X509Version::V1 | X509Version::V2 | X509Version::V3) {
        fail("has a version that there is not");
    } else if x509.version() != X509Version::V3 && !x509.extensions().is_empty() {
        fail("has extensions, and not version 3");
    }
    match x509.raw_serial() {
        [] => fail("has an empty serial number"),
        [first, ..] if first & 0x80 != 0 => fail("has a negative serial number"),
        serial if serial.len() > SERIAL_BYTES_MAX => fail("has a serial number of more than 20 bytes"),
        _ => {}
    }
    if x509.signature_algorithm != x509.signature {
        fail("says twice how it was signed, and not the same");
    }
    problems.extend(weakness(x509).map(|told| Problem::fail(place, told)));
    extensions(x509.extensions(), place, problems);
}

/// Whether its RSA key is one that clients refuse.
pub(super) fn is_short(der: &[u8]) -> bool {
    let bits = || X509Certificate::from_der(der).ok().and_then(|(_, x509)| rsa_bits(&x509));
    catch_unwind(AssertUnwindSafe(bits)).is_ok_and(|bits| bits.is_some_and(|bits| bits < RSA_BITS_MIN))
}

fn rsa_bits(x509: &X509Certificate<'_>) -> Option<usize> {
    match x509.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    }
}

/// What clients no longer take, however well-formed. A root's own signature is not looked at by those who believe it.
fn weakness(x509: &X509Certificate<'_>) -> Option<String> {
    if let Some(bits) = rsa_bits(x509).filter(|bits| *bits < RSA_BITS_MIN) {
        return Some(format!("has an RSA key of {bits} bits, which clients refuse: it must have {RSA_BITS_MIN}"));
    }
    let signed_by = x509.signature_algorithm.algorithm.to_id_string();
    let (_, hash) = WEAK_SIGNATURES.iter().find(|(oid, _)| *oid == signed_by)?;
    (x509.subject.as_raw() != x509.issuer.as_raw()).then(|| format!("is signed with {hash}, which clients refuse"))
}

fn extensions(extensions: &[X509Extension<'_>], place: &str, problems: &mut Vec<Problem>) {
    let (mut seen, mut told_of) = (BTreeSet::new(), 0);
    for extension in extensions {
        let oid = extension.oid.to_id_string();
        let told = if !seen.insert(extension.oid.as_bytes().to_vec()) {
            format!("has the extension {oid} twice")
        } else {
            match extension.parsed_extension() {
                ParsedExtension::ParseError { error } => format!("has an ill-formed extension {oid}: {error}"),
                ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
                    format!("has the extension {oid}, which is critical and unknown")
                }
                _ => continue,
            }
        };
        told_of += 1;
        if told_of <= FORM_PROBLEMS_MAX {
            problems.push(Problem::fail(place, told));
        }
    }
    if told_of > FORM_PROBLEMS_MAX {
        let more = told_of - FORM_PROBLEMS_MAX;
        problems.push(Problem::fail(place, format!("has {more} more extensions that are not as they should be")));
    }
}

/// The names, and what is wrong with them: of thousands, only the first few flaws.
fn names_of(x509: &X509Certificate<'_>, place: &str, problems: &mut Vec<Problem>) -> Names {
    let common_name = x509.subject().iter_by_oid(&OID_X509_COMMON_NAME).next();
    let mut names =
        Names { common_name: common_name.and_then(|name| name.as_str().ok()).map(Into::into), ..Names::default() };
    let mut flaws = 0;
    for extension in x509.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() else { continue };
        if alternative.general_names.is_empty() {
            problems.push(Problem::fail(place, "has a subjectAltName without a name"));
        }
        for (index, entry) in alternative.general_names.iter().enumerate() {
            if let Some(problem) = take(entry, index + 1, place, &mut names) {
                flaws += 1;
                if flaws <= FORM_PROBLEMS_MAX {
                    problems.push(problem);
                }
            }
        }
    }
    if flaws > FORM_PROBLEMS_MAX {
        let more = flaws - FORM_PROBLEMS_MAX;
        problems.push(Problem::fail(place, format!("has {more} more names that are not as they should be")));
    }
    names
}

/// One entry of a subjectAltName.
fn take(entry: &GeneralName<'_>, number: usize, place: &str, names: &mut Names) -> Option<Problem> {
    let told = |told: &str| format!("has a subjectAltName {number} that {told}");
    match entry {
        GeneralName::DNSName(name) => match names::flaw(name) {
            Some(Flaw::Malformed(flaw)) => Some(Problem::fail(place, told(&format!("{flaw}: `{}`", visible(name))))),
            flaw => {
                names.dns.push((*name).into());
                let Some(Flaw::Useless(flaw)) = flaw else { return None };
                Some(Problem::warning(place, told(&format!("{flaw}: `{}`", visible(name)))))
            }
        },
        GeneralName::IPAddress(bytes) => match address(bytes) {
            Some(address) => {
                names.addresses.push(address);
                None
            }
            None => Some(Problem::fail(place, told(&format!("is an IP address of {} bytes", bytes.len())))),
        },
        GeneralName::Invalid(tag, _) => Some(Problem::fail(place, told(&format!("is ill-formed (tag {})", tag.0)))),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn name(text: &str) -> String {
    let text = visible(text);
    match text.char_indices().nth(NAME_CHARS_MAX) {
        _ if text.is_empty() => "no subject".into(),
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A certificate with ten thousand names has less; OpenSSL's own limit for a whole chain is 100 KiB.
const DER_BYTES_MAX: usize = 512 << 10;
/// CA/Browser Forum Baseline Requirements §6.1.5, and what OpenSSL asks for where nobody says otherwise (its level 2).
const RSA_BITS_MIN: usize = 2_048;
/// Collisions were shown for them (RFC 9155; RFC 6151).
const WEAK_SIGNATURES: [(&str, &str); 4] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
];
/// RFC 5280 §4.1.2.2.
const SERIAL_BYTES_MAX: usize = 20;
/// Of one certificate, so many are enough to see that it is no good.
const FORM_PROBLEMS_MAX: usize = 5;
/// Of a subject or issuer, for people.
const NAME_CHARS_MAX: usize = 80;
