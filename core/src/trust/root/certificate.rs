//! A certificate of a trusted root, with the facts people and decisions need.

use der::{Decode, Encode, oid::ObjectIdentifier};
use jiff::Timestamp;
use serde::Serialize;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::Window;
use crate::Digest;

/// A parsed X.509 certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The subject's distinguished name (RFC 4514 text).
    pub subject: String,
    /// `notBefore` to `notAfter`.
    pub validity: Window,
    /// The algorithm of the certified key.
    pub algorithm: KeyAlgorithm,
    /// SHA-256 of the certificate.
    pub digest: Digest,
    /// The certificate, DER-encoded.
    #[serde(skip)]
    pub der: Vec<u8>,
}

/// The algorithm of a public key, as far as it can be told from its SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    #[serde(rename = "ECDSA P-256")]
    EcdsaP256,
    /// ECDSA on NIST P-384.
    #[serde(rename = "ECDSA P-384")]
    EcdsaP384,
    /// ECDSA on NIST P-521.
    #[serde(rename = "ECDSA P-521")]
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA.
    #[serde(rename = "RSA")]
    Rsa,
    /// Anything else.
    #[serde(rename = "unknown")]
    Unknown,
}

impl KeyAlgorithm {
    const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

    /// The algorithm named by a DER-encoded SubjectPublicKeyInfo.
    pub fn of_spki(spki: &[u8]) -> Self {
        SubjectPublicKeyInfoOwned::from_der(spki).map_or(Self::Unknown, |spki| Self::of(&spki))
    }

    fn of(spki: &SubjectPublicKeyInfoOwned) -> Self {
        match spki.algorithm.oid {
            Self::ED25519 => Self::Ed25519,
            Self::RSA => Self::Rsa,
            Self::EC => {
                match spki.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok()) {
                    Some(Self::P256) => Self::EcdsaP256,
                    Some(Self::P384) => Self::EcdsaP384,
                    Some(Self::P521) => Self::EcdsaP521,
                    _ => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::EcdsaP521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
            Self::Unknown => "unknown algorithm",
        })
    }
}

impl Certificate {
    /// The largest certificate accepted, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Parses a DER-encoded certificate; the error says what is wrong with it.
    pub fn from_der(der: Vec<u8>) -> Result<Self, String> {
        if der.len() > Self::MAX_BYTES {
            return Err(format!("a certificate of {} bytes is larger than the {} allowed", der.len(), Self::MAX_BYTES));
        }
        let parsed = x509_cert::Certificate::from_der(&der).map_err(|e| format!("not a certificate: {e}"))?;
        let tbs = &parsed.tbs_certificate;
        let instant = |time: x509_cert::time::Time| {
            Timestamp::new(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX), 0)
                .map_err(|e| format!("its validity cannot be read: {e}"))
        };
        let validity = Window::new(Some(instant(tbs.validity.not_before)?), Some(instant(tbs.validity.not_after)?))
            .map_err(|e| e.to_string())?;
        let digest = Digest::of(&der);
        Ok(Self {
            subject: tbs.subject.to_string(),
            validity,
            algorithm: KeyAlgorithm::of(&tbs.subject_public_key_info),
            digest,
            der,
        })
    }

    /// The certified key, DER-encoded SubjectPublicKeyInfo.
    pub fn spki(&self) -> Option<Vec<u8>> {
        x509_cert::Certificate::from_der(&self.der).ok()?.tbs_certificate.subject_public_key_info.to_der().ok()
    }
}
