//! What a registry says it wants (RFC 9110, section 11.6.1): several headers, several challenges in each.

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

const MAX_BYTES: usize = 8 * 1024;
const MAX_CHALLENGES: usize = 8;

/// One way to say who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a name and a password.
    Basic,
    /// With a token.
    Bearer {
        /// Where the token is to be had.
        realm: Option<String>,
        /// What it is for.
        service: Option<String>,
    },
    /// In a way that is not known here.
    Other(String),
}

/// All challenges of an answer, in order.
pub(super) fn challenges(headers: &HeaderMap) -> Result<Vec<Challenge>, String> {
    let values: Vec<&[u8]> = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if values.iter().map(|value| value.len()).sum::<usize>() > MAX_BYTES {
        return Err(format!("what it wants takes more than {MAX_BYTES} bytes to say"));
    }
    let mut found = Vec::new();
    for value in values {
        let text = std::str::from_utf8(value).map_err(|_| "what it wants is not text".to_owned())?;
        parse(text, &mut found)?;
    }
    Ok(found)
}

fn parse(text: &str, found: &mut Vec<Challenge>) -> Result<(), String> {
    let bent = || "its WWW-Authenticate header cannot be read".to_owned();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        let scheme = token(&mut rest);
        if scheme.is_empty() || found.len() >= MAX_CHALLENGES {
            return Err(bent());
        }
        rest = blank(rest);
        skip_token68(&mut rest);
        let parameters = parameters(&mut rest).ok_or_else(bent)?;
        let one = |name: &str| match parameters.iter().filter(|(key, _)| *key == name).collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [(_, value)] => Ok(Some(value.clone())),
            _ => Err(format!("its WWW-Authenticate header has `{name}` twice")),
        };
        found.push(match scheme.to_ascii_lowercase().as_str() {
            "basic" => Challenge::Basic,
            "bearer" => Challenge::Bearer { realm: one("realm")?, service: one("service")? },
            other => Challenge::Other(other.chars().take(40).collect()),
        });
    }
}

/// The parameters up to the next challenge or the end; nothing where they cannot be read.
fn parameters(rest: &mut &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    loop {
        let mut ahead = rest.trim_start_matches([' ', '\t', ',']);
        let name = token(&mut ahead);
        let Some(value) = blank(ahead).strip_prefix('=') else { return Some(found) };
        if name.is_empty() {
            return None;
        }
        *rest = blank(value);
        let value = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = unquote(quoted)?;
                *rest = after;
                value
            }
            None => token(rest).to_owned(),
        };
        *rest = blank(rest);
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        found.push((name.to_ascii_lowercase(), value));
    }
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Takes a token (RFC 9110, section 5.6.2) off the front.
fn token<'a>(rest: &mut &'a str) -> &'a str {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    *rest = after;
    token
}

/// Passes over what schemes other than ours put in place of parameters.
fn skip_token68(rest: &mut &str) {
    let (first, after) = rest.split_at_checked(rest.find(',').unwrap_or(rest.len())).unwrap_or((rest, ""));
    let value = first.trim_end_matches([' ', '\t']).trim_end_matches('=');
    let is_token68 = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
    if is_token68 {
        *rest = after;
    }
}

/// The text of a quoted string whose first quote is gone, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Vec<Challenge>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        challenges(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: Some(realm.to_owned()), service: service.map(str::to_owned) }
    }

    #[test]
    fn every_challenge_is_read() {
        let other = |name: &str| Challenge::Other(name.to_owned());
        for (values, want) in [
            (&[][..], vec![]),
            (&["Basic realm=\"a\""], vec![Challenge::Basic]),
            (&["basic"], vec![Challenge::Basic]),
            (
                &["Bearer realm=\"https://a/token\",service=\"a, \\\"b\\\"\",scope=\"repository:x:pull,push\""],
                vec![bearer("https://a/token", Some("a, \"b\""))],
            ),
            (&["Basic realm=a, Bearer realm = \"b\" , service=c"], vec![Challenge::Basic, bearer("b", Some("c"))]),
            (&["Bearer realm=\"b\"", "Basic realm=\"a\""], vec![bearer("b", None), Challenge::Basic]),
            (&["Negotiate", "Negotiate YWJj==, Basic"], vec![other("negotiate"), other("negotiate"), Challenge::Basic]),
            (&["Digest realm=\"a\", nonce=\"x\", BEARER REALM=\"b\""], vec![other("digest"), bearer("b", None)]),
            (&[", ,Basic ,"], vec![Challenge::Basic]),
            (&["Bearer"], vec![Challenge::Bearer { realm: None, service: None }]),
        ] {
            assert_eq!(read(values).as_ref(), Ok(&want), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let long = format!("Bearer realm=\"{}\"", "a".repeat(9000));
        let many = "Basic, ".repeat(9);
        for value in [
            "Bearer realm=\"open",
            "Bearer realm=\"a\" service",
            "\"Bearer\"",
            "Bearer realm=\"a\\",
            "=a",
            &long,
            &many,
            "Bearer realm=\"a\", realm=\"b\"",
            "Bearer =\"a\"",
            "Bearer realm=\"a\"x=\"b\"",
        ] {
            assert!(read(&[value]).is_err(), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in "[ -~]{0,80}", parts in "((Basic|Bearer|x)?[ ,=\"\\\\]*(realm|service)?[ ,=\"a]*){0,6}") {
            for value in [text, parts] {
                let _ = read(&[&value]);
            }
        }
    }
}
