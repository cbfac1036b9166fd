//! Key pairs.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use crate::asn1::{oid, seq};
use crate::pem;

/// A key pair that signs in the one scheme of its kind. Copies share the key.
#[derive(Clone)]
pub enum Key {
    /// ECDSA on P-256 with SHA-256.
    P256(Arc<EcdsaKeyPair>),
    /// ECDSA on P-384 with SHA-384.
    P384(Arc<EcdsaKeyPair>),
    /// Ed25519.
    Ed25519(Arc<Ed25519KeyPair>),
}

impl Key {
    /// A new P-256 key.
    pub fn p256() -> Self {
        Self::P256(Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")))
    }

    /// A new P-384 key.
    pub fn p384() -> Self {
        Self::P384(Arc::new(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).expect("a key")))
    }

    /// A new Ed25519 key.
    pub fn ed25519() -> Self {
        Self::Ed25519(Arc::new(Ed25519KeyPair::generate().expect("a key")))
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The key pair itself, DER-encoded PKCS #8.
    pub fn pkcs8(&self) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => key.to_pkcs8v1().expect("a private key").as_ref().to_vec(),
            Self::Ed25519(key) => key.to_pkcs8().expect("a private key").as_ref().to_vec(),
        }
    }

    /// The public key, DER-encoded SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::P256(key) | Self::P384(key) => key.public_key().as_der().expect("a public key"),
            Self::Ed25519(key) => key.public_key().as_der().expect("a public key"),
        };
        der.as_ref().to_vec()
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki())
    }

    /// The public key without its wrapping: the point, or the 32 bytes of Ed25519.
    pub fn raw(&self) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => key.public_key().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The name of the scheme in Sigstore's documents.
    pub const fn details(&self) -> &'static str {
        match self {
            Self::P256(_) => "PKIX_ECDSA_P256_SHA_256",
            Self::P384(_) => "PKIX_ECDSA_P384_SHA_384",
            Self::Ed25519(_) => "PKIX_ED25519",
        }
    }

    /// The AlgorithmIdentifier of its signatures, DER-encoded.
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        seq(&[&oid(match self {
            Self::P256(_) => "1.2.840.10045.4.3.2",
            Self::P384(_) => "1.2.840.10045.4.3.3",
            Self::Ed25519(_) => "1.3.101.112",
        })])
    }

    /// The digest its signatures use, as AlgorithmIdentifier, and the digest of `bytes` by it.
    pub(crate) fn digest(&self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (id, algorithm) = match self {
            Self::P384(_) => ("2.16.840.1.101.3.4.2.2", &aws_lc_rs::digest::SHA384),
            Self::P256(_) | Self::Ed25519(_) => ("2.16.840.1.101.3.4.2.1", &aws_lc_rs::digest::SHA256),
        };
        (seq(&[&oid(id)]), aws_lc_rs::digest::digest(algorithm, bytes).as_ref().to_vec())
    }
}
