//! Broken in every way that chance finds. What is asked for: no panic, no hang, and never a pass for what is not whole.

use std::time::{Duration, Instant};

use portcullis::outcome::Status;
use proptest::{prelude::*, strategy::ValueTree as _};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::pki_types::ServerName;

use super::*;

/// 2030.
const NOW_S: i64 = 1_893_456_000;

/// How long each of the open-ended tests goes on.
const FUZZING: Duration = Duration::from_secs(3);

fn judge(bytes: &[u8], wanted: &Wanted) -> Finding {
    Judge { wanted, now_s: NOW_S, until: clock::monotonic() + Duration::from_secs(60) }.file(bytes)
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2040, 1, 1));
    params
}

/// A server's certificate, and the authority that signed it.
fn pair() -> (rcgen::Certificate, rcgen::Certificate) {
    let (key, own) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let mut authority = params(&[]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&authority, &key);
    let mut server = params(&["a.example", "*.b.example"]);
    server.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
    (server.signed_by(&own, &issuer).unwrap(), root)
}

/// A file that must have a file of roots beside it.
fn with_roots() -> (Wanted, rcgen::Certificate, tempfile::TempDir) {
    let (server, root) = pair();
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.pem");
    std::fs::write(&roots, root.pem()).unwrap();
    let roots = Some(roots.to_str().unwrap().into());
    (Wanted { roots, ..Wanted::default() }, server, directory)
}

#[test]
fn cut_anywhere() {
    let (server, root) = pair();
    let (pem, wanted) = (server.pem(), Wanted::default());
    // The last line feed may be missing.
    for length in 0..pem.len() - 1 {
        let finding = judge(&pem.as_bytes()[..length], &wanted);
        assert_eq!(finding.status, Status::Fail, "{length} bytes of PEM");
        assert!(finding.reason.is_some_and(|reason| !reason.is_empty()));
    }
    let der = [server.der().as_ref(), root.der().as_ref()].concat();
    for length in (0..der.len()).filter(|&length| length != server.der().len()) {
        assert_eq!(judge(&der[..length], &wanted).status, Status::Fail, "{length} bytes of DER");
    }
    assert_eq!((judge(&der, &wanted).status, judge(pem.as_bytes(), &wanted).status), (Status::Pass, Status::Pass));
}

/// The signature covers all of it, and the signature's own bits are not malleable.
#[test]
fn no_flipped_bit_is_believed() {
    let (wanted, server, _directory) = with_roots();
    let mut der = server.der().to_vec();
    assert_eq!(judge(&der, &wanted).status, Status::Pass);
    for bit in 0..der.len() * 8 {
        der[bit / 8] ^= 1 << (bit % 8);
        let finding = judge(&der, &wanted);
        assert_ne!(finding.status, Status::Pass, "bit {bit}");
        der[bit / 8] ^= 1 << (bit % 8);
    }
}

fn change(bytes: &mut Vec<u8>, (kind, at, value): (u8, prop::sample::Index, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match kind % 6 {
        0 => bytes[at] = value,
        1 => bytes[at] ^= 1 << (value % 8),
        2 => bytes.insert(at, value),
        3 => drop(bytes.remove(at)),
        4 => bytes.truncate(at),
        _ => {
            let piece = bytes[at..(at + usize::from(value)).min(bytes.len())].to_vec();
            bytes.extend(piece);
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..12)
}

/// As often as there is time for; every case is one more way to be broken.
fn fuzz(of: &[u8], check: impl Fn(&[u8])) {
    let (began, mut cases) = (clock::monotonic(), 0);
    let mut runner = proptest::test_runner::TestRunner::default();
    while Instant::elapsed(&began) < FUZZING {
        let changes = changes().new_tree(&mut runner).unwrap().current();
        let mut bytes = of.to_vec();
        changes.iter().for_each(|&one| change(&mut bytes, one));
        check(&bytes);
        cases += 1;
    }
    assert!(cases > 100, "only {cases} cases");
}

/// None of them is a defect of ours, and none takes long.
fn survives(bytes: &[u8], wanted: &Wanted) -> Finding {
    let began = clock::monotonic();
    let finding = judge(bytes, wanted);
    let reason = finding.reason.clone().unwrap_or_default();
    assert!(!reason.contains("a defect of ours"), "{reason}: {bytes:?}");
    assert_eq!(finding.status == Status::Pass, reason.is_empty(), "{reason}");
    assert!(reason.len() < 10_000 && reason.chars().all(|c| !c.is_control()), "{reason}");
    assert!(Instant::elapsed(&began) < Duration::from_secs(5), "slow: {bytes:?}");
    finding
}

#[test]
fn changed_der() {
    let (wanted, server, _directory) = with_roots();
    let wanted = Wanted { names: Some(vec!["a.example".into()]), ..wanted };
    fuzz(server.der(), |der| {
        let finding = survives(der, &wanted);
        assert!(finding.status != Status::Pass || der == server.der().as_ref(), "{der:?}");
    });
}

#[test]
fn changed_pem() {
    let (server, root) = pair();
    let pem = format!("comment\n{}{}", server.pem(), root.pem());
    fuzz(pem.as_bytes(), |bytes| drop(survives(bytes, &Wanted::default())));
}

proptest! {
    #[test]
    fn anything_at_all(bytes in prop::collection::vec(any::<u8>(), 0..2_000), wrapped in any::<bool>()) {
        let bytes = if wrapped { [&[0x30, 0x82][..], &bytes].concat() } else { bytes };
        survives(&bytes, &Wanted::default());
    }

    /// Which names a certificate is good for, `webpki` has worked out on its own.
    #[test]
    fn names_as_webpki_sees_them(
        presented in prop::collection::vec("(\\*\\.)?([abAB*_-]{1,2}\\.){0,3}(example|a|B)", 1..4),
        wanted in "([abAB]{1,2}\\.){0,3}(example|a|B)\\.?",
    ) {
        let entries: Vec<u8> = presented.iter().flat_map(|name| [&[0x82, name.len() as u8], name.as_bytes()].concat()).collect();
        let list = [&[0x30, entries.len() as u8][..], &entries].concat();
        let mut params = params(&[]);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], list));
        let made = params.self_signed(&KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap();
        let block = Block { number: 1, offset: None, der: made.der().to_vec() };
        let ours = parsed::parse(block, &mut Problems::default()).unwrap().names.cover(&wanted);
        let theirs = webpki::EndEntityCert::try_from(made.der()).unwrap();
        let theirs = theirs.verify_is_valid_for_subject_name(&ServerName::try_from(wanted.clone()).unwrap()).is_ok();
        // webpki refuses labels that begin or end with a hyphen, which some certificates have.
        prop_assert!(ours == theirs || presented.iter().any(|name| name.contains('-')), "{presented:?} {wanted}: {ours} {theirs}");
    }
}

/// That so many are no chain is told; and of a first one that cannot be read, nothing else is said in its place.
#[test]
fn what_is_no_chain() {
    let (server, _) = pair();
    for (count, is_told) in [(CHAIN_MAX, false), (CHAIN_MAX + 1, true)] {
        let reason = judge(server.pem().repeat(count).as_bytes(), &Wanted::default()).reason.unwrap_or_default();
        assert_eq!(reason.contains("certificates are no chain"), is_told, "{reason}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_string() + &server.pem();
    let wanted = Wanted { names: Some(vec!["other.example".into()]), ..Wanted::default() };
    let finding = judge(broken.as_bytes(), &wanted);
    assert_eq!(finding.status, Status::Fail);
    assert!(!finding.reason.as_ref().unwrap().contains("other.example"), "{finding:?}");
    let reason = judge(server.pem().as_bytes(), &wanted).reason.unwrap();
    assert!(reason.contains("is not for `other.example`"), "{reason}");
}
