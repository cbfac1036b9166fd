//! Texts of others, made fit for objects of the cluster.

/// A text of at most `most` bytes (and a mark where it was longer), on one line: words of outside files may be long, and may hold what moves a terminal's cursor.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
