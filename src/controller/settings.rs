//! What an operator is told when it starts: flags, then the environment, then a file; each setting has one name in all three.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use holdfast_core::Digest;
use holdfast_core::api::duration::GoDuration;
use serde::Deserialize;

use crate::sources::file::{self, FileError};

const MAX_FILE: u64 = 256 * 1024;

/// What was given, in one of the three places.
#[derive(Args, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Given {
    /// Holdfast's own namespace, where its memory and its Secrets are [default: that of the pod, or of the kubeconfig]
    #[arg(long, env = "HOLDFAST_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// The service account it runs as, which the admission policies name
    #[arg(long, env = "HOLDFAST_SERVICE_ACCOUNT", value_name = "NAME")]
    pub service_account: Option<String>,
    /// What tells this replica from others [default: the host's name and the process]
    #[arg(long, env = "HOLDFAST_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    /// Where metrics and probes are served
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// How logs are written
    #[arg(long, env = "HOLDFAST_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged, as `info` or `holdfast=debug,kube=warn`
    #[arg(long, env = "HOLDFAST_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Whether of several replicas one leads
    #[arg(long, env = "HOLDFAST_LEADER_ELECT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: Option<bool>,
    /// The Lease by which it leads
    #[arg(long, env = "HOLDFAST_LEASE_NAME", value_name = "NAME")]
    pub lease_name: Option<String>,
    /// How long a leader that no longer answers is waited for
    #[arg(long, env = "HOLDFAST_LEASE_DURATION", value_name = "DURATION")]
    pub lease_duration: Option<GoDuration>,
    /// A name under which trust may be distributed as a ConfigMap; several may be given
    #[arg(long = "distribution-name", env = "HOLDFAST_DISTRIBUTION_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub distribution_names: Vec<String>,
    /// A further namespace whose ConfigMaps may be a source of trust; several may be given
    #[arg(long = "source-namespace", env = "HOLDFAST_SOURCE_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub source_namespaces: Vec<String>,
    /// A service account that may approve, as `system:serviceaccount:NAMESPACE:NAME`; several may be given
    #[arg(
        long = "approving-service-account",
        env = "HOLDFAST_APPROVING_SERVICE_ACCOUNTS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub approving_service_accounts: Vec<String>,
    /// The digest of an image of this release, as the admission policies name it; several may be given
    #[arg(long = "release-digest", env = "HOLDFAST_RELEASE_DIGESTS", value_name = "DIGEST", value_delimiter = ',')]
    pub release_digests: Vec<Digest>,
    /// Where evidence that was fetched is kept [default: in memory]
    #[arg(long, env = "HOLDFAST_EVIDENCE_DIR", value_name = "DIR")]
    pub evidence_dir: Option<PathBuf>,
    /// How much of it is kept, in MiB [default: 256 in a directory, 32 in memory]
    #[arg(long, env = "HOLDFAST_EVIDENCE_MEBIBYTES", value_name = "MIB")]
    pub evidence_mebibytes: Option<u32>,
    /// Use this kubeconfig [default: that of the environment, else the pod's service account]
    #[arg(long, env = "HOLDFAST_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use this context of it
    #[arg(long, env = "HOLDFAST_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For programs: one object a line.
    Json,
    /// For people.
    Text,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what it should be.
    #[error("{}: {detail}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// A setting is missing or makes no sense.
    #[error("{0}")]
    Setting(String),
}

/// Every setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Holdfast's own namespace; where it is not given, the client's default.
    pub namespace: Option<String>,
    /// Its service account.
    pub service_account: String,
    /// What tells this replica from others.
    pub identity: String,
    /// Where metrics and probes are served.
    pub listen: SocketAddr,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// Whether of several replicas one leads.
    pub leader_elect: bool,
    /// The Lease.
    pub lease_name: String,
    /// How long a leader that no longer answers is waited for.
    pub lease_duration: GoDuration,
    /// The names under which trust may be distributed.
    pub distribution_names: Vec<String>,
    /// Further namespaces whose ConfigMaps may be a source.
    pub source_namespaces: Vec<String>,
    /// Service accounts that may approve.
    pub approving_service_accounts: Vec<String>,
    /// Digests of this release's images.
    pub release_digests: Vec<Digest>,
    /// Where evidence that was fetched is kept; in memory where nowhere.
    pub evidence_dir: Option<PathBuf>,
    /// How much of it is kept, in MiB.
    pub evidence_mebibytes: u32,
    /// The kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// The context of it.
    pub context: Option<String>,
}

/// The shortest lease: renewals need time for a slow API server.
const SHORTEST_LEASE: u32 = 3;

impl Given {
    /// What a file says.
    ///
    /// # Errors
    /// [`SettingsError`], naming the file and the setting.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes = file::read(path, "a configuration", MAX_FILE)?;
        let malformed = |detail: String| SettingsError::Malformed { path: path.to_owned(), detail };
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))
    }

    /// What was given here, and for the rest there.
    #[must_use]
    pub fn or(self, there: Self) -> Self {
        let list = |here: Vec<String>, there| if here.is_empty() { there } else { here };
        Self {
            namespace: self.namespace.or(there.namespace),
            service_account: self.service_account.or(there.service_account),
            identity: self.identity.or(there.identity),
            listen: self.listen.or(there.listen),
            log_format: self.log_format.or(there.log_format),
            log_level: self.log_level.or(there.log_level),
            leader_elect: self.leader_elect.or(there.leader_elect),
            lease_name: self.lease_name.or(there.lease_name),
            lease_duration: self.lease_duration.or(there.lease_duration),
            distribution_names: list(self.distribution_names, there.distribution_names),
            source_namespaces: list(self.source_namespaces, there.source_namespaces),
            approving_service_accounts: list(self.approving_service_accounts, there.approving_service_accounts),
            release_digests: if self.release_digests.is_empty() { there.release_digests } else { self.release_digests },
            evidence_dir: self.evidence_dir.or(there.evidence_dir),
            evidence_mebibytes: self.evidence_mebibytes.or(there.evidence_mebibytes),
            kubeconfig: self.kubeconfig.or(there.kubeconfig),
            context: self.context.or(there.context),
        }
    }

    /// The settings, with defaults for what was not given.
    ///
    /// # Errors
    /// [`SettingsError::Setting`].
    pub fn settle(self) -> Result<Settings, SettingsError> {
        let lease_duration = self.lease_duration.unwrap_or_else(|| GoDuration::seconds(15));
        if lease_duration.as_secs() < SHORTEST_LEASE {
            let message = format!("lease-duration is {lease_duration}; give at least {SHORTEST_LEASE}s");
            return Err(SettingsError::Setting(message));
        }
        Ok(Settings {
            namespace: self.namespace,
            service_account: self.service_account.unwrap_or_else(|| "holdfast".to_owned()),
            identity: self.identity.unwrap_or_else(of_this_process),
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080))),
            log_format: self.log_format.unwrap_or(LogFormat::Text),
            log_level: self.log_level.unwrap_or_else(|| "info".to_owned()),
            leader_elect: self.leader_elect.unwrap_or(true),
            lease_name: self.lease_name.unwrap_or_else(|| "holdfast-controller".to_owned()),
            lease_duration,
            distribution_names: self.distribution_names,
            source_namespaces: self.source_namespaces,
            approving_service_accounts: self.approving_service_accounts,
            release_digests: self.release_digests,
            evidence_mebibytes: self.evidence_mebibytes.unwrap_or(if self.evidence_dir.is_some() { 256 } else { 32 }),
            evidence_dir: self.evidence_dir,
            kubeconfig: self.kubeconfig,
            context: self.context,
        })
    }
}

/// The host's name, which in a pod is the pod's, and the process: two replicas may never take each other for themselves.
fn of_this_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        given: Given,
    }

    /// Everything that can be given, as a file says it.
    const FILE: &str = "
namespace: a
serviceAccount: b
identity: c
listen: 127.0.0.1:1
logFormat: json
logLevel: debug
leaderElect: false
leaseName: d
leaseDuration: 4s
distributionNames: [e, f]
sourceNamespaces: [g]
approvingServiceAccounts: ['system:serviceaccount:x:y']
releaseDigests: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']
evidenceDir: /e
evidenceMebibytes: 7
kubeconfig: /h
context: i
";

    fn flags(values: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
        let mut arguments = vec!["holdfast".to_owned()];
        for argument in Alone::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let long = argument.get_long().unwrap();
            let field = field(argument.get_id().as_str());
            let value = &values[&field];
            let texts: Vec<String> = match value {
                serde_json::Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
                serde_json::Value::String(text) => vec![text.clone()],
                other => vec![other.to_string()],
            };
            arguments.push(format!("--{long}={}", texts.join(",")));
        }
        arguments
    }

    fn field(id: &str) -> String {
        let mut words = id.split('_');
        let first = words.next().unwrap().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    }

    #[test]
    fn every_setting_is_a_flag_a_variable_and_a_line_of_the_file() {
        let from_file: Given = serde_saphyr::from_str(FILE).unwrap();
        let values: serde_json::Map<String, serde_json::Value> = serde_saphyr::from_str(FILE).unwrap();
        let command = Alone::command();
        let arguments: Vec<_> = command.get_arguments().filter(|argument| argument.get_id() != "help").collect();
        assert_eq!(arguments.len(), values.len(), "every flag is in the file, and no other");
        for argument in &arguments {
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("HOLDFAST_{}", argument.get_id().as_str().to_uppercase()));
        }
        let matches = Alone::command().get_matches_from(flags(&values));
        assert_eq!(Alone::from_arg_matches(&matches).unwrap().given, from_file);
        assert_eq!(Given::default().or(from_file.clone()), from_file);
    }

    #[test]
    fn flags_come_before_the_file_and_unknown_lines_are_refused() {
        let file: Given = serde_saphyr::from_str(FILE).unwrap();
        let flag = Given { namespace: Some("flag".to_owned()), ..Given::default() };
        assert_eq!(flag.or(file).namespace.as_deref(), Some("flag"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "nameSpace: a\n").unwrap();
        assert!(Given::read(&path).unwrap_err().to_string().contains("nameSpace"));
        std::fs::write(&path, "leaseDuration: 1s\n").unwrap();
        assert!(Given::read(&path).unwrap().settle().is_err());
    }
}
