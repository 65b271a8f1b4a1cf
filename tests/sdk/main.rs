//! The engine as a guest in other programs: the C library as it is installed,
//! programs in C that judge it, and the Go module over it.

mod golang;
mod installed;
mod library;
mod programs;
