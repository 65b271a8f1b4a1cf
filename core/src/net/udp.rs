//! UDP: sockets that serve many peers, and sockets that ask one.
//!
//! A socket that serves takes what has come together in one call, and so sends
//! it: under load most of what a small answer costs is the calls. One that asks
//! holds no buffer while it waits. Both are watched by the engine's own reactor,
//! as TCP is: a socket that async-io watched would wake the engine by another
//! thread. What sends, and waits where a socket is full, is async-std's.

use super::reactor::{Direction, Rank, Watched};
use crate::sys;
use futures_lite::future::{poll_fn, yield_now};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

/// Room for datagrams that arrive while the engine is busy, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest datagram there is, in bytes.
const LARGEST: usize = 1 << 16;

/// A socket that serves.
#[derive(Debug)]
pub struct UdpSocket(Watched<async_std::net::UdpSocket>);

/// Datagrams that came together. What is never filled of its room, 64 KiB for
/// each, takes no memory.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<sys::Slot>,
    count: usize,
}

impl Default for Batch {
    fn default() -> Batch {
        let peer = (Ipv4Addr::UNSPECIFIED, 0).into();
        let slot = |_| sys::Slot { room: vec![0; LARGEST], length: 0, peer };
        Batch { slots: (0..sys::MOST_DATAGRAMS).map(slot).collect(), count: 0 }
    }
}

impl Batch {
    /// The datagrams in the order in which they came, and who sent them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let came = self.slots.iter().take(self.count);
        came.map(|slot| (slot.room.get(..slot.length).unwrap_or_default(), slot.peer))
    }
}

impl UdpSocket {
    /// Binds a socket that serves. Port 0 lets the kernel choose. An IPv6
    /// address takes no IPv4 traffic. Does not block.
    ///
    /// # Errors
    /// What the operating system says, `AddrInUse` and `PermissionDenied` above all.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel may grant less; what it grants is better than nothing.
        if sys::force_receive_buffer(socket.as_fd(), RECEIVE_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        socket.bind(&address.into())?;
        Ok(UdpSocket(Watched::new(std::net::UdpSocket::from(socket).into(), true, Rank::UnderWay)?))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Waits for datagrams and puts them into `batch` in place of what is there.
    ///
    /// # Errors
    /// What the operating system says; the batch is empty then.
    pub async fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.count = 0;
        let slots = &mut batch.slots;
        let receiving = poll_fn(|context| {
            let receive =
                |socket: &async_std::net::UdpSocket| sys::receive_many(socket.as_fd(), slots);
            self.0.poll_with(Direction::Read, context, receive)
        });
        let (count, seen) = receiving.await?;
        if count < batch.slots.len() {
            self.0.exhausted(Direction::Read, seen);
        }
        batch.count = count;
        Ok(())
    }

    /// Sends a datagram to a peer, waiting while the socket is full. One that
    /// cannot be sent is lost, as any datagram may be.
    pub async fn send(&self, bytes: &[u8], peer: SocketAddr) {
        let _ = self.0.get().send_to(bytes, peer).await;
    }

    /// Sends datagrams to their peers as [`UdpSocket::send`] does, in as few
    /// calls as possible, and leaves none.
    pub async fn send_all(&self, datagrams: &mut Vec<(Vec<u8>, SocketAddr)>) {
        let mut left = datagrams.as_slice();
        while let [(bytes, peer), others @ ..] = left {
            let sent = match others {
                [] => 0,
                _ => sys::send_many(self.0.get().as_fd(), left).unwrap_or(0),
            };
            left = match left.get(sent..) {
                Some(rest) if sent > 0 => rest,
                // Alone, or the first has an error of its own or must wait.
                _ => {
                    self.send(bytes, *peer).await;
                    others
                }
            };
        }
        datagrams.clear();
    }
}

/// A socket that asks one peer one thing, on a random port: the kernel drops
/// datagrams from elsewhere and reports a closed port at once.
#[derive(Debug)]
pub struct UdpQuestion(Watched<std::net::UdpSocket>);

impl UdpQuestion {
    /// Sends `bytes` to `peer`. Does not block.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ask(peer: SocketAddr, bytes: &[u8]) -> io::Result<UdpQuestion> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM.nonblocking(), None)?;
        // Connecting a datagram socket sends nothing, and chooses the port.
        socket.connect(&peer.into())?;
        // The first datagram of a socket always has room.
        socket.send(bytes)?;
        Ok(UdpQuestion(Watched::new(socket.into(), true, Rank::UnderWay)?))
    }

    /// Waits for a datagram of which `take` makes something. `take` must not
    /// wait, nor call this.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody listens there, else what the operating system says.
    pub async fn answer<T>(&self, mut take: impl FnMut(&[u8]) -> Option<T>) -> io::Result<T> {
        thread_local! {
            /// Room for what is being read, one for each thread and for no
            /// longer than that.
            static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; LARGEST]);
        }
        let mut read = |socket: &std::net::UdpSocket| {
            ROOM.with_borrow_mut(|room| {
                let length = socket.recv(room)?;
                Ok(take(room.get(..length).unwrap_or_default()))
            })
        };
        loop {
            let reading = poll_fn(|context| self.0.poll_with(Direction::Read, context, &mut read));
            if let (Some(taken), _) = reading.await? {
                return Ok(taken);
            }
            // A peer that sends other things without end must not keep the thread.
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::poll_once;
    use std::pin::pin;

    fn bound() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn lengths(batch: &Batch) -> Vec<usize> {
        batch.iter().map(|(bytes, _)| bytes.len()).collect()
    }

    #[test]
    fn there_is_room_for_a_burst() {
        let (served, _) = bound();
        let granted = socket2::SockRef::from(served.0.get()).recv_buffer_size().unwrap();
        // Whoever may have it has it, and others what anybody may have.
        let plain = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        if sys::force_receive_buffer(plain.as_fd(), 1 << 20).is_ok() {
            // The kernel counts its own records of them, and doubles.
            assert_eq!(granted, 2 << 20);
        } else {
            plain.set_recv_buffer_size(1 << 20).unwrap();
            assert_eq!(granted, plain.recv_buffer_size().unwrap());
        }
    }

    #[test]
    fn what_has_come_together_is_taken_together() {
        let (served, address) = bound();
        let (client, back) = bound();
        let mut batch = Batch::default();
        async_io::block_on(async {
            let mut many: Vec<_> = (0..40).map(|number| (vec![1; number], address)).collect();
            client.send_all(&mut many).await;
            assert!(many.is_empty());
            served.receive(&mut batch).await.unwrap();
            assert_eq!(lengths(&batch), (0..32).collect::<Vec<_>>());
            assert!(batch.iter().all(|(_, peer)| peer == back));
            served.receive(&mut batch).await.unwrap();
            assert_eq!(lengths(&batch), (32..40).collect::<Vec<_>>());
        });
    }

    #[test]
    fn one_that_was_waited_for_comes_alone() {
        let (served, address) = bound();
        let (client, _) = bound();
        let mut batch = Batch::default();
        async_io::block_on(async {
            {
                let mut waiting = pin!(served.receive(&mut batch));
                assert!(poll_once(waiting.as_mut()).await.is_none());
                client.send(b"one", address).await;
                waiting.await.unwrap();
            }
            assert_eq!(lengths(&batch), [3]);
        });
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_does_not_stop_the_others() {
        let (served, address) = bound();
        let (client, _) = bound();
        let mut batch = Batch::default();
        let nowhere: SocketAddr = "[::1]:9".parse().unwrap();
        let too_long = vec![0; 1 << 16];
        let mut some = vec![
            (b"a".to_vec(), address),
            (b"b".to_vec(), nowhere),
            (too_long, address),
            (b"cc".to_vec(), address),
        ];
        async_io::block_on(async {
            client.send_all(&mut some).await;
            served.receive(&mut batch).await.unwrap();
        });
        assert_eq!(lengths(&batch), [1, 2]);
    }

    #[test]
    fn a_question_hears_its_peer_alone_and_waits_for_what_is_wanted() {
        let (served, address) = bound();
        let (stranger, _) = bound();
        let mut batch = Batch::default();
        async_io::block_on(async {
            let question = UdpQuestion::ask(address, b"?").unwrap();
            served.receive(&mut batch).await.unwrap();
            let (_, asker) = batch.iter().next().unwrap();
            stranger.send(b"forged", asker).await;
            served.send(b"other", asker).await;
            served.send(b"wanted", asker).await;
            let mut heard = Vec::new();
            let taken = question.answer(|bytes| {
                heard.push(bytes.to_vec());
                (bytes == b"wanted").then_some(bytes.len())
            });
            assert_eq!(taken.await.unwrap(), 6);
            assert_eq!(heard, [b"other".to_vec(), b"wanted".to_vec()]);
        });
    }

    #[test]
    fn a_peer_that_sends_other_things_without_end_does_not_keep_the_thread() {
        let (served, address) = bound();
        let mut batch = Batch::default();
        async_io::block_on(async {
            let question = UdpQuestion::ask(address, b"?").unwrap();
            served.receive(&mut batch).await.unwrap();
            let (_, asker) = batch.iter().next().unwrap();
            for _ in 0..9 {
                served.send(b"other", asker).await;
            }
            let mut heard = 0;
            let mut answer = Box::pin(question.answer(|_| {
                heard += 1;
                None::<()>
            }));
            assert!(poll_once(&mut answer).await.is_none());
            drop(answer);
            assert!(heard <= 1, "{heard} at once");
        });
    }

    #[test]
    fn ports_of_questions_are_random() {
        let (_served, address) = bound();
        let port = |_| {
            let question = UdpQuestion::ask(address, b"?").unwrap();
            question.0.get().local_addr().unwrap().port()
        };
        let ports: Vec<u16> = (0..20).map(port).collect();
        let steps: std::collections::BTreeSet<_> =
            ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 15, "they follow each other: {ports:?}");
    }

    #[test]
    fn a_closed_port_is_reported() {
        let (gone, address) = bound();
        drop(gone);
        let error = async_io::block_on(async {
            UdpQuestion::ask(address, b"?").unwrap().answer(|_| Some(())).await.unwrap_err()
        });
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
