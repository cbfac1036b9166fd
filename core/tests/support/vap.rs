//! ValidatingAdmissionPolicies as the API server judges by them, written from the Kubernetes documentation ("Validating Admission Policy", "Dynamic admission
//! control: matching requests") and from nothing of the renderer. CEL is evaluated by the interpreter that kube's rules run on.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a model for tests: what it does not know stops it

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::extractors::This;
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel, to_value};
use serde_json::{Value, json};

/// A request as admission sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) object: Value,
    pub(crate) old: Value,
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Binding and message of each denial.
    pub(crate) denied: Vec<(String, String)>,
    pub(crate) audited: Vec<(String, String)>,
    pub(crate) warned: Vec<(String, String)>,
}

/// An API server with objects, namespaces, and who may do what.
#[derive(Debug, Default, Clone)]
pub(crate) struct ApiServer {
    policies: Vec<Value>,
    bindings: Vec<Value>,
    params: BTreeMap<(String, String), Cel>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// User, verb, group, resource, name (empty for any).
    pub(crate) grants: BTreeSet<[String; 5]>,
}

impl ApiServer {
    pub(crate) fn new<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut server = Self::default();
        for object in objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            match object["kind"].as_str().unwrap_or_default() {
                "ValidatingAdmissionPolicy" => server.policies.push(object.clone()),
                "ValidatingAdmissionPolicyBinding" => server.bindings.push(object.clone()),
                _ => _ = server.params.insert((text("/kind"), text("/metadata/name")), to_value(object).unwrap()),
            }
        }
        server
    }

    pub(crate) fn without(mut self, kind: &str, name: &str) -> Self {
        let is = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
        let before = self.policies.len() + self.bindings.len() + self.params.len();
        self.policies.retain(|object| !is(object));
        self.bindings.retain(|object| !is(object));
        self.params.remove(&(kind.to_owned(), name.to_owned()));
        assert!(self.policies.len() + self.bindings.len() + self.params.len() < before, "there is no {kind} {name}");
        self
    }

    pub(crate) fn review(&self, request: &Request) -> Answer {
        let mut answer = Answer::default();
        for policy in &self.policies {
            let spec = &policy["spec"];
            if !self.matches(&spec["matchConstraints"], request) {
                continue;
            }
            let fails = spec["failurePolicy"] != "Ignore";
            let of_policy = self.bindings.iter().filter(|b| b["spec"]["policyName"] == policy["metadata"]["name"]);
            for binding in of_policy.filter(|binding| self.matches(&binding["spec"]["matchResources"], request)) {
                let name = binding["metadata"]["name"].as_str().unwrap().to_owned();
                let mut found = Vec::new();
                match self.params_of(spec, binding) {
                    // A fault of the binding does not ask for its actions.
                    Err(fault) if fails => answer.denied.push((name.clone(), fault)),
                    Err(_) | Ok(None) => {}
                    Ok(Some(params)) => found = self.evaluate(spec, request, &params, fails),
                }
                for message in found {
                    for action in binding["spec"]["validationActions"].as_array().unwrap() {
                        let entry = (name.clone(), message.clone());
                        match action.as_str().unwrap() {
                            "Deny" => answer.denied.push(entry),
                            "Audit" => answer.audited.push(entry),
                            "Warn" => answer.warned.push(entry),
                            other => panic!("no such action: {other}"),
                        }
                    }
                }
            }
        }
        answer
    }

    /// None where there are no parameters to judge by and that is allowed; null where the policy takes none.
    fn params_of(&self, spec: &Value, binding: &Value) -> Result<Option<Cel>, String> {
        let Some(kind) = spec["paramKind"]["kind"].as_str() else { return Ok(Some(Cel::Null)) };
        let name = binding["spec"]["paramRef"]["name"].as_str().expect("a binding by name");
        match (
            self.params.get(&(kind.to_owned(), name.to_owned())),
            &binding["spec"]["paramRef"]["parameterNotFoundAction"],
        ) {
            (Some(params), _) => Ok(Some(params.clone())),
            (None, action) if action == "Deny" => Err(format!("failed to configure binding: no params found: {name}")),
            (None, _) => Ok(None),
        }
    }

    fn matches(&self, constraints: &Value, request: &Request) -> bool {
        let resource = if request.subresource.is_empty() {
            request.resource.clone()
        } else {
            format!("{}/{}", request.resource, request.subresource)
        };
        let rule_matches = |rule: &Value| {
            let has = |field: &str, want: &str| {
                rule[field].as_array().unwrap().iter().any(|value| value == want || value == "*")
            };
            let scope = match rule["scope"].as_str().unwrap_or("*") {
                "Namespaced" => request.namespace.is_some(),
                "Cluster" => request.namespace.is_none(),
                _ => true,
            };
            has("apiGroups", &request.group)
                && has("apiVersions", &request.version)
                && has("operations", request.operation)
                && has("resources", &resource)
                && scope
        };
        let rules = constraints["resourceRules"].as_array();
        rules.is_none_or(|rules| rules.iter().any(rule_matches))
            && self.namespace_matches(&constraints["namespaceSelector"], request)
    }

    fn namespace_matches(&self, selector: &Value, request: &Request) -> bool {
        assert!(selector.get("matchLabels").is_none(), "not modelled");
        let expressions = selector["matchExpressions"].as_array().cloned().unwrap_or_default();
        let Some(namespace) = &request.namespace else { return true };
        let labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        expressions.iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "not modelled");
            let key = expression["key"].as_str().unwrap();
            // The API server sets this one label itself.
            let value = if key == "kubernetes.io/metadata.name" { Some(namespace) } else { labels.get(key) };
            value.is_some_and(|value| expression["values"].as_array().unwrap().iter().any(|want| want == value))
        })
    }

    /// The messages of what does not hold.
    fn evaluate(&self, spec: &Value, request: &Request, params: &Cel, fails: bool) -> Vec<String> {
        let mut context = self.context(request, params);
        let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
        let mut faults = Vec::new();
        for condition in list("matchConditions") {
            match run(&context, condition["expression"].as_str().unwrap()) {
                Ok(Cel::Bool(false)) => return Vec::new(),
                Ok(Cel::Bool(true)) => {}
                other => faults.push(format!("{}: {other:?}", condition["name"])),
            }
        }
        if !faults.is_empty() {
            return if fails { faults } else { Vec::new() };
        }
        // One that fails is missed by what uses it, as it would be when it is evaluated at its first use.
        let mut variables: std::collections::HashMap<String, Cel> = std::collections::HashMap::new();
        for variable in list("variables") {
            context.add_variable_from_value("variables", variables.clone());
            if let Ok(value) = run(&context, variable["expression"].as_str().unwrap()) {
                variables.insert(variable["name"].as_str().unwrap().to_owned(), value);
            }
        }
        context.add_variable_from_value("variables", variables);
        let mut messages = Vec::new();
        for validation in list("validations") {
            let expression = validation["expression"].as_str().unwrap();
            match run(&context, expression) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => messages.push(message(&context, &validation)),
                Err(fault) if fails => messages.push(fault),
                Err(_) => {}
            }
        }
        messages
    }

    fn context(&self, request: &Request, params: &Cel) -> Context<'static> {
        let mut context = Context::default().with_all();
        context.add_function("dyn", |This(value): This<Cel>| Ok::<Cel, ExecutionError>(value));
        let grants = self.grants.clone();
        let user = request.user.clone();
        // The authorizer is a list of what was asked so far.
        for (at, name) in ["group", "resource", "name", "check"].into_iter().enumerate() {
            context.add_function(name, move |This(asked): This<Cel>, with: Arc<String>| {
                let Cel::List(asked) = asked else { panic!("not an authorizer") };
                let mut asked: Vec<Cel> = asked.to_vec();
                asked[at] = Cel::String(with);
                Ok::<Cel, ExecutionError>(Cel::List(Arc::new(asked)))
            });
        }
        context.add_function("allowed", move |This(asked): This<Cel>| {
            let Cel::List(asked) = asked else { panic!("not an authorizer") };
            let text = |at: usize| match &asked[at] {
                Cel::String(text) => text.to_string(),
                _ => String::new(),
            };
            let ask = |name: String| [user.clone(), text(3), text(0), text(1), name];
            Ok::<Cel, ExecutionError>((grants.contains(&ask(text(2))) || grants.contains(&ask(String::new()))).into())
        });
        context.add_variable_from_value("authorizer", vec![Cel::Null, Cel::Null, Cel::Null, Cel::Null]);
        let kind = json!({"group": request.group, "version": request.version, "kind": request.kind});
        let resource = json!({"group": request.group, "version": request.version, "resource": request.resource});
        // Empty fields are left out.
        let mut user_info = json!({"username": request.user});
        if !request.groups.is_empty() {
            user_info["groups"] = json!(request.groups);
        }
        let mut seen = json!({
            "kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource, "name": request.name,
            "operation": request.operation, "userInfo": user_info, "dryRun": false,
        });
        if let Some(namespace) = &request.namespace {
            seen["namespace"] = json!(namespace);
        }
        if !request.subresource.is_empty() {
            seen["subResource"] = json!(request.subresource);
            seen["requestSubResource"] = json!(request.subresource);
        }
        for (name, value) in [("object", &request.object), ("oldObject", &request.old), ("request", &seen)] {
            context.add_variable_from_value(name, to_value(value).unwrap());
        }
        context.add_variable_from_value("params", params.clone());
        context
    }
}

fn message(context: &Context<'_>, validation: &Value) -> String {
    let fixed = validation["message"].as_str().unwrap_or_default().trim().to_owned();
    let Some(expression) = validation["messageExpression"].as_str() else { return fixed };
    match run(context, expression) {
        Ok(Cel::String(text)) if !text.trim().is_empty() && text.len() <= 5 * 1024 && !text.contains('\n') => {
            text.trim().to_owned()
        }
        _ => fixed,
    }
}

thread_local! {
    static PROGRAMS: RefCell<BTreeMap<String, Rc<Program>>> = const { RefCell::new(BTreeMap::new()) };
}

fn run(context: &Context<'_>, expression: &str) -> Result<Cel, String> {
    let program = PROGRAMS.with_borrow_mut(|programs| {
        programs
            .entry(expression.to_owned())
            .or_insert_with(|| Rc::new(Program::compile(expression).unwrap_or_else(|e| panic!("{expression}: {e:?}"))))
            .clone()
    });
    program.execute(context).map_err(|error| format!("{expression}: {error:?}"))
}
