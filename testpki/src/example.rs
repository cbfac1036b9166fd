//! What the generators of the examples share: evidence by the way it is stored, and manifests as people write them.

use std::fmt;

use jiff::Timestamp;

use crate::layout::{Image, Layout};
use crate::{Recipe, Sigstore, sha256};

/// One piece of evidence, and how it is stored.
pub enum Evidence {
    /// A bundle that refers to its image.
    Bundle(Recipe),
    /// A bundle under the fallback tag.
    ByTag(Recipe),
    /// cosign's legacy signature.
    Legacy(Recipe),
    /// A bundle that is listed and did not arrive.
    Lost(Recipe),
}

impl Evidence {
    /// Makes it and stores it beside `image`.
    pub fn store(&self, layout: &mut Layout, image: &Image, sigstore: &Sigstore) {
        let bundle = |recipe: &Recipe| sigstore.bundle(&image.manifest, recipe);
        match self {
            Self::Bundle(recipe) => {
                layout.attach(image, &bundle(recipe));
            }
            Self::ByTag(recipe) => layout.attach_by_tag(image, &bundle(recipe)),
            Self::Legacy(recipe) => {
                layout.attach_legacy(image, &sigstore.legacy_signature(&image.digest, recipe), "sig");
            }
            Self::Lost(recipe) => {
                let bundle = bundle(recipe);
                layout.attach(image, &bundle);
                let blob = layout.blob(bundle.to_string().as_bytes());
                layout.lose(&blob);
            }
        }
    }
}

/// The images of a pod; each has the name of its container or volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Init containers.
    pub init: Vec<(String, String)>,
    /// Containers.
    pub containers: Vec<(String, String)>,
    /// Image volumes.
    pub volumes: Vec<(String, String)>,
}

impl Pod {
    /// A pod of one container.
    pub fn of(image: &str) -> Self {
        Self { containers: vec![("main".to_owned(), image.to_owned())], ..Self::default() }
    }

    fn yaml(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let list = |title: &str, entries: &[(String, String)], image: &str| {
            let title = (!entries.is_empty()).then(|| format!("{pad}{title}:\n"));
            let entries =
                entries.iter().map(|(name, reference)| format!("{pad}- name: {name}\n{pad}  {image}{reference}\n"));
            title.into_iter().chain(entries).collect::<Vec<_>>().concat()
        };
        [
            list("initContainers", &self.init, "image: "),
            list("containers", &self.containers, "image: "),
            list("volumes", &self.volumes, &format!("image:\n{pad}    reference: ")),
        ]
        .concat()
    }
}

/// A workload; its display is its manifest, as a document of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its kind: `Pod`, `Job`, `CronJob`, or one of `apps/v1`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What it runs.
    pub pod: Pod,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, kind, name, pod } = self;
        let template = |indent: usize| {
            let pad = " ".repeat(indent);
            format!(
                "{pad}template:\n{pad}  metadata:\n{pad}    labels:\n{pad}      app: {name}\n{pad}  spec:\n{}",
                pod.yaml(indent + 4)
            )
        };
        let (version, spec) = match *kind {
            "Pod" => ("v1", pod.yaml(2)),
            "Job" => ("batch/v1", template(2)),
            "CronJob" => ("batch/v1", format!("  schedule: \"0 3 * * *\"\n  jobTemplate:\n    spec:\n{}", template(6))),
            _ => ("apps/v1", format!("  selector:\n    matchLabels:\n      app: {name}\n{}", template(2))),
        };
        write!(
            f,
            "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n{spec}"
        )
    }
}

/// The manifests of a TrustRootMirror that reads `/mirror/<name>`, and of the ConfigMap with the root it starts from. `rest` is the remainder of its
/// specification.
pub fn mirror(name: &str, about: &str, root: &[u8], rest: &str) -> String {
    let digest = hex::encode(sha256(root));
    let (rest, root) = (indented(rest, 2), indented(&String::from_utf8_lossy(root), 4));
    format!(
        r#"---
# {about}
apiVersion: holdfast.dev/v1alpha1
kind: TrustRootMirror
metadata:
  name: {name}
spec:
  source:
    volume:
      path: /mirror/{name}
  bootstrap:
    rootSHA256: "{digest}"
    configMap: {{namespace: holdfast-system, name: {name}-bootstrap, key: root.json}}
{rest}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}-bootstrap
  namespace: holdfast-system
data:
  root.json: |-
{root}
"#
    )
}

/// `text` with every line moved to the right, without a line end after the last.
pub fn indented(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    text.lines().map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n")
}

/// An instant as written in RFC 3339.
pub fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}
