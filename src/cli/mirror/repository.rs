//! A repository that is read, and the state that is renewed from it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use holdfast_core::trust::tuf::{Grace, OnEquivocation, Refresh, RoleSummary};
use jiff::Timestamp;

use super::grace;
use crate::cli::output::{CliError, Progress, instant, now, printable};
use crate::sources::http::{Patience, Reading};
use crate::sources::state::{Held, HeldRoot, StateDir};
use crate::sources::{self, Directory, Http, ImportError, Source, file};

const MAX_CA_BUNDLE: u64 = 1024 * 1024;

#[derive(ClapArgs)]
pub(super) struct Repository {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
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
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,
}

impl Repository {
    /// The place it is read from.
    pub(super) fn source(&self) -> Result<Box<dyn Source>, CliError> {
        let targets = self.targets_from.as_deref();
        if let Some(targets) = targets.filter(|targets| is_address(targets) != is_address(&self.from)) {
            return Err(CliError::usage(format!(
                "--targets-from {targets}: with --from an address this is one too, and with a directory a directory"
            )));
        }
        if !is_address(&self.from) {
            let directory = Directory::open(Path::new(&self.from), targets.map(Path::new));
            return Ok(Box::new(directory.map_err(ImportError::from)?));
        }
        let ca = self.ca_bundle.as_deref().map(|path| file::read(path, "a CA bundle", MAX_CA_BUNDLE)).transpose()?;
        let http = Http::new(&self.from, targets, ca.as_deref(), Patience::default()).map_err(ImportError::from)?;
        Ok(match Progress::stderr().map(RefCell::new) {
            Some(progress) => Box::new(http.watched(move |reading| match reading {
                Some(reading) => progress.borrow_mut().say(&words(reading)),
                None => progress.borrow_mut().clear(),
            })),
            None => Box::new(http),
        })
    }
}

/// Whether a place is meant as an address; which of them are read is decided where they are.
fn is_address(place: &str) -> bool {
    place.contains("://")
}

fn words(reading: &Reading<'_>) -> String {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    match (reading.read, reading.of) {
        (0, _) => format!("waiting for {}", reading.file),
        (read, Some(of)) => format!("reading {}: {} of {} KiB", reading.file, kib(read), kib(of)),
        (read, None) => format!("reading {}: {} KiB", reading.file, kib(read)),
    }
}

/// A state under renewal: whatever ends it, what was accepted is stored.
pub(super) struct Session {
    dir: StateDir,
    pub(super) held: Held,
    pub(super) now: Timestamp,
    pub(super) grace: Grace,
    on_equivocation: OnEquivocation,
}

impl Session {
    pub(super) fn open(from: &Repository) -> Result<Self, CliError> {
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
    pub(super) fn renew<T>(
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
        let before = std::mem::replace(&mut self.held, next);
        result.map_err(|error| match accepted_since(&before, &self.held) {
            kept if kept.is_empty() => error,
            kept => CliError::After { error: Box::new(error), kept },
        })
    }
}

/// The roles, and their versions, that were accepted since `before`.
fn accepted_since(before: &Held, held: &Held) -> String {
    let before = before.state.roles();
    let is_new = |role: &RoleSummary| !before.iter().any(|old| old.role == role.role && old.version == role.version);
    let new: Vec<String> = held
        .state
        .roles()
        .into_iter()
        .filter(is_new)
        .map(|role| format!("{} version {}", printable(&role.role), role.version))
        .collect();
    new.join(", ")
}
