//! runsd
