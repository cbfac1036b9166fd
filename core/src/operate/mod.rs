//! What the operator decides of each kind: from what was declared, what was observed and the instant to judge at, to what is to be there and what status
//! says. `holdfast plan` calls the same functions.

pub mod mirror;
