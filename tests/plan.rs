//! `holdfast plan`: the first look, and manifests as people really write them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::format_push_string)] // a test that cannot go on fails

mod support;

use std::path::{Path, PathBuf};

use holdfast_testpki::layout::Layout;
use holdfast_testpki::{Recipe, Sigstore};
use serde_json::Value;
use support::{Answer, holdfast_in, without_digests};

fn first_look() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/first-look")
}

const FIRST_LOOK: [&str; 9] = [
    "plan",
    "clusters/prod",
    "--images",
    "oci:images",
    "--state",
    "state/corp",
    "--volume",
    "/mirror=mirror",
    "--now=2026-06-15T12:00:00Z",
];

#[test]
fn the_first_look_reads_as_it_should() {
    let answer = holdfast_in(&first_look(), &FIRST_LOOK);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(without_digests(&answer.out));
    let again = holdfast_in(&first_look(), &FIRST_LOOK);
    assert_eq!(again.out, answer.out, "a plan is deterministic");
}

#[test]
fn the_first_look_fails_for_at_least_eight_reasons() {
    let answer = holdfast_in(&first_look(), &[&FIRST_LOOK[..], &["-o", "json", "--exit-code"]].concat());
    assert_eq!(answer.code, 1);
    let plan: Value = serde_json::from_str(&answer.out).unwrap();
    let reasons =
        plan["coverage"]["byReason"].as_array().unwrap().iter().filter(|entry| entry[0] != "Verified").count();
    assert!(reasons >= 8, "{reasons}");
    let yaml = holdfast_in(&first_look(), &[&FIRST_LOOK[..], &["-o", "yaml"]].concat());
    let read: Value = serde_saphyr::from_str(&yaml.out).unwrap();
    assert_eq!(read, plan);
}

/// A state that started elsewhere is not the declared trust, whatever it is named.
#[test]
fn the_state_of_another_trust_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let repository = holdfast_testpki::tuf::Repository::new("2026-06-01T00:00:00Z".parse().unwrap());
    repository.write(dir.path()).unwrap();
    let (state, root) =
        (dir.path().join("corp").display().to_string(), dir.path().join("1.root.json").display().to_string());
    assert_eq!(holdfast_in(dir.path(), &["mirror", "init", "--state", &state, "--bootstrap", &root]).code, 0);
    let args = FIRST_LOOK.map(|arg| if arg == "state/corp" { state.as_str() } else { arg });
    let answer = holdfast_in(&first_look(), &[&args[..], &["-o", "json", "--exit-code"]].concat());
    assert_eq!(answer.code, 1);
    let plan: Value = serde_json::from_str(&answer.out).unwrap();
    assert!(
        plan["trust"][0]["refused"].as_str().unwrap().contains("the state of another trust"),
        "{}",
        plan["trust"][0]
    );
    assert_eq!(plan["coverage"]["totals"]["covered"], 0);
}

/// Plans manifests given as text; gives the answer of `-o json`.
fn plan(manifests: &[(&str, &str)]) -> Answer {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in manifests {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    holdfast_in(dir.path(), &["plan", ".", "-o", "json", "--now", "2026-06-15T12:00:00Z"])
}

const POLICY: &str = r#"
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: apps}
spec:
  images: ["registry.corp.internal/**"]
  trustRoots: [corp]
  identities: [{name: ci, issuer: "https://issuer.example", subject: "https://ci.example/x"}]
"#;

fn images(answer: &Answer) -> Vec<String> {
    let plan: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    let images = plan["coverage"]["images"].as_array().unwrap();
    let mut names: Vec<String> = images
        .iter()
        .map(|image| format!("{} {}", image["image"].as_str().unwrap(), image["workloads"][0].as_str().unwrap()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_image_of_every_kind_is_found() {
    let pod = |name: &str| format!("{{containers: [{{name: c, image: registry.corp.internal/{name}}}]}}");
    let template = |name: &str| format!("{{template: {{spec: {}}}}}", pod(name));
    let workload = |version: &str, kind: &str, spec: String| {
        format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: w, namespace: team}}\nspec: {spec}\n")
    };
    let mut text = POLICY.to_owned();
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        text += &workload("apps/v1", kind, template(&kind.to_lowercase()));
    }
    text += &workload("v1", "ReplicationController", template("rc"));
    text += &workload("batch/v1", "Job", template("job"));
    text += &workload("batch/v1", "CronJob", format!("{{jobTemplate: {{spec: {}}}}}", template("cronjob")));
    text += &format!(
        "---\napiVersion: v1\nkind: PodTemplate\nmetadata: {{name: w, namespace: team}}\ntemplate: {{spec: {}}}\n",
        pod("podtemplate")
    );
    text += "---\napiVersion: v1\nkind: Pod\nmetadata: {name: w, namespace: team}\nspec:\n  initContainers: [{name: i, image: registry.corp.internal/init}]\n  containers: [{name: c, image: registry.corp.internal/pod}]\n  ephemeralContainers: [{name: e, image: registry.corp.internal/ephemeral}]\n  volumes: [{name: v, image: {reference: registry.corp.internal/volume}}]\n";
    text += &format!(
        "---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: List, items: [{{apiVersion: v1, kind: Pod, metadata: {{name: l, namespace: team}}, spec: {}}}]}}\n",
        pod("listed")
    );
    let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "j", "namespace": "team"}, "spec": {"containers": [{"name": "c", "image": "registry.corp.internal/json"}]}}"#;
    let found = images(&plan(&[("all.yaml", &text), ("more.json", json)]));
    let names: Vec<&str> = found.iter().map(|image| image.strip_prefix("registry.corp.internal/").unwrap()).collect();
    assert_eq!(
        names,
        [
            "cronjob team/CronJob/w",
            "daemonset team/DaemonSet/w",
            "deployment team/Deployment/w",
            "ephemeral team/Pod/w",
            "init team/Pod/w",
            "job team/Job/w",
            "json team/Pod/j",
            "listed team/Pod/l",
            "pod team/Pod/w",
            "podtemplate team/PodTemplate/w",
            "rc team/ReplicationController/w",
            "replicaset team/ReplicaSet/w",
            "statefulset team/StatefulSet/w",
            "volume team/Pod/w",
        ]
    );
}

/// Pods are made from these by controllers, and their containers stand elsewhere than in a pod.
#[test]
fn images_of_pipelines_and_workflows_are_found() {
    let of = |version: &str, kind: &str, spec: &str| {
        let text = format!(
            "{POLICY}---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: w, namespace: team}}\nspec: {spec}\n"
        );
        let found = images(&plan(&[("all.yaml", &text)]));
        let name =
            |image: &String| image.split(' ').next().unwrap().trim_start_matches("registry.corp.internal/").to_owned();
        found.iter().map(name).collect::<Vec<String>>()
    };
    let image = |name: &str| format!("image: registry.corp.internal/{name}");
    let steps = format!(
        "{{stepTemplate: {{{}}}, steps: [{{name: a, {}}}, {{{}, script: 'echo {{{{ x }}}}'}}, {{ref: {{name: r}}}}], sidecars: [{{{}}}]}}",
        image("template"),
        image("step"),
        image("unnamed"),
        image("sidecar"),
    );
    let all = ["sidecar", "step", "template", "unnamed"];
    for (kind, spec) in [
        ("Task", steps.clone()),
        ("ClusterTask", steps.clone()),
        ("TaskRun", format!("{{taskSpec: {steps}}}")),
        ("Pipeline", format!("{{tasks: [{{name: t, taskSpec: {steps}}}]}}")),
        ("Pipeline", format!("{{finally: [{{name: t, taskSpec: {steps}}}]}}")),
        ("PipelineRun", format!("{{pipelineSpec: {{tasks: [{{name: t, taskSpec: {steps}}}]}}}}")),
    ] {
        assert_eq!(of("tekton.dev/v1", kind, &spec), all, "{kind}");
    }
    let trigger =
        format!("{{resourcetemplates: [{{apiVersion: tekton.dev/v1, kind: TaskRun, spec: {{taskSpec: {steps}}}}}]}}");
    assert_eq!(of("triggers.tekton.dev/v1beta1", "TriggerTemplate", &trigger), all);
    assert_eq!(of("tekton.dev/v1beta1", "StepAction", &format!("{{{}}}", image("action"))), ["action"]);

    let templates = format!(
        "{{templates: [{{name: a, container: {{{}}}, initContainers: [{{name: i, {}}}], sidecars: [{{name: s, {}}}]}}, {{name: b, script: {{{}, source: x}}}}, {{name: c, containerSet: {{containers: [{{name: m, {}}}]}}}}, {{name: d, steps: [[{{name: one, template: a}}], [{{name: two, inline: {{container: {{{}}}}}}}]]}}]}}",
        image("container"),
        image("init"),
        image("sidecar"),
        image("script"),
        image("set"),
        image("inline"),
    );
    let all = ["container", "init", "inline", "script", "set", "sidecar"];
    for kind in ["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate"] {
        assert_eq!(of("argoproj.io/v1alpha1", kind, &templates), all, "{kind}");
    }
    assert_eq!(of("argoproj.io/v1alpha1", "CronWorkflow", &format!("{{workflowSpec: {templates}}}")), all);
    // The same words mean nothing elsewhere.
    let elsewhere = format!("{{steps: [{{{}}}], script: {{{}}}}}", image("step"), image("script"));
    assert_eq!(of("x.example/v1", "Recipe", &elsewhere), Vec::<String>::new());
}

/// A workflow may hold what it applies as text.
#[test]
fn manifests_that_a_workflow_holds_as_text_are_read_or_said_to_be_unread() {
    let planned = |manifest: &str| {
        let workflow = serde_json::json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w", "namespace": "team"},
            "spec": {"templates": [{"name": "a", "resource": {"action": "create", "manifest": manifest}}]},
        });
        plan(&[("policy.yaml", POLICY), ("w.json", &workflow.to_string())])
    };
    let job = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: c, image: registry.corp.internal/job}]}}}\n";
    let task =
        "apiVersion: tekton.dev/v1\nkind: TaskRun\nspec: {taskSpec: {steps: [{image: registry.corp.internal/step}]}}\n";
    let found = images(&planned(&format!("{job}---\n{task}")));
    assert_eq!(found, ["registry.corp.internal/job team/Workflow/w", "registry.corp.internal/step team/Workflow/w"]);
    for text in ["{{inputs.parameters.manifest}}", "kind: Pod\nspec: {{inputs.parameters.spec}}\n"] {
        let answer = planned(text);
        let plan: Value = serde_json::from_str(&answer.out).unwrap();
        let unread = plan["unread"].to_string();
        assert!(unread.contains("team/Workflow/w: the `manifest` that it holds as text"), "{text}: {unread}");
    }
}

/// What is filled in later is not known now, and never out of sight.
#[test]
fn an_image_with_a_parameter_is_unknown_and_said() {
    for (version, spec) in [
        ("tekton.dev/v1", "{steps: [{image: $(params.image)}]}"),
        ("tekton.dev/v1", "{steps: [{image: 'registry.corp.internal/ci:$(params.tag)'}]}"),
        ("argoproj.io/v1alpha1", "{templates: [{container: {image: '{{inputs.parameters.image}}'}}]}"),
        ("argoproj.io/v1alpha1", "{templates: [{script: {image: \"{{=inputs.parameters.v == '' ? 'a*' : 'b'}}\"}}]}"),
    ] {
        let text = format!(
            "{POLICY}---\napiVersion: {version}\nkind: Task\nmetadata: {{name: w, namespace: team}}\nspec: {spec}\n"
        );
        let plan: Value = serde_json::from_str(&plan(&[("all.yaml", &text)]).out).unwrap();
        let image = &plan["coverage"]["images"][0];
        assert_eq!(image["reason"], "DigestUnresolved", "{spec}: {plan:#}");
        assert!(image["message"].as_str().unwrap().contains("has a parameter in it"), "{image:#}");
        assert_eq!(image["workloads"], serde_json::json!(["team/Task/w"]));
    }
}

/// Lines of braces are templates only where they are no YAML.
#[test]
fn braces_in_a_text_of_a_manifest_are_no_template() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: alerts}\ndata:\n  a: |\n    {{ define \"x\" }}\n    {{ end }}\n";
    let found = images(&plan(&[("all.yaml", &format!("{POLICY}---\n{text}"))]));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn faults_of_manifests_are_named_with_their_place_and_none_hides_another() {
    let answer = plan(&[
        ("a.yaml", "kind: Pod\nkind: Pod\n"),
        ("b.yaml", "a: 1\n---\n{{ if .Values.x }}\n"),
        ("c.json", "{\"kind\": \"Pod\", \"kind\": \"Job\"}"),
        ("d.yaml", "apiVersion: v1\nmetadata: {}\n"),
        ("e.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n"),
        ("f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: 7}]}\n"),
        ("i.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: n}\nspec: {}\n"),
        ("g.yaml", &POLICY.replace("trustRoots", "trustRoot")),
        (
            "h.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
        ),
    ]);
    assert_eq!(answer.code, 2, "{answer:?}");
    for words in [
        "a.yaml: duplicate mapping key: kind at line 2",
        "b.yaml: it is a template",
        "c.json: an object has the name `kind` twice",
        "d.yaml: it is not a Kubernetes manifest",
        "e.yaml: Deployment/x has no pod specification",
        "f.yaml: default/Pod/x: the image of `c` is not text",
        "i.yaml: the `metadata.namespace` of this Pod is not text",
        "g.yaml: SigningIdentityPolicy/apps: unknown field `spec.trustRoot`: did you mean `trustRoots`?",
        "h.yaml: it repeats itself by aliases more than is read",
    ] {
        assert!(answer.err.contains(words), "{words}:\n{}", answer.err);
    }
}

#[test]
fn an_identity_that_cannot_be_used_is_a_problem_and_not_a_pass() {
    let answer = plan(&[("p.yaml", &POLICY.replace("subject: \"https://ci.example/x\"", "subjectRegExp: '.*'"))]);
    let plan: Value = serde_json::from_str(&answer.out).unwrap();
    let problem = plan["problems"][0].as_str().unwrap();
    assert!(
        problem.contains("p.yaml: SigningIdentityPolicy `apps`, identity `ci`")
            && problem.contains("matches any identity"),
        "{problem}"
    );
}

/// `app:1` of one repository is not `other:1`, though a layout lists a bare `1`.
#[test]
fn a_bare_tag_is_no_repositorys() {
    let sigstore = Sigstore::new();
    let dir = tempfile::tempdir().unwrap();
    let mut layout = Layout::new();
    let image = layout.image("signed", "1");
    layout.attach(
        &image,
        &sigstore.bundle(&image.manifest, &Recipe::image("https://ci.example/x", "https://issuer.example")),
    );
    layout.write(&dir.path().join("images")).unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: \"registry.corp.internal/other:1\"}]}\n";
    std::fs::write(dir.path().join("all.yaml"), format!("{POLICY}---\n{pod}")).unwrap();
    let answer = holdfast_in(
        dir.path(),
        &["plan", "all.yaml", "--images", "oci:images", "-o", "json", "--now", "2026-07-01T00:00:00Z"],
    );
    let plan: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(plan["coverage"]["images"][0]["reason"], "DigestUnresolved", "{}", answer.out);
}

/// Every way tools store evidence beside an image, and every way it can be lost.
#[test]
fn a_layout_is_read_as_tools_write_it() {
    const NAME: &str = "registry.corp.internal/app:1";
    let sigstore = Sigstore::new();
    let recipe = || Recipe::image("https://ci.example/x", "https://issuer.example");
    let judged = |make: &dyn Fn(&mut Layout, &holdfast_testpki::layout::Image)| {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::new();
        let image = layout.image("content", NAME);
        make(&mut layout, &image);
        layout.write(dir.path()).unwrap();
        std::fs::write(dir.path().join("root.json"), sigstore.trusted_root().to_string()).unwrap();
        let answer = holdfast_in(
            dir.path(),
            &[
                "verify",
                &format!("oci:.:{NAME}"),
                "--trusted-root",
                "root.json",
                "--certificate-identity",
                "https://ci.example/x",
                "--certificate-oidc-issuer",
                "https://issuer.example",
                "--now",
                "2026-07-01T00:00:00Z",
                "-o",
                "json",
            ],
        );
        let report: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        (answer.code, report["reason"].as_str().unwrap().to_owned())
    };
    let bundle = |image: &holdfast_testpki::layout::Image| sigstore.bundle(&image.manifest, &recipe());
    let legacy = |image: &holdfast_testpki::layout::Image| {
        sigstore.legacy_signature(&image.digest, &Recipe { timestamp: false, ..recipe() })
    };
    let good = (0, "Verified".to_owned());
    assert_eq!(
        judged(&|layout, image| {
            layout.attach(image, &bundle(image));
        }),
        good
    );
    assert_eq!(judged(&|layout, image| layout.attach_by_tag(image, &bundle(image))), good);
    assert_eq!(judged(&|layout, image| layout.attach_legacy(image, &legacy(image), "sig")), good);
    assert_eq!(judged(&|layout, image| layout.save(NAME, &legacy(image), "sigs")), good);
    assert_eq!(judged(&|_, _| {}), (1, "MissingBundle".to_owned()));
    // What is listed and not there is lost, what is there and bent is not known; both beside a good one do no harm.
    let lost = |layout: &mut Layout, image: &holdfast_testpki::layout::Image| {
        let extra = sigstore.bundle(&image.manifest, &recipe());
        layout.attach(image, &extra);
        let blob = layout.blob(extra.to_string().as_bytes());
        layout.lose(&blob);
    };
    assert_eq!(judged(&lost), (1, "ReferrersLost".to_owned()));
    assert_eq!(
        judged(&|layout, image| {
            let manifest = layout.attach(image, &bundle(image));
            layout.damage(&manifest);
        }),
        (3, "ListingTruncated".to_owned())
    );
    assert_eq!(
        judged(&|layout, image| {
            lost(layout, image);
            layout.attach(image, &bundle(image));
        }),
        good
    );
    assert_eq!(judged(&|layout, image| layout.damage(&image.digest)), (1, "DigestMismatch".to_owned()));
    assert_eq!(judged(&|layout, image| layout.lose(&image.digest)), (3, "RegistryUnavailable".to_owned()));
    let flood = |layout: &mut Layout, image: &holdfast_testpki::layout::Image| {
        for number in 0..300 {
            layout.attach(image, &serde_json::json!({"number": number}));
        }
    };
    assert_eq!(judged(&flood), (3, "ListingTruncated".to_owned()));
    // Evidence of another image does not count, wherever it is attached.
    assert_eq!(
        judged(&|layout, image| {
            let other = layout.make("other");
            layout.attach(image, &bundle(&other));
        }),
        (1, "DigestMismatch".to_owned())
    );
}

#[test]
fn a_state_of_no_declared_mirror_is_an_error_and_not_a_start_from_the_pin() {
    let args = FIRST_LOOK.map(|arg| if arg == "state/corp" { "state/../state" } else { arg });
    let answer = holdfast_in(&first_look(), &args);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.err.contains("no TrustRootMirror `state` is declared (there are: corp)"), "{}", answer.err);
}

#[test]
fn a_source_that_was_not_looked_at_is_said() {
    let args: Vec<&str> = FIRST_LOOK.into_iter().filter(|arg| !matches!(*arg, "--volume" | "/mirror=mirror")).collect();
    let answer = holdfast_in(&first_look(), &args);
    assert!(answer.out.contains("a rotation that waits there is not seen"), "{}", answer.out);
}

#[test]
fn a_mirror_that_is_suspended_adopts_nothing_in_a_plan_either() {
    let root = Sigstore::new().trusted_root().to_string();
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "corp", "namespace": "trust"},
        "data": {"trusted_root.json": root},
    });
    let sha256 = holdfast_core::Digest::of(root.as_bytes()).hex();
    let source =
        serde_json::json!({"trustedRoot": {"configMap": {"namespace": "trust", "name": "corp"}, "sha256": sha256}});
    for suspend in [false, true] {
        let mirror = serde_json::json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "corp"},
            "spec": {"source": source, "suspend": suspend},
        });
        let answer = plan(&[("map.json", &map.to_string()), ("mirror.json", &mirror.to_string())]);
        let said: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        assert_eq!(said["trust"][0]["adopted"].is_null(), suspend, "{answer:?}");
    }
}

#[test]
fn a_large_export_of_a_cluster_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |at: usize| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p{at}\nspec:\n  containers:\n  - name: c\n    image: a/b:{at}\n"
        )
    };
    std::fs::write(dir.path().join("all.yaml"), (0..3000).map(pod).collect::<String>()).unwrap();
    let answer = holdfast_in(dir.path(), &["plan", "."]);
    assert!(answer.out.contains("3000 workloads"), "{answer:?}");
}
