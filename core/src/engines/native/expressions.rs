//! CEL: the images of a pod, what is new about them, and their names in one spelling.
//!
//! A pod says an image in many spellings. Here each is brought into the one spelling of [`crate::image::ImageRef::name`], by the same steps, and patterns
//! are compared with that: a comparison of texts costs the API server a hundredth of what a regular expression over every spelling does.

use super::cost::Cost;
use crate::image::spelling::NAMES_A_HOST;

/// A variable of an admission policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) expression: String,
    /// What one image may cost at most.
    pub(super) cost: Cost,
}

pub(super) fn variable(name: &str, expression: String, cost: Cost) -> Variable {
    Variable { name: name.to_owned(), expression, cost }
}

/// Whose images are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Pods.
    Pods,
    /// Templates of workloads.
    Templates,
}

/// Where a digest stands at the end of a text.
pub(super) const PINNED: &str = "@sha256:[0-9a-f]{64}$";

/// A text as CEL writes it.
pub(super) fn text(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        if matches!(character, '\\' | '\'') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal.push('\'');
    literal
}

/// A list of texts.
pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", items.into_iter().map(text).collect::<Vec<_>>().join(", "))
}

/// All images; those of the old object; those that are new. What is not new was judged when it came.
pub(super) fn images(target: Target) -> Vec<Variable> {
    let (new, old) = (spec(target, "object"), spec(target, "oldObject"));
    let each = Cost::of_steps(12);
    vec![
        variable("images", all_images(target, &new), each),
        variable("was", format!("request.operation == 'UPDATE' ? {} : []", all_images(target, &old)), each),
        variable(
            "fresh",
            "variables.images.filter(i, !(i in variables.was))".to_owned(),
            Cost::of_steps(8).and(Cost::of_list()),
        ),
    ]
}

/// Where an object has the specification of its pods.
pub(super) fn spec(target: Target, object: &str) -> String {
    match target {
        Target::Pods => format!("{object}.spec"),
        Target::Templates => format!(
            "(request.kind.kind == 'CronJob' ? dyn({object}).spec.jobTemplate.spec.template.spec : \
             request.kind.kind == 'PodTemplate' ? dyn({object}).template.spec : dyn({object}).spec.template.spec)"
        ),
    }
}

/// Every image a specification brings in.
pub(super) fn all_images(target: Target, spec: &str) -> String {
    // In a pod every container has an image, and what has none is nothing that is well formed. In a template it may be filled in later.
    let texts = |list: &str, field: &str| match target {
        Target::Pods => format!("{list}.map(c, has(c.{field}) ? string(c.{field}) : '')"),
        Target::Templates => format!("{list}.filter(c, has(c.{field})).map(c, string(c.{field}))"),
    };
    let containers = ["containers", "initContainers", "ephemeralContainers"].map(|field| {
        let list = format!("{spec}.{field}");
        format!("(has({list}) ? {} : [])", texts(&list, "image"))
    });
    let volumes = format!("{spec}.volumes.filter(v, has(v.image)).map(v, v.image)");
    let volumes = format!("(has({spec}.volumes) ? {} : [])", texts(&volumes, "reference"));
    format!("{} + {volumes}", containers.join(" + "))
}

/// Brings the texts of the variable `source` into one spelling: `named`, a list of the image's text, its name and its digits.
pub(super) fn naming(source: &str) -> Vec<Variable> {
    let hosted = format!("i.matches({})", text(NAMES_A_HOST));
    // Bounded by `/` and `:`, so that what is replaced is a whole name and never a part of one.
    let host = [
        (".:", ":"),
        // A port has at most five digits, so at most four of them are leading zeros.
        (":0", ":"),
        (":0", ":"),
        (":0", ":"),
        (":0", ":"),
        ("/index.docker.io:", "/docker.io:"),
        ("/registry-1.docker.io:", "/docker.io:"),
    ]
    .iter()
    .fold("('/' + i.split('/')[0] + ':').lowerAscii()".to_owned(), |host, (from, to)| {
        format!("{host}.replace({}, {})", text(from), text(to))
    });
    let parts = format!(
        "variables.{source}.map(i, {{'image': i, 'hex': i.matches({pinned}) ? i.substring(i.size() - 64) : '', \
         'host': {hosted} ? {host} : '/docker.io:', \
         'path': ({hosted} ? i.substring(i.indexOf('/') + 1) : i).split('@')[0].split(':')[0]}})",
        pinned = text(PINNED)
    );
    // Without a dot or a port, only `localhost` is read as a host: there the default port says what it is.
    let hosts = "variables.parts.map(p, {'image': p.image, 'hex': p.hex, 'path': p.path, \
                 'host': p.host.contains('.') || p.host.startsWith('/localhost:') ? p.host.replace(':443:', ':') : p.host})";
    let named = "variables.hosts.map(p, {'image': p.image, 'hex': p.hex, \
                 'name': (p.host + '/').replace(':/', '/').substring(1) + (p.host == '/docker.io:' && !p.path.contains('/') ? 'library/' : '') + p.path})";
    let on_text = |steps: u64, passes: u64| Cost::of_steps(steps).and(Cost::of_passes(passes));
    vec![
        variable(
            "parts",
            parts,
            on_text(60, 30).and(Cost::of_expression(PINNED)).and(Cost::of_expression(NAMES_A_HOST).times(2)),
        ),
        variable("hosts", hosts.to_owned(), on_text(50, 5)),
        variable("named", named.to_owned(), on_text(50, 9)),
    ]
}

/// The sentence about the images of a list, after `before`. At most one is named: a message has 5 KiB, and 50 images may have 50.
pub(super) fn about(list: &str, before: &str, image: &str, after: &str) -> String {
    format!(
        "variables.{list}.size() == 0 ? '' : {} + variables.{list}[0]{image} + {} + (variables.{list}.size() == 1 ? '' : ' (and ' + string(variables.{list}.size() - 1) + ' more)')",
        text(before),
        text(after)
    )
}
