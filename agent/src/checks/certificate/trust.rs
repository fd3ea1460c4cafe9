//! Whether clients that believe certain roots believe this chain: as rustls does, by `webpki`.

use std::time::Duration;

use portcullis::check::certificate::{
    SYSTEM,
    margin::{Margins, Standing, Validity, date},
};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::{Certificate, Problem, Problems, blocks, chain, file, parsed};

/// Looks for a way from the first certificate over the others to a root.
pub(super) fn check(certificates: &[Certificate], roots: &str, margins: Margins, now_s: i64, problems: &mut Problems) {
    let roots = match if roots == SYSTEM { system() } else { given(roots) } {
        Ok(roots) => roots,
        Err(problem) => return problems.push(problem),
    };
    let Some(first) = certificates.first() else { return };
    let trusted = CertificateDer::from(first.der.as_slice());
    if roots.contains(&trusted) {
        // Believed by itself; then it need not lead anywhere.
        return;
    }
    let anchors: Vec<_> = roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    match path(certificates, &anchors, moment(certificates, now_s)) {
        Ok(anchor) => problems.extend(expired(&anchor, &roots, margins, now_s)),
        Err(error) => problems.push(refused(&error, certificates)),
    }
}

fn path(
    certificates: &[Certificate],
    anchors: &[TrustAnchor<'_>],
    time: UnixTime,
) -> Result<TrustAnchor<'static>, Error> {
    let mut chain = certificates.iter().map(|certificate| CertificateDer::from(certificate.der.as_slice()));
    let first = chain.next().ok_or(Error::UnknownIssuer)?;
    let rest: Vec<_> = chain.collect();
    let server = EndEntityCert::try_from(&first)?;
    let usage = KeyUsage::server_auth();
    let path = server.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, &rest, time, usage, None, None)?;
    Ok(path.anchor().to_owned())
}

/// A moment at which all are valid, if there is one: what the dates come to was told already, and is not to hide the rest.
fn moment(certificates: &[Certificate], now_s: i64) -> UnixTime {
    let from_s = certificates.iter().map(|certificate| certificate.validity.from_s).max().unwrap_or(now_s);
    let until_s = certificates.iter().map(|certificate| certificate.validity.until_s).min().unwrap_or(now_s);
    let at_s = if from_s <= until_s { now_s.clamp(from_s, until_s) } else { now_s };
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at_s).unwrap_or(0)))
}

fn refused(error: &Error, certificates: &[Certificate]) -> Problem {
    let place = certificates.first().map(Certificate::place).unwrap_or_default();
    let told = match error {
        Error::UnknownIssuer => return unknown_issuer(certificates),
        // Told already, with the dates.
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            "is part of a chain that is never valid as a whole"
        }
        Error::CaUsedAsEndEntity => "is one of an authority, not of a server",
        Error::EndEntityUsedAsCa => "was signed by a certificate that is not one of an authority",
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => "is not for servers (extended key usage)",
        Error::NameConstraintViolation => "has a name that its authority may not certify (name constraints)",
        Error::PathLenConstraintViolated => "has more authorities above it than the highest allows (path length)",
        Error::InvalidSignatureForPublicKey => "has a chain with a signature that is wrong",
        Error::UnsupportedCertVersion => "is not of version 3",
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            return Problem::unknown(
                &place,
                "has a chain with a signature of an algorithm that cannot be checked here",
            );
        }
        other => return Problem::fail(&place, format!("has a chain that clients refuse: {other}")),
    };
    Problem::fail(&place, told)
}

/// Where the chain ends, and what is not there.
fn unknown_issuer(certificates: &[Certificate]) -> Problem {
    let mut last = &certificates[0];
    // Each step is to another one: at most all of them.
    for _ in certificates {
        let up = certificates.iter().find(|other| other.subject_der == last.issuer_der && other.number != last.number);
        match up {
            Some(up) if !last.is_self_issued() => last = up,
            _ => break,
        }
    }
    if last.is_self_issued() {
        let what = if last.number == 1 { "is self-signed" } else { "is a root" };
        let text = match chain::is_signed_by(last, last) {
            chain::Signed::No => format!("{what}, and its signature is wrong"),
            _ => format!("{what}, and not among those that are believed"),
        };
        return Problem::fail(&last.place(), text);
    }
    let text = format!(
        "was issued by {}, which is neither in the chain nor a root that is believed: an intermediate certificate is missing, \
         or the root",
        last.issuer
    );
    Problem::fail(&last.place(), text)
}

/// webpki does not look at a root's dates; OpenSSL does. Of one that was renewed with its key the latest counts.
fn expired(anchor: &TrustAnchor<'_>, roots: &[CertificateDer<'_>], margins: Margins, now_s: i64) -> Option<Problem> {
    let is_it = |root: &&CertificateDer<'_>| anchor_from_trusted_cert(root).is_ok_and(|other| other == *anchor);
    let block = |root: &CertificateDer<'_>| blocks::Block { number: 0, offset: None, der: root.to_vec() };
    let found = roots.iter().filter(is_it).filter_map(|root| parsed::parse(block(root), &mut Problems::default()));
    let root = found.max_by_key(|root| root.validity.until_s)?;
    let Validity { from_s, until_s } = root.validity;
    let place = format!("the root ({})", root.subject);
    match root.validity.standing(margins, now_s) {
        Standing::Good => None,
        Standing::NotYet => Some(Problem::fail(&place, format!("is not yet valid: from {}", date(from_s)))),
        Standing::Never | Standing::Expired => Some(Problem::fail(&place, format!("has expired: {}", date(until_s)))),
        Standing::Short { .. } | Standing::Soon { .. } => {
            Some(Problem::warning(&place, format!("expires soon: {}", date(until_s))))
        }
    }
}

fn system() -> Result<Vec<CertificateDer<'static>>, Problem> {
    let loaded = rustls_native_certs::load_native_certs();
    match (loaded.certs.is_empty(), loaded.errors.first()) {
        (false, _) => Ok(loaded.certs),
        (true, Some(error)) => Err(Problem::unknown("", format!("the system's roots cannot be read: {error}"))),
        (true, None) => Err(Problem::unknown("", "the system has no roots (Debian: package ca-certificates)")),
    }
}

/// From a file. One that cannot be read whole is no basis for believing anything.
fn given(path: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = file::read(path)?;
    let mut problems = Problems::default();
    let blocks = blocks::split(&bytes, &mut problems);
    let roots: Vec<_> = blocks.into_iter().map(|block| CertificateDer::from(block.der)).collect();
    let is_bad = |root: &&CertificateDer<'_>| anchor_from_trusted_cert(root).is_err();
    match (problems.is_empty(), roots.iter().position(|root| is_bad(&root))) {
        (false, _) => {
            let why = problems.into_finding().reason.unwrap_or_default();
            Err(Problem::fail("", format!("the roots in {path}: {why}")))
        }
        (true, Some(index)) => {
            Err(Problem::fail("", format!("the roots in {path}: certificate {} is ill-formed", index + 1)))
        }
        (true, None) => Ok(roots),
    }
}
