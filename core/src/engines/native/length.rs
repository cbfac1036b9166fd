//! How much text the API server takes: of an expression, and of an admission policy.

/// An expression has to have fewer code points than this (cel-go, `parser.ExpressionSizeCodePointLimit`).
pub const EXPRESSION_LENGTH: usize = 100_000;
/// What lists in an expression are filled to; the rest is for what stands around them.
const LIST_LENGTH: usize = 64_000;
/// The most text in the expressions of an admission policy: with its managed fields it has to be less than the 1.5 MiB that etcd takes.
pub(super) const POLICY_LENGTH: usize = 900 * 1024;
/// The most of it that policies list together; the rest is for what stands around it and for break-glasses.
pub(super) const TOGETHER_LENGTH: usize = 700 * 1024;

/// What a text takes in a list, as CEL writes it.
pub(super) fn in_list(text: &str) -> usize {
    text.chars().map(|character| if matches!(character, '\\' | '\'') { 2 } else { 1 }).sum::<usize>() + "'', ".len()
}

/// Whether an expression with lists of this length is one that the API server takes.
pub(super) const fn fits_one_expression(length: usize) -> bool {
    length <= LIST_LENGTH
}

/// Texts as lists, each of which fits one expression.
pub(super) fn lists<'a>(items: impl IntoIterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    parted(items, |item| in_list(item))
}

/// Things in parts, each of which fits one expression, where one thing alone does.
pub(super) fn parted<T>(items: impl IntoIterator<Item = T>, takes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut length = 0;
    for item in items {
        length += takes(&item);
        match parts.last_mut() {
            Some(part) if fits_one_expression(length) => part.push(item),
            _ => {
                length = takes(&item);
                parts.push(vec![item]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::expressions::texts;
    use super::*;

    #[test]
    fn lists_are_as_long_as_they_are_counted_and_lose_nothing() {
        let items: Vec<String> = (0..4_000).map(|n| format!("{n}'\\{}", "ä".repeat(n % 90))).collect();
        let lists = lists(items.iter().map(String::as_str));
        assert!(lists.len() > 2);
        for list in &lists {
            let counted: usize = list.iter().map(|item| in_list(item)).sum();
            assert_eq!(
                counted,
                texts(list.iter().copied()).chars().count(),
                "the brackets are as long as the last comma"
            );
            assert!(fits_one_expression(counted));
        }
        assert_eq!(lists.concat(), items);
        assert!(super::lists([]).is_empty());
        let long = "a".repeat(LIST_LENGTH);
        assert_eq!(super::lists(["a", long.as_str(), "b"]).len(), 3, "one that is too long stands alone");
    }
}
