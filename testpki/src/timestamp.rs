//! RFC 3161 timestamps.

use jiff::Timestamp;

use crate::asn1::{explicit, int, octets, oid, seq, set, time, tlv};
use crate::{Authority, sha256};

const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// A timestamp response over `message` (a signature) by `authority`, saying `at`.
pub(crate) fn stamp(authority: &Authority, message: &[u8], at: Timestamp) -> Vec<u8> {
    let key = authority.key();
    let info = seq(&[
        &int(&[1]),
        &oid("1.3.6.1.4.1.57264.2"),
        &seq(&[&seq(&[&oid(SHA256)]), &octets(&sha256(message))]),
        &int(&sha256(message)[..8]),
        &time(at),
    ]);
    let (digest_algorithm, digest) = key.digest(&info);
    let attributes =
        [seq(&[&oid(CONTENT_TYPE), &set(&[&oid(TST_INFO)])]), seq(&[&oid(MESSAGE_DIGEST), &set(&[&octets(&digest)])])]
            .concat();
    let signature = key.sign(&tlv(0x31, &attributes));
    let (issuer, serial) = issuer_and_serial(&authority.chain[0]);
    let signer = seq(&[
        &int(&[1]),
        &seq(&[&issuer, &serial]),
        &digest_algorithm,
        &explicit(0, &attributes),
        &key.signature_algorithm(),
        &octets(&signature),
    ]);
    let content = seq(&[
        &int(&[3]),
        &set(&[&digest_algorithm]),
        &seq(&[&oid(TST_INFO), &explicit(0, &octets(&info))]),
        &set(&[&signer]),
    ]);
    let token = seq(&[&oid(SIGNED_DATA), &explicit(0, &content)]);
    seq(&[&seq(&[&int(&[0])]), &token])
}

/// The issuer and serial number of a certificate of ours, as they stand in it.
fn issuer_and_serial(certificate: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use der::{Reader, SliceReader};
    let mut outer = SliceReader::new(certificate).expect("our certificate");
    outer
        .sequence(|certificate| {
            let found = certificate.sequence(|tbs| {
                let _version = tbs.tlv_bytes()?;
                let serial = tbs.tlv_bytes()?.to_vec();
                let _algorithm = tbs.tlv_bytes()?;
                let issuer = tbs.tlv_bytes()?.to_vec();
                while !tbs.is_finished() {
                    tbs.tlv_bytes()?;
                }
                Ok((issuer, serial))
            })?;
            while !certificate.is_finished() {
                certificate.tlv_bytes()?;
            }
            Ok(found)
        })
        .expect("our certificate")
}
