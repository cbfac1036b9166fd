//! Verdicts over an inventory: who uses what, does it pass, and whose is it where it does not?

mod assess;
pub mod conflict;
mod finding;
mod inventory;
mod policy;
mod registries;
pub mod results;
mod scope;
pub mod subject;

pub use assess::{
    Coverage, Found, ImageResult, Judged, NamespaceTotals, PolicyVerdict, Totals, assess, assess_by, in_scope,
};
pub use finding::{Content, Finding, Memo, Roots, find_out, judge_under};
pub use inventory::{Image, Inventory, ObjectId, STATIC_POD, Usage, Workload};
pub use policy::{CompiledPolicy, PolicyProblem, compile};
pub use registries::{DeclaredRegistries, Location, RegistryProblem};
