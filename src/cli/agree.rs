//! What people make to agree to something: the manifests, with the digests they are bound to.

use std::io::{self, Write};

use holdfast_core::Digest;
use holdfast_core::api::TrustBreakGlassSpec;
use holdfast_core::api::break_glass::{Loosen, ObjectDigest};
use holdfast_core::gate::loosening::{Loosening, approval_digest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::output::printable;
use crate::controller::failure::within;

const BREAK_GLASS: &str = "TrustBreakGlass";
/// How long a break-glass that is proposed lasts: two people have to find the time.
const LASTS: SignedDuration = SignedDuration::from_hours(24);
/// The longest name of a break-glass.
const LONGEST: usize = 63;
const APPROVER: &str = "<who approves, as `kubectl auth whoami` says it>";
const REQUESTER: &str = "<you, as `kubectl auth whoami` says it>";

/// A break-glass that somebody may ask for.
pub(super) struct Proposal {
    pub(super) name: String,
    manifest: Value,
    /// What has to be approved; not known where it is not known who asks.
    pub(super) digest: Option<Digest>,
}

/// The name by which the API server knows whoever asks, where it says.
pub(super) async fn whoami(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let asked = SelfSubjectReview::default();
    let answer = within("ask who asks, as", "SelfSubjectReview", api.create(&PostParams::default(), &asked)).await;
    answer.ok()?.status?.user_info?.username
}

impl Proposal {
    /// A break-glass that lends a change, or a deletion, of this digest.
    pub(super) fn allows(what: &Loosening, verb: &str, by: Option<&str>, reason: &str, now: Timestamp) -> Self {
        let name = format!("{verb}-{}", what.object.name);
        let name = name.get(..LONGEST).unwrap_or(&name).trim_end_matches(['-', '.']).to_owned();
        let change =
            ObjectDigest { kind: what.object.kind.to_owned(), name: what.object.name.clone(), digest: what.digest };
        // Whole seconds: a break-glass takes no parts of them.
        let until = now.saturating_add(LASTS).unwrap_or(Timestamp::MAX).as_second();
        let spec = TrustBreakGlassSpec {
            reason: reason.to_owned(),
            requested_by: by.unwrap_or(REQUESTER).to_owned(),
            until: Timestamp::from_second(until).unwrap_or(now).to_string(),
            loosen: Loosen { allow_change: Some(change), ..Loosen::default() },
        };
        let digest = by.map(|_| approval_digest(BREAK_GLASS, &name, &spec));
        let manifest = json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": BREAK_GLASS, "metadata": {"name": name}, "spec": spec,
        });
        Self { name, manifest, digest }
    }

    /// The steps from asking for it to its being in force.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "  1. Ask for it, in your own name; the role holdfast-admin lets you. Another reason or end is another digest to approve:\n"
        )?;
        create(&self.manifest, out)?;
        writeln!(
            out,
            "  2. Two people, neither of them you, approve it, each in their own name. They need the verb `approve` on trustbreakglasses,\n     which the role holdfast-approver gives and nobody has by default:\n"
        )?;
        match self.digest {
            Some(digest) => create(&approval(BREAK_GLASS, &self.name, digest), out)?,
            None => writeln!(
                out,
                "     The digest hangs on who asks: the status of the break-glass says it once it is there (kubectl get tbg {} -o yaml)\n",
                self.name
            )?,
        }
        writeln!(out, "  3. Wait until it is Active:\n\nkubectl get trustbreakglass {}\n", self.name)
    }
}

/// Says how one person approves a change.
pub(super) fn print_approval(what: &Loosening, out: &mut dyn Write) -> io::Result<()> {
    create(&approval(what.object.kind, &what.object.name, what.digest), out)
}

fn approval(kind: &str, name: &str, digest: Digest) -> Value {
    let prefix = format!("{}-", name.get(..40).unwrap_or(name).trim_end_matches(['-', '.']));
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": prefix},
        "spec": {"approver": APPROVER, "for": {"kind": kind, "name": name, "digest": digest}},
    })
}

fn create(manifest: &Value, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_saphyr::to_string(manifest).map_err(|error| io::Error::other(error.to_string()))?;
    writeln!(out, "kubectl create -f - <<'EOF'")?;
    for line in text.lines() {
        writeln!(out, "{}", printable(line))?;
    }
    writeln!(out, "EOF\n")
}

#[cfg(test)]
mod tests {
    use holdfast_core::api::TrustBreakGlass;
    use holdfast_core::gate::loosening::{LooseningKind, ObjectRef};

    use super::*;

    fn deletion(name: &str) -> Loosening {
        Loosening {
            object: ObjectRef { kind: "SigningIdentityPolicy", name: name.to_owned() },
            kind: LooseningKind::PolicyDeleted,
            field: String::new(),
            detail: String::new(),
            digest: Digest::of(b"deleted"),
        }
    }

    fn manifests(text: &str) -> Vec<Value> {
        let parts = text.split("<<'EOF'\n").skip(1);
        parts.map(|part| serde_saphyr::from_str(part.split_once("\nEOF").unwrap().0).unwrap()).collect()
    }

    #[test]
    fn what_is_printed_is_what_the_digest_is_of() {
        let now = "2026-11-24T06:00:00.123Z".parse().unwrap();
        let proposal = Proposal::allows(&deletion("apps"), "uninstall", Some("alice: \"ops\""), "the end: of it", now);
        let mut out = Vec::new();
        proposal.print(&mut out).unwrap();
        let [glass, approval] = <[Value; 2]>::try_from(manifests(&String::from_utf8(out).unwrap())).unwrap();
        let glass: TrustBreakGlass = serde_json::from_value(glass).unwrap();
        assert_eq!(
            (glass.spec.until.as_str(), glass.spec.requested_by.as_str()),
            ("2026-11-25T06:00:00Z", "alice: \"ops\"")
        );
        let digest = approval_digest("TrustBreakGlass", "uninstall-apps", &glass.spec);
        assert_eq!(approval["spec"]["for"]["digest"], digest.to_string());
        assert_eq!(glass.spec.loosen.allow_change.unwrap().digest, Digest::of(b"deleted"));
    }

    #[test]
    fn who_asks_is_part_of_what_is_approved_so_without_it_there_is_no_digest() {
        let proposal = Proposal::allows(&deletion(&"a".repeat(63)), "uninstall", None, "why", Timestamp::UNIX_EPOCH);
        assert!(proposal.digest.is_none() && proposal.name.len() <= LONGEST);
    }
}
