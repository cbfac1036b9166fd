//! Verdicts over an inventory: who uses what, does it pass, and whose is it where it does not?

mod assess;
pub mod conflict;
mod inventory;
mod policy;
mod registries;
mod scope;

pub use assess::{Coverage, Found, ImageResult, Memo, NamespaceTotals, PolicyVerdict, Totals, assess, judge_under};
pub use inventory::{Inventory, Usage, Workload};
pub use policy::{CompiledPolicy, PolicyProblem, compile};
pub use registries::{DeclaredRegistries, Location, RegistryProblem};
