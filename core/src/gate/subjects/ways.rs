//! The ways to each power: what a role gives, by where it is bound.

use std::collections::BTreeSet;

use super::Holdfast;
use super::power::Power;
use super::rbac::Rule;
use super::who::{Kind, Who};
use crate::api::GROUP;

/// Where Kubernetes' own controllers have their accounts.
pub(super) const KUBE_SYSTEM: &str = "kube-system";
const RBAC: &str = "rbac.authorization.k8s.io";
/// The most names of one role that are kept; a role with more is taken to be about all there are.
const MAX_NAMES: usize = 256;

/// Where a role counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everywhere, and for what is in no namespace.
    Cluster,
    /// In holdfast's namespace.
    Own,
    /// In kube-system.
    System,
}

/// What a role gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// Powers, whoever else has which.
    pub(super) powers: BTreeSet<Power>,
    /// The roles it may bind, by name: a power where one of them is.
    pub(super) binds: BTreeSet<String>,
    /// Whom it may impersonate, by name: a power where one of them has one.
    pub(super) impersonates: BTreeSet<Who>,
}

impl Grant {
    /// What these rules give there.
    pub(super) fn of(rules: &[Rule], reach: Reach, holdfast: &Holdfast) -> Self {
        let mut grant = Self::default();
        for rule in rules {
            if reach == Reach::Cluster {
                grant.of_the_cluster(rule, holdfast);
            }
            if reach != Reach::System {
                grant.holdfast_itself(rule, reach, holdfast);
            }
            if reach != Reach::Own {
                grant.kubernetes_itself(rule);
            }
            grant.rights(rule);
        }
        if grant.binds.len() > MAX_NAMES {
            grant.binds.clear();
            grant.powers.insert(Power::EscalateRights);
        }
        if grant.impersonates.len() > MAX_NAMES {
            grant.impersonates.clear();
            grant.powers.insert(Power::ImpersonateApprovers);
        }
        grant
    }

    /// Whether it is of no concern.
    pub(super) fn is_nothing(&self) -> bool {
        self.powers.is_empty() && self.binds.is_empty() && self.impersonates.is_empty()
    }

    fn gives(&mut self, power: Power, is: bool) {
        if is {
            self.powers.insert(power);
        }
    }

    /// What is in no namespace.
    fn of_the_cluster(&mut self, rule: &Rule, holdfast: &Holdfast) {
        let about = |is: fn(&str) -> bool| rule.names().is_none_or(|names| names.iter().any(|name| is(name)));
        let rules = rule.gives(
            &["create", "update", "patch", "delete", "deletecollection"],
            "admissionregistration.k8s.io",
            &["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        );
        self.gives(Power::RewriteAdmissionPolicies, rules && about(|name| name.starts_with("holdfast")));
        // What changes what holdfast writes in passing may have any name; one that is deleted changes nothing.
        let mutates = rule.gives(
            &["create", "update", "patch"],
            "admissionregistration.k8s.io",
            &["mutatingwebhookconfigurations", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"],
        );
        self.gives(Power::RewriteAdmissionPolicies, mutates);
        // A definition that is there is not made again: who may only make some has no power over it.
        let kinds = rule.gives(
            &["update", "patch", "delete", "deletecollection"],
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
        );
        self.gives(Power::RewriteAdmissionPolicies, kinds && about(|name| name.ends_with(".holdfast.dev")));
        self.gives(
            Power::BypassAdmission,
            rule.gives(&["get", "create", "update", "patch", "delete"], "", &["nodes/proxy"]),
        );
        self.gives(
            Power::Approve,
            rule.gives(&["approve"], GROUP, &["signingidentitypolicies", "trustbreakglasses", "trustrootmirrors"]),
        );
        let parameters =
            rule.gives(&["create", "update", "patch", "delete", "deletecollection"], GROUP, &["verifiedimages"]);
        let status = [
            "bundlecoveragereports/status",
            "signingidentitypolicies/status",
            "trustbreakglasses/status",
            "trustrootmirrors/status",
        ];
        self.gives(Power::RewriteParameters, parameters || rule.gives(&["update", "patch"], GROUP, &status));
        // A certificate of this signer is whoever its request names.
        let signs = rule.gives(&["approve"], "certificates.k8s.io", &["signers"]);
        let certifies = about(|name| matches!(name, "kubernetes.io/*" | "kubernetes.io/kube-apiserver-client"));
        self.gives(Power::ImpersonateApprovers, signs && certifies);
        self.impersonating(rule, holdfast);
    }

    /// Whom the API server takes the requester for.
    fn impersonating(&mut self, rule: &Rule, holdfast: &Holdfast) {
        for (resource, kind) in [
            ("users", Some(Kind::User)),
            ("groups", Some(Kind::Group)),
            ("serviceaccounts", Some(Kind::ServiceAccount)),
            ("uids", None),
        ] {
            if !impersonates(rule, resource) {
                continue;
            }
            let (Some(names), Some(kind)) = (rule.names(), kind) else {
                self.gives(Power::ImpersonateApprovers, true);
                self.gives(Power::ActAsHoldfast, matches!(kind, Some(Kind::User | Kind::ServiceAccount)));
                continue;
            };
            for who in names.iter().map(|name| Who::named(kind, name, None)) {
                self.gives(Power::ActAsHoldfast, who.may_be_holdfast(holdfast));
                if !who.is_holdfast(holdfast) {
                    self.impersonates.insert(who);
                }
            }
        }
    }

    /// What makes its holder holdfast to the API server. Names of pods and Secrets are not known beforehand: whoever names some for this one namespace means
    /// those that are there.
    fn holdfast_itself(&mut self, rule: &Rule, reach: Reach, holdfast: &Holdfast) {
        let about = |is: &dyn Fn(&str) -> bool| rule.names().is_none_or(|names| names.iter().any(|name| is(name)));
        let inside = gets_inside(rule) && about(&|name| reach == Reach::Own || name.starts_with("holdfast"));
        let account = about(&|name| name == holdfast.service_account);
        let token = rule.gives(&["create"], "", &["serviceaccounts/token"]);
        let impersonates = impersonates(rule, "serviceaccounts");
        self.gives(Power::ActAsHoldfast, inside || account && (token || impersonates));
    }

    /// What makes its holder one of Kubernetes' own controllers, some of which give themselves any right.
    fn kubernetes_itself(&mut self, rule: &Rule) {
        let token = rule.gives(&["create"], "", &["serviceaccounts/token"]);
        self.gives(Power::EscalateRights, rule.names().is_none() && (gets_inside(rule) || token));
    }

    /// What gives more rights than its holder has. Who may write roles and bindings without these verbs passes on no more than they have: the API server
    /// sees to that.
    fn rights(&mut self, rule: &Rule) {
        self.gives(Power::EscalateRights, rule.gives(&["escalate"], RBAC, &["clusterroles", "roles"]));
        if rule.gives(&["bind"], RBAC, &["clusterroles", "roles"]) {
            match rule.names() {
                Some(names) => self.binds.extend(names.iter().cloned()),
                None => self.gives(Power::EscalateRights, true),
            }
        }
    }
}

/// By the verb that has always been for it, or by those that are about one sort of requester.
fn impersonates(rule: &Rule, resource: &str) -> bool {
    let verbs = ["impersonate", "impersonate:user-info", "impersonate:serviceaccount"];
    ["", "authentication.k8s.io"].iter().any(|group| rule.gives(&verbs, group, &[resource]))
}

/// Whether its holder makes pods in a namespace, gets into those that are there, or reads its Secrets, among which tokens may be.
fn gets_inside(rule: &Rule) -> bool {
    const MAKES: [&str; 3] = ["create", "update", "patch"];
    rule.gives(&MAKES, "", &["pods", "replicationcontrollers"])
        || rule.gives(&MAKES, "apps", &["daemonsets", "deployments", "replicasets", "statefulsets"])
        || rule.gives(&MAKES, "batch", &["cronjobs", "jobs"])
        // A connection that is upgraded begins with a GET.
        || rule.gives(&["get", "create"], "", &["pods/attach", "pods/exec"])
        || rule.gives(&["update", "patch"], "", &["pods/ephemeralcontainers"])
        || rule.gives(&["get", "list", "watch"], "", &["secrets"])
}
