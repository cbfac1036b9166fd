//! Layers put together to a repository.

use super::OciError;
use super::layout;
use super::manifest::Descriptor;
use crate::sources::archive::{Allowance, ArchiveError, Files, Limits, is_archive, no_file_is_a_directory, plain};
use crate::sources::tree::Tree;

/// In images, what stands for a file that a later layer takes away.
const WHITEOUT: &str = ".wh.";

/// A layer whose bytes are those its descriptor names.
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

/// The repository in an artifact's layers.
pub(super) fn tree(layers: Vec<Layer>) -> Result<Tree, OciError> {
    let mut allowance = Allowance::new(Limits::default());
    let mut files = together(layers, &mut allowance)?;
    if let Some(at) = layout::find(&files)? {
        let inner = layout::layers(files, &at)?;
        files = together(inner, &mut allowance)?;
        if layout::find(&files)?.is_some() {
            return Err(OciError::Layers(
                "an image layout lies in an image layout: pack the repository itself".to_owned(),
            ));
        }
    }
    Ok(Tree::new(files)?)
}

pub(super) fn together(layers: Vec<Layer>, allowance: &mut Allowance) -> Result<Files, OciError> {
    let files = match layers.as_slice() {
        // Pushed as one file, an archive is meant and not a repository of that one file.
        [only] if is_archive(&only.bytes) => overlaid(layers, allowance)?,
        all if all.iter().all(|layer| layer.descriptor.title().is_some()) => named(layers, allowance)?,
        all => match all.iter().find(|layer| layer.descriptor.title().is_some()) {
            Some(titled) => {
                return Err(OciError::Layers(format!(
                    "{} is a file of its own, `{}`, and others are not: push all with their names, or all in archives",
                    titled.descriptor.digest,
                    titled.descriptor.title().unwrap_or_default().chars().take(120).collect::<String>()
                )));
            }
            None => overlaid(layers, allowance)?,
        },
    };
    no_file_is_a_directory(&files).map_err(|error| OciError::Layers(error.to_string()))?;
    Ok(files)
}

/// Archives laid over one another, as the layers of an image are.
fn overlaid(layers: Vec<Layer>, allowance: &mut Allowance) -> Result<Files, OciError> {
    let mut files = Files::new();
    for Layer { descriptor, bytes } in layers {
        let layer = |error| OciError::Layer { digest: descriptor.digest, error };
        let unpacked = allowance.unpack(&bytes).map_err(layer)?;
        drop(bytes);
        let is_whiteout = |path: &&String| path.split('/').any(|segment| segment.starts_with(WHITEOUT));
        if let Some(whiteout) = unpacked.keys().find(is_whiteout) {
            let detail = "it takes away what an earlier layer has, which is not read: build the image in one layer";
            return Err(layer(ArchiveError::entry(whiteout, detail)));
        }
        files.extend(unpacked);
    }
    Ok(files)
}

/// A file a layer, under its name; a directory is packed, and its files have the directory's name in theirs.
fn named(layers: Vec<Layer>, allowance: &mut Allowance) -> Result<Files, OciError> {
    let mut files = Files::new();
    for Layer { descriptor, bytes } in layers {
        let layer = |error| OciError::Layer { digest: descriptor.digest, error };
        let pushed = if descriptor.is_directory() {
            allowance.unpack(&bytes).map_err(layer)?
        } else {
            let title = descriptor.title().unwrap_or_default();
            let max = allowance.limits().path;
            let path = plain(title, max).map_err(|detail| layer(ArchiveError::entry(title, detail)))?;
            allowance.count(&bytes).map_err(layer)?;
            Files::from([(path, bytes)])
        };
        for (path, bytes) in pushed {
            if files.contains_key(&path) {
                return Err(layer(ArchiveError::entry(&path, "another layer has it as well")));
            }
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
