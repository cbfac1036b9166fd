//! `holdfast verify`: judge a signature or statement offline.

mod subject;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use holdfast_core::coverage::{CompiledPolicy, judge_under};
use holdfast_core::trust::root::{ManagedKey, TrustRoot, Window};
use holdfast_core::trust::tuf::Grace;
use holdfast_core::verify::pattern::IdentityPattern;
use holdfast_core::verify::policy::SIGNATURE_PREDICATE;
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Matcher, Policy, PreparedRoot, Signer, Verdict, judge,
};
use jiff::Timestamp;
use serde::Serialize;

use self::subject::{Subject, subject, verdict};
use super::mirror;
use super::output::{CliError, Exit, Format, Style, instant, now};
use super::verify_policy::{about, accepted, declared, named_roots};
use super::verify_text::{print, want_of_trust};
use crate::inventory::OWN_NAMESPACE;
use crate::sources::file;
use crate::sources::state::StateDir;

const MAX_KEY: u64 = 64 * 1024;

#[derive(ClapArgs)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// What to judge: a file, its digest `sha256:<hex>`, or an image in a layout, `oci:DIR@sha256:<hex>` or `oci:DIR:tag`
    artifact: String,

    /// A bundle with the signature or statement; may be repeated. For an image, besides what the layout holds
    #[arg(long, value_name = "FILE")]
    bundle: Vec<PathBuf>,

    /// A trusted_root.json to trust; may be repeated. Beside --policy as NAME=FILE, with the name the policy accepts it by
    #[arg(long, value_name = "[NAME=]FILE")]
    trusted_root: Vec<PathBuf>,

    /// A state directory of `holdfast mirror` whose trusted root to trust; may be repeated. Its last part is the name the policy accepts it by
    #[arg(long, value_name = "DIR")]
    state: Vec<PathBuf>,

    /// How long past its expiry the timestamp in --state still counts, at most 336h
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = mirror::grace)]
    grace: Grace,

    /// Remember in --state that the signing times of a covered verdict have passed: a clock behind them then takes no import
    #[arg(long, requires = "state")]
    raise_clock_floor: bool,

    /// A SigningIdentityPolicy to judge by: its trust roots, identities, requirements and images, instead of the flags about who signs and what is required. Of several in one file, the one that is named
    #[arg(long, value_name = "FILE[#NAME]", conflicts_with_all = ["certificate_identity", "certificate_identity_regexp", "certificate_oidc_issuer", "certificate_oidc_issuer_regexp", "key", "attestation", "insecure_ignore_tlog", "insecure_ignore_sct", "use_signed_timestamps"])]
    policy: Option<PathBuf>,

    /// The namespace holdfast runs in: the Secret a policy refers to, beside it in FILE, is read from it alone
    #[arg(long, value_name = "NAME", default_value = OWN_NAMESPACE)]
    namespace: String,

    /// The certificate's subject, exactly
    #[arg(long, value_name = "IDENTITY", conflicts_with = "certificate_identity_regexp")]
    certificate_identity: Option<String>,

    /// The certificate's subject, as an expression that has to match all of it
    #[arg(long, value_name = "REGEXP")]
    certificate_identity_regexp: Option<String>,

    /// The identity provider named in the certificate, exactly
    #[arg(long, value_name = "URL", conflicts_with = "certificate_oidc_issuer_regexp")]
    certificate_oidc_issuer: Option<String>,

    /// The identity provider, as an expression that has to match all of it
    #[arg(long, value_name = "REGEXP")]
    certificate_oidc_issuer_regexp: Option<String>,

    /// A public key (PEM or DER) whose signature counts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate_identity", "certificate_identity_regexp", "certificate_oidc_issuer", "certificate_oidc_issuer_regexp"])]
    key: Option<PathBuf>,

    /// Ask for a statement of this predicate type instead of a signature
    #[arg(long, value_name = "TYPE")]
    attestation: Option<String>,

    /// Do not require a transparency log entry
    #[arg(
        long,
        long_help = "Do not require a transparency log entry. A certificate's signature then still needs an authenticated time: a signed timestamp by an authority of the trusted root, or the time in a log entry that can be checked. An entry that cannot be checked counts for nothing"
    )]
    insecure_ignore_tlog: bool,

    /// Do not require a signed certificate timestamp
    #[arg(long)]
    insecure_ignore_sct: bool,

    /// Require a signed timestamp (RFC 3161) by an authority of the trusted root
    #[arg(long)]
    use_signed_timestamps: bool,

    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
WHAT IS DEMANDED
  A certificate's signature: a chain to a certificate authority of the trusted root that counted at every authenticated
  signing time; a signed certificate timestamp (unless --insecure-ignore-sct); a transparency log entry with its proof of
  inclusion (unless --insecure-ignore-tlog); an authenticated time (a Rekor v1 entry has one; beside a Rekor v2 entry, or
  without an entry, a signed timestamp is needed); and the identity and issuer you name.
  A key's signature: the key you give, and a log entry with its proof (unless --insecure-ignore-tlog).
  An image in a layout: a signature (a message signature, cosign simple signing, or a statement of cosign's sign/v1 type),
  unless --attestation names a type. A bundle given for a file or digest: whatever it is; the output says which.
  Whatever the trusted root lacks switches nothing off. Every timestamp and checkable log entry in a bundle has to hold.

EXAMPLES
  holdfast verify app.tar.gz --bundle app.tar.gz.sigstore.json --trusted-root trusted_root.json \\
    --certificate-identity https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main \\
    --certificate-oidc-issuer https://token.actions.githubusercontent.com
  holdfast verify sha256:9f86d0… --bundle b.json --key cosign.pub --insecure-ignore-tlog
  holdfast verify oci:export:1.0 --state state/corp --policy policies.yaml#apps --raise-clock-floor";

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    verdict: holdfast_core::verify::Outcome,
    owner: holdfast_core::verify::Owner,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(flatten)]
    judged: &'a Verdict,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let now = now(args.now);
    let subject = subject(&args.artifact)?;
    let judge_by = match &args.policy {
        Some(path) => By::Declared(Box::new(declared(path, &args.namespace)?)),
        None => By::Flags(policy(args, matches!(subject, Subject::Image { .. }))?),
    };
    let mut roots = match &judge_by {
        By::Declared(_) => named_roots(&args.trusted_root)?,
        By::Flags(_) => roots(&args.trusted_root)?,
    };
    for path in &args.state {
        roots.push(held_root(path, args.grace, now)?);
    }
    if roots.is_empty() && judge_by.names_certificates() {
        return Err(CliError::usage(
            "give the trust to verify certificates with: --trusted-root FILE, or --state DIR as `holdfast mirror` keeps it",
        ));
    }
    let most = u64::try_from(judge_by.limits().bundle_bytes()).unwrap_or(u64::MAX);
    let given = args
        .bundle
        .iter()
        // One byte more than a bundle has shows that it is none; it is judged as such.
        .map(|path| Ok(Evidence::bundle(path.display().to_string(), file::beginning(path, most.saturating_add(1))?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    if given.is_empty() && matches!(subject, Subject::Artifact(_)) {
        return Err(CliError::usage("give the bundle to judge by with --bundle FILE"));
    }
    let (verdict, note) = match &judge_by {
        By::Flags(policy) => {
            let roots: Vec<&PreparedRoot> = roots.iter().collect();
            let judge = |artifact: &Artifact, evidence: &[Evidence]| judge(artifact, evidence, policy, &roots, now);
            let verdict = verdict(subject, given, judge);
            let note = if roots.is_empty() { want_of_trust(verdict.reason) } else { None };
            (verdict, note.map(str::to_owned))
        }
        By::Declared(policy) => {
            let note = subject.image().map(|(digest, image)| about(policy, digest, image)).transpose()?.flatten();
            let roots = accepted(policy, roots)?;
            let judge =
                |artifact: &Artifact, evidence: &[Evidence]| judge_under(policy, artifact, evidence, None, &roots, now);
            (verdict(subject, given, judge), note)
        }
    };
    if args.raise_clock_floor {
        args.state.iter().try_for_each(|path| mirror::raise_clock_floor(path, &verdict, now))?;
    }
    let report = Report { verdict: verdict.outcome(), owner: verdict.owner(), note: note.as_deref(), judged: &verdict };
    if !args.output.print(&report, out)? {
        print(&verdict, note.as_deref(), Style::stdout(), out)?;
    }
    Ok(verdict.outcome().into())
}

/// What is judged by.
enum By {
    Flags(Policy),
    Declared(Box<CompiledPolicy>),
}

impl By {
    const fn limits(&self) -> Limits {
        match self {
            Self::Flags(policy) => policy.limits,
            Self::Declared(policy) => policy.policy.limits,
        }
    }

    /// Whether the flags name the holder of a certificate, which nothing but a trust root can verify. A policy names its trust roots itself.
    fn names_certificates(&self) -> bool {
        let certificate = |signer: &Signer| matches!(signer, Signer::Certificate { .. });
        matches!(self, Self::Flags(policy) if policy.signers.iter().any(certificate))
    }
}

/// The trusted root a state directory holds; past its limit, it never covers.
fn held_root(path: &Path, grace: Grace, now: Timestamp) -> Result<PreparedRoot, CliError> {
    let held = StateDir::look(path)?;
    let root = mirror::held_root(&held, path)?.ok_or_else(|| mirror::no_root(path))?;
    let ready = PreparedRoot::new(root).map_err(|e| CliError::usage(e.to_string()))?;
    Ok(match mirror::freshness(&held, grace, now).staleness() {
        Some(why) => ready.stale(why),
        None => ready,
    })
}

fn roots(paths: &[PathBuf]) -> Result<Vec<PreparedRoot>, CliError> {
    paths.iter().map(|path| root(&path.display().to_string(), path)).collect()
}

pub(super) fn root(name: &str, path: &Path) -> Result<PreparedRoot, CliError> {
    let most = u64::try_from(holdfast_core::trust::root::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = file::read(path, "a trusted root", most)?;
    let root = TrustRoot::from_json(name, &bytes).map_err(|e| CliError::usage(format!("{}: {e}", path.display())))?;
    PreparedRoot::new(root).map_err(|e| CliError::usage(e.to_string()))
}

fn policy(args: &Args, is_image: bool) -> Result<Policy, CliError> {
    let accept = match &args.attestation {
        None if is_image => Accept::Signature { attestations: Vec::new() },
        Some(predicate) if predicate == SIGNATURE_PREDICATE => Accept::Signature { attestations: Vec::new() },
        Some(predicate) => Accept::Statements(vec![predicate_type(predicate)?]),
        None => Accept::Either,
    };
    Ok(Policy {
        signers: vec![signer(args)?],
        evidence: EvidenceRequirements {
            transparency_log: !args.insecure_ignore_tlog,
            signed_timestamp: args.use_signed_timestamps,
            sct: !args.insecure_ignore_sct,
        },
        accept,
        limits: Limits::default(),
    })
}

/// The short names that cosign's users know (cosign, `pkg/cosign/attestation`), beside predicate types in full.
const SHORT_NAMES: [(&str, &str); 10] = [
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("link", "https://in-toto.io/Link/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
];

fn predicate_type(given: &str) -> Result<String, CliError> {
    if let Some((_, known)) = SHORT_NAMES.iter().find(|(short, _)| *short == given) {
        return Ok((*known).to_owned());
    }
    if given.contains(':') {
        return Ok(given.to_owned());
    }
    let names: Vec<&str> = SHORT_NAMES.iter().map(|(short, _)| *short).collect();
    Err(CliError::usage(format!(
        "--attestation {given}: that is no predicate type, which is a URI, nor one of the short names {}",
        names.join(", ")
    )))
}

fn signer(args: &Args) -> Result<Signer, CliError> {
    if let Some(path) = &args.key {
        let name = path.display().to_string();
        let bytes = file::read(path, "a public key", MAX_KEY)?;
        let key = ManagedKey::from_bytes(&name, &bytes, Window::ALWAYS)
            .map_err(|e| CliError::usage(format!("{name}: {e}")))?;
        return Ok(Signer::Key { name, key: Box::new(key) });
    }
    let matcher = |exact: &Option<String>, pattern: &Option<String>, flag: &str| match (exact, pattern) {
        (Some(text), _) if text.is_empty() => Err(CliError::usage(format!("--{flag} is empty: name what you trust"))),
        (Some(text), _) => Ok((text.clone(), Matcher::Exact(text.clone()))),
        (None, Some(text)) => IdentityPattern::any(text)
            .map(|pattern| (format!("/{text}/"), Matcher::Pattern(pattern)))
            .map_err(|e| CliError::usage(format!("--{flag}-regexp: {e}"))),
        (None, None) => Err(CliError::usage(format!(
            "who has to have signed? Give --{flag} (or --{flag}-regexp) for a certificate, or --key for a key"
        ))),
    };
    let (name, subject) =
        matcher(&args.certificate_identity, &args.certificate_identity_regexp, "certificate-identity")?;
    let (_, issuer) =
        matcher(&args.certificate_oidc_issuer, &args.certificate_oidc_issuer_regexp, "certificate-oidc-issuer")?;
    Ok(Signer::Certificate { name, subject, issuer })
}
