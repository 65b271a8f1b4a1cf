//! Asking the nameservers until one of them answers.
//!
//! It owns their order: attempts after 0, 1 and 2 s, the next server at once
//! when one declines, an end after 4.5 s. It must not know clients, the cache
//! or messages.

use super::alarms::{Alarm, TIMES};
use super::exchange::{Bad, Request};
use super::sockets::Sockets;
use crate::net::BoxFuture;
use futures_lite::FutureExt;
use futures_lite::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use super::answer::Answer;

/// The last alarm ends every effort; each before it starts an attempt.
const LAST: usize = TIMES.len() - 1;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no nameserver to ask that is not ourselves.
    NoNameserver,
    /// None of them answered in time.
    Silent,
    /// Nobody listens at any of them.
    Unreachable,
    /// They answered SERVFAIL or REFUSED, the last with these explanations.
    Answered(Vec<u8>),
    /// Too many questions are under way.
    Busy,
    /// Our own fault.
    Internal,
}

impl Failure {
    /// What it occupies beside itself, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Failure::Answered(errors) => errors.capacity(),
            _ => 0,
        }
    }

    /// As an Extended DNS Error: INFO-CODE (RFC 8914, section 4) and text.
    pub(super) fn explained(&self) -> (u16, &'static str) {
        match self {
            Failure::NoNameserver => (22, "there is no nameserver to ask"),
            Failure::Silent => (22, "the nameservers did not answer"),
            Failure::Unreachable => (23, "the nameservers cannot be reached"),
            Failure::Answered(_) => (22, "the nameservers failed"),
            Failure::Busy => (14, "too many queries are under way"),
            Failure::Internal => (0, "internal error"),
        }
    }
}

type Attempt<'r> = BoxFuture<'r, (usize, Result<Answer, Bad>)>;

enum Event {
    Ended(usize, Result<Answer, Bad>),
    Alarm(usize),
}

/// Asks `servers`, beginning at index `first`. Returns the answer and the index
/// of the server that gave it.
pub(super) async fn race(
    servers: &[SocketAddr],
    first: usize,
    request: &Request,
    sockets: &Sockets,
    mut alarm: Alarm,
) -> Result<(Answer, usize), Failure> {
    let (declined, running) = (Vec::new(), Vec::new());
    let mut racers = Racers { declined, turn: first, running, servers, request, sockets };
    racers.start()?;
    let mut failure = Failure::Silent;
    loop {
        let time = async { Event::Alarm(alarm.next().await) };
        match racers.ended().or(time).await {
            Event::Ended(server, Ok(answer)) => return Ok((answer, server)),
            Event::Ended(server, Err(bad)) => {
                failure = match bad {
                    Bad::Unreachable => Failure::Unreachable,
                    Bad::Answered(errors) => Failure::Answered(errors),
                    // No fault of the server's; another attempt may have room.
                    Bad::NoRoom if racers.running.is_empty() => return Err(Failure::Busy),
                    Bad::NoRoom => continue,
                };
                racers.decline(server);
                if let (Err(end), true) = (racers.start(), racers.running.is_empty()) {
                    return Err(if end == Failure::Busy { end } else { failure });
                }
            }
            Event::Alarm(LAST..) => return Err(failure),
            Event::Alarm(_) => {
                // Where there is no room for another, those that run may do.
                let _ = racers.start();
            }
        }
    }
}

struct Racers<'r> {
    servers: &'r [SocketAddr],
    /// Those which will not be asked again, each once.
    declined: Vec<usize>,
    /// Whose turn it is, counted on and on.
    turn: usize,
    running: Vec<(usize, Attempt<'r>)>,
    request: &'r Request,
    sockets: &'r Sockets,
}

impl Racers<'_> {
    /// Starts the next attempt.
    ///
    /// # Errors
    /// [`Failure::NoNameserver`] if nobody is left to ask, [`Failure::Busy`] if
    /// there is no room for its socket.
    fn start(&mut self) -> Result<(), Failure> {
        for _ in 0..self.servers.len() {
            let index = self.turn % self.servers.len();
            let Some(server) = self.servers.get(index).copied() else { break };
            if self.declined.contains(&index) {
                self.turn += 1;
                continue;
            }
            let room = self.sockets.take(self.request.own).ok_or(Failure::Busy)?;
            self.turn += 1;
            let request = self.request;
            let attempt = async move {
                let _room = room;
                (index, request.ask(server).await)
            };
            self.running.push((index, Box::pin(attempt)));
            return Ok(());
        }
        Err(Failure::NoNameserver)
    }

    /// Counts a server out.
    fn decline(&mut self, server: usize) {
        self.declined.push(server);
        self.running.retain(|(index, _)| *index != server);
    }

    /// Waits until one of the attempts ends.
    async fn ended(&mut self) -> Event {
        let running = &mut self.running;
        poll_fn(move |context| {
            let mut at = 0;
            while let Some((_, attempt)) = running.get_mut(at) {
                if let Poll::Ready((server, result)) = attempt.poll(context) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(Event::Ended(server, result));
                }
                at += 1;
            }
            Poll::Pending
        })
        .await
    }
}
