//! Everything of holdfast in a cluster.

use holdfast_core::api::common::{HOLDFAST, MANAGED_BY};
use holdfast_core::api::{
    BundleCoverageReport, SigningIdentityPolicy, TrustApproval, TrustBreakGlass, TrustRootMirror,
};
use holdfast_core::engines::denial::{Denial, denial};
use holdfast_core::engines::native::guards::MEMORY;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource, ResourceExt};

use super::standing::{Enforcing, enforcing};
use crate::cli::cluster::list;
use crate::cli::output::CliError;
use crate::controller::failure::within;
use crate::controller::reading::remembered;

/// The kinds that holdfast gives engines, as group, version, kind and plural; versions that are not served hold nothing.
const GIVEN: [(&str, &str, &str, &str); 9] = [
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("holdfast.dev", "v1alpha1", "VerifiedImages", "verifiedimages"),
    ("policies.kyverno.io", "v1", "ImageValidatingPolicy", "imagevalidatingpolicies"),
    ("policies.kyverno.io", "v1beta1", "ImageValidatingPolicy", "imagevalidatingpolicies"),
    ("policies.kyverno.io", "v1alpha1", "ImageValidatingPolicy", "imagevalidatingpolicies"),
    ("kyverno.io", "v1", "ClusterPolicy", "clusterpolicies"),
    ("policy.sigstore.dev", "v1beta1", "ClusterImagePolicy", "clusterimagepolicies"),
    ("policy.sigstore.dev", "v1alpha1", "TrustRoot", "trustroots"),
];
/// Objects a page.
const PAGE: u32 = 100;

/// What is there.
pub(super) struct Estate {
    /// Policies that are enforced.
    pub(super) enforcing: Vec<Enforcing>,
    /// What people declared, by kind in the order of its going.
    pub(super) declared: Vec<(String, Vec<String>)>,
    /// What engines were given, guards apart.
    pub(super) given: Vec<String>,
    /// What holdfast remembers.
    pub(super) memory: Vec<String>,
    /// Trust that was distributed.
    pub(super) distributed: Vec<String>,
    /// The release and its namespace, where Helm made holdfast.
    pub(super) release: Option<String>,
    /// Whether the definitions stay when Helm takes the release away.
    pub(super) keeps_definitions: bool,
}

impl Estate {
    /// Looks.
    ///
    /// # Errors
    /// [`CliError`]: what could not be seen could deny.
    pub(super) async fn look(client: &Client, namespace: &str) -> Result<Self, CliError> {
        let (policies, unreadable) = list::<SigningIdentityPolicy>(client).await?;
        if !unreadable.is_empty() {
            return Err(CliError::Unknown(format!("{}; correct it, or delete it by hand", unreadable.join("; "))));
        }
        let kept = remembered(client, namespace, None).await?;
        let given = given(client).await?;
        let denials: Vec<Denial> = given.iter().filter_map(|(_, object)| denial(object)).collect();
        let names = |policies: &[SigningIdentityPolicy]| policies.iter().map(ResourceExt::name_any).collect();
        let declared = vec![
            (SigningIdentityPolicy::kind(&()).into_owned(), names(&policies)),
            declared::<BundleCoverageReport>(client).await?,
            declared::<TrustBreakGlass>(client).await?,
            declared::<TrustApproval>(client).await?,
            declared::<TrustRootMirror>(client).await?,
        ];
        Ok(Self {
            enforcing: enforcing(&policies, &kept, &denials),
            declared,
            given: given.into_iter().map(|(name, _)| name).collect(),
            memory: config_maps(client, &format!("{MANAGED_BY}={HOLDFAST},{MEMORY}")).await?,
            distributed: config_maps(client, &format!("{MANAGED_BY}={HOLDFAST},!{MEMORY}")).await?,
            release: release(client, namespace).await,
            keeps_definitions: keeps_definitions(client).await,
        })
    }

    /// Whether nothing is declared.
    pub(super) fn is_bare(&self) -> bool {
        self.declared.iter().all(|(_, names)| names.is_empty())
    }
}

async fn declared<K>(client: &Client) -> Result<(String, Vec<String>), CliError>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let found = within("list", &K::plural(&()), api.list(&ListParams::default())).await?;
    Ok((K::kind(&()).into_owned(), found.items.iter().map(ResourceExt::name_any).collect()))
}

/// What engines were given: by name, with what each says.
pub(super) async fn given(client: &Client) -> Result<Vec<(String, serde_json::Value)>, CliError> {
    let mut all = Vec::new();
    for (group, version, kind, plural) in GIVEN {
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let mut page = ListParams::default().labels(&format!("{MANAGED_BY}={HOLDFAST}")).limit(PAGE);
        loop {
            let found = match within("list", plural, api.list(&page)).await {
                Err(failed) if failed.is_gone() => break,
                found => found?,
            };
            for mut object in found.items {
                let name = format!("{kind}/{}", object.name_any());
                // The API server leaves the kind out of what it lists.
                object.types =
                    Some(kube::api::TypeMeta { api_version: resource.api_version.clone(), kind: kind.to_owned() });
                if !object.name_any().starts_with("holdfast-guard-") && !all.iter().any(|(known, _)| *known == name) {
                    let body = serde_json::to_value(&object).map_err(std::io::Error::from)?;
                    all.push((name, body));
                }
            }
            match found.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => break,
            }
        }
    }
    Ok(all)
}

async fn config_maps(client: &Client, labels: &str) -> Result<Vec<String>, CliError> {
    let api: Api<ConfigMap> = Api::all(client.clone());
    let found = within("list", "configmaps", api.list_metadata(&ListParams::default().labels(labels))).await?;
    Ok(found.items.iter().map(|one| format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any())).collect())
}

/// The name of the release, which Helm writes on what it makes. It is only for a command that is printed.
async fn release(client: &Client, namespace: &str) -> Option<String> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let of_holdfast = ListParams::default().labels("app.kubernetes.io/part-of=holdfast");
    let found = within("list", "deployments", api.list_metadata(&of_holdfast)).await.ok()?;
    found.items.iter().find_map(|one| one.annotations().get("meta.helm.sh/release-name").cloned())
}

/// Without a word from them, they are taken to stay: whoever is told so looks for them.
async fn keeps_definitions(client: &Client) -> bool {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let of_policies = within("read", "the definitions", api.get_metadata_opt("signingidentitypolicies.holdfast.dev"));
    of_policies.await.ok().flatten().is_none_or(|definition| {
        let annotations = definition.annotations();
        !annotations.contains_key("meta.helm.sh/release-name")
            || annotations.get("helm.sh/resource-policy").is_some_and(|policy| policy == "keep")
    })
}
