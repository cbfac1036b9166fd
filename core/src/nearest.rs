//! Which of the known names may have been meant.

/// The known names, the likest first; among equals in the order of the alphabet.
pub fn nearest_first<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<(usize, &str)> = known.map(|name| (strsim::damerau_levenshtein(wanted, name), name)).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mistyped_comes_first() {
        let known = ["shop/api:1.0", "shop/cart:1.0", "shop/web:1.0", "shop/web:1.1"];
        assert_eq!(
            nearest_first("shop/wbe:1.0", known.into_iter()),
            ["shop/web:1.0", "shop/web:1.1", "shop/api:1.0", "shop/cart:1.0"]
        );
    }
}
