//! Which registries may be asked, and where an image is then looked for.
//!
//! What is dialled is written in a declaration and nowhere else: the spelling a pod uses picks an entry, and the entry says the host.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::address::{as_address, is_link_local};
use crate::api::report::Registry;
use crate::image::{self, HUB, ImageRef};

/// Registries in one declaration, at most.
const MAX_REGISTRIES: usize = 64;
/// The longest prefix or mirror.
const MAX_PLACE: usize = 512;

/// The registries that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRegistries {
    /// The longest paths first.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    declared: usize,
    /// In the spelling of [`ImageRef::registry`].
    registry: String,
    path: Vec<String>,
    host: String,
    /// What takes the place of the path.
    at: Vec<String>,
}

/// Where an image is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a> {
    /// Which of the declared entries says so, from 0.
    pub declared: usize,
    /// The host that is dialled, with its port where one was written.
    pub host: &'a str,
    /// The repository there.
    pub repository: String,
}

/// Why a declared registry cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`registries[{index}].{field}`: {detail}")]
pub struct RegistryProblem {
    /// Which of the declared entries, from 0.
    pub index: usize,
    /// Which of its fields.
    pub field: &'static str,
    /// What is wrong, and what to write.
    pub detail: String,
}

impl DeclaredRegistries {
    /// Reads what is declared.
    ///
    /// # Errors
    /// Every [`RegistryProblem`]: with one of them, nothing may be asked.
    pub fn new(declared: &[Registry]) -> Result<Self, Vec<RegistryProblem>> {
        let mut problems = Vec::new();
        if declared.len() > MAX_REGISTRIES {
            let detail = format!("at most {MAX_REGISTRIES} registries are declared: leave out what is not used");
            return Err(vec![RegistryProblem { index: MAX_REGISTRIES, field: "prefix", detail }]);
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (index, registry) in declared.iter().enumerate() {
            let entry = match Entry::read(index, registry) {
                Ok(entry) => entry,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            if let Some(same) =
                entries.iter().find(|other| other.registry == entry.registry && other.path == entry.path)
            {
                let detail = format!(
                    "it means the same images as `registries[{}].prefix` does: keep the one that is meant",
                    same.declared
                );
                problems.push(RegistryProblem { index, field: "prefix", detail });
            }
            entries.push(entry);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        Ok(Self { entries })
    }

    /// The host that is dialled for one of the declared entries.
    pub fn host(&self, declared: usize) -> Option<&str> {
        self.entries.iter().find(|entry| entry.declared == declared).map(|entry| entry.host.as_str())
    }

    /// Where an image is looked for: by the longest prefix that is its registry and the first segments of its repository. `None` where no declared registry
    /// holds it; it is then not looked for at all.
    pub fn locate(&self, image: &ImageRef) -> Option<Location<'_>> {
        let segments: Vec<&str> = image.repository().split('/').collect();
        let below = |entry: &Entry| {
            let begins = segments.iter().zip(&entry.path).take_while(|(segment, want)| **segment == want.as_str());
            // The prefix holds what is below it, and a repository of its very name.
            entry.registry == image.registry() && begins.count() == entry.path.len()
        };
        let entry = self.entries.iter().find(|entry| below(entry))?;
        let rest = segments.iter().skip(entry.path.len()).copied();
        let repository: Vec<&str> = entry.at.iter().map(String::as_str).chain(rest).collect();
        // A mirror without a path in place of a whole repository.
        if repository.is_empty() {
            return None;
        }
        Some(Location { declared: entry.declared, host: &entry.host, repository: repository.join("/") })
    }
}

impl Entry {
    fn read(index: usize, registry: &Registry) -> Result<Self, RegistryProblem> {
        let problem = |field: &'static str, detail: String| RegistryProblem { index, field, detail };
        let prefix = Place::read(&registry.prefix).map_err(|detail| problem("prefix", detail))?;
        let Some(mirror) = &registry.mirror else {
            if prefix.registry == HUB {
                let detail = format!(
                    "Docker Hub is served from other hosts than `{HUB}` says, which would all have to be declared: give the registry inside that holds its images as `mirror`"
                );
                return Err(problem("prefix", detail));
            }
            let at = prefix.path.clone();
            return Ok(Self { declared: index, registry: prefix.registry, path: prefix.path, host: prefix.host, at });
        };
        let mirror = Place::read(mirror).map_err(|detail| problem("mirror", detail))?;
        if mirror.registry == HUB {
            let detail = "Docker Hub is no mirror inside: give the registry that holds these images".to_owned();
            return Err(problem("mirror", detail));
        }
        Ok(Self { declared: index, registry: prefix.registry, path: prefix.path, host: mirror.host, at: mirror.path })
    }
}

/// A host with a path, as it is declared.
struct Place {
    /// As it is dialled: as written, but for case.
    host: String,
    /// In the spelling of [`ImageRef::registry`].
    registry: String,
    path: Vec<String>,
}

impl Place {
    fn read(text: &str) -> Result<Self, String> {
        // First of all: whatever else is wrong, a password may not be repeated.
        if text.contains('@') {
            return Err("it has an `@`: neither credentials nor digests belong here".to_owned());
        }
        let shown: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        if text.is_empty() || text.len() > MAX_PLACE {
            return Err(format!("a registry has from 1 to {MAX_PLACE} characters, and this one has {}", text.len()));
        }
        let (written, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        let no_host = || {
            format!(
                "`{shown}` does not begin with a registry's host, as `registry.corp.internal` or `registry.corp.internal:5000`; a name without a dot needs its port, as `registry:443`"
            )
        };
        let registry = image::normalise_host(written).or_else(|| ipv6(written)).ok_or_else(no_host)?;
        let host = written.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((name, port)) => (name, Some(port)),
            None => (host.as_str(), None),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if is_odd_number(name) {
            return Err(format!("`{shown}` is a number that some read as an address: write the address with its dots"));
        }
        if as_address(name).is_some_and(is_link_local) {
            return Err(format!(
                "`{shown}` only means something on the node's own link, where no registry is and a cloud may serve credentials: give the registry's own address"
            ));
        }
        let host = port.map_or_else(|| name.to_owned(), |port| format!("{name}:{}", port.trim_start_matches('0')));
        let path: Vec<String> = path.map(|path| path.split('/').map(str::to_owned).collect()).unwrap_or_default();
        if let Some(bad) = path.iter().find(|segment| !image::is_segment(segment)) {
            let bad: String = bad.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(format!(
                "`{shown}` has the path segment `{bad}`: whole segments of a repository belong here, in lower case, without a tag and without a `/` at the end"
            ));
        }
        Ok(Self { host, registry, path })
    }
}

/// An IPv6 address in brackets, which no image reference has: as a mirror it can be meant.
fn ipv6(host: &str) -> Option<String> {
    let (address, port) = host.strip_prefix('[')?.split_once(']')?;
    let address: Ipv6Addr = address.parse().ok()?;
    match port.strip_prefix(':') {
        Some(port) => image::normalise_port(port).map(|port| format!("[{address}]:{port}")),
        None => port.is_empty().then(|| format!("[{address}]")),
    }
}

/// Whether a host ends in a number without being an address with four: `2852039166`, `0xa9.254`, `169.254.43518` are dialled as addresses by some.
fn is_odd_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let is_number = hex || !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    is_number && name.parse::<Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(prefix: &str, mirror: Option<&str>) -> Registry {
        Registry {
            prefix: prefix.to_owned(),
            mirror: mirror.map(str::to_owned),
            pull_secret_ref: None,
            ca_bundle_ref: None,
            max_in_flight: 8,
            use_pod_pull_secrets: false,
            plain_http: false,
            token_url: None,
            redirect_hosts: Vec::new(),
        }
    }

    fn declared(registries: &[(&str, Option<&str>)]) -> Result<DeclaredRegistries, Vec<RegistryProblem>> {
        let registries: Vec<Registry> = registries.iter().map(|(prefix, mirror)| registry(prefix, *mirror)).collect();
        DeclaredRegistries::new(&registries)
    }

    fn located(declared: &DeclaredRegistries, image: &str) -> Option<(usize, String)> {
        let image = ImageRef::parse(image).unwrap();
        declared.locate(&image).map(|at| (at.declared, format!("{} {}", at.host, at.repository)))
    }

    #[test]
    fn an_image_is_looked_for_where_it_is_declared() {
        let declared = declared(&[
            ("docker.io", Some("registry.corp.internal/dockerhub")),
            ("Index.Docker.IO:443/acme", Some("registry.corp.internal:5000")),
            ("registry.corp.internal", None),
            ("registry.corp.internal/apps", Some("Other.corp.internal./a/b")),
            ("registry.corp.internal/apps/web", None),
            ("registry:443", None),
            ("10.0.0.1:05000/x", None),
            ("one.corp.internal/only", Some("bare.corp.internal")),
            ("six.corp.internal", Some("[2001:DB8::1]:5000/m")),
        ])
        .unwrap();
        for (image, want) in [
            ("nginx", Some((0, "registry.corp.internal dockerhub/library/nginx"))),
            ("docker.io/library/nginx:1", Some((0, "registry.corp.internal dockerhub/library/nginx"))),
            ("registry-1.docker.io/a/b", Some((0, "registry.corp.internal dockerhub/a/b"))),
            ("acme/web", Some((1, "registry.corp.internal:5000 web"))),
            ("acme2/web", Some((0, "registry.corp.internal dockerhub/acme2/web"))),
            ("REGISTRY.corp.internal.:443/a", Some((2, "registry.corp.internal a"))),
            ("registry.corp.internal/apps", Some((3, "other.corp.internal a/b"))),
            ("registry.corp.internal/apps/db", Some((3, "other.corp.internal a/b/db"))),
            ("registry.corp.internal/apps-evil/db", Some((2, "registry.corp.internal apps-evil/db"))),
            ("registry.corp.internal/apps/web", Some((4, "registry.corp.internal apps/web"))),
            ("registry.corp.internal/apps/web/x", Some((4, "registry.corp.internal apps/web/x"))),
            ("registry.corp.internal/apps/webx", Some((3, "other.corp.internal a/b/webx"))),
            ("registry:443/a", Some((5, "registry:443 a"))),
            ("10.0.0.1:5000/x/y", Some((6, "10.0.0.1:5000 x/y"))),
            ("10.0.0.1:5000/xy", None),
            ("10.0.0.1/x/y", None),
            ("one.corp.internal/only/a", Some((7, "bare.corp.internal a"))),
            ("one.corp.internal/only", None),
            ("six.corp.internal/a", Some((8, "[2001:db8::1]:5000 m/a"))),
            ("registry.corp.internal:5000/a", None),
            ("registry.corp.internal.evil.example/a", None),
            ("evil.example/registry.corp.internal/a", None),
            ("xregistry.corp.internal/a", None),
            ("169.254.169.254/a", None),
        ] {
            assert_eq!(located(&declared, image), want.map(|(at, text)| (at, text.to_owned())), "{image}");
        }
        assert_eq!(located(&DeclaredRegistries::new(&[]).unwrap(), "nginx"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence() {
        let long = format!("registry.corp.internal/{}", "a".repeat(600));
        for (prefix, mirror, field, words) in [
            ("", None, "prefix", "from 1 to"),
            (long.as_str(), None, "prefix", "from 1 to"),
            ("library/nginx", None, "prefix", "does not begin with"),
            ("registry", None, "prefix", "`registry:443`"),
            ("https://registry.corp.internal", None, "prefix", "does not begin with"),
            ("*.corp.internal", None, "prefix", "does not begin with"),
            ("registry.corp.internal:99999", None, "prefix", "does not begin with"),
            ("registry.corp.internal/", None, "prefix", "segment ``"),
            ("registry.corp.internal/a//b", None, "prefix", "segment ``"),
            ("registry.corp.internal/a:1", None, "prefix", "segment `a:1`"),
            ("registry.corp.internal/..", None, "prefix", "segment `..`"),
            ("user:hush@registry.corp.internal", None, "prefix", "credentials"),
            ("docker.io", None, "prefix", "as `mirror`"),
            ("registry-1.docker.io/acme", None, "prefix", "as `mirror`"),
            ("169.254.169.254", None, "prefix", "own link"),
            ("169.254.169.254.:80/latest", None, "prefix", "own link"),
            ("2852039166:80", None, "prefix", "with its dots"),
            ("0xa9fea9fe:80", None, "prefix", "with its dots"),
            ("169.254.43518", None, "prefix", "with its dots"),
            ("a.corp.internal", Some("[fe80::1]"), "mirror", "own link"),
            ("a.corp.internal", Some("[::ffff:169.254.169.254]:80/x"), "mirror", "own link"),
            ("a.corp.internal", Some("[64:ff9b::a9fe:a9fe]"), "mirror", "own link"),
            ("a.corp.internal", Some("[fe80::1%25eth0]"), "mirror", "does not begin with"),
            ("a.corp.internal", Some("docker.io/x"), "mirror", "no mirror"),
            ("a.corp.internal", Some("b.corp.internal/A"), "mirror", "segment `A`"),
            ("a.corp.internal", Some(""), "mirror", "from 1 to"),
        ] {
            let problems = declared(&[(prefix, mirror)]).unwrap_err();
            assert_eq!((problems.len(), problems[0].field), (1, field), "{prefix} {mirror:?}");
            let text = problems[0].to_string();
            assert!(text.contains(words) && !text.contains("hush"), "{prefix} {mirror:?}: {text}");
        }
    }

    #[test]
    fn one_prefix_is_declared_once_however_it_is_spelled() {
        for (one, other) in [
            ("a.corp.internal", "A.corp.internal.:443"),
            ("a.corp.internal:5000/x", "a.corp.internal:05000/x"),
            ("docker.io/acme", "index.docker.io/acme"),
        ] {
            let problems = declared(&[
                ("b.corp.internal", None),
                (one, Some("m.corp.internal")),
                (other, Some("n.corp.internal")),
            ])
            .unwrap_err();
            assert_eq!(problems.len(), 1, "{one} {other}");
            assert!(
                problems[0]
                    .to_string()
                    .contains("`registries[2].prefix`: it means the same images as `registries[1].prefix`")
            );
        }
        assert!(
            declared(&[("a.corp.internal", None), ("a.corp.internal:80", None), ("a.corp.internal/x", None)]).is_ok()
        );
        let many: Vec<String> = (0..65).map(|n| format!("r{n}.corp.internal")).collect();
        let many: Vec<(&str, Option<&str>)> = many.iter().map(|prefix| (prefix.as_str(), None)).collect();
        assert_eq!(declared(&many).unwrap_err()[0].index, 64);
        assert!(declared(&many[..64]).is_ok());
    }
}
