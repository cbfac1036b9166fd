//! The same from files: manifests, image layouts and state directories.

use holdfast_core::coverage::subject::Subject;
use holdfast_core::coverage::{Found, Image};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::Reason;
use jiff::Timestamp;

use super::{Answer, Args, Why, meant, why};
use crate::cli::output::CliError;
use crate::cli::plan::Ground;
use crate::registry;

pub(super) fn answer(args: &Args, now: Timestamp) -> Result<Answer, CliError> {
    let ground = Ground::read(&args.manifests, &args.images, &args.state, &args.namespace, now)?;
    let mut images = Vec::new();
    for image in meant(&args.image, &ground.gitops.inventory)? {
        images.extend(of_image(&ground, &image, now));
    }
    let policies_unusable = !ground.problems.is_empty();
    Ok(Answer { images, notes: ground.problems, policies_unusable })
}

fn of_image(ground: &Ground, image: &Image, now: Timestamp) -> Vec<Why> {
    let subject = Subject::of(image);
    let inventory = &ground.gitops.inventory;
    let say = |digest, found: &Found| why(image, digest, found, inventory, &ground.policies, &ground.roots, now);
    if let Some((reason, message)) = subject.nothing() {
        // A layout may know the tag.
        let found = ImageRef::parse(&image.written).ok().and_then(|image| registry::find(&ground.layouts, &image));
        let found = found.unwrap_or(Found::Not { reason, message });
        let digest = match &found {
            Found::Image { artifact, .. } => Some(artifact.digest),
            Found::Not { .. } => None,
        };
        return vec![say(digest, &found)];
    }
    let (reference, digests) = subject.digests();
    let digests = digests.into_iter().map(|digest| {
        let by_digest = reference.and_then(|image| ImageRef::parse(&format!("{}@{digest}", image.name())).ok());
        let found = by_digest.and_then(|image| registry::find(&ground.layouts, &image)).unwrap_or_else(|| Found::Not {
            reason: Reason::RegistryUnavailable,
            message: "it is in no image layout that was given: give one with `--images oci:DIR`".to_owned(),
        });
        say(Some(digest), &found)
    });
    digests.collect()
}
