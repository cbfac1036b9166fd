//! Which digests of an image are judged: the one that admission would check, and the one that runs.

use super::assess::PolicyVerdict;
use super::inventory::Image;
use crate::Digest;
use crate::image::{ImageError, ImageRef, MAX_REFERENCE};
use crate::verify::{Outcome, Reason};

/// How many characters are kept of what is too long to be a reference.
const KEPT: usize = 512;

/// How what stands for images that are left out begins: no reference does.
const LEFT_OUT: &str = "(left out: ";

/// What there is to judge of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// It has no one reading.
    Unreadable(ImageError),
    /// It stands for images of a pod that has more than are looked at.
    LeftOut,
    /// A tag, and nobody says what it stands for.
    Unresolved,
    /// One digest: declared, or by tag and running.
    One {
        /// The image.
        image: ImageRef,
        /// The digest.
        digest: Digest,
    },
    /// What is declared, and another digest that runs.
    Two {
        /// The image.
        image: ImageRef,
        /// The digest that admission would check.
        declared: Digest,
        /// The digest that a node says it runs.
        runs: Digest,
    },
}

impl Subject {
    /// Of an image.
    pub fn of(image: &Image) -> Self {
        if image.written.starts_with(LEFT_OUT) {
            return Self::LeftOut;
        }
        let reference = match ImageRef::parse(&image.written) {
            Ok(reference) => reference,
            Err(error) => return Self::Unreadable(error),
        };
        match (reference.digest(), image.runs) {
            (None, None) => Self::Unresolved,
            (Some(digest), None) | (None, Some(digest)) => Self::One { image: reference, digest },
            (Some(digest), Some(runs)) if digest == runs => Self::One { image: reference, digest },
            (Some(declared), Some(runs)) => Self::Two { image: reference, declared, runs },
        }
    }

    /// Every digest there is to look for, with the repository it is declared in.
    pub fn digests(&self) -> (Option<&ImageRef>, Vec<Digest>) {
        match self {
            Self::Unreadable(_) | Self::LeftOut | Self::Unresolved => (None, Vec::new()),
            Self::One { image, digest } => (Some(image), vec![*digest]),
            Self::Two { image, declared, runs } => (Some(image), vec![*declared, *runs]),
        }
    }

    /// Why there is nothing to judge.
    pub fn nothing(&self) -> Option<(Reason, String)> {
        match self {
            Self::Unreadable(error) => {
                Some((Reason::DigestUnresolved, format!("{error}; no engine can tell which image that is")))
            }
            Self::LeftOut => Some((
                Reason::ListingTruncated,
                "a pod has more images than are looked at; nobody knows of the rest".to_owned(),
            )),
            Self::Unresolved => Some((
                Reason::DigestUnresolved,
                "it names a tag and no digest, and no node says what runs under it".to_owned(),
            )),
            Self::One { .. } | Self::Two { .. } => None,
        }
    }
}

/// What is said of an image whose running digest is another than the declared one, and not one of its parts: it passes where both do.
pub fn both(declared: PolicyVerdict, runs: PolicyVerdict, digest: Digest) -> PolicyVerdict {
    let covered = |verdict: &PolicyVerdict| verdict.reason.outcome() == Outcome::Covered;
    if !covered(&declared) || covered(&runs) {
        return declared;
    }
    let message =
        format!("what is declared passes, but a node runs {digest}, which is no part of it: {}", runs.message);
    PolicyVerdict { message, ..runs }
}

/// What a runtime says an image is (`containerStatuses[].imageID`).
///
/// containerd and CRI-O write `repository@sha256:…`; Docker writes `docker-pullable://repository@sha256:…` or, of an image that no registry knows,
/// `docker://sha256:…`. A bare `sha256:…` is the digest of a configuration, under which no registry has a manifest: of those nothing is known.
pub fn running(image_id: &str) -> Option<Digest> {
    let reference = match image_id.split_once("://") {
        Some(("docker-pullable", reference)) => reference,
        Some(_) => return None,
        None => image_id,
    };
    let (repository, digest) = reference.rsplit_once('@')?;
    if repository.is_empty() || repository.contains('@') {
        return None;
    }
    digest.parse().ok()
}

/// The image of a container: what is written, and what a node says it runs.
pub fn image(written: &str, image_id: Option<&str>) -> Image {
    let runs = image_id.and_then(running);
    let same = |runs: &Digest| ImageRef::parse(written).is_ok_and(|image| image.digest() == Some(*runs));
    Image { written: readable(written), runs: runs.filter(|runs| !same(runs)) }
}

/// What stands for images that are left out, of a pod of which no more than `most` are looked at.
pub fn left_out(more: usize, most: usize) -> Image {
    Image { written: format!("{LEFT_OUT}{more} images of a pod with more than {most})"), runs: None }
}

/// What is written, or of what no engine reads because it is too long, its beginning and what tells it from others: whoever declares a workload writes what
/// they like, and all of it is kept.
fn readable(written: &str) -> String {
    if written.len() <= MAX_REFERENCE {
        return written.to_owned();
    }
    let begins: String = written.chars().take(KEPT).collect();
    format!("{begins}… ({} bytes, {})", written.len(), Digest::of(written.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn digest(text: &str) -> Digest {
        text.parse().unwrap()
    }

    #[test]
    fn what_runtimes_say_is_read_and_nothing_is_guessed() {
        for (id, want) in [
            (format!("registry.corp:5000/a/b@{A}"), Some(A)),
            (format!("docker.io/library/nginx@{A}"), Some(A)),
            (format!("docker-pullable://nginx@{A}"), Some(A)),
            (format!("docker://{A}"), None),
            (A.to_owned(), None),
            (format!("@{A}"), None),
            (format!("a@{A}@{B}"), None),
            (format!("a@{}", A.to_uppercase()), None),
            ("a@sha256:".to_owned(), None),
            ("a:1".to_owned(), None),
            (String::new(), None),
            (format!("cri-o://a@{A}"), None),
        ] {
            assert_eq!(running(&id), want.map(digest), "{id}");
        }
    }

    #[test]
    fn what_is_declared_and_what_runs_are_told_apart() {
        let declared = format!("registry.corp/a@{A}");
        let of = |written: &str, runs: &str| Subject::of(&image(written, Some(&format!("registry.corp/a@{runs}"))));
        assert!(matches!(of(&declared, A), Subject::One { digest: d, .. } if d == digest(A)));
        assert!(
            matches!(of(&declared, B), Subject::Two { declared, runs, .. } if declared == digest(A) && runs == digest(B))
        );
        assert!(matches!(of("registry.corp/a:1", B), Subject::One { digest: d, .. } if d == digest(B)));
        assert_eq!(Subject::of(&Image::written("registry.corp/a:1")), Subject::Unresolved);
        assert!(matches!(Subject::of(&Image::written("a@@")), Subject::Unreadable(_)));
        // The same image in two places is one image, whether a node said what runs or not.
        assert_eq!(image(&declared, Some(&format!("mirror.corp/x@{A}"))), Image::written(declared.as_str()));
    }

    #[test]
    fn of_what_is_too_long_to_be_read_little_is_kept() {
        let [one, other] =
            ["a", "b"].map(|end| image(&format!("registry.corp/{}{end}@{A}", "x".repeat(1 << 20)), None));
        assert!(one.written.len() < 1024 && one.written.starts_with("registry.corp/xxx"), "{}", one.written);
        assert_ne!(one.written, other.written);
        assert!(matches!(Subject::of(&one), Subject::Unreadable(_)));
        let longest = format!("registry.corp/{}", "x".repeat(MAX_REFERENCE - 14));
        assert_eq!(image(&longest, None).written, longest);
    }

    #[test]
    fn of_what_is_left_out_nobody_knows_anything() {
        let subject = Subject::of(&left_out(3, 256));
        assert_eq!(subject, Subject::LeftOut);
        assert_eq!(subject.nothing().map(|(reason, _)| reason), Some(Reason::ListingTruncated));
    }

    #[test]
    fn it_passes_where_both_do() {
        let verdict =
            |reason| PolicyVerdict { policy: "p".to_owned(), reason, message: "words".to_owned(), signers: Vec::new() };
        for (declared, runs, want) in [
            (Reason::Verified, Reason::Verified, Reason::Verified),
            (Reason::Verified, Reason::MissingBundle, Reason::MissingBundle),
            (Reason::Verified, Reason::RegistryUnavailable, Reason::RegistryUnavailable),
            (Reason::KeyMismatch, Reason::Verified, Reason::KeyMismatch),
        ] {
            assert_eq!(both(verdict(declared), verdict(runs), digest(B)).reason, want);
        }
    }
}
