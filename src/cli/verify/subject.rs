//! What `holdfast verify` judges: a file, a digest, or an image in a layout.

use std::path::Path;

use holdfast_core::Digest;
use holdfast_core::coverage::Found;
use holdfast_core::image::ImageRef;
use holdfast_core::nearest::nearest_first;
use holdfast_core::verify::{Artifact, Evidence, Outcome, Verdict};

use crate::cli::output::CliError;
use crate::registry::{self, EvidenceStore, layout::Layout};
use crate::sources::file;

/// Bytes of a file that are kept for signatures that need them; larger files are judged by their digest.
const KEEP_ARTIFACT: usize = 256 * 1024 * 1024;
/// How many names of a layout are told where the one asked for is not there.
const MAX_NAMES: usize = 10;

/// What is judged.
pub(super) enum Subject {
    Artifact(Artifact),
    Image {
        digest: Digest,
        /// The reference it was named by, where that says of which repository it is.
        named: Option<ImageRef>,
        found: Found,
    },
}

impl Subject {
    pub(super) const fn image(&self) -> Option<(Digest, Option<&ImageRef>)> {
        match self {
            Self::Artifact(_) => None,
            Self::Image { digest, named, .. } => Some((*digest, named.as_ref())),
        }
    }
}

pub(super) fn subject(given: &str) -> Result<Subject, CliError> {
    if given.starts_with("sha256:") && !Path::new(given).exists() {
        let digest: Digest = given.parse().map_err(|e| CliError::usage(format!("{e}")))?;
        return Ok(Subject::Artifact(Artifact::of_digest(digest)));
    }
    if let Some(place) = given.strip_prefix("oci:") {
        return image(place);
    }
    let (digest, bytes) = file::digest(Path::new(given), KEEP_ARTIFACT)?;
    Ok(Subject::Artifact(Artifact { digest, bytes }))
}

/// An image in a layout, as `DIR@sha256:<hex>` or `DIR:tag`.
fn image(place: &str) -> Result<Subject, CliError> {
    let is_dir = |dir: &&str| Path::new(dir).is_dir();
    // A path may have `@` and `:` in it, and so may a reference: the directory that exists decides.
    let by_digest = place.rsplit_once('@').filter(|(dir, _)| is_dir(dir));
    let by_tag = || {
        place
            .match_indices(':')
            .filter_map(|(at, _)| Some((place.get(..at)?, place.get(at + 1..)?)))
            .find(|(dir, _)| is_dir(dir))
    };
    let (dir, digest, tag) = match (by_digest, by_tag()) {
        (Some((dir, digest)), _) => {
            (dir, Some(digest.parse::<Digest>().map_err(|e| CliError::usage(format!("oci:{place}: {e}")))?), None)
        }
        (None, Some((dir, tag))) => (dir, None, Some(tag)),
        (None, None) => {
            return Err(CliError::usage(format!(
                "oci:{place}: write oci:DIR@sha256:<hex> or oci:DIR:tag, with the directory of an image layout"
            )));
        }
    };
    let layout = Layout::open(Path::new(dir)).map_err(|e| CliError::usage(e.to_string()))?;
    let digest = match tag {
        Some(tag) => {
            let tagged = layout.tagged(tag);
            match tagged.first() {
                Some(digest) if tagged.len() == 1 => *digest,
                Some(_) => return Err(CliError::Unknown(format!("oci:{place}: {}", registry::ambiguous(&tagged)))),
                None => {
                    let known = names_like(tag, &layout).unwrap_or_else(|| {
                        format!("it names none of its images: name one by digest, as oci:{dir}@sha256:<hex>")
                    });
                    return Err(CliError::usage(format!("oci:{place}: the layout has no tag `{tag}`; {known}")));
                }
            }
        }
        None => digest.unwrap_or(Digest::of(&[])),
    };
    let named = tag.filter(|tag| tag.contains('/')).and_then(|tag| ImageRef::parse(tag).ok());
    Ok(Subject::Image { digest, named, found: layout.image(digest) })
}

/// What a layout has, the likest to what was asked for first; nothing where it names none of its images.
fn names_like(tag: &str, layout: &Layout) -> Option<String> {
    let names = nearest_first(tag, layout.names());
    let shown = names.get(..MAX_NAMES).unwrap_or(&names);
    if shown.is_empty() {
        return None;
    }
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("it has {}{more}", shown.join(", ")))
}

pub(super) fn verdict(
    subject: Subject,
    given: Vec<Evidence>,
    judge: impl FnOnce(&Artifact, &[Evidence]) -> Verdict,
) -> Verdict {
    match subject {
        Subject::Artifact(artifact) => judge(&artifact, &given),
        Subject::Image { digest, found: Found::Not { reason, message }, .. } => {
            Verdict::without_evidence(digest, reason, message)
        }
        Subject::Image { found: Found::Image { artifact, mut evidence, incomplete }, .. } => {
            evidence.extend(given);
            let verdict = judge(&artifact, &evidence);
            match incomplete {
                Some((reason, message)) if verdict.outcome() != Outcome::Covered => {
                    Verdict { reason, message, ..verdict }
                }
                _ => verdict,
            }
        }
    }
}
