//! `holdfast mirror`: keep and renew trust in a state directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use holdfast_core::Digest;
use holdfast_core::trust::budget::Budget;
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::freshness::{Freshness, Settings};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::{Grace, Note, OnEquivocation, Refresh, RoleSummary, State};
use holdfast_core::verify::{Reason, Verdict};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::output::{CliError, Exit, Format, Style, now};
use super::trust_text::{print_budget, print_diff, print_freshness, print_notes, print_roles, print_root};
use crate::sources::http::Patience;
use crate::sources::state::{Held, HeldRoot, StateDir, TRUSTED_ROOT};
use crate::sources::write::{make_dir, replace};
use crate::sources::{self, Directory, Http, ImportError, Source, file};

const MAX_ROOT: u64 = 512 * 1024;
const MAX_CA_BUNDLE: u64 = 1024 * 1024;
const MAX_TARGET: u64 = 64 * 1024 * 1024;

#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start from a root that was agreed on out of band
    Init(InitArgs),
    /// Take newer metadata from a repository
    Refresh(Box<RefreshArgs>),
    /// Refresh, then read, judge and hold the trusted root; print what changes
    Import(Box<ImportArgs>),
    /// Refresh, then fetch and verify target files
    Target(Box<TargetArgs>),
    /// Show what is held and until when it is good
    Show(ShowArgs),
    /// Show what changes between two trusted roots
    Diff(DiffArgs),
}

#[derive(ClapArgs)]
struct InitArgs {
    /// The state directory to make
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The root to start from
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// The SHA-256 it has to have
    #[arg(long, value_name = "HEX")]
    root_sha256: Option<String>,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

#[derive(ClapArgs)]
struct Repository {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The repository: a directory, or an address `http(s)://…`
    #[arg(long, value_name = "DIR|URL")]
    from: String,
    /// Where its targets are, if not in `targets/` below it
    #[arg(long, value_name = "DIR|URL")]
    targets_from: Option<String>,
    /// Trust only these authorities (PEM) to vouch for the server
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// How long past its expiry the timestamp still counts, at most 336h; nothing else has a grace
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = grace)]
    grace: Grace,
    /// Where a timestamp has the version held and other bytes, keep what is held and go on instead of refusing
    #[arg(long)]
    keep_on_equivocation: bool,
    /// Go on with a clock that is behind a signing time that was seen: the clock is right, and the authority's ran ahead
    #[arg(long)]
    lower_clock_floor: bool,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

#[derive(ClapArgs)]
struct RefreshArgs {
    #[command(flatten)]
    repository: Repository,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(ClapArgs)]
struct ImportArgs {
    #[command(flatten)]
    repository: Repository,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(ClapArgs)]
struct TargetArgs {
    /// The names of the targets
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    repository: Repository,
    /// The file to write
    #[arg(long, value_name = "FILE", required_unless_present = "out_dir", conflicts_with = "out_dir")]
    out: Option<PathBuf>,
    /// The directory to write it to, under its own name (with `/` as `%2F`)
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

#[derive(ClapArgs)]
struct ShowArgs {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// How long past its expiry the timestamp still counts, at most 336h
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = grace)]
    grace: Grace,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(ClapArgs)]
struct DiffArgs {
    /// The trusted root as it is: a file, or a state directory
    old: PathBuf,
    /// The trusted root as it would be: a file, or a state directory
    new: PathBuf,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    result: &'static str,
    roles: &'a [RoleSummary],
    freshness: &'a Freshness,
    notes: &'a [Note],
    recoveries: &'a [holdfast_core::trust::tuf::Recovery],
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_root: Option<&'a TrustRoot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a RootDiff>,
    expiry_budget: &'a Budget,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    match &args.verb {
        Verb::Init(args) => init(args, out),
        Verb::Refresh(args) => refresh(args, out),
        Verb::Import(args) => import(args, out),
        Verb::Target(args) => target(args, out),
        Verb::Show(args) => show(args, out),
        Verb::Diff(args) => diff(args, out),
    }
}

/// Reads a `--grace`.
pub(super) fn grace(text: &str) -> Result<Grace, String> {
    let duration: SignedDuration =
        text.parse().map_err(|e| format!("{e}; write hours, minutes and seconds, as `72h`"))?;
    Grace::new(duration).map_err(|e| e.to_string())
}

fn init(args: &InitArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let root = file::read(&args.bootstrap, "a root.json", MAX_ROOT)?;
    let pin = args
        .root_sha256
        .as_deref()
        .map(Digest::from_hex)
        .transpose()
        .map_err(|e| CliError::usage(format!("--root-sha256: {e}")))?;
    let state = match State::bootstrap(&root, pin, now(args.now)) {
        Ok(state) => state,
        Err(refusal) => return Err(CliError::Refused(refusal)),
    };
    let pinned = state.memory().pin;
    let dir = StateDir::create(&args.state)?;
    dir.commit(&Held { state, trusted_root: None })?;
    writeln!(out, "{} holds the root {pinned}", args.state.display())?;
    if args.root_sha256.is_none() {
        writeln!(out, "No --root-sha256 was given: compare this digest with the one your publisher states.")?;
    }
    Ok(Exit::Yes)
}

/// A state under renewal: whatever ends it, what was accepted is stored.
struct Session {
    dir: StateDir,
    held: Held,
    now: Timestamp,
    grace: Grace,
    on_equivocation: OnEquivocation,
}

impl Session {
    fn open(from: &Repository) -> Result<Self, CliError> {
        let (dir, mut held) = StateDir::open(&from.state)?;
        let now = now(from.now);
        if from.lower_clock_floor {
            let before = held.clone();
            held.state.lower_clock(now);
            // A wish of its own: it is kept whatever becomes of the import.
            if held != before {
                dir.commit(&held)?;
            }
        }
        let on_equivocation = if from.keep_on_equivocation { OnEquivocation::KeepHeld } else { OnEquivocation::Refuse };
        Ok(Self { dir, held, now, grace: from.grace, on_equivocation })
    }

    /// Refreshes, then does `then` with the refreshed repository; stores what was accepted, and what `then` makes of the trusted root.
    fn renew<T>(
        &mut self,
        source: &dyn Source,
        then: impl FnOnce(&mut Refresh, &mut Option<HeldRoot>) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let mut refresh = Refresh::begin(&self.held.state, self.now, self.grace)
            .map_err(CliError::Refused)?
            .on_equivocation(self.on_equivocation);
        let mut trusted_root = self.held.trusted_root.clone();
        let result = sources::refresh(source, &mut refresh)
            .map_err(CliError::from)
            .and_then(|()| then(&mut refresh, &mut trusted_root));
        let next = Held { state: sources::progress(refresh), trusted_root };
        if next == self.held {
            return result.and_then(|value| self.dir.repair(&next).map(|()| value).map_err(CliError::from));
        }
        self.dir.commit(&next)?;
        self.held = next;
        result
    }
}

fn source(from: &Repository) -> Result<Box<dyn Source>, CliError> {
    let is_address = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    let targets = from.targets_from.as_deref();
    if is_address(&from.from) {
        if let Some(other) = targets.filter(|targets| !is_address(targets)) {
            return Err(CliError::usage(format!("--targets-from {other}: with --from an address, this is one too")));
        }
        let ca = from.ca_bundle.as_deref().map(|path| file::read(path, "a CA bundle", MAX_CA_BUNDLE)).transpose()?;
        return Ok(Box::new(
            Http::new(&from.from, targets, ca.as_deref(), Patience::default()).map_err(ImportError::from)?,
        ));
    }
    Ok(Box::new(Directory::open(Path::new(&from.from), targets.map(Path::new)).map_err(ImportError::from)?))
}

fn refresh(args: &RefreshArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = source(&args.repository)?;
    let mut session = Session::open(&args.repository)?;
    let (roles, notes, changed) = session
        .renew(source.as_ref(), |refresh, _| Ok((refresh.roles(), refresh.notes().to_vec(), refresh.changed())))?;
    let report =
        Overview { roles, notes, root: held_root(&session.held, &args.repository.state)?, diff: None, changed };
    report.print(&session.held, session.grace, session.now, args.output, out)
}

fn import(args: &ImportArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = source(&args.repository)?;
    let mut session = Session::open(&args.repository)?;
    let before = held_root(&session.held, &args.repository.state)?;
    let held = session.held.trusted_root.as_ref().map(|root| root.bytes.clone());
    let name = root_name(&args.repository.state);
    let (roles, notes, changed, root) = session.renew(source.as_ref(), |refresh, trusted_root| {
        let target = sources::target(source.as_ref(), refresh, TRUSTED_ROOT, &|| held.clone())?;
        let root = TrustRoot::from_json(&name, target.bytes())
            .map_err(|e| CliError::RefusedRoot(format!("{TRUSTED_ROOT}: {e}")))?;
        *trusted_root = Some(HeldRoot::accepted(&target));
        Ok((refresh.roles(), refresh.notes().to_vec(), refresh.changed(), root))
    })?;
    let diff = before.as_ref().map(|before| RootDiff::between(before, &root));
    let changed = changed || before.as_ref().is_none_or(|before| before.digest != root.digest);
    Overview { roles, notes, root: Some(root), diff, changed }.print(
        &session.held,
        session.grace,
        session.now,
        args.output,
        out,
    )
}

fn target(args: &TargetArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = source(&args.repository)?;
    if args.out.is_some() && args.names.len() > 1 {
        return Err(CliError::usage("--out is for one target; give --out-dir for several"));
    }
    let path_of = |name: &str| match (&args.out, &args.out_dir) {
        (Some(path), _) => path.clone(),
        (None, dir) => dir.clone().unwrap_or_default().join(holdfast_core::trust::tuf::quote(name)),
    };
    let mut session = Session::open(&args.repository)?;
    // What is there already counts as the target only if it verifies as one.
    let there = |name: &str| file::read(&path_of(name), "a target", MAX_TARGET).ok();
    let targets = session.renew(source.as_ref(), |refresh, _| {
        let find = |name: &String| Ok(sources::target(source.as_ref(), refresh, name, &|| there(name))?);
        args.names.iter().map(find).collect::<Result<Vec<_>, CliError>>()
    })?;
    if let Some(dir) = &args.out_dir {
        make_dir(dir)?;
    }
    for target in targets {
        let path = path_of(target.name());
        if there(target.name()).as_deref() != Some(target.bytes()) {
            replace(&path, target.bytes())?;
        }
        writeln!(
            out,
            "{} ({} bytes, {}, listed by {})",
            path.display(),
            target.bytes().len(),
            Digest::of(target.bytes()),
            target.role()
        )?;
    }
    Ok(Exit::Yes)
}

fn show(args: &ShowArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let held = StateDir::look(&args.state)?;
    let roles = held.state.roles();
    let root = held_root(&held, &args.state)?;
    Overview { roles, notes: Vec::new(), root, diff: None, changed: false }.print(
        &held,
        args.grace,
        now(args.now),
        args.output,
        out,
    )
}

fn diff(args: &DiffArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let [old, new] = [&args.old, &args.new].map(|path| any_root(path));
    let diff = RootDiff::between(&old?, &new?);
    if !args.output.print(&diff, out)? {
        print_diff(&diff, Style::stdout(), out)?;
    }
    Ok(Exit::Yes)
}

/// The trusted root in a file or a state directory.
pub(super) fn any_root(path: &Path) -> Result<TrustRoot, CliError> {
    if path.is_dir() {
        let held = StateDir::look(path)?;
        return held_root(&held, path)?.ok_or_else(|| no_root(path));
    }
    let most = u64::try_from(holdfast_core::trust::root::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = file::read(path, "a trusted root", most)?;
    let name = path.display().to_string();
    TrustRoot::from_json(&name, &bytes).map_err(|e| CliError::usage(format!("{name}: {e}")))
}

pub(super) fn no_root(path: &Path) -> CliError {
    CliError::usage(format!("{} holds no trusted root yet: run `holdfast mirror import`", path.display()))
}

pub(super) fn held_root(held: &Held, path: &Path) -> Result<Option<TrustRoot>, CliError> {
    let name = root_name(path);
    held.trusted_root
        .as_ref()
        .map(|root| {
            TrustRoot::from_json(&name, &root.bytes).map_err(|e| CliError::usage(format!("{}: {e}", path.display())))
        })
        .transpose()
}

/// Whether what a state directory holds is still current.
pub(super) fn freshness(held: &Held, grace: Grace, now: Timestamp) -> Freshness {
    let root = held.trusted_root.as_ref().map(HeldRoot::imported);
    Freshness::judge(&held.state, root, Settings { grace, max_age: None }, now)
}

/// Raises the floor of the clock to the signing times that the trust in `path` vouches for, of a covered verdict.
pub(super) fn raise_clock_floor(path: &Path, verdict: &Verdict, now: Timestamp) -> Result<(), CliError> {
    let name = root_name(path);
    let (dir, held) = StateDir::open(path)?;
    let mut next = held.clone();
    let covering = verdict
        .evidence
        .iter()
        .filter(|piece| piece.reason == Reason::Verified && piece.trust_root.as_ref() == Some(&name));
    for time in covering.filter_map(|piece| piece.authenticated.as_ref()).flat_map(|facts| &facts.signed_at) {
        next.state.observe_time(time.at, now);
    }
    if next != held {
        dir.commit(&next)?;
    }
    Ok(())
}

/// The last segment of a state directory's path names its trust.
fn root_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

struct Overview {
    roles: Vec<RoleSummary>,
    notes: Vec<Note>,
    root: Option<TrustRoot>,
    diff: Option<RootDiff>,
    changed: bool,
}

impl Overview {
    fn print(
        &self,
        held: &Held,
        grace: Grace,
        now: Timestamp,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<Exit, CliError> {
        let freshness = freshness(held, grace, now);
        let budget = Budget::of(&self.roles, self.root.as_ref(), now);
        let report = Report {
            result: if self.changed { "Accepted" } else { "Unchanged" },
            roles: &self.roles,
            freshness: &freshness,
            notes: &self.notes,
            recoveries: &held.state.memory().recoveries,
            trusted_root: self.root.as_ref(),
            changes: self.diff.as_ref(),
            expiry_budget: &budget,
        };
        if format.print(&report, out)? {
            return Ok(Exit::Yes);
        }
        let style = Style::stdout();
        print_freshness(&freshness, now, style, out)?;
        print_roles(&self.roles, now, style, out)?;
        print_notes(&self.notes, style, out)?;
        if let Some(root) = &self.root {
            writeln!(out)?;
            print_root(root, now, style, out)?;
        }
        if let Some(diff) = &self.diff {
            writeln!(out)?;
            print_diff(diff, style, out)?;
        }
        writeln!(out)?;
        print_budget(&budget, now, style, out)?;
        Ok(Exit::Yes)
    }
}
