//! Paths inside archives and artifacts.

/// A path in the one form in which files are kept: relative, a leading `./` left out.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn plain(path: &str, max: usize) -> Result<String, String> {
    if path.len() > max {
        return Err(format!("its name has {} bytes, more than the {max} that are read", path.len()));
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("its name has a backslash or a control character".to_owned());
    }
    let mut relative = path;
    while let Some(rest) = relative.strip_prefix("./") {
        relative = rest;
    }
    if relative.starts_with('/') {
        return Err("its name is absolute: pack it with names relative to the repository".to_owned());
    }
    if relative.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("its name is empty, or has an empty, `.` or `..` segment".to_owned());
    }
    Ok(relative.to_owned())
}
