//! `holdfast controller`: the operator.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tracing_subscriber::EnvFilter;

use super::output::{CliError, Exit};
use crate::controller::settings::{Given, LogFormat, Settings, SettingsError};
use crate::controller::{self, OperatorError};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Settings that are given neither as a flag nor in the environment (YAML)
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// The client tells of every answer that is no success.
const QUIET: &str = "kube_client::client::builder=off";

const EXAMPLES: &str = "\
EXAMPLES
  holdfast controller --namespace holdfast-system --distribution-name sigstore-trusted-root
  holdfast controller --config /etc/holdfast/config.yaml --log-format json
  HOLDFAST_KUBECONFIG=~/.kube/lab holdfast controller --namespace holdfast-system --listen 127.0.0.1:8080";

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    let file =
        args.config.as_deref().map(Given::read).transpose().map_err(|error| unsettled(&error))?.unwrap_or_default();
    let settings = args.given.clone().or(file).settle().map_err(|error| unsettled(&error))?;
    log(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    let ended = runtime.block_on(controller::run(settings));
    // A read of a source that is under way has no effect; it is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(Exit::Yes),
        Err(error @ (OperatorError::Client(_) | OperatorError::Listen { .. })) => {
            Err(CliError::usage(error.to_string()))
        }
        Err(error) => Err(CliError::Unknown(error.to_string())),
    }
}

fn unsettled(error: &SettingsError) -> CliError {
    CliError::usage(error.to_string())
}

/// Logs go to standard error, a line a decision.
fn log(settings: &Settings) -> Result<(), CliError> {
    // A refusal is told of once, by whoever asked and knows whether it matters.
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.log_level)).map_err(|error| {
        CliError::usage(format!(
            "--log-level {}: {error}; write it as `info` or `holdfast=debug,kube=warn`",
            settings.log_level
        ))
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
    Ok(())
}
