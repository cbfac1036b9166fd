//! The gate on a real API server: audit, soak, promotion, denial, and the way back.

mod doors;
pub(crate) mod estate;
mod healed;
mod held;
mod interrupted;
mod promoted;
mod restart;
mod storm;
mod way_back;

pub(crate) use held::deleted;
