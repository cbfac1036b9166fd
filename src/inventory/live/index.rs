//! Pods and templates by name, fed by watches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::coverage::Image;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::intern::{Controller, Interner, Shape};
use super::slim::{Kind, SlimPod, SlimTemplate};

/// Bytes of the longest name that the API server gives anything.
pub(super) const LONGEST_NAME: usize = 253;
/// How many characters are kept of what is longer.
const SHOWN: usize = 64;
/// What is watched; a list of one kind that is not there yet, or failed, leaves the whole in doubt.
const PODS: &str = "Pod";

/// A pod or template, as far as it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) shape: Arc<Shape>,
    pub(super) controller: Option<Arc<Controller>>,
    /// Of a template; a pod's is not needed.
    pub(super) uid: Option<Box<str>>,
    pub(super) is_static: bool,
    /// The list it was last in.
    listed: u32,
}

/// The objects of one kind.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) by_namespace: HashMap<Box<str>, HashMap<Box<str>, Kept>>,
    /// The list that is, or was last, read.
    list: u32,
    ready: bool,
    /// Why what is seen may not be all.
    fault: Option<String>,
}

/// Everything that runs or would.
#[derive(Debug, Default)]
pub struct Live {
    pub(super) pods: Objects,
    pub(super) templates: BTreeMap<Kind, Objects>,
    shapes: Interner<Shape>,
    images: Interner<Image>,
    controllers: Interner<Controller>,
    version: u64,
}

/// What is taken of an object.
struct Taken {
    namespace: String,
    name: String,
    shape: Shape,
    controller: Option<Controller>,
    uid: Option<String>,
    is_static: bool,
}

impl Live {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { templates: Kind::ALL.into_iter().map(|kind| (kind, Objects::default())).collect(), ..Self::default() }
    }

    /// Takes an event of the watch of pods.
    pub fn pod(&mut self, event: Event<SlimPod>) {
        let mut objects = std::mem::take(&mut self.pods);
        self.event(&mut objects, event, |pod| Taken {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            shape: pod.shape(),
            controller: pod.controller().map(|owner| by(owner, pod.namespace())),
            uid: pod.controller().is_none().then(|| pod.uid()).flatten(),
            is_static: pod.is_static(),
        });
        self.pods = objects;
    }

    /// Takes an event of the watch of a kind with templates.
    pub fn template(&mut self, kind: Kind, event: Event<SlimTemplate>) {
        let mut objects = self.templates.remove(&kind).unwrap_or_default();
        self.event(&mut objects, event, |template| Taken {
            namespace: template.namespace().unwrap_or_default(),
            name: template.name_any(),
            shape: if template.is_over(kind) { Shape::default() } else { template.shape() },
            controller: template.controller().map(|owner| by(owner, template.namespace())),
            uid: template.uid(),
            is_static: false,
        });
        self.templates.insert(kind, objects);
    }

    /// A watch failed: what it showed is kept, and is in doubt until it goes on.
    pub fn failed(&mut self, kind: Option<Kind>, why: Option<String>) {
        let objects = match kind {
            None => &mut self.pods,
            Some(kind) => self.templates.entry(kind).or_default(),
        };
        if objects.fault != why {
            self.version += 1;
            objects.fault = why;
        }
    }

    /// Why what is seen is not, or may not be, all there is. A list that was never complete is no empty cluster.
    pub fn wanting(&self, templates: bool) -> Option<String> {
        let kinds = self.templates.iter().filter(|_| templates).map(|(kind, objects)| (kind.kind, objects));
        std::iter::once((PODS, &self.pods)).chain(kinds).find_map(|(kind, objects)| match &objects.fault {
            Some(fault) => Some(format!("the watch of {kind}s failed: {fault}")),
            None if !objects.ready => Some(format!("the {kind}s were not all listed yet")),
            None => None,
        })
    }

    /// Grows with each form, workload or image that comes or goes.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.pods.by_namespace.values().map(HashMap::len).sum()
    }

    /// How many distinct images.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// How many distinct forms of pods and templates.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    fn event<K: Resource>(&mut self, objects: &mut Objects, event: Event<K>, take: impl Fn(&K) -> Taken) {
        match event {
            Event::Init => objects.list = objects.list.wrapping_add(1),
            Event::InitApply(object) | Event::Apply(object) => self.apply(objects, take(&object)),
            Event::InitDone => {
                self.sweep(objects);
                if !objects.ready || objects.fault.is_some() {
                    self.version += 1;
                }
                objects.ready = true;
                objects.fault = None;
            }
            Event::Delete(object) => {
                let Taken { namespace, name, .. } = take(&object);
                let Some(of) = objects.by_namespace.get_mut(namespace.as_str()) else { return };
                let gone = of.remove(name.as_str());
                if of.is_empty() {
                    objects.by_namespace.remove(namespace.as_str());
                }
                if let Some(gone) = gone {
                    self.gone(&gone);
                }
            }
        }
    }

    fn apply(&mut self, objects: &mut Objects, taken: Taken) {
        let Taken { namespace, name, shape, controller, uid, is_static } = taken;
        let kept = Kept {
            shape: self.shape(shape),
            controller: controller.map(|controller| {
                let (controller, is_new) = self.controllers.intern(controller);
                self.version += u64::from(is_new);
                controller
            }),
            uid: uid.map(Into::into),
            is_static,
            listed: objects.list,
        };
        let of = match objects.by_namespace.get_mut(namespace.as_str()) {
            Some(of) => of,
            None => objects.by_namespace.entry(namespace.into()).or_default(),
        };
        if let Some(there) = of.get_mut(name.as_str()) {
            let before = std::mem::replace(there, kept);
            self.release(&before);
        } else {
            // One that nobody made is a workload of its own.
            self.version += u64::from(kept.controller.is_none());
            of.insert(name.into(), kept);
        }
    }

    /// Whatever the list did not name was deleted while nobody watched.
    fn sweep(&mut self, objects: &mut Objects) {
        let list = objects.list;
        let mut gone = Vec::new();
        for of in objects.by_namespace.values_mut() {
            gone.extend(of.extract_if(|_, kept| kept.listed != list).map(|(_, kept)| kept));
            of.shrink_to_fit();
        }
        objects.by_namespace.retain(|_, of| !of.is_empty());
        for kept in gone {
            self.gone(&kept);
        }
    }

    fn shape(&mut self, mut shape: Shape) -> Arc<Shape> {
        for one in &mut shape.uses {
            // Nobody else has it yet.
            let image = Arc::unwrap_or_clone(std::mem::take(&mut one.image));
            let (image, is_new) = self.images.intern(image);
            self.version += u64::from(is_new);
            one.image = image;
        }
        let (shape, is_new) = self.shapes.intern(shape);
        self.version += u64::from(is_new);
        shape
    }

    fn gone(&mut self, kept: &Kept) {
        self.version += u64::from(kept.controller.is_none());
        self.release(kept);
    }

    /// Forgets what nobody else has.
    fn release(&mut self, kept: &Kept) {
        if let Some(controller) = &kept.controller {
            self.version += u64::from(self.controllers.release(controller));
        }
        if self.shapes.release(&kept.shape) {
            self.version += 1;
            for one in &kept.shape.uses {
                let of_this_form = kept.shape.uses.iter().filter(|other| Arc::ptr_eq(&other.image, &one.image)).count();
                self.images.release_from(&one.image, of_this_form);
            }
        }
    }
}

fn by(owner: &OwnerReference, namespace: Option<String>) -> Controller {
    Controller {
        namespace: namespace.unwrap_or_default().into(),
        api_version: kept(&owner.api_version),
        kind: kept(&owner.kind),
        name: kept(&owner.name),
        uid: kept(&owner.uid),
    }
}

/// What is written of an owner: nothing that the API server would name so is longer, and whoever makes an object writes what they like.
fn kept(text: &str) -> Box<str> {
    if text.len() <= LONGEST_NAME {
        return text.into();
    }
    let begins: String = text.chars().take(SHOWN).collect();
    let digest = Digest::of(text.as_bytes()).hex();
    format!("{begins}…{}", digest.get(..16).unwrap_or_default()).into()
}
