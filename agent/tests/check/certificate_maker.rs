//! Certificates of every kind, made to order; and how they are broken.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portcullis::{check::certificate::Certificate as Wanted, manifest::CheckKind};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use crate::fixture::Fixture;

/// A certificate and its key.
pub(crate) struct Made {
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    pub(crate) key: String,
    params: CertificateParams,
    pair: KeyPair,
}

/// One to be made: valid for decades, unless something else is said. Dates and serial are fixed, keys are ed25519 unless told
/// otherwise, so that every length is always the same.
pub(crate) struct Recipe {
    params: CertificateParams,
    algorithm: &'static SignatureAlgorithm,
}

/// A server's, for `names`.
pub(crate) fn server(names: &[&str]) -> Recipe {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut recipe =
        recipe(names.first().map_or("server", String::as_str), CertificateParams::new(names.clone()).unwrap());
    recipe.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    recipe
}

/// An authority's.
pub(crate) fn authority(name: &str) -> Recipe {
    let mut recipe = recipe(name, CertificateParams::new(Vec::new()).unwrap());
    recipe.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    recipe.params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    recipe
}

fn recipe(common_name: &str, mut params: CertificateParams) -> Recipe {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2048, 1, 1);
    params.serial_number = Some(SerialNumber::from(vec![0x7f, 0x11, 0x22, 0x33]));
    Recipe { params, algorithm: &PKCS_ED25519 }
}

impl Recipe {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    pub(crate) fn of(self, algorithm: &'static SignatureAlgorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) fn years(self, from: i32, until: i32) -> Self {
        self.with(|params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        })
    }

    /// Ends so many hours from now; it has lived for 60 days.
    pub(crate) fn hours_left(self, hours: i64) -> Self {
        let now = date_time_ymd(1970, 1, 1) + now();
        let hour = Duration::from_secs(3_600);
        self.with(|params| {
            params.not_before = now - 60 * 24 * hour;
            params.not_after =
                if hours < 0 { now - hour * hours.unsigned_abs() as u32 } else { now + hour * hours as u32 };
        })
    }

    /// With an extension whose content is just these bytes.
    pub(crate) fn extension(self, oid: &[u64], critical: bool, content: Vec<u8>) -> Self {
        let mut extension = CustomExtension::from_oid_content(oid, content);
        extension.set_criticality(critical);
        self.with(|params| params.custom_extensions.push(extension))
    }

    /// With a subjectAltName whose entries are just these: tag and content.
    pub(crate) fn alternative(self, entries: &[(u8, &[u8])]) -> Self {
        let entries: Vec<u8> = entries.iter().flat_map(|(tag, content)| der(*tag, content)).collect();
        self.extension(&[2, 5, 29, 17], false, der(0x30, &entries))
    }

    pub(crate) fn self_signed(self) -> Made {
        let pair = KeyPair::generate_for(self.algorithm).unwrap();
        let made = self.params.self_signed(&pair).unwrap();
        Made { pem: made.pem(), der: made.der().to_vec(), key: pair.serialize_pem(), params: self.params, pair }
    }

    pub(crate) fn signed_by(self, issuer: &Made) -> Made {
        let pair = KeyPair::generate_for(self.algorithm).unwrap();
        let issuer = Issuer::from_params(&issuer.params, &issuer.pair);
        let made = self.params.signed_by(&pair, &issuer).unwrap();
        Made { pem: made.pem(), der: made.der().to_vec(), key: pair.serialize_pem(), params: self.params, pair }
    }
}

impl Made {
    /// One of the same name with the same key, for other years.
    pub(crate) fn renewed(&self, from: i32, until: i32) -> String {
        let mut params = self.params.clone();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(&self.pair).unwrap().pem()
    }
}

/// A root, an intermediate, and a server's.
pub(crate) struct Chain {
    pub(crate) root: Made,
    pub(crate) middle: Made,
    pub(crate) server: Made,
}

pub(crate) fn chain(server: Recipe) -> Chain {
    let root = authority("Root").self_signed();
    let middle = authority("Middle").signed_by(&root);
    Chain { server: server.signed_by(&middle), middle, root }
}

impl Chain {
    /// As it should be presented.
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.server.pem, self.middle.pem)
    }
}

/// One element of DER.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u32::try_from(content.len()).unwrap() {
        short @ 0..128 => vec![short as u8],
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
            [vec![0x80 | bytes.len() as u8], bytes].concat()
        }
    };
    [vec![tag], length, content.to_vec()].concat()
}

/// DER as a block.
pub(crate) fn pem(der: &[u8]) -> String {
    use std::fmt::Write as _;
    let text = base64(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        writeln!(pem, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let [a, b, c] = [0, 1, 2].map(|index| u32::from(chunk.get(index).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        let digit = |place: usize| char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
        (0..4).map(|place| if place <= chunk.len() { digit(place) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// The bytes with the only place where `old` stands replaced.
pub(crate) fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    assert!(!places.is_empty(), "{old:?} is not there");
    let at = places[0];
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

impl Fixture {
    /// A file beside the tree; its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().into()
    }

    /// With a check of certificates, named like its number.
    pub(crate) fn with_certificate(mut self, wanted: Wanted) -> Self {
        let name = format!("certificate {}", self.manifest.checks.len());
        let check = portcullis::manifest::Check::new(&name, CheckKind::Certificate(wanted));
        self.manifest.checks.push(check);
        self
    }
}

/// A check of a file.
pub(crate) fn in_file(path: impl AsRef<Path>) -> Wanted {
    Wanted { file: Some(path.as_ref().to_str().unwrap().into()), ..Wanted::default() }
}

/// Since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates are made for today")]
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
