//! What happened to a policy, in a sentence for whoever reads its history.
//!
//! Names and reasons stand in it as they were written down: whoever prints it makes control characters harmless.

use std::collections::BTreeSet;
use std::fmt;

use super::history::{Event, InForce};
use super::named::Named;

/// Names that one sentence lists.
const NAMED: usize = 12;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SoakStarted { wave, namespaces, began, .. } => {
                write!(f, "the soak of wave `{wave}` started for {}; it counts from {began}", named(namespaces))
            }
            Self::SoakEnded { wave, namespaces, why } => {
                write!(f, "the soak of wave `{wave}` ended without a promotion for {}: {why}", named(namespaces))
            }
            Self::Promoted { wave, namespaces, form } => {
                write!(
                    f,
                    "wave `{wave}` was promoted: from here on the policy denies in {}, in its form {form}",
                    names(namespaces)
                )
            }
            Self::Observed { wave } => write!(f, "wave `{wave}` was seen in force everywhere"),
            Self::FormChanged { form, by, .. } if by.is_empty() => {
                write!(f, "another form of the policy came into force, {form}; it admits nothing more")
            }
            Self::FormChanged { form, by, .. } => {
                write!(f, "a looser form of the policy came into force, {form}; allowed by {}", list(by))
            }
            Self::Held { wants, kinds } => {
                write!(f, "a change that admits more was held ({}); the digest to approve is {wants}", list(kinds))
            }
            Self::Released { namespaces, by } if by.is_empty() => {
                write!(f, "the policy no longer denies in {}", names(namespaces))
            }
            Self::Released { namespaces, by } => {
                write!(f, "the policy no longer denies in {}; allowed by {}", names(namespaces), list(by))
            }
            Self::Forgotten { namespaces } => {
                write!(f, "{} are gone for long, and no longer kept by name", names(namespaces))
            }
            Self::BreakGlassOpened { name, until } => {
                write!(f, "break-glass `{name}` came into force, until {until} at the latest")
            }
            Self::BreakGlassEnded { name } => write!(f, "break-glass `{name}` ended"),
            Self::ApprovalSpent { of, .. } => {
                write!(f, "the approval of {of} did what it was given for, and does nothing more")
            }
            Self::ClaimsAllowed { claims, by, .. } => write!(
                f,
                "what the promotion takes out of another policy's denial was approved, {claims}; allowed by {}",
                list(by)
            ),
            Self::Recovered { why, in_force } => {
                write!(f, "what is enforced was written down anew, because {why}; {}", amounts_to(in_force))
            }
            Self::Summary { in_force } => {
                write!(f, "older records are no longer kept; until here they amount to this: {}", amounts_to(in_force))
            }
        }
    }
}

fn amounts_to(in_force: &InForce) -> String {
    let namespaces: BTreeSet<String> = in_force.enforced.keys().cloned().collect();
    match &in_force.form {
        _ if namespaces.is_empty() => "nothing is enforced".to_owned(),
        Some(form) => format!("the policy denies in {}, in its form {form}", names(&namespaces)),
        None => format!("the policy denies in {}", names(&namespaces)),
    }
}

fn named(namespaces: &Named) -> String {
    match namespaces {
        Named::Each(each) => names(each),
        Named::Many { count, .. } => format!("{count} namespaces"),
    }
}

/// Namespaces, as many as a sentence takes.
fn names(namespaces: &BTreeSet<String>) -> String {
    if namespaces.is_empty() {
        return "no namespace".to_owned();
    }
    list(namespaces)
}

fn list<'a>(all: impl IntoIterator<Item = &'a String>) -> String {
    let all: Vec<&str> = all.into_iter().map(String::as_str).collect();
    let named = all.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn said(event: &Event) -> String {
        event.to_string()
    }

    #[test]
    fn each_event_says_what_it_means() {
        let form = Digest::of(b"form");
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let promoted = Event::Promoted { wave: "canary".to_owned(), namespaces: of(&["a", "b"]), form };
        assert_eq!(
            said(&promoted),
            format!("wave `canary` was promoted: from here on the policy denies in `a`, `b`, in its form {form}")
        );
        let stricter = Event::FormChanged { form, by: Vec::new(), further: false };
        assert!(said(&stricter).ends_with("it admits nothing more"));
        let looser = Event::FormChanged { form, by: vec!["bob".to_owned()], further: false };
        assert!(said(&looser).starts_with("a looser form") && said(&looser).ends_with("allowed by `bob`"));
        let held = Event::Held { wants: form, kinds: vec!["IdentityWidened".to_owned()] };
        assert!(said(&held).contains("(`IdentityWidened`)") && said(&held).ends_with(&form.to_string()));
        let nowhere = Event::Summary { in_force: InForce::default() };
        assert!(said(&nowhere).ends_with("nothing is enforced"));
    }

    #[test]
    fn many_names_are_counted() {
        let namespaces: BTreeSet<String> = (0..500).map(|number| format!("team-{number:03}")).collect();
        let said = said(&Event::Released { namespaces, by: Vec::new() });
        assert!(said.ends_with("and 488 more") && said.len() < 300, "{said}");
    }
}
