//! Where a listing goes on (RFC 8288, as the OCI distribution specification uses it): several headers, several links in each.

use reqwest::header::{HeaderMap, HeaderValue, LINK};

const MAX_BYTES: usize = 8 * 1024;

/// The target of the link to the next page, as it is written.
pub(super) fn next(headers: &HeaderMap) -> Result<Option<String>, String> {
    let values: Vec<&[u8]> = headers.get_all(LINK).iter().map(HeaderValue::as_bytes).collect();
    if values.iter().map(|value| value.len()).sum::<usize>() > MAX_BYTES {
        return Err(format!("its Link header takes more than {MAX_BYTES} bytes"));
    }
    let mut next: Option<String> = None;
    for value in values {
        let text = std::str::from_utf8(value).map_err(|_| "its Link header is not text".to_owned())?;
        for target in targets(text).ok_or_else(|| "its Link header cannot be read".to_owned())? {
            if next.as_ref().is_some_and(|other| other != target) {
                return Err("its Link header has two next pages".to_owned());
            }
            next = Some(target.to_owned());
        }
    }
    Ok(next)
}

/// The targets with the relation `next`; nothing where the header cannot be read.
fn targets(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        rest = blank(after);
        let mut relation: Option<String> = None;
        while let Some(parameter) = rest.strip_prefix(';') {
            let (name, value, after) = parameter_of(blank(parameter))?;
            // The first one counts (RFC 8288, section 3.3).
            if name.eq_ignore_ascii_case("rel") && relation.is_none() {
                relation = Some(value);
            }
            rest = blank(after);
        }
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if relation.is_some_and(|of| of.split_ascii_whitespace().any(|of| of.eq_ignore_ascii_case("next"))) {
            found.push(target.trim());
        }
    }
    Some(found)
}

/// A parameter's name and value, and what follows it.
fn parameter_of(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_at_checked(text.find([';', ',', '=', ' ', '\t']).unwrap_or(text.len()))?;
    let Some(value) = blank(rest).strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let value = blank(value);
    if let Some(quoted) = value.strip_prefix('"') {
        let mut text = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next()? {
                '"' => return Some((name, text, chars.as_str())),
                '\\' => text.push(chars.next()?),
                other => text.push(other),
            }
        }
    }
    let (value, rest) = value.split_at_checked(value.find([';', ',', ' ', '\t', '"']).unwrap_or(value.len()))?;
    Some((name, value.to_owned(), rest))
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, HeaderValue::from_str(value).unwrap());
        }
        next(&headers)
    }

    #[test]
    fn the_next_page_is_found_wherever_it_stands() {
        for (values, want) in [
            (&[][..], None),
            (&["</v2/a/referrers/x?n=1>; rel=\"next\""], Some("/v2/a/referrers/x?n=1")),
            (&["</b>; rel=next"], Some("/b")),
            (&["</b>;REL=\"prev NEXT\";title=\"a, b; rel=\\\"x\\\"\""], Some("/b")),
            (&["</a>; rel=prev, </b> ; rel = next"], Some("/b")),
            (&["</a>; rel=prev", "</b>; rel=next"], Some("/b")),
            (&["</b>; rel=next", "</b>; rel=next"], Some("/b")),
            (&["</a>; rel=prev; rel=next"], None),
            (&["</a,b>; title=x; crossorigin; rel=\"next\""], Some("/a,b")),
            (&["</a>; rel=\"nextish\""], None),
            (&["</a>"], None),
            (&[""], None),
        ] {
            assert_eq!(read(values), Ok(want.map(str::to_owned)), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_the_last_page() {
        let long = format!("<{}>; rel=next", "a".repeat(9000));
        for values in [
            &["/b; rel=next"][..],
            &["</b; rel=next"],
            &["</b>; rel=\"next"],
            &["</b> rel=next"],
            &["</b>; rel=next x"],
            &["</a>; rel=next, </b>; rel=next"],
            &["</a>; rel=next", "</b>; rel=next"],
            &[&long],
        ] {
            assert!(read(values).is_err(), "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in "[ -~]{0,80}", parts in "(<[/a>]*>?|;| |,|rel|=|\"|next|\\\\){0,12}") {
            for value in [text, parts] {
                let _ = read(&[&value]);
            }
        }
    }
}
