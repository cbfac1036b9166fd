//! Certificate authorities, signing certificates and their SCTs.

use jiff::{SignedDuration, Timestamp};

use crate::asn1::{bits, explicit, int, octets, oid, seq, set, time, tlv, utf8, yes};
use crate::{Key, sha256};

/// From when to when a certificate or an authority counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First instant.
    pub from: Timestamp,
    /// Last instant.
    pub until: Timestamp,
}

impl Validity {
    /// `years` of 365 days around `at`, most of them ahead.
    pub fn around(at: Timestamp, years: i64) -> Self {
        Self {
            from: at - SignedDuration::from_hours(24 * 365),
            until: at + SignedDuration::from_hours(24 * 365 * years),
        }
    }
}

/// Whom a signing certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A URI, as workloads have.
    Uri(String),
    /// An e-mail address, as people have.
    Email(String),
    /// Fulcio's username form, an other-name.
    Username(String),
    /// Two URIs, which is one too many.
    Two(String, String),
    /// Nobody.
    None,
    /// General names as they are given, DER-encoded.
    Names(Vec<u8>),
}

/// An authority: a chain of one or two certificates, and the key of the first.
pub struct Authority {
    key: Key,
    name: Vec<u8>,
    /// From the issuing certificate up to the root, DER-encoded.
    pub chain: Vec<Vec<u8>>,
}

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const ISSUER: &str = "1.3.6.1.4.1.57264.1.8";
const USERNAME: &str = "1.3.6.1.4.1.57264.1.7";
const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";

fn name(organization: &str, common_name: &str) -> Vec<u8> {
    let part = |id, text: &str| set(&[&seq(&[&oid(id), &utf8(text)])]);
    seq(&[&part("2.5.4.10", organization), &part("2.5.4.3", common_name)])
}

/// An X.509 extension, DER-encoded.
pub fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    if critical { seq(&[&oid(id), &yes(), &octets(value)]) } else { seq(&[&oid(id), &octets(value)]) }
}

fn serial() -> Vec<u8> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    bytes[0] &= 0x7f;
    bytes[0] |= 0x01;
    int(&bytes)
}

struct Tbs<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    validity: Validity,
    spki: &'a [u8],
    extensions: &'a [Vec<u8>],
}

impl Tbs<'_> {
    fn der(&self, signer: &Key) -> Vec<u8> {
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        seq(&[
            &explicit(0, &int(&[2])),
            self.serial,
            &signer.signature_algorithm(),
            self.issuer,
            &seq(&[&time_of_certificate(self.validity.from), &time_of_certificate(self.validity.until)]),
            self.subject,
            self.spki,
            &explicit(3, &seq(&extensions)),
        ])
    }

    fn signed(&self, signer: &Key) -> Vec<u8> {
        let tbs = self.der(signer);
        seq(&[&tbs, &signer.signature_algorithm(), &bits(&signer.sign(&tbs))])
    }
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5).
fn time_of_certificate(at: Timestamp) -> Vec<u8> {
    if at.strftime("%Y").to_string().as_str() < "2050" {
        tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        time(at)
    }
}

impl Authority {
    /// A root and an intermediate, P-384, for signing certificates.
    pub fn for_signing(organization: &str, validity: Validity) -> Self {
        Self::new(
            organization,
            "intermediate",
            validity,
            &[
                extension(BASIC_CONSTRAINTS, true, &seq(&[&yes(), &int(&[0])])),
                extension(KEY_USAGE, true, &tlv(0x03, &[1, 0x06])),
                extension(EXTENDED_KEY_USAGE, false, &seq(&[&oid(CODE_SIGNING)])),
            ],
        )
    }

    /// A root and an intermediate, P-384, for certificates of servers.
    pub fn for_servers(organization: &str, validity: Validity) -> Self {
        Self::new(
            organization,
            "servers",
            validity,
            &[
                extension(BASIC_CONSTRAINTS, true, &seq(&[&yes(), &int(&[0])])),
                extension(KEY_USAGE, true, &tlv(0x03, &[1, 0x06])),
                extension(EXTENDED_KEY_USAGE, false, &seq(&[&oid(SERVER_AUTH)])),
            ],
        )
    }

    /// Issues a certificate for a server on an IPv4 address.
    pub fn issue_server(&self, address: [u8; 4], spki: &[u8], validity: Validity) -> Vec<u8> {
        let extensions = [
            extension(KEY_USAGE, true, &tlv(0x03, &[7, 0x80])),
            extension(EXTENDED_KEY_USAGE, false, &seq(&[&oid(SERVER_AUTH)])),
            extension(SUBJECT_ALT_NAME, true, &tlv(0x30, &tlv(0x87, &address))),
        ];
        let subject = seq(&[]);
        Tbs { serial: &serial(), issuer: &self.name, subject: &subject, validity, spki, extensions: &extensions }
            .signed(&self.key)
    }

    /// A root and the certificate that signs timestamps, P-384.
    pub fn for_timestamps(organization: &str, validity: Validity) -> Self {
        Self::new(
            organization,
            "timestamps",
            validity,
            &[
                extension(KEY_USAGE, true, &tlv(0x03, &[7, 0x80])),
                extension(EXTENDED_KEY_USAGE, true, &seq(&[&oid(TIME_STAMPING)])),
            ],
        )
    }

    fn new(organization: &str, role: &str, validity: Validity, extensions: &[Vec<u8>]) -> Self {
        let (root, key) = (Key::p384(), Key::p384());
        let root_name = name(organization, "root");
        let own_name = name(organization, role);
        let root_certificate = Tbs {
            serial: &serial(),
            issuer: &root_name,
            subject: &root_name,
            validity,
            spki: &root.spki(),
            extensions: &[
                extension(BASIC_CONSTRAINTS, true, &seq(&[&yes()])),
                extension(KEY_USAGE, true, &tlv(0x03, &[1, 0x06])),
            ],
        }
        .signed(&root);
        let certificate =
            Tbs { serial: &serial(), issuer: &root_name, subject: &own_name, validity, spki: &key.spki(), extensions }
                .signed(&root);
        Self { key, name: own_name, chain: vec![certificate, root_certificate] }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    #[allow(clippy::too_many_arguments)] // each is a knob
    /// Issues a signing certificate, with an SCT by `ct_log` where one is given; `spoil_sct` makes that SCT wrong.
    pub fn issue(
        &self,
        subject: &Subject,
        issuer: &str,
        spki: &[u8],
        validity: Validity,
        ct_log: Option<&Key>,
        spoil_sct: bool,
        further: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut extensions = vec![
            extension(KEY_USAGE, true, &tlv(0x03, &[7, 0x80])),
            extension(EXTENDED_KEY_USAGE, false, &seq(&[&oid(CODE_SIGNING)])),
            extension(ISSUER, false, &utf8(issuer)),
        ];
        extensions.extend(alternative_name(subject));
        extensions.extend_from_slice(further);
        let serial = serial();
        let make = |extensions: &[Vec<u8>]| {
            Tbs { serial: &serial, issuer: &self.name, subject: &seq(&[]), validity, spki, extensions }.der(&self.key)
        };
        if let Some(log) = ct_log {
            let sct = sct(log, &sha256(&self.key.spki()), &make(&extensions), validity.from, spoil_sct);
            extensions.push(extension(SCT_LIST, false, &octets(&sct)));
        }
        let tbs = make(&extensions);
        seq(&[&tbs, &self.key.signature_algorithm(), &bits(&self.key.sign(&tbs))])
    }
}

fn alternative_name(subject: &Subject) -> Option<Vec<u8>> {
    let uri = |text: &str| tlv(0x86, text.as_bytes());
    let names = match subject {
        Subject::Uri(text) => uri(text),
        Subject::Email(text) => tlv(0x81, text.as_bytes()),
        Subject::Username(text) => explicit(0, &[oid(USERNAME), explicit(0, &utf8(text))].concat()),
        Subject::Two(a, b) => [uri(a), uri(b)].concat(),
        Subject::Names(names) => names.clone(),
        Subject::None => return None,
    };
    Some(extension(SUBJECT_ALT_NAME, true, &tlv(0x30, &names)))
}

/// A list of one signed certificate timestamp over the certificate without it (RFC 6962, section 3.2).
fn sct(log: &Key, issuer_key_hash: &[u8; 32], tbs: &[u8], at: Timestamp, spoil: bool) -> Vec<u8> {
    let millis = u64::try_from(at.as_millisecond()).expect("after 1970").to_be_bytes();
    let length = u32::try_from(tbs.len()).expect("a small certificate").to_be_bytes();
    // version v1, certificate_timestamp, time, precert_entry, issuer key hash, TBS with 24-bit length, no extensions
    let signed = [&[0, 0], millis.as_slice(), &[0, 1], issuer_key_hash, &length[1..], tbs, &[0, 0]].concat();
    let mut signature = log.sign(&signed);
    if spoil {
        signature = log.sign(b"something else");
    }
    let signature_length = u16::try_from(signature.len()).expect("a small signature").to_be_bytes();
    let sct = [&[0], sha256(&log.spki()).as_slice(), &millis, &[0, 0], &[4, 3], &signature_length, &signature].concat();
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("a small SCT").to_be_bytes(), bytes].concat();
    with_length(&with_length(&sct))
}
