//! The page about the gate, made from the tables it runs by.

use std::fmt::Write;

use super::alarm::AlarmKind;
use super::check::Check;
use super::loosening::LooseningKind;
use super::rollout::{Phase, TRANSITIONS};
use super::would_deny::UNSEEN;

/// The whole page, `docs/design/gate.md`.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Phases\n\n```mermaid\nstateDiagram-v2\n    [*] --> Audit\n");
    for arrow in TRANSITIONS.iter().filter(|arrow| arrow.from != arrow.to) {
        let _ = writeln!(page, "    {} --> {}: {}", arrow.from, arrow.to, arrow.on.words());
    }
    page.push_str("```\n\n| phase | meaning |\n|---|---|\n");
    for phase in Phase::ALL {
        let _ = writeln!(page, "| `{phase}` | {} |", phase.meaning());
    }
    page.push_str("\nEvery transition there is; what is not here does not happen.\n\n| from | when | to | effect |\n|---|---|---|---|\n");
    for arrow in TRANSITIONS {
        let _ = writeln!(page, "| `{}` | {} | `{}` | {} |", arrow.from, arrow.on.words(), arrow.to, arrow.effect);
    }
    page.push_str("\n## Checks\n\n| check | holds when | owner | cure |\n|---|---|---|---|\n");
    for check in Check::ALL {
        let _ = writeln!(page, "| `{check}` | {} | {} | {} |", check.meaning(), check.owner(), check.cure());
    }
    page.push_str(SOAK);
    let _ = writeln!(page, "\n`wouldHaveDenied` has limits: {UNSEEN}.");
    page.push_str(LOOSENING);
    page.push_str("\n| loosening | of | what admits more | allowed by |\n|---|---|---|---|\n");
    for kind in LooseningKind::ALL {
        let _ = writeln!(page, "| `{kind}` | {} | {} | {} |", kind.of(), kind.meaning(), kind.allowed_by().words());
    }
    page.push_str("\n## Alarms\n\n| alarm | meaning | cure |\n|---|---|---|\n");
    for kind in AlarmKind::ALL {
        let _ = writeln!(page, "| `{kind}` | {} | {} |", kind.meaning(), kind.cure());
    }
    page
}

const INTRODUCTION: &str = "# The gate

*Generated from the tables in `core/src/gate/`; `UPDATE_DOCS=1 cargo test -p holdfast-core --test gate` writes it anew.*

A policy with `enforcement.desired: Enforce` is promoted wave by wave, each once every check has held through its soak. After that nothing but a
person's agreement makes it admit more.
";

const SOAK: &str = "
## Soak

- A scan that is new and complete, and finds every check passed, adds the time since the last one that did, at most two intervals
  and a quarter of the soak: however rarely scans are made, four of them at least have to agree.
- The measure starts at the instant the soak starts and only moves forward: an old scan that is read again, or a clock that steps back, adds nothing. A clock
  that goes back by more than an interval starts the soak again.
- A failed check, another version of the policy, and a start that does not agree with the hash-chained history set the credit to 0. Editing `desired`, `soak`
  or `minimumCoverage` does not: they decide when, not what.
- While paused nothing is added; the pause itself adds what one scan may when it ends.
- A wave is done when it is *observed* in force, not when it is written. A wave that selects no namespace holds the rollout: nothing would be tried first.
- What is promoted is what was there when the soak started. A namespace that was made after its wave came into force and was in its scope from the first is
  enforced from its start, whatever the checks say and whatever runs in it: a pod that is quicker than holdfast must not keep a namespace open. That is proven of
  one that was not there at the last look and is in scope within a minute of its making. Any other that comes into scope soaks for itself.
- What was made while nobody looked (holdfast was down, or could write nothing down) may have been made without the labels, with pods that nobody asked about.
  It is enforced at once where the policy and the wave select every namespace, or where all that is known to run in it passes; else it soaks, for a denial that
  comes by surprise is not taken back, and a namespace that waits is seen. When namespaces were last looked at is written down once an hour at least.
- What is enforced is kept by name in an object of its own, and held against the history with every step. If that object is lost, or says another form than
  the history, engines are left as they are until the declared form is proven to be the one in force, or is approved; namespaces that were taken out of it are
  put back.
- A declared form that cannot be used, or that an engine could not be given for enforcement, is held like a looser one: it would end a denial all the same.
- An edit of an enforced policy that is *not* looser comes into force at once: taking an identity away must not wait for a soak.
";

const LOOSENING: &str = "
## What is looser

*Looser* is a partial order over whole objects. What cannot be proven not to be looser is looser. While a policy is enforced, a looser form is held and the
last enforced form stays, until an approval covers the digest of the declared one. A form is approved whole, with the namespaces that its selector leaves out:
where labels change meanwhile, it is another digest and waits again. What a break-glass allows is lent: the enforced form comes back at its end; only a
deletion made meanwhile stays.

Policies that come into force in one pass are decided one after another, those first that have been enforced the longest: whichever comes later asks for what
its promotion takes out of the denial of those before it (`PromotionClaims`). What one came to admit in a namespace before another one was enforced there is
not asked for again.

Not looser: a lower `minimumCoverage`, a shorter `soak`, an identity that becomes `optional`. They admit nothing; they are shown as a weaker gate. Native
intake is not looser either: what it lists is verified like any other image.
";
