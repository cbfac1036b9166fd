//! A real API server of one's own, stopped at the end.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each file uses its part; a test that cannot go on fails

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A cluster that goes when this does.
pub(crate) struct Cluster {
    dir: TempDir,
    assets: PathBuf,
}

/// What `kubectl` answered.
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster")
}

/// The programs of a cluster: where it is said, or where `hack/kube-assets` keeps them.
fn assets() -> Option<PathBuf> {
    let said = ["HOLDFAST_KUBE_ASSETS", "KUBEBUILDER_ASSETS"].iter().find_map(std::env::var_os).map(PathBuf::from);
    let cached = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        let tools = std::fs::read_dir(cache.join("holdfast/tools")).ok()?;
        let mut kept: Vec<PathBuf> = tools.filter_map(|entry| Some(entry.ok()?.path())).collect();
        kept.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kube-"))
                && path.join(".complete").exists()
        });
        kept.sort();
        kept.pop()
    };
    let programs = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "oci-registry"];
    said.or_else(cached).filter(|dir| programs.iter().all(|program| dir.join(program).exists()))
}

impl Cluster {
    /// Starts one, or says why not.
    pub(crate) fn up() -> Option<Self> {
        let Some(assets) = assets() else {
            eprintln!("skipped: there are no programs of a cluster (run hack/kube-assets once)");
            return None;
        };
        let cluster = Self { dir: tempfile::tempdir().unwrap(), assets };
        let output = cluster.script("up").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(cluster)
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(script());
        command.arg(verb).arg("--dir").arg(self.dir.path().join("cluster"));
        command.env("KUBEBUILDER_ASSETS", &self.assets).stdin(Stdio::null());
        command
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("cluster/kubeconfig")
    }

    /// `kubectl` as somebody, or as the administrator.
    pub(crate) fn kubectl(&self, user: Option<&str>, arguments: &[&str], input: &str) -> Answer {
        let mut command = Command::new(self.assets.join("kubectl"));
        command.arg("--kubeconfig").arg(self.dir.path().join("cluster/kubeconfig"));
        command.arg("--cache-dir").arg(self.dir.path().join("cache"));
        if let Some(user) = user {
            command.args(["--as", user]);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// As the administrator, who is refused nothing.
    pub(crate) fn admin(&self, arguments: &[&str], input: &str) -> String {
        let answer = self.kubectl(None, arguments, input);
        assert!(answer.ok, "kubectl {arguments:?}: {}", answer.err);
        answer.out
    }

    /// Waits until something holds: the API server takes a while to act by what it was given.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.script("down").output();
    }
}
