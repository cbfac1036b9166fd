//! Where images and the evidence for them are stored.

pub mod layout;

use holdfast_core::coverage::Found;
use holdfast_core::image::ImageRef;

/// A place that is asked for images.
pub trait EvidenceStore {
    /// The image and all that is stored for it; `None` where the image itself is not there.
    fn find(&self, image: &ImageRef) -> Option<Found>;
}
