//! Which ConfigMaps carry the trust, and whether everybody who reads it has it.
//!
//! What comes is added before what goes is removed: the text is that of the trust in force and of all that it replaced and is still
//! [leaving](super::Record::leaving).

use std::collections::{BTreeMap, BTreeSet};

use super::reason::MirrorReason;
use crate::Digest;
use crate::api::mirror::ConfigMapDistribution;
use crate::trust::root::TrustRoot;

/// The key of the ConfigMaps.
pub const KEY: &str = crate::trust::held::TRUSTED_ROOT;

/// Namespaces that nothing is distributed to, whatever selects them: what runs there is Kubernetes' own.
const RESERVED: [&str; 3] = ["kube-node-lease", "kube-public", "kube-system"];

/// A namespace, as it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is on its way out.
    pub terminating: bool,
}

/// A ConfigMap of the name that is distributed under, as it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid and version.
    pub version: ObjectVersion,
    /// The mirror it says it is of; nothing where it does not say that it is holdfast's.
    pub mirror: Option<String>,
    /// The digest of the text in it.
    pub text: Option<Digest>,
    /// The digest that holdfast wrote on it.
    pub written: Option<Digest>,
}

/// Which object is meant, in which version: a write that carries it is refused once the object is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The uid.
    pub uid: String,
    /// The resource version.
    pub resource_version: String,
}

/// Where a mirror's trust may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The names it may be distributed under.
    pub names: &'a [String],
    /// Holdfast's own namespace.
    pub own_namespace: &'a str,
}

/// A ConfigMap to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub namespace: String,
    /// What is there now; nothing where it is to be made.
    pub over: Option<ObjectVersion>,
    /// Whether somebody else changed what holdfast wrote.
    pub puts_back: bool,
}

/// A ConfigMap to take away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Where.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is there now.
    pub version: ObjectVersion,
}

/// Whether one who reads the trust has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerState {
    /// It cannot be given it.
    Refused,
    /// It has not.
    Behind,
    /// It has.
    Current,
}

impl ConsumerState {
    /// The name as written in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "Refused",
            Self::Behind => "Behind",
            Self::Current => "Current",
        }
    }
}

/// Why a namespace is not given the trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotGiven {
    /// It is one of Kubernetes' own.
    KubernetesOwn,
    /// It is holdfast's own.
    HoldfastOwn,
    /// Another mirror distributes under the name there.
    OtherMirror,
    /// A ConfigMap of the name is there that is not holdfast's.
    NotOurs,
    /// The API server does not take it there.
    NotTaken,
}

impl NotGiven {
    /// The reason, in a sentence without an end.
    pub const fn words(self) -> &'static str {
        match self {
            Self::KubernetesOwn => "the namespace is Kubernetes' own",
            Self::HoldfastOwn => "the namespace is holdfast's own",
            Self::OtherMirror => "another mirror distributes under this name there",
            Self::NotOurs => {
                "a ConfigMap of this name is there that is not holdfast's: rename it, or distribute under another name"
            }
            Self::NotTaken => "the API server does not take it there",
        }
    }
}

/// One who reads the trust.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    /// Whether it has it.
    pub state: ConsumerState,
    /// Its namespace.
    pub namespace: String,
    /// Why it cannot be given it.
    pub why: Option<NotGiven>,
    /// What the API server said to that.
    pub said: Option<String>,
}

/// What is to be distributed, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The name it is distributed under.
    pub name: String,
    /// The text.
    pub text: String,
    /// Its digest.
    pub digest: Digest,
    /// What to write.
    pub writes: Vec<Write>,
    /// What to take away.
    pub removals: Vec<Removal>,
    /// Everybody who is to read it, those who cannot or do not have it first.
    pub consumers: Vec<Consumer>,
}

impl Distribution {
    /// What is to be distributed of `mirror`; nothing where its name may not be used.
    pub fn of(
        mirror: &str,
        declared: &ConfigMapDistribution,
        trust: &TrustRoot,
        namespaces: &[Namespace],
        existing: &[Existing],
        limits: Limits<'_>,
    ) -> Option<Self> {
        limits.names.contains(&declared.name).then_some(())?;
        let text = trust.document();
        let digest = Digest::of(text.as_bytes());
        let there: BTreeMap<&str, &Existing> = existing
            .iter()
            .filter(|existing| existing.name == declared.name)
            .map(|existing| (existing.namespace.as_str(), existing))
            .collect();
        let mut distribution = Self {
            name: declared.name.clone(),
            text,
            digest,
            writes: Vec::new(),
            removals: Vec::new(),
            consumers: Vec::new(),
        };
        let mut selected = BTreeSet::new();
        for namespace in namespaces.iter().filter(|namespace| !namespace.terminating) {
            if !declared.namespace_selector.matches(&namespace.labels) {
                continue;
            }
            selected.insert(namespace.name.as_str());
            distribution.take_in(mirror, &namespace.name, there.get(namespace.name.as_str()).copied(), limits);
        }
        distribution.consumers.sort();
        distribution.removals =
            removals(mirror, existing, |at| at.name == declared.name && selected.contains(at.namespace.as_str()));
        Some(distribution)
    }

    fn take_in(&mut self, mirror: &str, namespace: &str, there: Option<&Existing>, limits: Limits<'_>) {
        let mut consumer =
            Consumer { state: ConsumerState::Current, namespace: namespace.to_owned(), why: None, said: None };
        let refused = match there {
            _ if RESERVED.contains(&namespace) => Some(NotGiven::KubernetesOwn),
            _ if namespace == limits.own_namespace => Some(NotGiven::HoldfastOwn),
            Some(there) if there.mirror.as_deref().is_some_and(|other| other != mirror) => Some(NotGiven::OtherMirror),
            Some(there) if there.mirror.is_none() => Some(NotGiven::NotOurs),
            _ => None,
        };
        if let Some(why) = refused {
            consumer.state = ConsumerState::Refused;
            consumer.why = Some(why);
        } else if there.is_none_or(|there| there.text != Some(self.digest) || there.written != Some(self.digest)) {
            consumer.state = ConsumerState::Behind;
            self.writes.push(Write {
                namespace: namespace.to_owned(),
                over: there.map(|there| there.version.clone()),
                puts_back: there.is_some_and(|there| there.written.is_none() || there.written == Some(self.digest)),
            });
        }
        self.consumers.push(consumer);
    }

    /// Takes note of what became of the writes: what the API server said, where it did not take one.
    pub fn written(&mut self, results: &BTreeMap<String, Option<String>>) {
        for consumer in &mut self.consumers {
            match results.get(&consumer.namespace) {
                None => {}
                Some(None) => consumer.state = ConsumerState::Current,
                Some(Some(said)) => {
                    consumer.state = ConsumerState::Refused;
                    consumer.why = Some(NotGiven::NotTaken);
                    consumer.said = Some(said.clone());
                }
            }
        }
        self.consumers.sort();
    }

    /// Whether everybody who can be given it has it. Those who cannot be are not waited for: whoever may write into one selected namespace could else see to it
    /// that withdrawn trust stays in all others.
    pub fn is_current(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.state == ConsumerState::Current || consumer.why.is_some())
    }

    /// Why it is as it is, in a word and a sentence.
    pub fn reason(&self, adopting: bool) -> (MirrorReason, String) {
        let of = |state| self.consumers.iter().filter(move |consumer| consumer.state == state);
        let (all, behind) = (self.consumers.len(), of(ConsumerState::Behind).count());
        if let Some((consumer, why)) = of(ConsumerState::Refused).find_map(|consumer| Some((consumer, consumer.why?))) {
            let refused = of(ConsumerState::Refused).count();
            let said = consumer.said.as_ref().map_or_else(String::new, |said| format!(": {said}"));
            let message = format!(
                "{refused} of {all} selected namespaces cannot be given the trust; `{}`: {}{said}",
                consumer.namespace,
                why.words()
            );
            return (MirrorReason::NotDistributable, message);
        }
        if let Some(consumer) = of(ConsumerState::Behind).next() {
            let message = format!(
                "{behind} of {all} selected namespaces do not have the trust in force yet, `{}` for one",
                consumer.namespace
            );
            return (MirrorReason::Distributing, message);
        }
        let reason = if adopting { MirrorReason::Adopting } else { MirrorReason::Distributed };
        (reason, format!("{all} of {all} selected namespaces have it as ConfigMap `{}`", self.name))
    }
}

/// What of this mirror's is there and not kept.
pub fn removals(mirror: &str, existing: &[Existing], kept: impl Fn(&Existing) -> bool) -> Vec<Removal> {
    let ours = existing.iter().filter(|existing| existing.mirror.as_deref() == Some(mirror) && !kept(existing));
    ours.map(|existing| Removal {
        namespace: existing.namespace.clone(),
        name: existing.name.clone(),
        version: existing.version.clone(),
    })
    .collect()
}
