//! What `holdfast plan` is asked.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::Digest;
use holdfast_core::engines::{EngineKind, Version};
use jiff::Timestamp;

use crate::cli::output::{Format, instant};
use crate::inventory::OWN_NAMESPACE;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Manifests: files or directories (YAML, JSON, lists)
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,

    /// An image layout with the images and their evidence, as `oci:DIR`; may be repeated
    #[arg(long, value_name = "oci:DIR")]
    pub(super) images: Vec<String>,

    /// A state directory; the last part of its path names the TrustRootMirror it holds. May be repeated
    #[arg(long, value_name = "DIR")]
    pub(super) state: Vec<PathBuf>,

    /// A directory that stands for a path mounted into the operator, as `/mirror=DIR`; may be repeated
    #[arg(long, value_name = "PATH=DIR", value_parser = volume)]
    pub(super) volume: Vec<(String, PathBuf)>,

    /// The namespace holdfast runs in: the Secrets policies refer to are read from it alone
    #[arg(long, value_name = "NAME", default_value = OWN_NAMESPACE)]
    pub(super) namespace: String,

    /// The version of an engine in the cluster, as `kyverno=1.19.1`; what objects were run on is assumed otherwise. May be repeated
    #[arg(long, value_name = "ENGINE=VERSION", value_parser = engine)]
    pub(super) engine: Vec<(EngineKind, Version)>,

    /// The root of the repository that holdfast serves in the cluster for a mirror; Kyverno starts from it. May be repeated
    #[arg(long, value_name = "MIRROR=FILE", value_parser = named_file)]
    pub(super) tuf_root: Vec<(String, PathBuf)>,

    /// Write every object that engines would be given into this directory, one file each
    #[arg(long, value_name = "DIR")]
    pub(super) render: Option<PathBuf>,

    /// Show what would change of the objects whose manifests are in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) applied: Option<PathBuf>,

    /// Continue from the gate as this file remembers it
    #[arg(long, value_name = "FILE")]
    pub(super) as_of: Option<PathBuf>,

    /// Write what the gate has to remember into this file, for `--as-of`
    #[arg(long, value_name = "FILE")]
    pub(super) remember: Option<PathBuf>,

    /// Take engines to be ready, with canaries that are right: what only a cluster shows
    #[arg(long)]
    pub(super) assume_ready: bool,

    /// Take the change, promotion or recovery with this digest as approved by whoever runs this plan; may be repeated. What takes a break-glass is not for this
    #[arg(long, value_name = "DIGEST")]
    pub(super) approve: Vec<Digest>,

    /// Plan for this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(super) now: Option<Timestamp>,

    /// Exit with 1 where something is uncovered, denied, refused or held, or an alarm is up; with 3 where something is unknown
    #[arg(long)]
    pub(super) exit_code: bool,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast plan clusters/prod --images oci:export --state state/corp
  holdfast plan clusters/prod --images oci:export --volume /mirror=mirror --now 2026-12-24T00:00:00Z --exit-code";

fn volume(text: &str) -> Result<(String, PathBuf), String> {
    let (path, dir) = text.split_once('=').ok_or("write PATH=DIR, as /mirror=./mirror")?;
    if !path.starts_with('/') || dir.is_empty() {
        return Err("PATH is absolute, as in the mirror's `source.volume.path`".to_owned());
    }
    Ok((path.trim_end_matches('/').to_owned() + "/", dir.into()))
}

fn engine(text: &str) -> Result<(EngineKind, Version), String> {
    let known = || EngineKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let (name, version) = text.split_once('=').ok_or("write ENGINE=VERSION, as kyverno=1.19.1")?;
    let kind = EngineKind::ALL.iter().find(|kind| kind.as_str() == name);
    let kind = kind.ok_or_else(|| format!("`{name}` is no engine; there are {}", known()))?;
    Ok((*kind, version.parse::<Version>().map_err(|e| e.to_string())?))
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write MIRROR=FILE, as corp=corp.root.json")?;
    Ok((name.to_owned(), file.into()))
}
