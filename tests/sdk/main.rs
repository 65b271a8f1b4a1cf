//! The engine as a guest in other programs: the C library as it is installed,
//! programs in C that judge it, the Go module over it, and the guides.

mod embedded;
mod golang;
mod guides;
mod installed;
mod library;
mod programs;
mod public;
