//! The order of a chain: the server's own certificate first, each signed by the next (RFC 5246 §7.4.2).
//!
//! RFC 8446 lets a server be less orderly, and many clients cope; those that do not are somebody's.

use std::collections::BTreeMap;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::{ALL_VERIFICATION_ALGS, Error, RawPublicKeyEntity};
use x509_parser::{asn1_rs::FromDer as _, certificate::X509Certificate};

use super::{Certificate, Problem, Problems};

/// Looks at the order. Where some of the `total` could not be read, it is looked at between those that could.
pub(super) fn order(certificates: &[Certificate], total: usize, problems: &mut Problems) {
    let mut seen: BTreeMap<&[u8], usize> = BTreeMap::new();
    for pair in certificates.windows(2) {
        let [one, next] = pair else { continue };
        seen.entry(&one.der).or_insert(one.number);
        if let Some(earlier) = seen.get(next.der.as_slice()) {
            problems.push(Problem::fail(&next.place(), format!("is the same as certificate {earlier}")));
        } else if next.number == one.number + 1 {
            problems.extend(step(one, next, certificates));
        }
    }
    if let [.., one, root] = certificates
        && root.number == total
        && root.is_self_issued()
        && one.issuer_der == root.subject_der
        && one.der != root.der
    {
        let text = "is a root: clients have it or do not believe it, so it need not be there";
        problems.push(Problem::warning(&root.place(), text));
    }
}

/// What is wrong with `next` following `one`.
fn step(one: &Certificate, next: &Certificate, all: &[Certificate]) -> Option<Problem> {
    if one.issuer_der != next.subject_der {
        return Some(misplaced(one, next, all));
    }
    match is_signed_by(one, next) {
        Signed::Yes => None,
        Signed::No => {
            let text = format!("bears the name of the issuer of certificate {}, and did not sign it", one.number);
            Some(Problem::fail(&next.place(), text))
        }
        Signed::CannotTell(algorithm) => {
            let text = format!("is signed by an algorithm that cannot be checked here ({algorithm})");
            Some(Problem::warning(&one.place(), text))
        }
    }
}

fn misplaced(one: &Certificate, next: &Certificate, all: &[Certificate]) -> Problem {
    if next.issuer_der == one.subject_der {
        let text = format!("is out of order: its issuer, certificate {}, must come after it", one.number);
        return Problem::fail(&next.place(), text);
    }
    let issues_another = all.iter().find(|other| other.number != next.number && other.issuer_der == next.subject_der);
    let issuer = all.iter().find(|other| other.subject_der == one.issuer_der && other.number != one.number);
    match (issuer, issues_another) {
        (Some(issuer), _) => {
            let text =
                format!("is out of order: after certificate {} comes its issuer, {}", one.number, issuer.place());
            Problem::fail(&next.place(), text)
        }
        (None, Some(other)) => {
            let text = format!("is out of order: it is the issuer of certificate {}", other.number);
            Problem::fail(&next.place(), text)
        }
        (None, None) => {
            let text = format!("is unrelated: the issuer of certificate {} is {}", one.number, one.issuer);
            Problem::fail(&next.place(), text)
        }
    }
}

/// Whether a signature holds.
#[derive(Debug)]
pub(super) enum Signed {
    Yes,
    No,
    /// With the algorithm.
    CannotTell(String),
}

pub(super) fn is_signed_by(one: &Certificate, issuer: &Certificate) -> Signed {
    let Ok((_, x509)) = X509Certificate::from_der(&one.der) else { return Signed::No };
    let spki = SubjectPublicKeyInfoDer::from(issuer.spki.as_slice());
    let Ok(key) = RawPublicKeyEntity::try_from(&spki) else { return Signed::No };
    let oid = x509.signature_algorithm.algorithm.as_bytes();
    let mut is_known = false;
    for algorithm in ALL_VERIFICATION_ALGS.iter().filter(|algorithm| begins_with(&algorithm.signature_alg_id(), oid)) {
        match key.verify_signature(*algorithm, x509.tbs_certificate.as_ref(), &x509.signature_value.data) {
            Ok(()) => return Signed::Yes,
            Err(Error::InvalidSignatureForPublicKey) => is_known = true,
            Err(_) => {}
        }
    }
    if is_known { Signed::No } else { Signed::CannotTell(x509.signature_algorithm.algorithm.to_id_string()) }
}

/// Whether an algorithm identifier, without its outer header, names that object: tag, length, content.
fn begins_with(identifier: &[u8], oid: &[u8]) -> bool {
    identifier.get(1).is_some_and(|&length| usize::from(length) == oid.len()) && identifier[2..].starts_with(oid)
}
