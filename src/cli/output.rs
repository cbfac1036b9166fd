//! What all verbs share: exit codes, formats, colour, errors.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use holdfast_core::trust::tuf::Refusal;

use crate::sources::file::FileError;
use crate::sources::state::StateError;
use crate::sources::write::WriteError;
use crate::sources::{ImportError, SourceError};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Covered, accepted, done.
    Yes,
    /// Uncovered, refused.
    No,
    /// Usage, or an input that cannot be read.
    Usage,
    /// Could not look.
    Unknown,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
        }
    }
}

impl From<holdfast_core::verify::Outcome> for Exit {
    fn from(outcome: holdfast_core::verify::Outcome) -> Self {
        use holdfast_core::verify::Outcome;
        match outcome {
            Outcome::Covered => Self::Yes,
            Outcome::Uncovered => Self::No,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// Why a command ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A file that cannot be read.
    #[error("{}", printable(&.0.to_string()))]
    File(#[from] FileError),
    /// A state directory that cannot be used.
    #[error("{}", printable(&.0.to_string()))]
    State(#[from] StateError),
    /// A file that cannot be written.
    #[error("{}", printable(&.0.to_string()))]
    Write(#[from] WriteError),
    /// Trust that is refused; exit code 1.
    #[error("refused, {}: {}", .0.kind(), printable(&.0.to_string()))]
    Refused(Refusal),
    /// A trusted root that is refused; exit code 1.
    #[error("refused: {}", printable(.0))]
    RefusedRoot(String),
    /// A source that offers what is not read; exit code 1.
    #[error("refused: {}", printable(&.0.to_string()))]
    Unacceptable(SourceError),
    /// A refusal after something was accepted.
    #[error("{error}. What was accepted before that is kept: {kept}")]
    After {
        /// The refusal.
        error: Box<Self>,
        /// What was accepted.
        kept: String,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Anything else that ends with exit code 2; the text says what, where, and what to do.
    #[error("{0}")]
    Usage(String),
    /// A source that could not be looked at; exit code 3.
    #[error("{}", printable(.0))]
    Unknown(String),
}

impl CliError {
    /// An error of usage or of an input, on one line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(printable(&message.into()))
    }

    /// Several errors of an input, each on a line of its own.
    pub(super) fn several<E: std::fmt::Display>(errors: impl IntoIterator<Item = E>) -> Self {
        let lines: Vec<String> = errors.into_iter().map(|error| printable(&error.to_string())).collect();
        Self::Usage(lines.join("\n       "))
    }

    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::After { error, .. } => error.exit(),
            Self::Unknown(_) => Exit::Unknown,
            Self::Refused(_) | Self::RefusedRoot(_) | Self::Unacceptable(_) => Exit::No,
            Self::File(_) | Self::State(_) | Self::Write(_) | Self::Output(_) | Self::Usage(_) => Exit::Usage,
        }
    }
}

impl CliError {
    /// The typed refusal, where trust was refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::After { error, .. } => error.refusal(),
            _ => None,
        }
    }
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused(refusal) => Self::Refused(refusal),
            ImportError::Source(error @ SourceError::Unacceptable { .. }) => Self::Unacceptable(error),
            ImportError::Source(error @ SourceError::Unusable { .. }) => Self::usage(error.to_string()),
            ImportError::Source(error @ SourceError::Unavailable { .. }) => Self::Unknown(error.to_string()),
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// JSON, one document.
    Json,
    /// YAML, one document.
    Yaml,
}

impl Format {
    /// Prints `value` for programs; `Ok(false)` where people are to read instead.
    ///
    /// # Errors
    /// [`CliError::Output`] when the output cannot be written.
    pub fn print(self, value: &impl Serialize, out: &mut dyn Write) -> Result<bool, CliError> {
        match self {
            Self::Human => return Ok(false),
            Self::Json => {
                let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
                writeln!(out, "{text}")?;
            }
            Self::Yaml => {
                let text =
                    serde_saphyr::to_string(value).map_err(|e| CliError::Output(io::Error::other(e.to_string())))?;
                write!(out, "{text}")?;
            }
        }
        Ok(true)
    }
}

/// Output whose reader may stop early, as `head` does: the rest goes nowhere, and the answer, which is the exit code, stays what it is.
#[derive(Debug)]
pub(super) struct WhileRead<W: Write> {
    out: W,
    read: bool,
}

impl<W: Write> WhileRead<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, read: true }
    }

    fn or_nowhere<T>(&mut self, done: io::Result<T>, nowhere: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.read = false;
                Ok(nowhere)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.read {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.or_nowhere(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.read {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.or_nowhere(flushed, ())
    }
}

/// Colour, on a terminal only.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// For standard output.
    pub fn stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    /// For a stream that is a terminal or not. `NO_COLOR` is honoured.
    pub fn of(terminal: bool) -> Self {
        Self { colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn paint(self, code: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something is as it should be.
    pub fn good(self, text: &str) -> String {
        self.paint(32, text)
    }

    /// Something is not as it should be.
    pub fn bad(self, text: &str) -> String {
        self.paint(31, text)
    }

    /// Something needs a look.
    pub fn warn(self, text: &str) -> String {
        self.paint(33, text)
    }

    /// Something one may skip.
    pub fn faint(self, text: &str) -> String {
        self.paint(2, text)
    }

    /// An outcome in its colour.
    pub fn outcome(self, outcome: holdfast_core::verify::Outcome) -> String {
        use holdfast_core::verify::Outcome;
        match outcome {
            Outcome::Covered => self.good("covered"),
            Outcome::Uncovered => self.bad("uncovered"),
            Outcome::Unknown => self.warn("unknown"),
        }
    }
}

/// How long something may take before it is spoken of.
const PATIENCE: Duration = Duration::from_secs(2);

/// One line on a terminal about what is waited for, once that takes more than two seconds; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Progress<W: Write> {
    out: W,
    shown_from: Instant,
    shown: bool,
}

impl Progress<io::Stderr> {
    /// On standard error; `None` where that is no terminal.
    pub(super) fn stderr() -> Option<Self> {
        io::stderr().is_terminal().then(|| Self::new(io::stderr(), PATIENCE))
    }
}

impl<W: Write> Progress<W> {
    fn new(out: W, patience: Duration) -> Self {
        Self { out, shown_from: Instant::now() + patience, shown: false }
    }

    /// Says what is waited for. That it cannot be said stops nothing.
    pub(super) fn say(&mut self, text: &str) {
        if Instant::now() >= self.shown_from {
            self.shown = true;
            let _ = write!(self.out, "\r\x1b[K{}", printable(text)).and_then(|()| self.out.flush());
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(self.out, "\r\x1b[K").and_then(|()| self.out.flush());
        }
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The instant to judge at: as given, else the machine's clock.
#[allow(clippy::disallowed_methods)] // the command line is the one place that may ask for the time
pub(super) fn now(given: Option<Timestamp>) -> Timestamp {
    given.unwrap_or_else(Timestamp::now)
}

/// Reads a `--now`.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "write an instant as RFC 3339 has it, as 2026-11-24T06:00:00Z".to_owned())
}

/// Text from outside, made safe to print: control characters are shown, not obeyed.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_spoken_of_and_the_line_is_cleared() {
        let said = |patience| {
            let mut out = Vec::new();
            let mut progress = Progress::new(&mut out, patience);
            progress.say("reading a.json");
            drop(progress);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(said(Duration::from_secs(60)), "");
        assert_eq!(said(Duration::ZERO), "\r\x1b[Kreading a.json\r\x1b[K");
    }
}
