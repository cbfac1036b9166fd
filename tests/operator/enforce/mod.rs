//! The gate on a real API server: audit, soak, promotion, denial, and the way back.

mod aged;
mod author;
mod doors;
pub(crate) mod estate;
mod given;
mod healed;
mod held;
mod held_up;
mod interrupted;
mod kept;
mod lent;
mod mutated;
mod packed;
mod passed_by;
mod promoted;
mod restart;
mod revoked;
mod rollout;
mod soaked;
mod storm;
mod unread;
mod way_back;

pub(crate) use held::deleted;
