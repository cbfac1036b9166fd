//! policy-controller 0.15.1 as it was seen to behave, written from the record of its run and from its source, without a look at the renderer.
//!
//! It reads the objects a cluster would hold and says what a pod's image meets. Times are single instants; evidence is either good or not there.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_core::trust::root::Certificate;
use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

/// One piece of evidence stored for an image.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// A bundle with a statement; else a legacy signature.
    pub(crate) bundle: bool,
    /// The statement's type.
    pub(crate) predicate: String,
    pub(crate) by: By,
    /// The id of the log it is entered in, and whether the entry has an authenticated time.
    pub(crate) log: Option<([u8; 32], bool)>,
    /// The certificate of the timestamp's signer.
    pub(crate) timestamp: Option<Vec<u8>>,
    /// The id of the certificate transparency log.
    pub(crate) sct: Option<[u8; 32]>,
    /// When it was signed.
    pub(crate) at: Timestamp,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// The certificate's issuer and subject, and the certificate of the authority.
    Certificate { issuer: String, subject: String, authority: Vec<u8> },
    /// The key, DER.
    Key(Vec<u8>),
}

/// What a cluster holds.
pub(crate) struct Cluster<'a> {
    pub(crate) objects: Vec<&'a Value>,
}

struct Authority {
    certificates: Vec<Vec<u8>>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

#[derive(Default)]
struct Material {
    authorities: Vec<Authority>,
    timestamps: Vec<Authority>,
    logs: Vec<Vec<u8>>,
    ct_logs: Vec<Vec<u8>>,
}

impl Authority {
    fn counts(&self, signer: &[u8], at: Timestamp) -> bool {
        self.certificates.first().is_some_and(|first| first == signer)
            && self.certificates.iter().all(|der| Certificate::from_der(der.clone()).unwrap().validity.contains(at))
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
    }
}

impl Cluster<'_> {
    fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Value> {
        self.objects.iter().copied().filter(move |object| object["kind"] == kind)
    }

    /// The namespaces that carry the label: those the rendered binding names.
    pub(crate) fn labelled(&self) -> Vec<String> {
        self.of_kind("ValidatingAdmissionPolicyBinding")
            .flat_map(|binding| {
                binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"]
                    .as_array()
                    .unwrap()
            })
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    /// Whether a pod with this image is created in a labelled namespace; a tag is resolved to `digest` first.
    pub(crate) fn admits(&self, text: &str, digest: &str, pieces: &[Piece]) -> bool {
        let Some(name) = normalised(text, digest) else { return false };
        let matching: Vec<&Value> =
            self.of_kind("ClusterImagePolicy").filter(|policy| matches(policy, &name)).collect();
        // `no-match-policy: deny`; a policy in warn mode matches all the same, and lets in.
        !matching.is_empty()
            && matching.iter().all(|policy| {
                policy["spec"]["mode"] == "warn"
                    || policy["spec"]["authorities"].as_array().unwrap().iter().any(|a| self.passes(a, pieces))
            })
    }

    fn passes(&self, authority: &Value, pieces: &[Piece]) -> bool {
        if let Some(fixed) = authority.get("static") {
            return fixed["action"] == "pass";
        }
        let bundle = authority["signatureFormat"] == "bundle";
        let wanted: Vec<&str> = authority["attestations"]
            .as_array()
            .map(|all| all.iter().map(|one| one["predicateType"].as_str().unwrap()).collect())
            .unwrap_or_default();
        if let Some(key) = authority.get("key") {
            // Keys never verify bundles, and legacy statements were not run.
            let der = from_pem(key["data"].as_str().unwrap());
            return !bundle
                && wanted.is_empty()
                && pieces.iter().any(|piece| !piece.bundle && piece.by == By::Key(der[0].clone()));
        }
        let keyless = &authority["keyless"];
        let reference = keyless["trustRootRef"].as_str().unwrap();
        let Some(material) = self.material(reference) else { return false };
        if keyless["identities"].as_array().unwrap().len() > 1 && bundle {
            return false;
        }
        let timestamp = authority.get("rfc3161timestamp").map(|tsa| tsa["trustRootRef"].as_str().unwrap());
        if bundle && (wanted.is_empty() || timestamp.is_some_and(|other| other != reference)) {
            return false;
        }
        let good = |piece: &&Piece| {
            let By::Certificate { issuer, subject, authority } = &piece.by else { return false };
            let named = keyless["identities"].as_array().unwrap().iter().any(|identity| {
                matches_name(identity, "issuer", "issuerRegExp", issuer)
                    && matches_name(identity, "subject", "subjectRegExp", subject)
            });
            let stamped = piece
                .timestamp
                .as_ref()
                .is_some_and(|signer| material.timestamps.iter().any(|a| a.counts(signer, piece.at)));
            let certified = material.authorities.iter().any(|a| a.counts(authority, piece.at));
            let sct = keyless["insecureIgnoreSCT"] == true
                || piece.sct.is_some_and(|id| material.ct_logs.iter().any(|known| known[..] == id));
            let logged = piece.log.filter(|(id, _)| material.logs.iter().any(|known| known[..] == *id));
            let evidence = match (bundle, timestamp.is_some()) {
                // The log is not looked at.
                (true, true) => stamped,
                (true, false) => logged.is_some_and(|(_, timed)| timed || stamped),
                // Without a timestamp the certificate has to be valid now; it is taken to be.
                (false, _) => true,
            };
            piece.bundle == bundle && named && certified && sct && evidence
        };
        if !bundle {
            return pieces.iter().any(|piece| good(&piece));
        }
        wanted.iter().all(|wanted| pieces.iter().filter(|piece| piece.predicate == **wanted).any(|piece| good(&piece)))
    }

    fn material(&self, reference: &str) -> Option<Material> {
        if let Some(root) = self.of_kind("TrustRoot").find(|root| root["metadata"]["name"] == reference) {
            let all = |field: &str| {
                let list = root["spec"]["sigstoreKeys"][field].as_array().unwrap();
                list.iter()
                    .map(|authority| Authority {
                        certificates: from_pem(&String::from_utf8(decode(&authority["certChain"])).unwrap()),
                        from: None,
                        to: None,
                    })
                    .collect()
            };
            // Log ids are stored as text, so no entry is ever found.
            return Some(Material {
                authorities: all("certificateAuthorities"),
                timestamps: all("timestampAuthorities"),
                ..Material::default()
            });
        }
        let text = self
            .of_kind("ConfigMap")
            .filter(|map| map["metadata"]["name"] == "config-sigstore-keys")
            .find_map(|map| map["data"].get(reference))?;
        let entry: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert_eq!(entry["mediaType"], "application/vnd.dev.sigstore.trustedroot+json;version=0.1");
        let instant = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
        let authorities = |field: &str| {
            let list = entry[field].as_array().unwrap();
            list.iter()
                .map(|authority| Authority {
                    certificates: authority["certChain"]["certificates"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|c| decode(&c["rawBytes"]))
                        .collect(),
                    from: instant(&authority["validFor"]["start"]),
                    to: instant(&authority["validFor"]["end"]),
                })
                .collect()
        };
        let ids =
            |field: &str| entry[field].as_array().unwrap().iter().map(|log| decode(&log["logId"]["keyId"])).collect();
        Some(Material {
            authorities: authorities("certificateAuthorities"),
            timestamps: authorities("timestampAuthorities"),
            logs: ids("tlogs"),
            ct_logs: ids("ctlogs"),
        })
    }
}

fn matches_name(identity: &Value, exact: &str, expression: &str, name: &str) -> bool {
    match (identity.get(exact), identity.get(expression)) {
        (Some(text), None) => text == name,
        // Go's expressions are not anchored.
        (None, Some(expression)) => Regex::new(expression.as_str().unwrap()).unwrap().is_match(name),
        _ => false,
    }
}

/// Whether a policy's globs match the name of an image.
pub(crate) fn matches(policy: &Value, name: &str) -> bool {
    policy["spec"]["images"].as_array().unwrap().iter().any(|image| {
        let glob = image["glob"].as_str().unwrap();
        assert!(glob.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:/*.@".contains(&b)), "{glob}");
        let expression = glob.replace('.', "\\.").replace("**", "#").replace('*', "[^/]*").replace('#', ".*");
        Regex::new(&format!("^{expression}$")).unwrap().is_match(name)
    })
}

/// As go-containerregistry names it; none where it refuses.
pub(crate) fn normalised(text: &str, digest: &str) -> Option<String> {
    let (base, digest) = match text.split('@').collect::<Vec<_>>()[..] {
        [base] => (base, digest),
        [base, digest] => (base, digest),
        _ => return None,
    };
    let hex = digest.strip_prefix("sha256:")?;
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let base = match base.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => {
            let good = !tag.is_empty()
                && tag.len() <= 128
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            if !good {
                return None;
            }
            before
        }
        _ => base,
    };
    let (registry, repository) = match base.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
        _ => ("", base),
    };
    let good = (2..=255).contains(&repository.len())
        && repository.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b));
    if !good || registry.contains(|c: char| c.is_whitespace() || "/?#[]%".contains(c)) {
        return None;
    }
    let registry = if matches!(registry, "" | "docker.io") { "index.docker.io" } else { registry };
    let library = if registry == "index.docker.io" && !repository.contains('/') { "library/" } else { "" };
    Some(format!("{registry}/{library}{repository}@{digest}"))
}

fn decode(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// The blocks of a PEM text; what follows the last has to be nothing at all.
fn from_pem(text: &str) -> Vec<Vec<u8>> {
    assert!(text.ends_with("-----\n") && !text.contains("\n\n"), "{text}");
    text.split("-----END")
        .filter_map(|part| part.split_once("-----BEGIN"))
        .map(|(_, block)| {
            let base64: String = block.split_once("-----").unwrap().1.split_whitespace().collect();
            STANDARD.decode(base64).unwrap()
        })
        .collect()
}
