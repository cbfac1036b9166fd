//! The gate on a real API server: audit, soak, promotion, denial, and the way back.

mod estate;
mod promoted;
