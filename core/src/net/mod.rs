//! The I/O seam: sockets, TLS, the dialer, tasks and time.
//!
//! It owns every contact with async-std, the reactor and the TLS libraries, so
//! that a successor of any of them is a change of this room alone. It must not
//! know HTTP or DNS messages. Every room that does I/O calls it.

mod buffer;
mod dial;
mod drain;
mod guard;
mod ours;
mod outgoing;
mod reactor;
mod stream;
mod tasks;
mod tcp;
mod time;
mod tls;
mod tokio_io;
mod udp;

pub use buffer::{Buffer, Incoming};
pub use dial::{ConnectTo, Connected, DialError, Dialer, OwnAddresses, Resolve, Secure};
pub use drain::{Drain, Hurry, Watch};
pub use outgoing::Outgoing;
pub use stream::Stream;
pub use tasks::{Executing, Panicked, Tasks, block_on, is_shortage};
pub(crate) use tcp::HungUp;
pub use tcp::{Tcp, TcpListener};
pub use time::{Clock, Elapsed, Moment, SystemClock, deadline, deadline_by, patience, sleep};
pub use tls::{Alpn, Protocol, Roots, TLS_LIBRARY, Tls, TlsError, sign_rs256};
pub use tokio_io::TokioIo;
pub use udp::{Batch, UdpQuestion, UdpSocket};

/// A boxed future that any engine thread can poll.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
