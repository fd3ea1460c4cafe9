//! Takes down what is presented, believing all of it; and has the server prove that it holds the key.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Mutex, PoisonError, Presented, Problem, is_short};

/// What was presented.
#[derive(Debug)]
pub(super) struct Recorder {
    algorithms: WebPkiSupportedAlgorithms,
    presented: Mutex<(Vec<Vec<u8>>, Option<Problem>)>,
}

impl Default for Recorder {
    fn default() -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Self { algorithms, presented: Mutex::default() }
    }
}

impl Recorder {
    /// The chain, if one came.
    pub(super) fn take(&self) -> Option<Presented> {
        let (certificates, unproven) =
            std::mem::take(&mut *self.presented.lock().unwrap_or_else(PoisonError::into_inner));
        (!certificates.is_empty()).then_some(Presented { certificates, unproven })
    }

    fn proof(
        &self,
        certificate: &CertificateDer<'_>,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Of a key that is too short no signature is taken; that it is too short is told with the certificate.
        if let Err(error) = &proof
            && !is_short(certificate)
        {
            let problem = match error {
                Error::InvalidCertificate(CertificateError::BadSignature) => {
                    Problem::fail("", "the server does not hold the key of its certificate: its signature is wrong")
                }
                other => Problem::unknown("", format!("whether the server holds the key could not be told: {other}")),
            };
            self.presented.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(problem);
        }
        proof
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        self.presented.lock().unwrap_or_else(PoisonError::into_inner).0 = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof(certificate, verify_tls12_signature(message, certificate, signature, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof(certificate, verify_tls13_signature(message, certificate, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
