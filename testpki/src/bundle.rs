//! A whole instance, and the evidence it makes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::certificate::{Authority, Subject, Validity};
use crate::log::{INDEX, Log, canonical};
use crate::timestamp::stamp;
use crate::{Key, base64, pem, sha256};

/// The predicate type of cosign's signature statement.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A Sigstore instance.
pub struct Sigstore {
    ca: Authority,
    ct_log: Key,
    v1: Log,
    second_v1: Log,
    v2: Log,
    tsa: Authority,
    /// The key that signs where a recipe asks for a bare key.
    pub managed_key: Key,
    domain: String,
    founded: Timestamp,
}

/// Which log a bundle is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// Rekor v1: promise, integrated time, proof.
    V1,
    /// Rekor v2: proof only.
    V2,
    /// None.
    None,
}

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerForm {
    /// A certificate of this subject, on the word of this identity provider.
    Certificate {
        /// The subject.
        subject: Subject,
        /// The identity provider.
        issuer: String,
    },
    /// [`Sigstore::managed_key`].
    Key,
}

/// How a piece of evidence is made. Every public field is a knob; [`Recipe::flaw`] makes exactly one thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The bundle's media type.
    pub media_type: &'static str,
    /// Who signs.
    pub signer: SignerForm,
    /// The predicate type of a statement; a message signature where absent.
    pub predicate: Option<String>,
    /// Which log.
    pub log: LogForm,
    /// `dsse 0.0.1` instead of `intoto 0.0.2` for statements in the first generation.
    pub intoto_entry: bool,
    /// Whether a timestamp is attached.
    pub timestamp: bool,
    /// Whether the certificate carries an SCT.
    pub sct: bool,
    /// When it is signed.
    pub at: Timestamp,
    /// What is wrong.
    pub flaw: Option<Flaw>,
    /// The statement to sign, byte for byte, instead of one made from [`Recipe::predicate`] (which has to be given, too).
    pub statement: Option<Vec<u8>>,
    /// The envelope's payload type.
    pub payload_type: &'static str,
    /// Further extensions of the certificate, DER-encoded, before the SCT; see [`crate::extension`].
    pub extensions: Vec<Vec<u8>>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The signature is over something else.
    Signature,
    /// The statement or message digest names another artefact, and is signed so.
    OtherArtifact,
    /// A hash of the proof of inclusion is changed.
    InclusionProof,
    /// The checkpoint is signed by a key nobody knows.
    CheckpointKey,
    /// The checkpoint is of another log of the same root.
    CheckpointOfOtherLog,
    /// The promise is signed by another key.
    Promise,
    /// The integrated time is changed after signing.
    IntegratedTime,
    /// The entry is of another signature over the same artefact.
    ForeignEntry,
    /// The SCT's signature is wrong.
    Sct,
    /// The SCT is of a log nobody knows.
    UnknownCtLog,
    /// The timestamp is over another signature.
    TimestampOverOther,
    /// The timestamp is of an authority nobody knows.
    UnknownTimestampAuthority,
    /// The certificate is of an authority nobody knows.
    UnknownAuthority,
    /// The certificate had expired when it was used.
    ExpiredCertificate,
    /// The log is one nobody knows.
    UnknownLog,
    /// The log entry has a promise and no proof.
    NoProof,
    /// The log entry's kind is `rekord 0.0.1`.
    UnknownEntryKind,
    /// The same log entry twice.
    DuplicateEntry,
    /// The same timestamp twice.
    DuplicateTimestamp,
    /// The certificate names two subjects.
    TwoSubjects,
}

/// cosign's legacy form: a layer and its annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legacy {
    /// The layer blob.
    pub payload: Vec<u8>,
    /// The layer's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The v0.3 media type as cosign writes it.
const V0_3: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

impl Recipe {
    /// What cosign makes of an image: a v0.3 bundle with a signature statement, Rekor v1 and a timestamp.
    pub fn image(subject: &str, issuer: &str) -> Self {
        Self {
            media_type: V0_3,
            signer: SignerForm::Certificate { subject: Subject::Uri(subject.to_owned()), issuer: issuer.to_owned() },
            predicate: Some(SIGNATURE_PREDICATE.to_owned()),
            log: LogForm::V1,
            intoto_entry: false,
            timestamp: true,
            sct: true,
            at: "2026-06-01T12:00:00Z".parse().expect("an instant"),
            flaw: None,
            statement: None,
            payload_type: IN_TOTO,
            extensions: Vec::new(),
        }
    }

    /// What cosign makes of a file: a message signature.
    pub fn blob(subject: &str, issuer: &str) -> Self {
        Self { predicate: None, ..Self::image(subject, issuer) }
    }

    /// A signature by [`Sigstore::managed_key`] in the first-generation log.
    pub fn key() -> Self {
        Self { signer: SignerForm::Key, timestamp: false, ..Self::image("", "") }
    }

    /// The same with one thing wrong.
    #[must_use]
    pub fn with(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Default for Sigstore {
    fn default() -> Self {
        Self::new()
    }
}

/// What signed, as bundles and log entries name it.
struct Signer {
    key: Key,
    certificate: Option<Vec<u8>>,
    pem: String,
}

impl Sigstore {
    /// An instance whose authorities count from 2025 on, without end.
    pub fn new() -> Self {
        Self::founded("2025-06-01T00:00:00Z".parse().expect("an instant"))
    }

    /// An instance whose authorities count from `founded` on, without end.
    pub fn founded(founded: Timestamp) -> Self {
        Self::of("test", founded)
    }

    /// An instance whose hosts are those of `domain`, and whose authorities count from `founded` on, without end.
    pub fn of(domain: &str, founded: Timestamp) -> Self {
        let validity = Validity::around(founded, 20);
        Self {
            ca: Authority::for_signing(&format!("sigstore.{domain}"), validity),
            ct_log: Key::p256(),
            v1: Log::v1(&format!("rekor.{domain}")),
            second_v1: Log::v1(&format!("rekor-2.{domain}")),
            v2: Log::v2(&format!("log2026-1.rekor.{domain}")),
            tsa: Authority::for_timestamps(&format!("tsa.{domain}"), validity),
            managed_key: Key::p256(),
            domain: domain.to_owned(),
            founded,
        }
    }

    /// Its `trusted_root.json`. Logs come in the order: first generation, a second of the first generation, second generation.
    pub fn trusted_root(&self) -> Value {
        let window = json!({"start": self.founded});
        let chain = |authority: &Authority| json!({"certificates": authority.chain.iter().map(|c| json!({"rawBytes": base64(c)})).collect::<Vec<_>>()});
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.v1.trusted(&window), self.second_v1.trusted(&window), self.v2.trusted(&window)],
            "certificateAuthorities": [{"uri": self.address("fulcio"), "certChain": chain(&self.ca), "validFor": window}],
            "ctlogs": [{
                "baseUrl": self.address("ctfe"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": base64(&self.ct_log.spki()), "keyDetails": self.ct_log.details(), "validFor": window},
                "logId": {"keyId": base64(&sha256(&self.ct_log.spki()))},
            }],
            "timestampAuthorities": [{"uri": self.address("tsa"), "certChain": chain(&self.tsa), "validFor": window}],
        })
    }

    fn address(&self, service: &str) -> String {
        format!("https://{service}.{}", self.domain)
    }

    /// A bundle over `artifact`.
    pub fn bundle(&self, artifact: &[u8], recipe: &Recipe) -> Value {
        let signer = self.signer(recipe);
        let about: &[u8] = if recipe.has(Flaw::OtherArtifact) { b"another artefact" } else { artifact };
        let (content_name, content, signature, message) = match &recipe.predicate {
            None => {
                let signature = signer.key.sign(if recipe.has(Flaw::Signature) { b"something else" } else { about });
                let content = json!({"messageDigest": {"algorithm": "SHA2_256", "digest": base64(&sha256(about))}, "signature": base64(&signature)});
                ("messageSignature", content, signature, about.to_vec())
            }
            Some(predicate) => {
                let payload = recipe.statement.clone().unwrap_or_else(|| statement(predicate, about));
                let kind = recipe.payload_type;
                let signature =
                    signer.key.sign(&if recipe.has(Flaw::Signature) { pae(kind, b"{}") } else { pae(kind, &payload) });
                let content = json!({"payload": base64(&payload), "payloadType": kind, "signatures": [{"sig": base64(&signature)}]});
                ("dsseEnvelope", content, signature, payload)
            }
        };
        let entries = self.entries(recipe, &signer, &signature, &message);
        let material = match (&signer.certificate, recipe.media_type == V0_3 || recipe.media_type.ends_with("0.3")) {
            (None, _) => ("publicKey", json!({"hint": base64(&sha256(&signer.key.spki()))})),
            (Some(certificate), true) => ("certificate", json!({"rawBytes": base64(certificate)})),
            (Some(certificate), false) => {
                ("x509CertificateChain", json!({"certificates": [{"rawBytes": base64(certificate)}]}))
            }
        };
        let timestamps = self.timestamps(recipe, &signature);
        json!({
            "mediaType": recipe.media_type,
            "verificationMaterial": {
                material.0: material.1,
                "tlogEntries": entries,
                "timestampVerificationData": {"rfc3161Timestamps": timestamps},
            },
            content_name: content,
        })
    }

    /// cosign's legacy `.sig` layer for the image with this digest (`sha256:…`).
    pub fn legacy_signature(&self, image_digest: &str, recipe: &Recipe) -> Legacy {
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"{image_digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        )
        .into_bytes();
        let bundle = self.bundle(&payload, &Recipe { predicate: None, log: recipe.log, ..recipe.clone() });
        let signature = bundle["messageSignature"]["signature"].as_str().unwrap_or_default().to_owned();
        Legacy { payload, annotations: annotations(&bundle, Some(signature)) }
    }

    /// cosign's legacy `.att` layer over `artifact`.
    pub fn legacy_attestation(&self, artifact: &[u8], recipe: &Recipe) -> Legacy {
        let bundle = self.bundle(artifact, recipe);
        Legacy { payload: bundle["dsseEnvelope"].to_string().into_bytes(), annotations: annotations(&bundle, None) }
    }

    fn signer(&self, recipe: &Recipe) -> Signer {
        let SignerForm::Certificate { subject, issuer } = &recipe.signer else {
            return Signer { key: self.managed_key.clone(), certificate: None, pem: self.managed_key.pem() };
        };
        let key = Key::p256();
        let issued =
            if recipe.has(Flaw::ExpiredCertificate) { recipe.at - SignedDuration::from_hours(1) } else { recipe.at };
        let validity = Validity { from: issued, until: issued + SignedDuration::from_mins(10) };
        let stranger = Authority::for_signing(&format!("sigstore.{}", self.domain), Validity::around(recipe.at, 5));
        let unknown_log = Key::p256();
        let ca = if recipe.has(Flaw::UnknownAuthority) { &stranger } else { &self.ca };
        let ct_log = if recipe.has(Flaw::UnknownCtLog) { &unknown_log } else { &self.ct_log };
        let two = Subject::Two("https://good.example/a".to_owned(), "https://evil.example/b".to_owned());
        let subject = if recipe.has(Flaw::TwoSubjects) { &two } else { subject };
        let sct = recipe.sct.then_some(ct_log);
        let certificate =
            ca.issue(subject, issuer, &key.spki(), validity, sct, recipe.has(Flaw::Sct), &recipe.extensions);
        Signer { pem: pem("CERTIFICATE", &certificate), key, certificate: Some(certificate) }
    }

    fn entries(&self, recipe: &Recipe, signer: &Signer, signature: &[u8], message: &[u8]) -> Vec<Value> {
        let strange = match recipe.log {
            LogForm::V2 => Log::v2(&format!("log2026-1.rekor.{}", self.domain)),
            LogForm::V1 | LogForm::None => Log::v1(&format!("rekor.{}", self.domain)),
        };
        let log = match recipe.log {
            LogForm::None => return Vec::new(),
            _ if recipe.has(Flaw::UnknownLog) => &strange,
            LogForm::V1 => &self.v1,
            LogForm::V2 => &self.v2,
        };
        let own = signer.key.sign(b"an earlier signature");
        let signature = if recipe.has(Flaw::ForeignEntry) { &own } else { signature };
        let (kind, version, body) = body(recipe, signer, signature, message);
        let at = recipe.at + SignedDuration::from_secs(1);
        let mut entry = log.entry(kind, version, &body, at);
        let proof =
            |entry: &Value| (entry["inclusionProof"]["rootHash"].clone(), entry["inclusionProof"]["treeSize"].clone());
        match recipe.flaw {
            Some(Flaw::InclusionProof) => {
                entry["inclusionProof"]["hashes"][0] = json!(base64(&sha256(b"another leaf")));
            }
            Some(Flaw::CheckpointKey | Flaw::CheckpointOfOtherLog) => {
                let (root, size) = proof(&entry);
                let root: [u8; 32] = decode(&root).try_into().expect("32 bytes");
                let size = size.as_str().and_then(|s| s.parse().ok()).expect("a size");
                let envelope = if recipe.has(Flaw::CheckpointOfOtherLog) {
                    self.second_v1.checkpoint(size, &root)
                } else {
                    forge_checkpoint(log, &strange, size, &root)
                };
                entry["inclusionProof"]["checkpoint"]["envelope"] = json!(envelope);
            }
            Some(Flaw::Promise) => {
                let forged = strange.promise(&canonical(&body), at);
                entry["inclusionPromise"]["signedEntryTimestamp"] = json!(base64(&forged));
            }
            Some(Flaw::IntegratedTime) => entry["integratedTime"] = json!((at.as_second() + 60).to_string()),
            Some(Flaw::NoProof) => {
                entry.as_object_mut().expect("an object").remove("inclusionProof");
            }
            Some(Flaw::UnknownEntryKind) => entry["kindVersion"] = json!({"kind": "rekord", "version": "0.0.1"}),
            Some(Flaw::DuplicateEntry) => return vec![entry.clone(), entry],
            _ => {}
        }
        vec![entry]
    }

    fn timestamps(&self, recipe: &Recipe, signature: &[u8]) -> Vec<Value> {
        if !recipe.timestamp {
            return Vec::new();
        }
        let stranger = Authority::for_timestamps(&format!("tsa.{}", self.domain), Validity::around(recipe.at, 5));
        let authority = if recipe.has(Flaw::UnknownTimestampAuthority) { &stranger } else { &self.tsa };
        let over: &[u8] = if recipe.has(Flaw::TimestampOverOther) { b"another signature" } else { signature };
        let stamp =
            json!({"signedTimestamp": base64(&stamp(authority, over, recipe.at + SignedDuration::from_secs(2)))});
        if recipe.has(Flaw::DuplicateTimestamp) { vec![stamp.clone(), stamp] } else { vec![stamp] }
    }
}

const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The in-toto statement of a predicate type about `artifact`.
fn statement(predicate: &str, artifact: &[u8]) -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": hex::encode(sha256(artifact))}}],
        "predicateType": predicate,
        "predicate": {},
    })
    .to_string()
    .into_bytes()
}

fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

/// The log entry's body for a signature over `message` (the artefact, or the statement).
fn body(recipe: &Recipe, signer: &Signer, signature: &[u8], message: &[u8]) -> (&'static str, &'static str, Value) {
    let hex_of = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(sha256(bytes))});
    let verifier = base64(signer.pem.as_bytes());
    match (recipe.log, &recipe.predicate) {
        (LogForm::V2, predicate) => {
            let digest = if predicate.is_some() { sha256(&pae(recipe.payload_type, message)) } else { sha256(message) };
            let verifier = match &signer.certificate {
                Some(certificate) => {
                    json!({"keyDetails": signer.key.details(), "x509Certificate": {"rawBytes": base64(certificate)}})
                }
                None => {
                    json!({"keyDetails": signer.key.details(), "publicKey": {"rawBytes": base64(&signer.key.spki())}})
                }
            };
            let spec = json!({"hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": base64(&digest)},
                "signature": {"content": base64(signature), "verifier": verifier},
            }});
            ("hashedrekord", "0.0.2", json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}))
        }
        (_, None) => {
            let spec = json!({"data": {"hash": hex_of(message)}, "signature": {"content": base64(signature), "publicKey": {"content": verifier}}});
            ("hashedrekord", "0.0.1", json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}))
        }
        (_, Some(_)) if recipe.intoto_entry => {
            let signature = base64(base64(signature).as_bytes());
            let envelope =
                json!({"payloadType": recipe.payload_type, "signatures": [{"sig": signature, "publicKey": verifier}]});
            let spec =
                json!({"content": {"envelope": envelope, "hash": hex_of(message), "payloadHash": hex_of(message)}});
            ("intoto", "0.0.2", json!({"apiVersion": "0.0.2", "kind": "intoto", "spec": spec}))
        }
        (_, Some(_)) => {
            let spec = json!({
                "envelopeHash": hex_of(message),
                "payloadHash": hex_of(message),
                "signatures": [{"signature": base64(signature), "verifier": verifier}],
            });
            ("dsse", "0.0.1", json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}))
        }
    }
}

/// A checkpoint with the key hint of `log`, signed by the key of `forger`.
fn forge_checkpoint(log: &Log, forger: &Log, size: usize, root: &[u8; 32]) -> String {
    let genuine = log.checkpoint(size, root);
    let (note, line) = genuine.split_once("\n\n").expect("a note");
    let name = line.split(' ').nth(1).expect("a name");
    let body = format!("{note}\n");
    let signature = [&log.id()[..4], &forger.key.sign(body.as_bytes())].concat();
    format!("{body}\n— {name} {}\n", base64(&signature))
}

fn decode(value: &Value) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).expect("our base64")
}

/// A bundle's material as cosign's annotations.
fn annotations(bundle: &Value, signature: Option<String>) -> BTreeMap<String, String> {
    let material = &bundle["verificationMaterial"];
    let mut annotations = BTreeMap::new();
    if let Some(signature) = signature {
        annotations.insert("dev.cosignproject.cosign/signature".to_owned(), signature);
    }
    let certificate = material
        .pointer("/certificate/rawBytes")
        .or_else(|| material.pointer("/x509CertificateChain/certificates/0/rawBytes"));
    if let Some(certificate) = certificate {
        annotations.insert("dev.sigstore.cosign/certificate".to_owned(), pem("CERTIFICATE", &decode(certificate)));
    }
    let entry = &material["tlogEntries"][0];
    if entry.is_object() {
        let rekor = json!({
            "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "Payload": {
                "body": entry["canonicalizedBody"],
                "integratedTime": entry["integratedTime"].as_str().and_then(|t| t.parse::<i64>().ok()).unwrap_or_default(),
                "logIndex": INDEX,
                "logID": hex::encode(decode(&entry["logId"]["keyId"])),
            },
        });
        annotations.insert("dev.sigstore.cosign/bundle".to_owned(), rekor.to_string());
    }
    if let Some(token) = material.pointer("/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp") {
        annotations.insert(
            "dev.sigstore.cosign/rfc3161timestamp".to_owned(),
            json!({"SignedRFC3161Timestamp": token}).to_string(),
        );
    }
    annotations
}
