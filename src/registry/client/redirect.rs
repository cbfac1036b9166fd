//! Where a registry may point to: object storage that is declared, and nowhere else.

use std::io;
use std::net::SocketAddr;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};

use holdfast_core::address::{as_address, is_near};

use super::error::{RegistryError, shorten, shown};

const MAX_LOCATION: usize = 8 * 1024;

/// The hosts a registry may point to.
#[derive(Debug, Clone)]
pub(super) struct Redirects {
    hosts: Vec<(String, Option<u16>)>,
    plain_http: bool,
}

impl Redirects {
    pub(super) fn new(hosts: &[String], plain_http: bool) -> Result<Self, RegistryError> {
        let hosts = hosts
            .iter()
            .map(|host| {
                let url = host_url("https", host)
                    .map_err(|detail| RegistryError::Settings { what: "`redirectHosts`", detail })?;
                let port = if host.ends_with(":443") { Some(443) } else { url.port() };
                Ok((url.host_str().unwrap_or_default().to_owned(), port))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { hosts, plain_http })
    }

    /// The address an answer points to, where it may be followed.
    pub(super) fn judge(&self, what: &str, from: &Url, headers: &HeaderMap) -> Result<Url, RegistryError> {
        let location = headers.get(LOCATION).map_or(&b""[..], |value| value.as_bytes());
        let refused = |to: String, detail: String| RegistryError::Redirected { what: what.to_owned(), to, detail };
        if location.is_empty() || location.len() > MAX_LOCATION {
            return Err(refused("another place".to_owned(), "and does not say where, or not briefly".to_owned()));
        }
        let text = String::from_utf8_lossy(location);
        let to =
            from.join(&text).map_err(|_| refused(format!("`{}`", shorten(&text)), "which is no address".to_owned()))?;
        let shown = shown(&to);
        if !to.username().is_empty() || to.password().is_some() {
            return Err(refused(shown, "with credentials in the address, which is not followed".to_owned()));
        }
        if to.scheme() != "https" && !(self.plain_http && to.scheme() == "http") {
            return Err(refused(shown, "which is not https and is not followed".to_owned()));
        }
        let host = to.host_str().unwrap_or_default();
        let is_declared = self.hosts.iter().any(|(declared, port)| {
            declared == host && port.map_or(to.port().is_none(), |port| to.port_or_known_default() == Some(port))
        });
        if is_declared {
            return Ok(to);
        }
        let near = as_address(host).is_some_and(is_near);
        Err(refused(
            shown,
            if near {
                "an address of the node itself or of its cloud, which is never followed".to_owned()
            } else {
                format!(
                    "which is not declared and was not followed. If it is the registry's storage, list `{}` in `redirectHosts`",
                    shorten(&to.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
                )
            },
        ))
    }
}

/// Refuses names that lead to the node itself or to its cloud's metadata. A declared address is dialled as it is declared, without this.
pub(super) struct FarOnly;

impl Resolve for FarOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?.collect::<Vec<SocketAddr>>();
            // Declared by this name, it is meant.
            let is_local = host == "localhost";
            let far: Vec<SocketAddr> = found.into_iter().filter(|address| is_local || !is_near(address.ip())).collect();
            if far.is_empty() {
                return Err(io::Error::other(format!(
                    "`{}` has no address but those of the node itself or of its cloud",
                    shorten(&host)
                ))
                .into());
            }
            Ok(Box::new(far.into_iter()) as Addrs)
        })
    }
}

/// A host, with or without a port, as an address.
pub(super) fn host_url(scheme: &str, host: &str) -> Result<Url, String> {
    // First of all: whatever else is wrong, a password may not be printed.
    if host.contains('@') {
        return Err("credentials do not belong into a host, where they would be printed and logged".to_owned());
    }
    let shown = shorten(host);
    let no_host = || format!("`{shown}` is not a host, as `registry.corp.internal` or `registry.corp.internal:5000`");
    if host.is_empty() || host.len() > 300 || host.contains(|c: char| c.is_whitespace() || "/\\?#%*".contains(c)) {
        return Err(no_host());
    }
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| no_host())?;
    // What the parser reads as an address while a person reads a name (`2130706433`, `0x7f.1`) is refused.
    let as_written = url.host_str().is_some_and(|name| {
        host.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && host.get(name.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with(':') && rest.len() > 1)
    });
    if as_written { Ok(url) } else { Err(no_host()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(hosts: &[&str], plain_http: bool, location: &str) -> Result<Url, RegistryError> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        let from = Url::parse("https://registry.corp.internal/v2/a/blobs/x").unwrap();
        Redirects::new(&hosts, plain_http)?.judge("the blob", &from, &headers)
    }

    #[test]
    fn only_declared_hosts_are_followed() {
        let hosts = ["s3.corp.internal", "minio.corp.internal:9000", "10.0.0.7"];
        for location in [
            "https://s3.corp.internal/bucket/x?X-Amz-Signature=1",
            "https://S3.corp.internal:443/x",
            "//s3.corp.internal/x",
            "https://minio.corp.internal:9000/x",
            "https://10.0.0.7/x",
        ] {
            assert!(judge(&hosts, false, location).is_ok(), "{location}");
        }
        for location in [
            "http://s3.corp.internal/x",
            "https://s3.corp.internal:8443/x",
            "https://minio.corp.internal/x",
            "https://s3.corp.internal.evil.example/x",
            "https://evil.example/s3.corp.internal",
            "https://s3.corp.internal@evil.example/x",
            "https://user:secret@s3.corp.internal/x",
            "ftp://s3.corp.internal/x",
            "file:///etc/passwd",
            "/v2/a/blobs/y",
            "https://10.0.0.8/x",
            "https://[::ffff:10.0.0.7]/x",
            "https://",
            "",
        ] {
            let error = judge(&hosts, false, location).unwrap_err();
            assert!(matches!(&error, RegistryError::Redirected { .. }), "{location}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(judge(&hosts, true, "http://s3.corp.internal/x").is_ok());
        let signed = judge(&[], false, "https://s3.corp.internal/x?X-Amz-Signature=hush").unwrap_err().to_string();
        assert!(signed.contains("`s3.corp.internal` in `redirectHosts`") && !signed.contains("hush"), "{signed}");
    }

    #[test]
    fn addresses_of_the_node_are_followed_only_as_they_are_declared() {
        for host in [
            "169.254.169.254",
            "127.0.0.1",
            "[::1]",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "[::]",
            "[64:ff9b::a9fe:a9fe]",
            "2852039166",
            "0xa9fea9fe",
            "127.1",
            "[::169.254.169.254]",
        ] {
            let error = judge(&["s3.corp.internal"], true, &format!("http://{host}/x")).unwrap_err().to_string();
            assert!(error.contains("never followed"), "{host}: {error}");
        }
        assert!(judge(&["127.0.0.1:9000"], true, "http://127.0.0.1:9000/x").is_ok());
        assert!(judge(&["169.254.169.254"], true, "http://[::ffff:169.254.169.254]/x").is_err());
    }

    #[test]
    fn what_is_no_host_is_not_declared() {
        for host in [
            "https://a",
            "a/b",
            "a@b",
            "",
            "a b",
            "2130706433",
            "0x7f.1",
            "a:b",
            "a:99999",
            "a?b",
            "a%2fb",
            "a:",
            "*.a",
        ] {
            let odd = judge(&[host], false, "https://a/x");
            assert!(matches!(odd, Err(RegistryError::Settings { .. })), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_the_node_is_refused() {
        assert!(FarOnly.resolve("localhost".parse().unwrap()).await.is_ok());
        let own = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let other =
            own.lines().filter(|line| line.starts_with("127.")).flat_map(|line| line.split_whitespace().skip(1));
        for name in other.filter(|name| *name != "localhost") {
            assert!(FarOnly.resolve(name.parse().unwrap()).await.is_err(), "{name}");
        }
    }
}
