//! Reading one piece of evidence: limits first, then one form for all that follows.

use serde::de::IgnoredAny;
use serde_json::Value;
use sigstore_verify::types::{Bundle, KindVersion, SignatureContent, bundle::VerificationMaterialContent};

use super::{
    Evidence, EvidenceForm, Limits, Reason, certificate::Leaf, fault::Fault, legacy, policy::SIGNATURE_PREDICATE,
    verdict::Content,
};
use crate::Digest;
use crate::json::Object;

/// Evidence that was read and is within all limits; nothing in it is trusted yet.
pub(super) struct Candidate {
    pub(super) bundle: Bundle,
    pub(super) form: String,
    pub(super) signed_by: SignedBy,
    pub(super) content: Content,
    /// What the signature covers, where that is not the artefact itself: the payload of cosign's simple signing, already bound to the artefact.
    pub(super) payload: Option<Vec<u8>>,
    /// Only cosign's legacy form may rely on a log's promise instead of its proof.
    pub(super) promise_suffices: bool,
}

/// What the bundle says signed it.
pub(super) enum SignedBy {
    Certificate(Box<Leaf>),
    Key { hint: String },
}

/// What could be told about evidence that could not be read.
pub(super) struct Unreadable {
    pub(super) form: String,
    pub(super) fault: Fault,
}

/// Reads evidence for the artefact `digest`.
pub(super) fn read(evidence: &Evidence, digest: Digest, limits: &Limits) -> Result<Candidate, Unreadable> {
    match &evidence.form {
        EvidenceForm::Bundle(bytes) => {
            // Without a version: the media type that names it is not signed.
            let form = "bundle".to_owned();
            read_bundle(bytes, limits)
                .and_then(|bundle| candidate(bundle, form.clone()))
                .map_err(|fault| Unreadable { form, fault })
        }
        EvidenceForm::LegacySignature { payload, annotations } => {
            let form = "cosign simple signing".to_owned();
            legacy::signature(payload, annotations, digest, limits)
                .and_then(|bundle| within_limits(&bundle, limits).map(|()| bundle))
                .and_then(|bundle| candidate(bundle, form.clone()))
                .map(|candidate| Candidate { payload: Some(payload.clone()), promise_suffices: true, ..candidate })
                .map_err(|fault| Unreadable { form, fault })
        }
        EvidenceForm::LegacyAttestation { envelope, annotations } => {
            let form = "cosign attestation".to_owned();
            legacy::attestation(envelope, annotations, limits)
                .and_then(|bundle| within_limits(&bundle, limits).map(|()| bundle))
                .and_then(|bundle| candidate(bundle, form.clone()))
                .map(|candidate| Candidate { promise_suffices: true, ..candidate })
                .map_err(|fault| Unreadable { form, fault })
        }
    }
}

fn read_bundle(bytes: &[u8], limits: &Limits) -> Result<Bundle, Fault> {
    let malformed = |message: String| Fault::new(Reason::Malformed, message);
    if bytes.is_empty() {
        return Err(malformed("the bundle is empty".to_owned()));
    }
    let most = limits.bundle_bytes();
    if bytes.len() > most {
        return Err(malformed(format!("the bundle has more than the {most} bytes that are read")));
    }
    crate::json::check(bytes, crate::json::Limits { max_len: most, max_depth: MAX_DEPTH })
        .map_err(|e| malformed(format!("the bundle is not JSON that is read: {e}")))?;
    let text = std::str::from_utf8(bytes).map_err(|e| malformed(format!("the bundle is not UTF-8: {e}")))?;
    one_of_each(bytes).map_err(malformed)?;
    let bundle = Bundle::from_json(text)
        .map_err(|e| unsupported(bytes).unwrap_or_else(|| malformed(format!("the bundle cannot be read: {e}"))))?;
    let payload = match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => envelope.payload.as_bytes().len(),
        _ => 0,
    };
    if payload > limits.payload_bytes {
        return Err(malformed(format!(
            "the statement has {payload} bytes, more than the {} that are read",
            limits.payload_bytes
        )));
    }
    let material = bytes.len().saturating_sub(payload.saturating_mul(4).div_ceil(3));
    if material > limits.material_bytes {
        return Err(malformed(format!(
            "the verification material has {material} bytes, more than the {} that are read",
            limits.material_bytes
        )));
    }
    within_limits(&bundle, limits)?;
    Ok(bundle)
}

/// The choices of a bundle (protobuf `oneof`), in both spellings that protobuf's JSON has. Whatever they hold is read later.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Choices {
    #[serde(alias = "messageSignature")]
    message_signature: Option<IgnoredAny>,
    #[serde(alias = "dsseEnvelope")]
    dsse_envelope: Option<IgnoredAny>,
    #[serde(alias = "verificationMaterial")]
    verification_material: Option<Object<MaterialChoices>>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct MaterialChoices {
    certificate: Option<IgnoredAny>,
    #[serde(alias = "publicKey")]
    public_key: Option<IgnoredAny>,
    #[serde(alias = "x509CertificateChain")]
    x509_certificate_chain: Option<IgnoredAny>,
}

/// Refuses a bundle that chooses twice: the library takes one of the two, and other readers may take the other.
fn one_of_each(bytes: &[u8]) -> Result<(), String> {
    let Object(choices) =
        serde_json::from_slice::<Object<Choices>>(bytes).map_err(|e| format!("the bundle cannot be read: {e}"))?;
    let Object(material) = choices.verification_material.unwrap_or_default();
    let contents = [choices.message_signature.is_some(), choices.dsse_envelope.is_some()];
    let materials =
        [material.certificate.is_some(), material.public_key.is_some(), material.x509_certificate_chain.is_some()];
    for (what, choices) in [("contents", &contents[..]), ("kinds of verification material", &materials)] {
        let count = choices.iter().filter(|there| **there).count();
        if count > 1 {
            return Err(format!("the bundle has {count} {what}: readers choose differently between them"));
        }
    }
    Ok(())
}

/// The deepest nesting of a bundle's JSON.
const MAX_DEPTH: usize = 32;

/// Tells a well-formed bundle of a kind that is not known from damage.
fn unsupported(bytes: &[u8]) -> Option<Fault> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let say = |what: String| {
        Some(Fault::new(Reason::UnsupportedFormat, format!("{what} is not known; sign with a current cosign")))
    };
    let media_type = value.get("mediaType").and_then(Value::as_str);
    if let Some(unknown) = media_type.filter(|text| text.parse::<sigstore_verify::types::MediaType>().is_err()) {
        return say(format!("the bundle's media type `{}`", shorten(unknown)));
    }
    let entries = value.pointer("/verificationMaterial/tlogEntries").and_then(Value::as_array)?;
    for kind in entries.iter().filter_map(|entry| entry.get("kindVersion")) {
        if serde_json::from_value::<KindVersion>(kind.clone()).is_err() {
            let part = |name| kind.get(name).and_then(Value::as_str).unwrap_or("?");
            return say(format!("the log entry kind `{} {}`", shorten(part("kind")), shorten(part("version"))));
        }
    }
    None
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

fn within_limits(bundle: &Bundle, limits: &Limits) -> Result<(), Fault> {
    let material = &bundle.verification_material;
    let entries = &material.tlog_entries;
    let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
    let certificates = match &material.content {
        VerificationMaterialContent::X509CertificateChain { certificates } => certificates.len(),
        _ => 1,
    };
    for (what, count, most) in [
        ("log entries", entries.len(), limits.log_entries),
        ("timestamps", timestamps.len(), limits.timestamps),
        ("certificates", certificates, limits.certificates),
    ] {
        if count > most {
            return Err(Fault::new(
                Reason::Malformed,
                format!("the bundle has {count} {what}, more than the {most} that are read"),
            ));
        }
    }
    let repeated = |what: &str| Err(Fault::new(Reason::Malformed, format!("the bundle has the same {what} twice")));
    if (1..entries.len()).any(|i| entries.iter().take(i).any(|earlier| Some(earlier) == entries.get(i))) {
        return repeated("log entry");
    }
    if (1..timestamps.len()).any(|i| timestamps.iter().take(i).any(|earlier| Some(earlier) == timestamps.get(i))) {
        return repeated("timestamp");
    }
    Ok(())
}

fn candidate(bundle: Bundle, form: String) -> Result<Candidate, Fault> {
    let signed_by = match (&bundle.verification_material.content, bundle.signing_certificate()) {
        (VerificationMaterialContent::PublicKey(id), _) => SignedBy::Key { hint: shorten(&id.hint) },
        (_, Some(leaf)) => SignedBy::Certificate(Box::new(Leaf::read(leaf.as_bytes())?)),
        (_, None) => {
            return Err(Fault::new(Reason::Malformed, "the bundle has neither a certificate nor a public key"));
        }
    };
    let content = match &bundle.content {
        SignatureContent::MessageSignature(_) => Content::Signature,
        SignatureContent::DsseEnvelope(envelope) => {
            statement_content(&envelope.payload_type, envelope.payload.as_bytes())?
        }
        _ => return Err(Fault::new(Reason::UnsupportedFormat, "the bundle holds neither a signature nor a statement")),
    };
    Ok(Candidate { bundle, form, signed_by, content, payload: None, promise_suffices: false })
}

/// The payload type of in-toto statements.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The statement types that are read (in-toto attestation framework, "Statement").
const STATEMENT_TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatementHead {
    #[serde(rename = "_type")]
    statement_type: String,
    predicate_type: String,
}

fn statement_content(payload_type: &str, payload: &[u8]) -> Result<Content, Fault> {
    if payload_type != IN_TOTO {
        return Err(Fault::new(
            Reason::UnsupportedFormat,
            format!("the envelope's payload type `{}` is not an in-toto statement", shorten(payload_type)),
        ));
    }
    crate::json::check(payload, crate::json::Limits { max_len: payload.len(), max_depth: MAX_STATEMENT_DEPTH })
        .map_err(|e| Fault::new(Reason::Malformed, format!("the statement is not JSON that is read: {e}")))?;
    let head: StatementHead = serde_json::from_slice(payload)
        .map_err(|e| Fault::new(Reason::Malformed, format!("the statement cannot be read: {e}")))?;
    if !STATEMENT_TYPES.contains(&head.statement_type.as_str()) {
        return Err(Fault::new(
            Reason::UnsupportedFormat,
            format!("the statement type `{}` is not known", shorten(&head.statement_type)),
        ));
    }
    if head.predicate_type.trim().is_empty() {
        return Err(Fault::new(
            Reason::Malformed,
            "the statement's predicate type is empty: it does not say what it states",
        ));
    }
    if head.predicate_type == SIGNATURE_PREDICATE {
        return Ok(Content::Signature);
    }
    Ok(Content::Statement { predicate_type: head.predicate_type })
}

/// The deepest nesting of a statement's JSON; SBOMs nest.
const MAX_STATEMENT_DEPTH: usize = 100;
