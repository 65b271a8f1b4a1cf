//! The strict HTTP/1.1 codec (RFC 9112), pure over buffers.
//!
//! It owns heads, framing and bodies, and refuses every form that two parsers
//! could read differently. It must not know sockets, services or tokens. The
//! proxy calls it; fuzzing calls it by itself.

mod body;
mod field;
mod framing;
mod head;
mod lines;
mod target;

pub use body::{Body, BodyError, write_chunk, write_last_chunk};
pub use field::{Field, Known, Nominated, write_field};
pub use framing::{Framing, body_of_response};
pub use head::{HeadError, Limits, RequestHead, ResponseHead, Version};
pub use lines::Lines;
pub use target::{Target, TargetForm};
pub(crate) use target::{check as check_authority, host, split_authority};
