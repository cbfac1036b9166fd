//! Roles and bindings, one after the other, and what they come to.

use std::collections::{BTreeMap, BTreeSet};

use super::Holdfast;
use super::listing::{Subject, Subjects};
use super::power::Power;
use super::rbac::{Binding, Role};
use super::ways::{Grant, KUBE_SYSTEM, Reach};
use super::who::{Powerful, Who};

/// The most subjects that are kept.
const MAX_KEPT: usize = 4096;
/// The most bindings of one subject that are named.
const MAX_NAMED: usize = 4;

/// What was read so far. Every role is told before the first binding: one that names a role nobody told gives nothing.
#[derive(Debug)]
pub struct Survey {
    holdfast: Holdfast,
    cluster_roles: BTreeMap<String, Grants>,
    roles: BTreeMap<(String, String), Grant>,
    found: BTreeMap<Who, Held>,
    beyond: usize,
}

/// What a ClusterRole gives, by where it is bound.
#[derive(Debug)]
struct Grants {
    cluster: Grant,
    own: Grant,
    system: Grant,
}

#[derive(Debug, Default)]
struct Held {
    grant: Grant,
    /// The roles it may bind where a binding counts: by namespace, or by none for all of them.
    binds: BTreeSet<(Option<String>, String)>,
    by: BTreeSet<String>,
    bindings: usize,
}

impl Survey {
    /// Nothing is read yet.
    pub fn new(holdfast: Holdfast) -> Self {
        let found = BTreeMap::new();
        Self { holdfast, cluster_roles: BTreeMap::new(), roles: BTreeMap::new(), found, beyond: 0 }
    }

    /// A ClusterRole.
    pub fn cluster_role(&mut self, role: &Role) {
        let grant = |reach| Grant::of(&role.rules, reach, &self.holdfast);
        let grants = Grants { cluster: grant(Reach::Cluster), own: grant(Reach::Own), system: grant(Reach::System) };
        if ![&grants.cluster, &grants.own, &grants.system].iter().all(|grant| grant.is_nothing()) {
            self.cluster_roles.insert(role.metadata.name.clone(), grants);
        }
    }

    /// A Role.
    pub fn role(&mut self, role: &Role) {
        let Some(namespace) = role.metadata.namespace.as_deref() else { return };
        let Some(reach) = self.reach(namespace) else { return };
        let grant = Grant::of(&role.rules, reach, &self.holdfast);
        if !grant.is_nothing() {
            self.roles.insert((namespace.to_owned(), role.metadata.name.clone()), grant);
        }
    }

    /// A ClusterRoleBinding or, where it is in a namespace, a RoleBinding.
    pub fn binding(&mut self, binding: &Binding) {
        let namespace = binding.metadata.namespace.as_deref();
        let Some(grant) = self.given(namespace, &binding.role_ref.kind, &binding.role_ref.name).cloned() else {
            return;
        };
        let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let place = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let named = format!("{kind} `{place}{}`", binding.metadata.name);
        let whom: BTreeSet<Who> = binding.subjects.iter().filter_map(|bound| Who::bound(bound, binding)).collect();
        for who in whom {
            self.holds(who, &grant, namespace, &named);
        }
    }

    fn holds(&mut self, who: Who, grant: &Grant, namespace: Option<&str>, by: &str) {
        if who.is_holdfast(&self.holdfast) {
            return;
        }
        if self.found.len() >= MAX_KEPT && !self.found.contains_key(&who) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let held = self.found.entry(who).or_default();
        held.grant.powers.extend(&grant.powers);
        held.grant.impersonates.extend(grant.impersonates.iter().cloned());
        held.binds.extend(grant.binds.iter().map(|role| (namespace.map(str::to_owned), role.clone())));
        held.bindings += 1;
        held.by.insert(by.to_owned());
        if held.by.len() > MAX_NAMED {
            held.by.pop_last();
        }
    }

    fn reach(&self, namespace: &str) -> Option<Reach> {
        match namespace {
            own if own == self.holdfast.namespace => Some(Reach::Own),
            KUBE_SYSTEM => Some(Reach::System),
            _ => None,
        }
    }

    /// What a role gives that is bound in a namespace, or for the whole cluster.
    fn given(&self, namespace: Option<&str>, kind: &str, name: &str) -> Option<&Grant> {
        let grant = match (kind, namespace) {
            ("ClusterRole", None) => self.cluster_roles.get(name).map(|grants| &grants.cluster),
            ("ClusterRole", Some(namespace)) => match self.reach(namespace)? {
                Reach::Own => self.cluster_roles.get(name).map(|grants| &grants.own),
                _ => self.cluster_roles.get(name).map(|grants| &grants.system),
            },
            ("Role", Some(namespace)) => self.roles.get(&(namespace.to_owned(), name.to_owned())),
            _ => None,
        };
        grant.filter(|grant| !grant.is_nothing())
    }

    /// Everybody who has a power.
    pub fn finish(mut self) -> Subjects {
        self.bind();
        self.impersonate();
        let masters = Who::masters();
        self.found.entry(masters.clone()).or_default().grant.powers.extend(Power::ALL);
        let found = std::mem::take(&mut self.found).into_iter().filter(|(_, held)| !held.grant.powers.is_empty());
        let subjects = found.map(|(who, held)| Subject {
            is_system: who.is_system(),
            always: who == masters,
            kind: who.kind,
            namespace: who.namespace,
            name: who.name,
            can: held.grant.powers,
            by: held.by,
            bindings: held.bindings,
        });
        Subjects::sorted(subjects.collect(), self.beyond)
    }

    /// Who may bind a role that gives a power has that power to give.
    fn bind(&mut self) {
        let gives = |namespace: Option<&str>, role: &str| {
            ["ClusterRole", "Role"].iter().any(|kind| self.given(namespace, kind, role).is_some())
                || namespace.is_none() && self.roles.keys().any(|(_, name)| name == role)
                || namespace.is_none() && self.cluster_roles.contains_key(role)
        };
        let escalate: Vec<Who> = self
            .found
            .iter()
            .filter(|(_, held)| held.binds.iter().any(|(namespace, role)| gives(namespace.as_deref(), role)))
            .map(|(who, _)| who.clone())
            .collect();
        for who in escalate {
            self.found.entry(who).or_default().grant.powers.insert(Power::EscalateRights);
        }
    }

    /// Who may be somebody who has a power has it: until nobody is found any more, since one may be had by way of another.
    fn impersonate(&mut self) {
        loop {
            let powerful = Powerful::of(
                self.found.iter().filter(|(_, held)| !held.grant.powers.is_empty()).map(|(who, _)| who.clone()),
            );
            let mut found = false;
            for held in self.found.values_mut() {
                let has = held.grant.powers.contains(&Power::ImpersonateApprovers);
                if !has && held.grant.impersonates.iter().any(|named| powerful.are_had_as(named)) {
                    held.grant.powers.insert(Power::ImpersonateApprovers);
                    found = true;
                }
            }
            if !found {
                return;
            }
        }
    }
}
