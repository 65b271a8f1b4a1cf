//! Every limit of the proxy, in one place, each with its reason. There is no
//! limit on the time of a whole exchange, of a response or of a silent stream:
//! a proxy that cuts a slow answer is a defect that nobody can find.

use std::time::Duration;

/// From the first byte of a request's head to its last: an app on the same
/// machine sends it at once, unless its instance is throttled.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);

/// The platform cuts outbound connections that have been idle for ten minutes,
/// and may do so at any time; services close theirs after some minutes.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// For so long after its last use the reactor's silence proves that an idle
/// connection is still good; later, the kernel is asked: this process may not
/// have run in between.
pub(super) const FRESH: Duration = Duration::from_millis(5);

/// Idle connections kept for one service: with fewer than an app has at work,
/// every lull between two requests would close some, and TLS handshakes would
/// take most of the time.
pub(super) const IDLE_CONNECTIONS: usize = 1024;

/// Idle connections kept in all: a forward proxy may be sent to any number of
/// hosts, and descriptors are few.
pub(super) const IDLE_IN_ALL: usize = 2048;

/// Bytes held for one direction of an exchange: four TLS records, enough to
/// keep a fast peer busy, little enough for thousands of exchanges.
pub(super) const HELD: usize = 64 * 1024;

/// The room that a body is read into from inside TLS, whose records are no
/// larger: more is only memory that a stalled app holds on to.
pub(super) const RECORD: usize = 16 * 1024;

/// Bytes that may wait for an app in a download, before the kernel's own buffer:
/// two records are as fast as four, and half of what a stalled app costs.
pub(super) const AHEAD: usize = 32 * 1024;

/// How often one exchange may move on before other tasks have their turn: some
/// hundred kilobytes, which takes less than a millisecond.
pub(super) const TURN: usize = 16;

/// A request's body of up to this size is kept until its response begins, so that
/// it can be sent again when a pooled connection turns out to be dead, or with
/// another token.
pub(super) const REPLAY: usize = 64 * 1024;

/// How long a peer that has ended its own direction may wait for the rest.
pub(super) const LINGER: Duration = Duration::from_millis(900);

/// How often an app that may not send any more, because what it has sent is yet
/// to be used, is looked at: its end stands behind that, where no read comes to
/// it. With [`LINGER`], a second.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Interim responses that may come before a final one where their reader cannot
/// hold them back, which HTTP/2 has no window for and HTTP/1.0 does not read: many
/// clients take fewer.
pub(super) const INTERIM: usize = 1000;

/// How long a body waits for the service's word when its client expects one
/// (RFC 9110 §10.1.1 lets a client stop waiting).
pub(super) const CONTINUE: Duration = Duration::from_secs(1);

/// How long a request waits to learn in which region and project it is.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// How long one direction of a tunnel may be silent after the other has ended.
pub(super) const TUNNEL_LINGER: Duration = Duration::from_secs(60);

/// The room that heads, trailers and bodies are read into: a head of the
/// largest size, and enough more to see that one is larger still.
pub(super) const HEAD_ROOM: usize = 68 * 1024;
