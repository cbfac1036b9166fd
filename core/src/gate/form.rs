//! Which form of the policy is in force, and which namespaces a break-glass takes out of it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::alarm::AlarmKind;
use super::decide::{Input, Intent, Notes};
use super::evaluate::active;
use super::history::Event;
use super::loosening::{
    Allowance, Approval, Effective, Form, Held, Loosening, Permit, PolicyForm, Standing, cannot_be_enforced, left_out,
    left_scope, policy, policy_deletion, reaches_further, unusable,
};
use super::memory::Enforced;
use crate::Digest;
use crate::api::SigningIdentityPolicySpec;
use crate::api::policy::{Desired, OtherImages};

/// The form in force.
pub(super) struct FormInForce {
    form: Form,
    /// What became of the declared form.
    pub(super) held: Held,
    /// Namespaces that are not denied in while something is lent.
    lent: Vec<Lent>,
}

struct Lent {
    break_glass: String,
    until: Timestamp,
    namespaces: BTreeSet<String>,
}

impl FormInForce {
    /// Judges the declared form against the enforced one, and makes it the enforced one where nothing holds it.
    pub(super) fn of(input: &Input<'_>, enforced: &mut Enforced, notes: &mut Notes) -> Self {
        let declared = input.declared;
        let permit = permit(input);
        if enforced.namespaces.is_empty() {
            if input.deleting {
                notes.intents.push(Intent::Remove);
            }
            enforced.spec = declared.spec.clone();
            enforced.keys = declared.keys.clone();
            let held = permit.judge(Vec::new(), notes.now);
            return Self { form: declared.to_owned(), held, lent: Vec::new() };
        }
        let held = {
            let form = enforced.form(declared.name);
            let mut loosenings = policy(form, declared, &standing(input, enforced));
            loosenings.extend(what_nothing_can_be_made_of(input, form));
            if input.deleting {
                loosenings.push(policy_deletion(form));
            }
            permit.judge(loosenings, notes.now)
        };
        let mut lent = Vec::new();
        match &held.effective {
            Effective::Enforced => hold(input, &held.loosenings, notes),
            Effective::Declared => adopt(input, enforced, &held, notes),
            Effective::Lent { break_glass, until } => {
                notes.lent.extend(held.loosenings.iter().map(|loosening| loosening.digest));
                if input.deleting {
                    notes.intents.push(Intent::Remove);
                }
                let namespaces = match declared.spec.enforcement.desired {
                    Desired::Audit => enforced.names(),
                    Desired::Enforce => left_out_by(input, enforced),
                };
                lent.push(Lent { break_glass: break_glass.clone(), until: *until, namespaces });
            }
        }
        release_what_left(input, enforced, permit, &mut lent, notes);
        let form = match held.effective {
            // Enforcement itself is not lent: the namespaces are taken out, one by one and until the end.
            Effective::Lent { .. } => {
                let mut form = declared.to_owned();
                form.spec.enforcement = enforced.spec.enforcement.clone();
                form
            }
            Effective::Declared | Effective::Enforced => enforced.form(declared.name).to_owned(),
        };
        Self { form, held, lent }
    }

    /// The form itself.
    pub(super) fn form<'s>(&'s self, input: &Input<'s>) -> PolicyForm<'s> {
        self.form.of(input.declared.name)
    }

    /// The form by itself.
    pub(super) fn into_form(self) -> Form {
        self.form
    }

    /// Says which enforced namespaces are not denied in for a while, and until when.
    pub(super) fn except(&self, input: &Input<'_>, enforced: &Enforced, notes: &mut Notes) {
        for lent in self.lent.iter().filter(|lent| !lent.namespaces.is_empty()) {
            let namespaces = lent.namespaces.clone();
            notes.intents.push(Intent::Except { break_glass: lent.break_glass.clone(), namespaces, until: lent.until });
        }
        for glass in active(input.observed, notes.now) {
            let Some(target) = glass.loosen.return_to_audit.as_ref().filter(|t| t.policy == input.declared.name) else {
                continue;
            };
            let named = target.namespaces.iter().filter(|name| enforced.namespaces.contains_key(*name));
            let namespaces: BTreeSet<String> = named.cloned().collect();
            if !namespaces.is_empty() {
                let break_glass = glass.name.clone();
                notes.intents.push(Intent::Except { break_glass, namespaces, until: glass.until });
            }
        }
    }
}

/// Says of a declared form that is another than the enforced one why engines could not deny by it.
fn what_nothing_can_be_made_of(input: &Input<'_>, enforced: PolicyForm<'_>) -> Vec<Loosening> {
    let mut found: Vec<Loosening> = input.unusable.iter().map(|why| unusable(input.declared, why)).collect();
    if enforced.digest() != input.declared.digest() {
        let refusals = input.observed.engines.iter().filter_map(|engine| Some((engine.kind, engine.refuses.as_ref()?)));
        found.extend(refusals.map(|(engine, why)| cannot_be_enforced(input.declared, engine.as_str(), why)));
    }
    found
}

pub(super) fn permit<'a>(input: &Input<'a>) -> Permit<'a> {
    Permit { approvals: input.approvals, break_glasses: &input.observed.break_glasses }
}

fn selects(input: &Input<'_>, spec: &SigningIdentityPolicySpec, name: &str) -> bool {
    // A namespace that is not there has no labels to judge by.
    input.observed.namespaces.get(name).is_none_or(|namespace| spec.namespace_selector.matches(&namespace.labels))
}

fn standing<'a>(input: &'a Input<'_>, enforced: &'a Enforced) -> Standing<'a> {
    let labels = |name: &String| input.observed.namespaces.get(name).map(|namespace| &namespace.labels);
    Standing {
        waves: enforced.waves.keys().map(String::as_str).collect(),
        namespaces: enforced.namespaces.keys().map(|name| (name.as_str(), labels(name))).collect(),
        others_deny: input.beside.iter().any(|other| {
            other.name != input.declared.name
                && other.spec.other_images == OtherImages::Deny
                && other.namespaces.iter().any(|name| enforced.namespaces.contains_key(name))
        }),
    }
}

/// The namespaces that the declared form lets go: the very ones that the digest names by which it was approved or lent.
fn left_out_by(input: &Input<'_>, enforced: &Enforced) -> BTreeSet<String> {
    let out = left_out(&enforced.spec, input.declared.spec, &standing(input, enforced));
    out.into_iter().map(str::to_owned).collect()
}

fn hold(input: &Input<'_>, loosenings: &[Loosening], notes: &mut Notes) {
    for loosening in loosenings {
        notes.alarm(AlarmKind::LooseningHeld, loosening.to_string());
    }
    say_once(input, loosenings, notes);
    notes.intents.push(Intent::Hold { loosenings: loosenings.to_vec() });
    notes.held.extend(loosenings.iter().cloned());
}

/// Holds go into the history once, not with every step.
pub(super) fn say_once(input: &Input<'_>, loosenings: &[Loosening], notes: &mut Notes) {
    let digests: BTreeSet<Digest> = loosenings.iter().map(|loosening| loosening.digest).collect();
    for digest in digests {
        if !input.progress.is_some_and(|progress| progress.held.contains(&digest)) {
            let of = loosenings.iter().filter(|loosening| loosening.digest == digest);
            notes
                .record(Event::Held { wants: digest, kinds: of.map(|loosening| loosening.kind.to_string()).collect() });
        }
    }
}

pub(super) fn by(allowed: &[Allowance]) -> Vec<String> {
    let mut by: Vec<String> = allowed
        .iter()
        .map(|allowance| match allowance {
            Allowance::Approval { by } => by.clone(),
            Allowance::BreakGlass { name, .. } => format!("break-glass {name}"),
        })
        .collect();
    by.sort();
    by.dedup();
    by
}

/// The declared form comes into force; namespaces and waves it was approved to leave out are let go.
fn adopt(input: &Input<'_>, enforced: &mut Enforced, held: &Held, notes: &mut Notes) {
    let declared = input.declared;
    let form = declared.digest();
    if enforced.form(declared.name).digest() != form {
        let further = reaches_further(&enforced.spec, declared.spec, |wave| enforced.waves.contains_key(wave));
        notes.record(Event::FormChanged { form, by: by(&held.allowed), further });
        spend(input, &held.loosenings, notes);
    }
    let out = left_out_by(input, enforced);
    release(enforced, out, by(&held.allowed), notes);
    let declared_waves = super::rollout::waves_of(&declared.spec.enforcement);
    enforced.waves.retain(|name, _| declared_waves.iter().any(|wave| wave.name == *name));
    enforced.spec = declared.spec.clone();
    enforced.keys = declared.keys.clone();
}

/// Writes down which approvals did what they were given for.
pub(super) fn spend(input: &Input<'_>, loosenings: &[Loosening], notes: &mut Notes) {
    for of in loosenings.iter().map(|loosening| loosening.digest).collect::<BTreeSet<Digest>>() {
        let approvals = input.approvals.iter().filter(|approval| approval.digest == of);
        let made = approvals.filter_map(|approval| approval.made).max();
        notes.record(Event::ApprovalSpent { of, made });
    }
}

/// The approvals that did not do yet what they were given for. What is made after one that did is another agreement to the same, where the change was seen to
/// wait for it: who agreed late to what was in force by then did not agree to its return.
pub(super) fn unspent(input: &Input<'_>) -> Vec<Approval> {
    let spent = input.history.in_force().spent;
    let is_unspent = |approval: &&Approval| match spent.get(&approval.digest) {
        None => true,
        Some(spent) => {
            is_newer(approval, *spent)
                && waited(input, approval.digest)
                && input.history.held_since(approval.digest).is_none_or(|since| was_made_after(approval, since))
        }
    };
    input.approvals.iter().filter(is_unspent).cloned().collect()
}

/// Writes down approvals of what was agreed to before that were made while it did not wait, so that they do not count when it waits again.
pub(super) fn spend_what_came_late(input: &Input<'_>, notes: &mut Notes) {
    for (of, spent) in input.history.in_force().spent.into_iter().filter(|(of, _)| !waited(input, *of)) {
        let newer = input.approvals.iter().filter(|approval| approval.digest == of && is_newer(approval, spent));
        if let Some(made) = newer.filter_map(|approval| approval.made).max() {
            notes.record(Event::ApprovalSpent { of, made: Some(made) });
        }
    }
}

fn is_newer(approval: &Approval, spent: Option<Timestamp>) -> bool {
    approval.made.zip(spent).is_some_and(|(made, spent)| made > spent)
}

/// Clocks of the API server and of holdfast may differ by so much.
const APART: SignedDuration = SignedDuration::from_secs(5);

fn was_made_after(approval: &Approval, since: Timestamp) -> bool {
    approval.made.is_some_and(|made| made.duration_since(since) >= -APART)
}

/// Whether the last step found that this waits.
fn waited(input: &Input<'_>, digest: Digest) -> bool {
    input.progress.is_some_and(|progress| progress.held.contains(&digest))
}

fn release(enforced: &mut Enforced, namespaces: BTreeSet<String>, by: Vec<String>, notes: &mut Notes) {
    if namespaces.is_empty() {
        return;
    }
    enforced.namespaces.retain(|name, _| !namespaces.contains(name));
    notes.record(Event::Released { namespaces: namespaces.clone(), by });
    notes.intents.push(Intent::Release { namespaces });
}

/// Namespaces whose labels no longer select them stay, unless somebody agreed to let them go.
fn release_what_left(
    input: &Input<'_>,
    enforced: &mut Enforced,
    permit: Permit<'_>,
    lent: &mut Vec<Lent>,
    notes: &mut Notes,
) {
    let labels = input.observed.namespaces.iter().map(|(name, found)| (name.clone(), found.labels.clone())).collect();
    let names = enforced.names();
    let Some(loosening) = left_scope(enforced.form(input.declared.name), &names, &labels) else { return };
    let out: BTreeSet<String> = names.iter().filter(|name| !selects(input, &enforced.spec, name)).cloned().collect();
    let judged = permit.judge(vec![loosening], notes.now);
    match judged.effective {
        Effective::Declared => {
            release(enforced, out, by(&judged.allowed), notes);
            spend(input, &judged.loosenings, notes);
        }
        Effective::Lent { break_glass, until } => {
            notes.lent.extend(judged.loosenings.iter().map(|loosening| loosening.digest));
            lent.push(Lent { break_glass, until, namespaces: out });
        }
        Effective::Enforced => hold(input, &judged.loosenings, notes),
    }
}
