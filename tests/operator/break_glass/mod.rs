//! Break-glasses: who opens one, what ends it, and what it loosens meanwhile.

mod guarded;
mod people;
mod stale;
mod told;

use holdfast_core::Digest;
use holdfast_core::api::TrustBreakGlassSpec;
use holdfast_core::gate::loosening::approval_digest;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::attacks::may;
use crate::lab::{Lab, Status};

pub(crate) const GLASSES: &str = "/apis/holdfast.dev/v1alpha1/trustbreakglasses";
const APPROVALS: &str = "/apis/holdfast.dev/v1alpha1/trustapprovals";

pub(crate) fn path(name: &str) -> String {
    format!("{GLASSES}/{name}")
}

/// So many seconds from now, in whole ones.
pub(crate) fn from_now(seconds: i64) -> Timestamp {
    let at = crate::courier::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap()
}

pub(crate) fn glass(name: &str, by: &str, until: Timestamp, loosen: &Value) -> Value {
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass", "metadata": {"name": name},
        "spec": {"reason": "INC-1: the courier is late", "requestedBy": by, "until": until.to_string(), "loosen": loosen},
    })
}

pub(crate) fn accept_stale(mirror: &str) -> Value {
    json!({"acceptStale": {"trustRoot": mirror}})
}

/// The digest that is to be approved.
pub(crate) fn digest_of(glass: &Value) -> Digest {
    let spec: TrustBreakGlassSpec = serde_json::from_value(glass["spec"].clone()).unwrap();
    approval_digest("TrustBreakGlass", glass["metadata"]["name"].as_str().unwrap(), &spec)
}

/// Somebody who may ask does, once guards are in force.
pub(crate) fn ask(lab: &Lab, by: &str, name: &str, until: Timestamp, loosen: &Value) -> Digest {
    may(lab, by, "holdfast-admin");
    lab.guards_are_settled();
    let glass = glass(name, by, until, loosen);
    lab.until(&format!("{by} may ask"), |lab| lab.call_as(by, "POST", GLASSES, &glass));
    digest_of(&glass)
}

pub(crate) fn approve(lab: &Lab, user: &str, name: &str, digest: Digest) -> Result<Value, String> {
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "approval-"},
        "spec": {"approver": user, "for": {"kind": "TrustBreakGlass", "name": name, "digest": digest}},
    });
    lab.call_as(user, "POST", APPROVALS, &approval)
}

pub(crate) fn status(lab: &Lab, name: &str) -> Status {
    Status::of(lab.get(&path(name)).unwrap_or_else(|| panic!("there is no break-glass {name}")))
}

/// Waits until it is something, for a reason.
#[track_caller]
pub(crate) fn until(lab: &Lab, name: &str, phase: &str, reason: &str) -> Status {
    lab.until(&format!("{name} is {phase}: {reason}"), |lab| {
        let status = status(lab, name);
        let is = status.at("/phase") == phase && status.reason("Active") == reason;
        if is { Ok(status) } else { Err(status.text()) }
    })
}

/// The reasons of its events.
pub(crate) fn events(lab: &Lab, name: &str) -> Vec<String> {
    let all = lab.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
    let about = |event: &&Value| event["regarding"]["kind"] == "TrustBreakGlass" && event["regarding"]["name"] == name;
    let found = all["items"].as_array().unwrap().iter().filter(about);
    found.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

/// How often the guards were looked at.
pub(crate) fn questions(lab: &Lab) -> usize {
    lab.proxy().asked().iter().filter(|asked| asked.path.contains("admissionregistration.k8s.io")).count()
}
