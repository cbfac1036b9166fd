//! Would an image pass?
