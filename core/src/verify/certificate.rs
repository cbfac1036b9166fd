//! What a signing certificate says about its holder, read by us and in one way only.

use der::{
    Decode,
    asn1::{ObjectIdentifier, Utf8StringRef},
};
use jiff::Timestamp;
use sigstore_verify::crypto::{KeyAlgorithm, verify_signature};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};
use x509_cert::ext::pkix::{
    SignedCertificateTimestamp, SignedCertificateTimestampList, SubjectAltName, name::GeneralName,
};

use super::{Reason, fault::Fault};
use crate::trust::root::{Certificate, TrustRoot};

/// Fulcio: OIDC issuer, DER UTF8String (fulcio `docs/oid-info.md`).
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// Fulcio: OIDC issuer, raw text; deprecated.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// Fulcio: username as an other-name of the subject alternative name.
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// RFC 6962: embedded SCT list.
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// The facts of a leaf certificate that decisions need; nothing here is authenticated until its chain was verified.
pub(super) struct Leaf {
    parsed: x509_cert::Certificate,
    /// The one subject alternative name, if there is one.
    pub(super) identity: Option<String>,
    /// The identity provider.
    pub(super) issuer: Option<String>,
    /// The SCTs that are embedded.
    pub(super) scts: Vec<Sct>,
}

/// An embedded signed certificate timestamp: which log says that it saw the certificate, and when.
pub(super) struct Sct {
    pub(super) log: [u8; 32],
    /// Absent where it is no instant.
    pub(super) at: Option<Timestamp>,
}

impl Leaf {
    /// Reads a leaf certificate; one whose names could be read two ways is refused.
    pub(super) fn read(der: &[u8]) -> Result<Self, Fault> {
        if der.len() > Certificate::MAX_BYTES {
            return Err(Fault::new(
                Reason::Malformed,
                format!(
                    "the signing certificate has {} bytes, more than the {} allowed",
                    der.len(),
                    Certificate::MAX_BYTES
                ),
            ));
        }
        let malformed =
            |detail: String| Fault::new(Reason::Malformed, format!("the signing certificate cannot be read: {detail}"));
        let parsed = x509_cert::Certificate::from_der(der).map_err(|e| malformed(e.to_string()))?;
        let extensions = parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        for extension in extensions {
            if extensions.iter().filter(|other| other.extn_id == extension.extn_id).count() > 1 {
                return Err(malformed(format!("it has the extension {} twice", extension.extn_id)));
            }
        }
        let find = |id| extensions.iter().find(|e| e.extn_id == id).map(|e| e.extn_value.as_bytes());
        let not_text = |e: &dyn std::fmt::Display| malformed(format!("its identity provider is not text: {e}"));
        let current = find(ISSUER_V2)
            .map(|value| Utf8StringRef::from_der(value).map(|text| text.to_string()).map_err(|e| not_text(&e)))
            .transpose()?;
        let deprecated = find(ISSUER_V1)
            .map(|value| {
                Utf8StringRef::from_der(value)
                    .map(|text| text.to_string())
                    .or_else(|_| std::str::from_utf8(value).map(str::to_owned))
                    .map_err(|e| not_text(&e))
            })
            .transpose()?;
        if current.is_some() && deprecated.is_some() && current != deprecated {
            return Err(malformed(
                "it names two identity providers; readers choose differently between them".to_owned(),
            ));
        }
        let issuer = current.or(deprecated);
        let scts = match find(SCT_LIST) {
            Some(value) => scts(value).ok_or_else(|| {
                Fault::new(Reason::SctInvalid, "the certificate's list of signed certificate timestamps cannot be read")
            })?,
            None => Vec::new(),
        };
        let identity = identity(&parsed)?;
        Ok(Self { parsed, identity, issuer, scts })
    }

    /// Whether a certificate of `root` that is named as this leaf's issuer really signed it.
    pub(super) fn signed_by_an_authority_of(&self, root: &TrustRoot) -> bool {
        use der::Encode;
        let Ok(tbs) = self.parsed.tbs_certificate.to_der() else { return false };
        let Some(signature) = self.parsed.signature.as_bytes() else { return false };
        let signature = SignatureBytes::new(signature.to_vec());
        self.issuers_in(root).filter_map(Certificate::spki).any(|spki| {
            let key = DerPublicKey::new(spki);
            KeyAlgorithm::from_spki(&key).is_ok_and(|algorithm| {
                verify_signature(&key, &tbs, &signature, algorithm.default_signing_scheme()).is_ok()
            })
        })
    }

    /// Whether `root` has a certificate with the name this leaf gives as its issuer.
    pub(super) fn issuer_is_named_in(&self, root: &TrustRoot) -> bool {
        self.issuers_in(root).next().is_some()
    }

    fn issuers_in<'a>(&self, root: &'a TrustRoot) -> impl Iterator<Item = &'a Certificate> {
        let issuer = self.parsed.tbs_certificate.issuer.to_string();
        root.certificate_authorities.iter().flat_map(|a| &a.chain).filter(move |c| c.subject == issuer)
    }
}

/// The one name in the subject alternative name extension. More than one is refused: which of them an engine looks at is not defined.
fn identity(certificate: &x509_cert::Certificate) -> Result<Option<String>, Fault> {
    let malformed =
        |detail: String| Fault::new(Reason::Malformed, format!("the signing certificate's subject {detail}"));
    let names =
        certificate.tbs_certificate.get::<SubjectAltName>().map_err(|e| malformed(format!("cannot be read: {e}")))?;
    let Some((_, SubjectAltName(names))) = names else { return Ok(None) };
    match names.as_slice() {
        [] => Ok(None),
        [GeneralName::Rfc822Name(email)] => Ok(Some(email.to_string())),
        [GeneralName::UniformResourceIdentifier(uri)] => Ok(Some(uri.to_string())),
        [GeneralName::OtherName(other)] if other.type_id == OTHER_NAME => other
            .value
            .decode_as::<Utf8StringRef<'_>>()
            .map(|name| Some(name.to_string()))
            .map_err(|e| malformed(format!("is an other-name that is not text: {e}"))),
        [_] => Err(malformed("is of a kind that is not an e-mail address, a URI or a Fulcio username".to_owned())),
        several => {
            Err(malformed(format!("has {} names; one is allowed, so that nobody can look at another", several.len())))
        }
    }
}

fn scts(value: &[u8]) -> Option<Vec<Sct>> {
    let list = SignedCertificateTimestampList::from_der(value).ok()?;
    let list = list.parse_timestamps().ok()?;
    let read = |sct: SignedCertificateTimestamp| {
        let at = i64::try_from(sct.timestamp).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        Sct { log: sct.log_id.key_id, at }
    };
    list.iter().map(|sct| sct.parse_timestamp().ok().map(read)).collect()
}

/// The issuer and serial number that name the signer of an RFC 3161 token, DER-encoded, as far as it can be read.
pub(super) fn timestamp_signer(token: &[u8]) -> Option<(String, Vec<u8>)> {
    use cms::{
        content_info::ContentInfo,
        signed_data::{SignedData, SignerIdentifier},
    };
    use der::{Encode, Reader, SliceReader};

    let content = ContentInfo::from_der(token).ok().or_else(|| {
        // A response wraps the token: SEQUENCE { status, token } (RFC 3161, section 2.4.2).
        let mut outer = SliceReader::new(token).ok()?;
        outer
            .sequence(|inner| {
                let _status = inner.tlv_bytes()?;
                inner.decode::<ContentInfo>()
            })
            .ok()
    })?;
    let signed = SignedData::from_der(&content.content.to_der().ok()?).ok()?;
    let [info] = signed.signer_infos.0.as_slice() else { return None };
    match &info.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            Some((id.issuer.to_string(), id.serial_number.as_bytes().to_vec()))
        }
        SignerIdentifier::SubjectKeyIdentifier(_) => None,
    }
}

/// The timestamp authority of `root` whose certificate is the named signer.
pub(super) fn timestamp_authority<'a>(root: &'a TrustRoot, token: &[u8]) -> Option<&'a str> {
    let (issuer, serial) = timestamp_signer(token)?;
    root.timestamp_authorities.iter().find_map(|authority| {
        let leaf = x509_cert::Certificate::from_der(&authority.chain.first()?.der).ok()?;
        let tbs = &leaf.tbs_certificate;
        (tbs.issuer.to_string() == issuer && tbs.serial_number.as_bytes() == serial).then(|| authority.name())
    })
}

/// The validity of a leaf, for messages.
pub(super) fn window_text(leaf: &Leaf) -> String {
    let validity = &leaf.parsed.tbs_certificate.validity;
    let text = |time: x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs())
            .ok()
            .and_then(|s| Timestamp::from_second(s).ok())
            .map_or_else(|| "an unreadable time".to_owned(), |t| t.to_string())
    };
    format!("{} to {}", text(validity.not_before), text(validity.not_after))
}
