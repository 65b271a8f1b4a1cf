//! The forwarder against nameservers that follow a script.

use super::super::testing::*;
use super::*;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn forwarder(running: &Running, servers: &[SocketAddr], clock: Arc<dyn Clock>) -> Forwarder {
    Forwarder::new(servers.to_vec(), OwnAddresses::default(), running.tasks.clone(), clock)
}

fn ask(running: &Running, forwarder: &Forwarder, packet: &[u8]) -> Vec<u8> {
    let (forwarder, query) = (forwarder.clone(), parsed(packet));
    running.run(async move { forwarder.reply(&query, query.udp_limit(), false).await })
}

/// Time that stands still: nothing is asked again because a machine is busy.
fn still() -> Arc<dyn Clock> {
    Arc::new(Hand::default())
}

fn failing(code: u16) -> Upstream {
    Upstream::udp(move |query| response(query, 0x0180 | code, [&[], &[], &[]]))
}

/// The INFO-CODE of the Extended DNS Error that ends a reply.
fn info_code(reply: &[u8]) -> u16 {
    let message = reply.windows(2).rposition(|bytes| bytes == EDE_CODE).unwrap();
    u16::from_be_bytes([reply[message + 4], reply[message + 5]])
}
const EDE_CODE: [u8; 2] = [0, 15];

#[test]
fn an_answer_is_relayed_and_the_query_is_ours() {
    let (running, upstream) = (Running::new(), Upstream::udp(|query| address(query, 60, 7)));
    let forwarder = forwarder(&running, &[upstream.address], still());
    let client = query("eXample.com", 1);
    let reply = ask(&running, &forwarder, &client);
    assert_eq!(reply, address(&client, 60, 7));
    let heard = upstream.heard.lock().unwrap()[0].1.clone();
    assert_eq!(heard[2..4], [0x01, 0x20], "RD and AD");
    assert_eq!(heard[heard.len() - 11..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(running.counters.dns_forwarded.get(), 1);
}

#[test]
fn only_the_answer_to_the_question_is_taken() {
    let upstream = Upstream::new(
        Box::new(|query| {
            let good = address(query, 60, 1);
            let forged = |at: usize, with: u8| {
                let mut forged = address(query, 60, 66);
                forged[at] ^= with;
                forged
            };
            // Another ID, no QR, another name, another type; noise; then the answer
            // in another case.
            let mut other_case = good;
            other_case[13] ^= 0x20;
            vec![
                forged(0, 1),
                forged(2, 0x80),
                forged(14, 1),
                forged(26, 1),
                b"x".to_vec(),
                other_case,
            ]
        }),
        Box::new(|_| Vec::new()),
    );
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let client = query("example.com", 1);
    assert_eq!(ask(&running, &forwarder, &client), address(&client, 60, 1));
}

#[test]
fn what_is_cut_comes_over_tcp() {
    let many = |query: &[u8]| {
        let records: Vec<_> = (0..200).map(|last| record(1, 60, &[10, 0, 0, last])).collect();
        response(query, 0x0180, [&records, &[], &[]])
    };
    let cut = |query: &[u8]| vec![response(query, 0x0380, [&[], &[], &[]])];
    let upstream = Upstream::new(Box::new(cut), Box::new(move |query| vec![many(query)]));
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let reply = ask(&running, &forwarder, &edns_query("example.com", 1, 4096, false));
    assert_eq!(read(&reply).answers.len(), 200);
    let transports: Vec<_> = upstream.heard.lock().unwrap().iter().map(|one| one.0).collect();
    assert_eq!(transports, [false, true]);
    let (again, client) = (forwarder.clone(), parsed(&query("other.com", 1)));
    running.run(async move { again.reply(&client, 65_535, true).await });
    assert!(upstream.heard.lock().unwrap()[2].0, "TCP for a client of TCP");
}

#[test]
fn a_large_datagram_is_read_whole() {
    let upstream = Upstream::udp(|query| {
        let records: Vec<_> = (0..200).map(|_| record(16, 60, &[99; 200])).collect();
        response(query, 0x0180, [&records, &[], &[]])
    });
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let client = parsed(&query("example.com", 16));
    let reply = running.run(async move { forwarder.reply(&client, 65_535, false).await });
    assert_eq!(read(&reply).answers.len(), 200);
}

#[test]
fn a_server_that_declines_is_left_at_once() {
    for code in [2, 5] {
        let (running, bad) = (Running::new(), failing(code));
        let good = Upstream::udp(|query| address(query, 0, 1));
        let servers = [nobody(), bad.address, good.address];
        // The hand never moves: no attempt is started by time.
        let forwarder = forwarder(&running, &servers, Arc::new(Hand::default()));
        let client = query("example.com", 1);
        assert_eq!(ask(&running, &forwarder, &client), address(&client, 0, 1));
        assert_eq!((bad.asked(), good.asked()), (1, 1));
        ask(&running, &forwarder, &client);
        assert_eq!((bad.asked(), good.asked()), (1, 2), "the one that answered goes first");
    }
}

#[test]
fn attempts_rotate_by_time_and_end() {
    let silent = || Upstream::new(Box::new(|_| Vec::new()), Box::new(|_| Vec::new()));
    let (one, two) = (silent(), silent());
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let forwarder = forwarder(&running, &[one.address, two.address], hand.clone());
    let (asking, client) = (forwarder.clone(), parsed(&edns_query("example.com", 1, 1232, false)));
    let (send, receive) = async_channel::bounded(1);
    running.tasks.spawn("test", async move {
        let _ = send.send(asking.reply(&client, 1232, false).await).await;
    });
    let advance = |milliseconds| {
        until(|| hand.sleeping() == 1);
        hand.advance(Duration::from_millis(milliseconds));
    };
    until(|| one.asked() == 1);
    advance(1000);
    until(|| two.asked() == 1);
    advance(1000);
    until(|| one.asked() == 2);
    advance(1000);
    advance(1000);
    advance(499);
    until(|| hand.sleeping() == 1);
    assert!(receive.is_empty());
    advance(1);
    let reply = crate::net::block_on(receive.recv()).unwrap();
    assert_eq!((code(&reply), info_code(&reply)), (2, 22));
    assert_eq!((one.asked(), two.asked()), (2, 1));
    assert_eq!(running.counters.dns_failed.get(), 1);
}

#[test]
fn failures_say_why_and_are_remembered_for_a_moment() {
    let client = edns_query("example.com", 1, 1232, false);
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let closed = forwarder(&running, &[nobody()], hand.clone());
    assert_eq!(info_code(&ask(&running, &closed, &client)), 23);
    let none = forwarder(&running, &[], hand.clone());
    assert_eq!(info_code(&ask(&running, &none, &client)), 22);
    let server = failing(2);
    let failing = forwarder(&running, &[server.address], hand.clone());
    for _ in 0..3 {
        assert_eq!(code(&ask(&running, &failing, &client)), 2);
    }
    assert_eq!(server.asked(), 1, "RFC 9520");
    hand.advance(Duration::from_secs(1));
    ask(&running, &failing, &client);
    assert_eq!(server.asked(), 2);
}

#[test]
fn an_explanation_from_upstream_is_passed_on() {
    let upstream = Upstream::udp(|query| {
        let mut reply = response(query, 0x0182, [&[], &[], &[]]);
        reply[11] = 1;
        reply.extend([0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 6]);
        reply
    });
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let reply = ask(&running, &forwarder, &edns_query("example.com", 1, 1232, true));
    assert_eq!((code(&reply), info_code(&reply)), (2, 6));
}

#[test]
fn nxdomain_is_an_answer() {
    let first = Upstream::udp(|query| response(query, 0x0183, [&[], &[soa(60, 60)], &[]]));
    let second = Upstream::udp(|query| address(query, 60, 1));
    let running = Running::new();
    let forwarder = forwarder(&running, &[first.address, second.address], still());
    let reply = ask(&running, &forwarder, &query("example.com", 1));
    assert_eq!((code(&reply), second.asked()), (3, 0));
    assert_eq!(read(&reply).authorities.len(), 1);
}

#[test]
fn a_server_without_edns_is_asked_without_it() {
    let upstream = Upstream::udp(|query| match query[11] {
        0 => address(query, 60, 1),
        _ => [&query[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
    });
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    assert_eq!(code(&ask(&running, &forwarder, &query("example.com", 1))), 0);
    assert_eq!(upstream.asked(), 2);
}

#[test]
fn our_own_addresses_are_never_asked() {
    let (running, own) = (Running::new(), OwnAddresses::default());
    let (ourselves, other) = (failing(2), Upstream::udp(|query| address(query, 60, 1)));
    let servers = vec![ourselves.address, other.address];
    let forwarder = Forwarder::new(servers, own.clone(), running.tasks.clone(), still());
    own.add(ourselves.address);
    assert_eq!(code(&ask(&running, &forwarder, &query("example.com", 1))), 0);
    assert_eq!((ourselves.asked(), other.asked()), (0, 1));
}

#[test]
fn equal_questions_make_one_query_and_each_keeps_what_is_its_own() {
    const CLIENTS: u16 = 10_000;
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let upstream = Upstream::udp(move |query| {
        until(|| opened.load(Ordering::Relaxed));
        address(query, 60, 1)
    });
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let (send, receive) = async_channel::unbounded();
    for id in 0..CLIENTS {
        let mut packet = query(if id % 2 == 0 { "example.com" } else { "eXAMPLE.com" }, 1);
        packet[..2].copy_from_slice(&id.to_be_bytes());
        let (forwarder, send) = (forwarder.clone(), send.clone());
        running.tasks.spawn("test", async move {
            let reply = forwarder.reply(&parsed(&packet), 512, false).await;
            assert_eq!(reply, address(&packet, 60, 1));
            let _ = send.send(()).await;
        });
    }
    until(|| forwarder.0.waiting.load(Ordering::Relaxed) == usize::from(CLIENTS));
    gate.store(true, Ordering::Relaxed);
    for _ in 0..CLIENTS {
        crate::net::block_on(receive.recv()).unwrap();
    }
    assert_eq!((upstream.asked(), running.counters.panics.get()), (1, 0));
    assert!(forwarder.0.state().flights.is_empty());
}

#[test]
fn answers_are_kept_and_age_and_stand_in_for_a_dead_upstream() {
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = dead.clone();
    let upstream = Upstream::udp(move |query| match is_dead.load(Ordering::Relaxed) {
        true => response(query, 0x0182, [&[], &[], &[]]),
        false => address(query, 100, 1),
    });
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let forwarder = forwarder(&running, &[upstream.address], hand.clone());
    let client = query("example.com", 1);
    let ttl = |packet: &[u8]| read(&ask(&running, &forwarder, packet)).answers[0].ttl;
    assert_eq!(ttl(&client), 100);
    hand.advance(Duration::from_secs(40));
    assert_eq!(ttl(&query("EXAMPLE.com", 1)), 60);
    assert!(forwarder.known(&parsed(&client), 512).is_some());
    assert_eq!(upstream.asked(), 1);
    ttl(&edns_query("example.com", 1, 1232, true));
    assert_eq!(upstream.asked(), 2, "DO is another question");
    let mut unchecked = client.clone();
    unchecked[3] |= 0x10;
    ttl(&unchecked);
    assert_eq!(upstream.asked(), 3, "CD too");
    dead.store(true, Ordering::Relaxed);
    hand.advance(Duration::from_secs(60));
    assert_eq!(ttl(&client), 30);
    dead.store(false, Ordering::Relaxed);
    assert_eq!(ttl(&client), 30, "not asked again at once");
    hand.advance(Duration::from_secs(1));
    assert_eq!(ttl(&client), 100);
}

#[test]
fn beyond_the_bound_there_is_servfail_and_no_memory() {
    let silent = Upstream::new(Box::new(|_| Vec::new()), Box::new(|_| Vec::new()));
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let forwarder = forwarder(&running, &[silent.address], hand.clone());
    for number in 0..MOST_FLIGHTS {
        let (forwarder, packet) = (forwarder.clone(), query(&format!("n{number}.com"), 1));
        running.tasks.spawn("test", async move {
            forwarder.reply(&parsed(&packet), 512, false).await;
        });
    }
    until(|| forwarder.0.state().flights.len() == MOST_FLIGHTS);
    let reply = ask(&running, &forwarder, &edns_query("one-more.com", 1, 1232, false));
    assert_eq!((code(&reply), info_code(&reply)), (2, 14));
    // What the proxy itself has to know is asked all the same.
    let (own, client) = (forwarder.clone(), parsed(&query("of-the-proxy.com", 1)));
    running.tasks.spawn("test", async move { drop(own.ask(&client).await) });
    let proxys = question("of-the-proxy.com", 1);
    until(|| {
        let heard = silent.heard.lock().unwrap();
        heard.iter().any(|(_, packet)| packet[12..].starts_with(&proxys))
    });
}

#[test]
fn without_a_descriptor_nothing_is_asked_and_nothing_is_held_against_the_name() {
    let upstream = Upstream::udp(|query| address(query, 60, 1));
    let running = Running::new();
    let (servers, own) = (vec![nobody(), upstream.address], OwnAddresses::default());
    let mut forwarder = Forwarder::new(servers, own, running.tasks.clone(), still());
    // As many as are left after those that others have.
    Arc::get_mut(&mut forwarder.0).unwrap().sockets = Sockets::within(2);
    let client = edns_query("example.com", 1, 1232, false);
    let taken = forwarder.0.sockets.take(false);
    let reply = ask(&running, &forwarder, &client);
    assert_eq!((code(&reply), info_code(&reply)), (2, 14));
    assert_eq!(upstream.asked(), 0);
    drop(taken);
    // One is enough for one nameserver after the other, and is given back.
    for name in ["example.com", "example.org"] {
        assert_eq!(code(&ask(&running, &forwarder, &query(name, 1))), 0);
    }
    assert!(forwarder.0.sockets.take(false).is_some());
}

#[test]
fn what_was_cut_is_given_when_tcp_fails() {
    let cut =
        |query: &[u8]| vec![response(query, 0x0380, [&[record(1, 60, &[10, 0, 0, 1])], &[], &[]])];
    let upstream = Upstream::new(Box::new(cut), Box::new(|_| Vec::new()));
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    let message = read(&ask(&running, &forwarder, &query("example.com", 1)));
    assert!(message.metadata.truncation && message.answers.len() == 1);
    ask(&running, &forwarder, &query("example.com", 1));
    assert_eq!(upstream.asked(), 4, "and it is not kept");
}

#[test]
fn nobody_can_guess_the_id_of_a_query() {
    let upstream = Upstream::udp(|query| address(query, 60, 1));
    let running = Running::new();
    let forwarder = forwarder(&running, &[upstream.address], still());
    for number in 0..20 {
        ask(&running, &forwarder, &query(&format!("n{number}.com"), 1));
    }
    let heard = upstream.heard.lock().unwrap();
    let ids: Vec<u16> = heard.iter().map(|(_, q)| u16::from_be_bytes([q[0], q[1]])).collect();
    let steps: std::collections::BTreeSet<u16> =
        ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.len() > 15, "{ids:?}");
}

#[test]
fn a_server_that_talks_without_end_over_tcp_is_left() {
    // Frames with another ID, more than anybody reads, then the answer.
    let talks = |query: &[u8]| {
        let mut frames = vec![b"x".to_vec(); 100];
        frames.push(address(query, 60, 66));
        frames
    };
    let bad = Upstream::new(Box::new(|_| Vec::new()), Box::new(talks));
    let good =
        Upstream::new(Box::new(|_| Vec::new()), Box::new(|query| vec![address(query, 60, 1)]));
    let running = Running::new();
    // The hand never moves: no attempt is started by time.
    let servers = [bad.address, good.address];
    let forwarder = forwarder(&running, &servers, Arc::new(Hand::default()));
    let client = query("example.com", 1);
    let asked = parsed(&client);
    let reply = running.run(async move { forwarder.reply(&asked, 65_535, true).await });
    assert_eq!(reply, address(&client, 60, 1));
}

#[test]
fn a_question_where_nothing_runs_any_more_fails_and_does_not_hang() {
    let (failing, _failed) = async_channel::bounded(1);
    let executing =
        crate::net::Executing::new(crate::telemetry::Log::discard(), Arc::default(), failing)
            .unwrap();
    let tasks = executing.tasks();
    drop(executing);
    let servers = vec![nobody()];
    let forwarder = Forwarder::new(servers, OwnAddresses::default(), tasks, still());
    let client = parsed(&edns_query("example.com", 1, 1232, false));
    let outcome = crate::net::block_on(forwarder.ask(&client));
    assert_eq!(outcome.unwrap_err(), Failure::Internal);
}

#[test]
fn a_question_of_our_own_that_waited_for_a_clients_has_its_own_room() {
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let declines = Upstream::udp(move |query| {
        until(|| opened.load(Ordering::Relaxed));
        response(query, 0x0182, [&[], &[], &[]])
    });
    let answers = Upstream::udp(|query| address(query, 60, 1));
    let running = Running::new();
    let forwarder = forwarder(&running, &[declines.address, answers.address], still());
    let packet = edns_query("example.com", 1, 1232, false);
    let (send, receive) = async_channel::bounded(1);
    let (asking, client) = (forwarder.clone(), parsed(&packet));
    running.tasks.spawn("test", async move {
        let _ = send.send(asking.reply(&client, 512, false).await).await;
    });
    until(|| declines.asked() == 1);
    // Others take all that clients may have, and a little of what they may not.
    let sockets = &forwarder.0.sockets;
    let taken: Vec<_> = std::iter::from_fn(|| sockets.take(false)).collect();
    let more = [sockets.take(true), sockets.take(true)];
    assert!(!taken.is_empty() && more.iter().all(Option::is_some));
    let (tell, told) = async_channel::bounded(1);
    let (asking, own) = (forwarder.clone(), parsed(&packet));
    running.tasks.spawn("test", async move {
        let _ = tell.send(asking.ask(&own).await).await;
    });
    until(|| forwarder.0.waiting.load(Ordering::Relaxed) == 2);
    gate.store(true, Ordering::Relaxed);
    let reply = crate::net::block_on(receive.recv()).unwrap();
    assert_eq!((code(&reply), info_code(&reply)), (2, 14), "too many queries are under way");
    let (answer, _) = crate::net::block_on(told.recv()).unwrap().unwrap();
    assert_eq!((answer.code(), answers.asked()), (0, 1));
    assert!(forwarder.0.state().flights.is_empty());
}

#[test]
fn whoever_waits_hears_of_it_when_the_one_that_asks_is_ended() {
    let silent = Upstream::new(Box::new(|_| Vec::new()), Box::new(|_| Vec::new()));
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let forwarder = forwarder(&running, &[silent.address], hand.clone());
    let (end, ended) = async_channel::bounded::<()>(1);
    let (asking, client) = (forwarder.clone(), parsed(&query("example.com", 1)));
    running.tasks.spawn("test", async move {
        let reply = async { drop(asking.reply(&client, 512, false).await) };
        let ended = async { ended.recv().await.unwrap_or_default() };
        futures_lite::future::or(reply, ended).await;
    });
    until(|| silent.asked() == 1);
    let (send, receive) = async_channel::bounded(1);
    let (waiting, client) = (forwarder.clone(), parsed(&query("example.com", 1)));
    running.tasks.spawn("test", async move {
        let _ = send.send(waiting.reply(&client, 512, false).await).await;
    });
    until(|| forwarder.0.waiting.load(Ordering::Relaxed) == 2);
    end.close();
    assert_eq!(code(&crate::net::block_on(receive.recv()).unwrap()), 2);
    assert!(forwarder.0.state().flights.is_empty());
    // And the next one asks anew.
    let (again, client) = (forwarder.clone(), parsed(&query("example.com", 1)));
    running.tasks.spawn("test", async move { drop(again.reply(&client, 512, false).await) });
    until(|| silent.asked() == 2);
}
