//! The simulated Cloud Run.
