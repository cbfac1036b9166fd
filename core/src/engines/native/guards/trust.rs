//! What a trust root is held to: who may let other key material in, or let it count for longer.

use super::{Guard, may_approve, ours, says};

const CREATED: &str = "request.operation == 'CREATE'";

/// A field of a block that may be left out.
fn of(object: &str, path: &str, absent: &str) -> String {
    let (block, _) = path.split_once('.').unwrap_or((path, ""));
    format!("(has({object}.spec.{block}) && has({object}.spec.{path}) ? {object}.spec.{path} : {absent})")
}

/// A field before and after, in a relation that weakens nothing.
fn kept(path: &str, absent: &str, relation: impl Fn(&str, &str) -> String) -> String {
    relation(&of("object", path, absent), &of("oldObject", path, absent))
}

fn not_longer(new: &str, old: &str) -> String {
    format!("duration({new}) <= duration({old})")
}

/// A pull secret decides whether something is read, never what is believed.
fn same_source() -> String {
    let [new, old] = ["object.spec.source", "oldObject.spec.source"];
    let same = |field: &str| {
        format!(
            "has({new}.oci.{field}) == has({old}.oci.{field}) && (!has({new}.oci.{field}) || {new}.oci.{field} == {old}.oci.{field})"
        )
    };
    let all = ["ref", "caBundleRef", "tokenUrl", "redirectHosts", "plainHttp"].map(same).join(" && ");
    format!("{new} == {old} || (has({new}.oci) && has({old}.oci) && {all})")
}

/// `suspend` and a longer `interval` are left to whoever may edit the object: trust then ages, and is said to.
pub(super) fn rotation() -> Guard {
    let approved = kept("rotation.approvedDigest", "''", |new, old| {
        format!("{new} == '' || ({CREATED} ? false : {new} == {old})")
    });
    let automatic = kept("rotation.approval", "'Required'", |new, old| {
        format!("{new} != 'Automatic' || ({CREATED} ? false : {old} == 'Automatic')")
    });
    let failing = kept("rotation.maxNewlyFailing", "0", |new, old| format!("{new} <= ({CREATED} ? 0 : {old})"));
    let removal = kept("rotation.removalGrace", "'72h'", not_longer);
    let pin = kept("bootstrap.rootSHA256", "''", |new, old| format!("{new} == {old}"));
    let grace = kept("freshness.grace", "'0s'", not_longer);
    // Without `maxAge` trust of any age counts.
    let max_age = kept("freshness.maxAge", "''", |new, old| {
        format!("({old} == '' || ({new} != '' && {}))", not_longer(new, old))
    });
    let on_stale = kept("freshness.onStale", "'Alert'", |new, old| format!("({old} == 'Alert' || {new} == {old})"));
    let distributes =
        |object: &str| format!("(has({object}.spec.distribution) && has({object}.spec.distribution.configMaps))");
    let config_maps = |object: &str| format!("{object}.spec.distribution.configMaps");
    let spread_as_before = format!(
        "!{new} || ({CREATED} ? false : {old} && {} == {})",
        config_maps("object"),
        config_maps("oldObject"),
        new = distributes("object"),
        old = distributes("oldObject"),
    );
    let may = may_approve("'trustrootmirrors'", "object.metadata.name");
    let unless = |kept: String, what: &str| {
        says(
            format!("({kept}) || {may}"),
            format!("{what}: RBAC has to give you the verb `approve` on this TrustRootMirror"),
        )
    };
    Guard {
        name: "rotation",
        rules: vec![ours(&["CREATE", "UPDATE"], &["trustrootmirrors"])],
        namespace: None,
        conditions: Vec::new(),
        variables: Vec::new(),
        validations: vec![
            unless(
                format!("({approved}) && ({automatic}) && ({failing}) && ({CREATED} || {removal})"),
                "`rotation.approvedDigest`, `approval: Automatic`, a higher `maxNewlyFailing` and a longer `removalGrace` let new key material in, or old stay",
            ),
            // Whoever distributes says what others believe; a first import needs nobody's approval.
            unless(
                spread_as_before,
                "`distribution.configMaps` puts this trust in force in other namespaces, and is new or another one",
            ),
            unless(
                format!("{CREATED} || {pin}"),
                "`bootstrap.rootSHA256` is the root that everything starts from, and another one, or none, lets other key material in",
            ),
            unless(
                format!("{CREATED} || {}", same_source()),
                "`source` is where key material comes from (all in it counts but `oci.pullSecretRef`), and another one lets other key material in",
            ),
            unless(
                format!("{CREATED} || ({grace} && {max_age} && {on_stale})"),
                "a longer `freshness.grace`, a longer `maxAge` or none, and `onStale: Alert` in place of `FailClosed` let old trust count for longer",
            ),
        ],
    }
}
