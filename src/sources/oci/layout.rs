//! An OCI image layout among the files of an artifact.

use holdfast_core::Digest;

use super::assemble::Layer;
use super::manifest::{Artifact, Descriptor, only};
use super::{OciError, check};
use crate::sources::archive::Files;

const MARK: &str = "oci-layout";
const INDEX: &str = "index.json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// What a repository has, and a layout has not.
const REPOSITORY: &str = "timestamp.json";

/// The directory with the layout, ending in `/` unless it is the top; `None` where there is no layout.
pub(super) fn find(files: &Files) -> Result<Option<String>, OciError> {
    let named = |name: &'static str| files.keys().filter(move |path| path.rsplit('/').next() == Some(name));
    let mut marks = named(MARK);
    let Some(mark) = marks.next() else { return Ok(None) };
    let other = marks.next().or_else(|| named(REPOSITORY).next());
    if let Some(other) = other {
        return Err(OciError::Layers(format!(
            "they hold an image layout around `{mark}` and `{other}` besides: pack the one that is meant alone"
        )));
    }
    Ok(Some(mark.strip_suffix(MARK).unwrap_or_default().to_owned()))
}

/// The layers of the one image in the layout.
pub(super) fn layers(mut files: Files, at: &str) -> Result<Vec<Layer>, OciError> {
    let what = format!("the image layout's {INDEX}");
    let index = files
        .remove(&format!("{at}{INDEX}"))
        .ok_or_else(|| OciError::Manifest { what: what.clone(), detail: "it is not there".to_owned() })?;
    let Artifact::Index(manifests) = Artifact::parse(&index, INDEX_TYPE, &what)? else {
        return Err(OciError::Manifest { what, detail: "it is no index".to_owned() });
    };
    let first = only(manifests, &what)?;
    let (mut name, mut artifact) = manifest(&files, at, &first)?;
    if let Artifact::Index(manifests) = artifact {
        let inner = only(manifests, &name)?;
        (name, artifact) = manifest(&files, at, &inner)?;
    }
    let descriptors = artifact.layers(&name)?;
    check(&descriptors, &first.digest)?;
    descriptors
        .into_iter()
        .map(|descriptor| {
            let bytes = blob(&files, at, &descriptor)?.to_vec();
            Ok(Layer { descriptor, bytes })
        })
        .collect()
}

fn manifest(files: &Files, at: &str, descriptor: &Descriptor) -> Result<(String, Artifact), OciError> {
    let name = format!("the manifest {} in the image layout", descriptor.digest);
    let artifact = Artifact::parse(blob(files, at, descriptor)?, &descriptor.media_type, &name)?;
    Ok((name, artifact))
}

fn blob<'a>(files: &'a Files, at: &str, descriptor: &Descriptor) -> Result<&'a [u8], OciError> {
    let wrong = |detail: &str| OciError::Manifest {
        what: format!("the blob {} of the image layout", descriptor.digest),
        detail: detail.to_owned(),
    };
    let bytes = files
        .get(&format!("{at}blobs/sha256/{}", descriptor.digest.hex()))
        .ok_or_else(|| wrong("it is listed and not there"))?;
    descriptor.check_size(bytes)?;
    if Digest::of(bytes) == descriptor.digest { Ok(bytes) } else { Err(wrong("its bytes have another digest")) }
}
