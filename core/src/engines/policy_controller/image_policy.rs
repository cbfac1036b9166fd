//! ClusterImagePolicy objects: authorities are alternatives, policies all have to hold.

use serde_json::{Map, Value, json};

use super::evidence::{Form, Place};
use super::trust_root;
use crate::engines::object::{For, Type, fields};
use crate::engines::{EngineKind, Object, Stage, names};
use crate::pem::pem;
use crate::trust::root::{ManagedKey, TrustRoot};
use crate::verify::policy::SIGNATURE_PREDICATE;
use crate::verify::{Matcher, Signer};

/// What one authority accepts.
#[derive(Debug, Clone)]
pub(super) enum Authority<'a> {
    /// A certificate's identity under a trust root.
    Certificate {
        /// The identity's name.
        name: &'a str,
        /// Its subject.
        subject: &'a Matcher,
        /// Its issuer.
        issuer: &'a Matcher,
        /// The trust root.
        root: &'a TrustRoot,
        /// What is asked for under it.
        form: Form,
    },
    /// A key, for legacy signatures.
    Key {
        /// The identity's name.
        name: &'a str,
        /// The key.
        key: &'a ManagedKey,
    },
}

impl<'a> Authority<'a> {
    /// An authority for a certificate identity; none for a key.
    pub(super) fn certificate(signer: &'a Signer, root: &'a TrustRoot, form: &Form) -> Option<Self> {
        match signer {
            Signer::Certificate { name, subject, issuer } => {
                Some(Self::Certificate { name, subject, issuer, root, form: form.clone() })
            }
            Signer::Key { .. } => None,
        }
    }

    /// The trust it refers to.
    pub(super) const fn trust(&self) -> Option<(&'a TrustRoot, Place)> {
        match self {
            Self::Certificate { root, form, .. } => Some((root, form.place)),
            Self::Key { .. } => None,
        }
    }

    /// Whether statements can be asked of it.
    const fn knows_statements(&self) -> bool {
        matches!(self, Self::Certificate { form: Form { bundle: true, .. }, .. })
    }

    /// The authority as the engine reads it. `predicates` is never empty where it knows statements: without, the engine refuses bundles.
    fn render(&self, predicates: &[&str], several_roots: bool) -> Value {
        match self {
            Self::Key { name, key } => {
                json!({ "name": name, "key": { "data": pem("PUBLIC KEY", &key.key) } })
            }
            Self::Certificate { name, subject, issuer, root, form } => {
                let trust = match form.place {
                    Place::Object | Place::ObjectWithLogs => trust_root::object_name(&root.name),
                    Place::Direct => trust_root::direct_name(&root.name),
                };
                let mut identity = Map::new();
                for (matcher, exact, expression) in
                    [(issuer, "issuer", "issuerRegExp"), (subject, "subject", "subjectRegExp")]
                {
                    match matcher {
                        Matcher::Exact(text) => identity.insert(exact.to_owned(), json!(text)),
                        Matcher::Pattern(pattern) => identity.insert(expression.to_owned(), json!(pattern.anchored())),
                    };
                }
                // The address is required and never contacted; without it nothing would be verified.
                let url = root.certificate_authorities.first().map_or(trust_root::NO_ADDRESS, trust_root::address);
                let mut keyless = json!({ "url": url, "trustRootRef": trust, "identities": [identity] });
                let mut authority = Map::from_iter([(
                    "name".to_owned(),
                    json!(if several_roots { format!("{name} ({})", root.name) } else { (*name).to_owned() }),
                )]);
                if let (true, Some(keyless)) = (form.ignore_sct, keyless.as_object_mut()) {
                    keyless.insert("insecureIgnoreSCT".to_owned(), json!(true));
                }
                authority.insert("keyless".to_owned(), keyless);
                if form.by_timestamp {
                    authority.insert("rfc3161timestamp".to_owned(), json!({ "trustRootRef": trust }));
                }
                if form.bundle {
                    let attestations: Vec<Value> = predicates
                        .iter()
                        .map(|predicate| json!({ "name": attestation_name(predicate), "predicateType": predicate }))
                        .collect();
                    authority.insert("signatureFormat".to_owned(), json!("bundle"));
                    authority.insert("attestations".to_owned(), Value::Array(attestations));
                }
                Value::Object(authority)
            }
        }
    }
}

fn attestation_name(predicate: &str) -> &str {
    if predicate == SIGNATURE_PREDICATE { "cosign-signature" } else { predicate }
}

/// What one declared policy comes down to.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// The declared policy's name.
    pub(super) policy: &'a str,
    /// The images, as globs.
    pub(super) globs: Vec<String>,
    /// Who may sign.
    pub(super) authorities: Vec<Authority<'a>>,
    /// Predicate types of statements that are required besides the signature, sorted and each once.
    pub(super) statements: Vec<&'a str>,
    /// Images that pass as they are, as globs for one image each.
    pub(super) exempt: Vec<String>,
}

impl Content<'_> {
    /// Whether some authority can be asked for statements, or none has to be.
    pub(super) fn statements_can_be_asked(&self) -> bool {
        self.statements.is_empty() || self.authorities.iter().any(Authority::knows_statements)
    }

    /// The objects for a stage.
    ///
    /// Statements an authority lists all have to be there, by one identity under one trust root. What is declared lets each be by another, so with several
    /// authorities every type gets a policy of its own: those all have to hold, by any of their authorities each.
    pub(super) fn objects(&self, stage: Stage) -> Vec<Object> {
        let mut objects = Vec::new();
        let together = self.authorities.len() == 1;
        let mut first = vec![SIGNATURE_PREDICATE];
        if together {
            first.extend(&self.statements);
        }
        objects.push(self.object(stage, None, &self.globs, self.rendered(&first, false)));
        for statement in self.statements.iter().filter(|_| !together) {
            let role = format!("statement-{}", names::digits(statement));
            let authorities = self.rendered(&[statement], true);
            objects.push(self.object(stage, Some(&role), &self.globs, authorities));
        }
        if !self.exempt.is_empty() {
            let pass = json!({ "name": "exempt", "static": { "action": "pass" } });
            objects.push(self.object(stage, Some("exempt"), &self.exempt, vec![pass]));
        }
        objects
    }

    fn rendered(&self, predicates: &[&str], statements: bool) -> Vec<Value> {
        let mut roots: Vec<&str> =
            self.authorities.iter().filter_map(Authority::trust).map(|(root, _)| root.name.as_str()).collect();
        roots.dedup();
        let several_roots = roots.len() > 1;
        self.authorities
            .iter()
            .filter(|authority| !statements || authority.knows_statements())
            .map(|authority| authority.render(predicates, several_roots))
            .collect()
    }

    /// One object of the policy; those beside its first have a role.
    fn object(&self, stage: Stage, role: Option<&str>, globs: &[String], authorities: Vec<Value>) -> Object {
        let of = |role: &str| names::of(role, self.policy, names::MAX_NAME);
        let name = match (role, stage) {
            (None, Stage::Enforce) => names::name(self.policy, names::MAX_NAME),
            (None, Stage::Audit) => of("audit"),
            (Some(role), Stage::Enforce) => of(role),
            (Some(role), Stage::Audit) => of(&format!("{role}-audit")),
        };
        cluster_image_policy(&name, For::Policy(self.policy), stage, globs, authorities)
    }
}

/// A ClusterImagePolicy.
pub(super) fn cluster_image_policy(
    name: &str,
    why: For<'_>,
    stage: Stage,
    globs: &[String],
    authorities: Vec<Value>,
) -> Object {
    let of = Type { api_version: "policy.sigstore.dev/v1beta1", kind: "ClusterImagePolicy" };
    let mode = match stage {
        Stage::Audit => "warn",
        Stage::Enforce => "enforce",
    };
    let images: Vec<Value> = globs.iter().map(|glob| json!({ "glob": glob })).collect();
    let spec =
        fields([("mode", json!(mode)), ("images", Value::Array(images)), ("authorities", Value::Array(authorities))]);
    let spec = fields([("spec", spec)]);
    Object::new(EngineKind::PolicyController, of, None, name, why, spec)
}
