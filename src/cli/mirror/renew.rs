//! `holdfast mirror refresh` and `import`: take what is newer.

use std::io::Write;

use clap::Args as ClapArgs;
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::root::TrustRoot;

use super::repository::{Repository, Session};
use super::show::Overview;
use super::{held_root, root_name};
use crate::cli::output::{CliError, Exit, Format};
use crate::sources;
use crate::sources::state::{HeldRoot, TRUSTED_ROOT};

#[derive(ClapArgs)]
#[command(after_long_help = REFRESH_EXAMPLES)]
pub(super) struct RefreshArgs {
    #[command(flatten)]
    repository: Repository,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const REFRESH_EXAMPLES: &str = "\
Metadata only: a trusted root that it no longer lists is stale until the next import.

EXAMPLES
  holdfast mirror refresh --state state/public --from /media/courier/tuf
  holdfast mirror refresh --state state/public --from https://mirror.corp.internal/tuf --ca-bundle corp.pem --grace 72h";

#[derive(ClapArgs)]
#[command(after_long_help = IMPORT_EXAMPLES)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    repository: Repository,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const IMPORT_EXAMPLES: &str = "\
EXAMPLES
  holdfast mirror import --state state/public --from /media/courier/tuf
  holdfast mirror import --state state/public --from https://mirror.corp.internal/tuf --ca-bundle corp.pem
  holdfast mirror import --state state/public --from tuf --grace 72h -o json";

pub(super) fn refresh(args: &RefreshArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = args.repository.source()?;
    let mut session = Session::open(&args.repository)?;
    let (roles, notes, changed) = session
        .renew(source.as_ref(), |refresh, _| Ok((refresh.roles(), refresh.notes().to_vec(), refresh.changed())))?;
    let root = held_root(&session.held, &args.repository.state)?;
    let overview = Overview { roles, notes, root, diff: None, changed };
    overview.print(&session.held, session.grace, session.now, args.output, out)
}

pub(super) fn import(args: &ImportArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = args.repository.source()?;
    let mut session = Session::open(&args.repository)?;
    let before = held_root(&session.held, &args.repository.state)?;
    let held = session.held.trusted_root.as_ref().map(|root| root.bytes.clone());
    let name = root_name(&args.repository.state);
    let (roles, notes, changed, root) = session.renew(source.as_ref(), |refresh, trusted_root| {
        let target = sources::target(source.as_ref(), refresh, TRUSTED_ROOT, &|| held.clone())?;
        let root = TrustRoot::from_json(&name, target.bytes())
            .map_err(|e| CliError::RefusedRoot(format!("{TRUSTED_ROOT}: {e}")))?;
        *trusted_root = Some(HeldRoot::accepted(&target));
        Ok((refresh.roles(), refresh.notes().to_vec(), refresh.changed(), root))
    })?;
    let diff = before.as_ref().map(|before| RootDiff::between(before, &root));
    let changed = changed || before.as_ref().is_none_or(|before| before.digest != root.digest);
    let overview = Overview { roles, notes, root: Some(root), diff, changed };
    overview.print(&session.held, session.grace, session.now, args.output, out)
}
