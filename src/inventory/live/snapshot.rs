//! What runs and would run at one instant, by the workloads that people know.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use holdfast_core::coverage::{Image, Inventory, ObjectId, STATIC_POD, Workload};

use super::index::{Kept, Live};
use super::intern::{Controller, Shape};
use super::slim::Kind;

/// How far owners are followed: a ring of them has no end.
const MAX_OWNERS: usize = 8;

/// What nodes pull an image with: of each namespace, Secrets by name, and accounts that may name more.
pub type PullSecrets = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// What runs and would.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Workloads and their images.
    pub inventory: Inventory,
    /// How many pods.
    pub pods: usize,
    /// The objects that workloads are, where they are known.
    pub objects: HashMap<Workload, ObjectId>,
    /// What nodes pull each image with. Its own: whoever shared an image with the index would keep it there when it is gone.
    pub pulled_with: HashMap<Image, PullSecrets>,
}

impl Live {
    /// What runs, and with `templates` what would, in namespaces that `selects` chooses.
    pub fn snapshot(&self, templates: bool, selects: &dyn Fn(&str) -> bool) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut running: HashMap<Workload, HashSet<&str>> = HashMap::new();
        let mut seen: HashSet<(Workload, *const Shape)> = HashSet::new();
        let mut of_controller: HashMap<*const Controller, Workload> = HashMap::new();
        for (namespace, pods) in self.pods.by_namespace.iter().filter(|(namespace, _)| selects(namespace)) {
            snapshot.pods += pods.len();
            for (name, pod) in pods {
                let workload = match &pod.controller {
                    Some(controller) if !pod.is_static => of_controller
                        .entry(Arc::as_ptr(controller))
                        .or_insert_with(|| self.known_as(controller, &mut snapshot.objects))
                        .clone(),
                    _ => bare(namespace, name, pod, &mut snapshot.objects),
                };
                if seen.insert((workload.clone(), Arc::as_ptr(&pod.shape))) {
                    for one in &pod.shape.uses {
                        snapshot.inventory.add_image(&workload, &one.container, &one.image);
                        running.entry(workload.clone()).or_default().insert(&one.image.written);
                    }
                    snapshot.note_secrets(namespace, &pod.shape);
                }
            }
        }
        for (kind, objects) in self.templates.iter().filter(|_| templates) {
            for (namespace, objects) in objects.by_namespace.iter().filter(|(namespace, _)| selects(namespace)) {
                for (name, template) in objects {
                    let workload = self.owner_of(*kind, namespace, name, template, &mut snapshot.objects);
                    let runs = running.get(&workload);
                    // What runs is known better than by what is written.
                    let uses = template
                        .shape
                        .uses
                        .iter()
                        .filter(|one| !runs.is_some_and(|written| written.contains(one.image.written.as_str())));
                    for one in uses {
                        snapshot.inventory.add_image(&workload, &one.container, &one.image);
                    }
                    snapshot.note_secrets(namespace, &template.shape);
                }
            }
        }
        snapshot
    }

    /// The workload a person knows it by: of what controllers make, whoever made it.
    fn known_as(&self, controller: &Arc<Controller>, objects: &mut HashMap<Workload, ObjectId>) -> Workload {
        let mut at = controller;
        for _ in 0..MAX_OWNERS {
            let Some(next) = self.maker_of(at) else { break };
            at = next;
        }
        let workload =
            Workload { namespace: at.namespace.to_string(), kind: at.kind.to_string(), name: at.name.to_string() };
        objects.entry(workload.clone()).or_insert_with(|| ObjectId {
            api_version: at.api_version.to_string(),
            kind: at.kind.to_string(),
            uid: at.uid.to_string(),
        });
        workload
    }

    /// Who made what made it, where that is seen.
    fn maker_of(&self, controller: &Controller) -> Option<&Arc<Controller>> {
        let group = controller.api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = Kind::ALL.into_iter().find(|kind| kind.group == group && kind.kind == &*controller.kind)?;
        let there = self.templates.get(&kind)?.by_namespace.get(&controller.namespace)?.get(&controller.name)?;
        // One that was made again under the same name is another.
        let is_it = there.uid.as_deref() == Some(&*controller.uid);
        there.controller.as_ref().filter(|_| is_it && kind.is_made_by_controllers())
    }

    fn owner_of(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        template: &Kept,
        objects: &mut HashMap<Workload, ObjectId>,
    ) -> Workload {
        match &template.controller {
            Some(controller) if kind.is_made_by_controllers() => self.known_as(controller, objects),
            _ => {
                let workload =
                    Workload { namespace: namespace.to_owned(), kind: kind.kind.to_owned(), name: name.to_owned() };
                if let Some(uid) = &template.uid {
                    objects.entry(workload.clone()).or_insert_with(|| ObjectId {
                        api_version: kind.api_version(),
                        kind: kind.kind.to_owned(),
                        uid: uid.to_string(),
                    });
                }
                workload
            }
        }
    }
}

impl Snapshot {
    fn note_secrets(&mut self, namespace: &str, shape: &Shape) {
        if shape.pull_secrets.is_empty() && shape.service_account.is_none() {
            return;
        }
        for one in &shape.uses {
            let of = match self.pulled_with.get_mut(&*one.image) {
                Some(of) => of,
                None => self.pulled_with.entry((*one.image).clone()).or_default(),
            };
            let of = of.entry(namespace.to_owned()).or_default();
            of.0.extend(shape.pull_secrets.iter().map(ToString::to_string));
            of.1.extend(shape.service_account.iter().map(ToString::to_string));
        }
    }
}

/// A pod that is a workload of its own.
fn bare(namespace: &str, name: &str, pod: &Kept, objects: &mut HashMap<Workload, ObjectId>) -> Workload {
    let kind = if pod.is_static { STATIC_POD } else { "Pod" };
    let workload = Workload { namespace: namespace.to_owned(), kind: kind.to_owned(), name: name.to_owned() };
    if let Some(uid) = &pod.uid {
        let id = ObjectId { api_version: "v1".to_owned(), kind: "Pod".to_owned(), uid: uid.to_string() };
        objects.insert(workload.clone(), id);
    }
    workload
}
