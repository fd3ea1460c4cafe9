//! TLS of the listeners: rustls with ring. Certificates are read again when their files change, without a restart, and watched:
//! what is shown, until when, and whether what is in the files could be shown goes to the decisions, which alert.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use portcullis::{observation::OwnCertificate, timestamp::Timestamp};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::config::Tls;

/// Certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{}`: {because}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub because: String,
}

/// An acceptor that follows its files.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: &'static str,
    files: Tls,
    current: Mutex<Current>,
}

/// What is shown.
struct Current {
    acceptor: TlsAcceptor,
    bytes: (Vec<u8>, Vec<u8>),
    /// In Unix seconds, of the whole chain.
    validity: (i64, i64),
    /// When the certificate's file was written, as it was when it was read.
    written_at: Option<Timestamp>,
    /// Why what is in the files now cannot be shown.
    unusable: Option<String>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current(…)")
    }
}

/// Whether certificate and key can be used.
///
/// # Errors
/// When they cannot, with the file that is to blame.
pub fn check(files: &Tls) -> Result<(), TlsError> {
    Current::read(files).map(drop)
}

impl Acceptor {
    /// For a listener of that name.
    pub(crate) fn new(listener: &'static str, files: Tls) -> Result<Self, TlsError> {
        let current = Mutex::new(Current::read(&files)?);
        Ok(Self { listener, files, current })
    }

    /// The acceptor for the next connection.
    pub(crate) fn current(&self) -> TlsAcceptor {
        self.lock().acceptor.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files, and takes over what is new in them; what cannot be used leaves the old one in its place. Blocks for
    /// as long as the disk does.
    pub(crate) fn look(&self) -> OwnCertificate {
        let looked = read(&self.files).and_then(|bytes| {
            let same = self.lock().bytes == bytes;
            if same { Ok(None) } else { Current::of(&self.files, bytes).map(Some) }
        });
        let mut current = self.lock();
        match looked {
            Ok(Some(new)) => {
                tracing::info!(listener = self.listener, "a new certificate is shown");
                *current = new;
            }
            Ok(None) => current.unusable = None,
            Err(error) => {
                let because = error.to_string();
                if current.unusable.as_ref() != Some(&because) {
                    tracing::error!(listener = self.listener, %error, "the certificate before is still shown");
                }
                current.unusable = Some(because);
            }
        }
        let written_at = written_at(&self.files);
        OwnCertificate {
            listener: self.listener.into(),
            path: self.files.cert.display().to_string(),
            from_s: current.validity.0,
            until_s: current.validity.1,
            rewritten_at: written_at.filter(|_| current.unusable.is_none() && written_at != current.written_at),
            unusable: current.unusable.clone(),
        }
    }
}

impl Current {
    fn read(files: &Tls) -> Result<Self, TlsError> {
        Self::of(files, read(files)?)
    }

    fn of(files: &Tls, bytes: (Vec<u8>, Vec<u8>)) -> Result<Self, TlsError> {
        let of_cert = |because: String| TlsError { path: files.cert.clone(), because };
        let of_key = |because: String| TlsError { path: files.key.clone(), because };
        let (cert, key) = &bytes;
        let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| of_cert(error.to_string()))?;
        let validity = validity(&chain).map_err(of_cert)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| of_key(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_cert(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    of_cert(format!("it does not belong to the key `{}`", files.key.display()))
                }
                other => of_cert(other.to_string()),
            })?;
        let (acceptor, written_at) = (TlsAcceptor::from(Arc::new(config)), written_at(files));
        Ok(Self { acceptor, bytes, validity, written_at, unusable: None })
    }
}

/// When all of a chain is valid: a client that needs the whole of it takes it no longer.
fn validity(chain: &[CertificateDer<'_>]) -> Result<(i64, i64), String> {
    let mut valid = (i64::MIN, i64::MAX);
    for der in chain {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let of = certificate.validity();
        valid = (valid.0.max(of.not_before.timestamp()), valid.1.min(of.not_after.timestamp()));
    }
    if chain.is_empty() { Err("there is no certificate in it".into()) } else { Ok(valid) }
}

fn read(files: &Tls) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let read =
        |path: &PathBuf| fs::read(path).map_err(|error| TlsError { path: path.clone(), because: error.to_string() });
    Ok((read(&files.cert)?, read(&files.key)?))
}

fn written_at(files: &Tls) -> Option<Timestamp> {
    let written = fs::metadata(&files.cert).and_then(|file| file.modified()).ok()?;
    Some(Timestamp(0) + written.duration_since(SystemTime::UNIX_EPOCH).ok()?)
}

/// Soon enough for a renewal, seldom enough not to matter.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const NEW_YEAR_2030_S: i64 = 1_893_456_000;

    fn write(files: &Tls, key: &KeyPair, until: i32) {
        let mut params = CertificateParams::new(["localhost".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        fs::write(&files.cert, params.self_signed(key).unwrap().pem()).unwrap();
    }

    #[test]
    fn what_is_in_the_files_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let files = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        write(&files, &key, 2030);
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let acceptor = Acceptor::new("agents", files.clone()).unwrap();
        let good = acceptor.look();
        assert_eq!(
            (good.listener.as_str(), good.until_s, good.unusable, good.rewritten_at),
            ("agents", NEW_YEAR_2030_S, None, None)
        );

        // Another key; no key; nonsense; and what was there before: the one that is shown stays.
        let cannot = |because: &str| {
            let seen = acceptor.look();
            let said = seen.unusable.unwrap();
            assert!(said.contains(because), "{said}");
            assert_eq!(seen.until_s, NEW_YEAR_2030_S);
        };
        fs::write(&files.key, other.serialize_pem()).unwrap();
        cannot("cert.pem`: it does not belong to the key");
        fs::remove_file(&files.key).unwrap();
        cannot("key.pem`: No such file");
        fs::write(&files.key, "nonsense").unwrap();
        cannot("key.pem`: ");
        fs::write(&files.key, key.serialize_pem()).unwrap();
        assert_eq!(acceptor.look().unusable, None);
        fs::write(&files.cert, "").unwrap();
        cannot("there is no certificate in it");

        // Written again, with the same in it: renewal runs, and nothing comes of it.
        let shown = acceptor.lock().bytes.0.clone();
        fs::write(&files.cert, shown).unwrap();
        let file = fs::File::options().append(true).open(&files.cert).unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        file.set_modified(later).unwrap();
        assert_eq!(acceptor.look().rewritten_at, Some(Timestamp(1_900_000_000_000)));

        write(&files, &key, 2031);
        let renewed = acceptor.look();
        assert!(renewed.until_s > NEW_YEAR_2030_S);
        assert_eq!((renewed.unusable, renewed.rewritten_at), (None, None));
    }

    #[test]
    fn what_ends_first_of_a_chain_counts() {
        let dir = tempfile::tempdir().unwrap();
        let files = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let key = KeyPair::generate().unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        write(&files, &key, 2030);
        let first = fs::read_to_string(&files.cert).unwrap();
        write(&files, &key, 2029);
        let second = fs::read_to_string(&files.cert).unwrap();
        fs::write(&files.cert, first + &second).unwrap();
        assert_eq!(Acceptor::new("agents", files).unwrap().look().until_s, NEW_YEAR_2030_S - 365 * 86_400);
    }
}
