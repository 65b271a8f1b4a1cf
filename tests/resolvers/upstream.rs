//! Nameservers that fail, lie or are silent: what the app gets in the end, when,
//! and what it costs, counted at the nameserver.

use crate::served::{PATIENCE, Served};
use cloudrun_sim::Behaviour;

use runsd_tests::{World, in_time, start};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// When the forwarder gives up, and what a loaded machine may add.
const GIVES_UP: Duration = Duration::from_millis(4500 + 1500);
/// Two nameservers: one of a test's own, and the platform's.
const TWO: &[u8] = b"nameserver 127.0.0.2\nnameserver 169.254.169.254\n";
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    rcode: u8,
    /// The last four bytes of the message, where there is an answer: its
    /// address, for none has an OPT behind it.
    address: Option<[u8; 4]>,
}

const EXAMPLE: Answer = Answer { rcode: NOERROR, address: Some([198, 18, 0, 20]) };
const FAILED: Answer = Answer { rcode: SERVFAIL, address: None };

impl Served {
    fn client(&self) -> UdpSocket {
        self.world.sim.enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.connect("127.0.0.1:53").expect("loopback");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket
        })
    }

    /// Asks for the A record of `name`, and says how long it took.
    fn ask(&self, name: &str) -> (Answer, Duration) {
        let (client, begun) = (self.client(), Instant::now());
        client.send(&query(7, name)).expect("loopback");
        (receive(&client).1, begun.elapsed())
    }

    /// How many queries the platform's nameserver got for `name`: UDP, TCP.
    fn counts(&self, name: &str) -> (usize, usize) {
        let of = |tcp: bool| {
            let queries = self.world.sim.dns().queries();
            queries.iter().filter(|query| query.name == name && query.tcp == tcp).count()
        };
        (of(false), of(true))
    }

    /// Serves at the first of [`TWO`]: what `answer` makes of each query is sent.
    fn first(&self, answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Arc<AtomicUsize> {
        let socket =
            self.world.sim.enter(|| UdpSocket::bind("127.0.0.2:53").expect("its own address"));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((size, peer)) = socket.recv_from(&mut buffer) {
                counted.fetch_add(1, Ordering::SeqCst);
                for reply in answer(&buffer[..size]) {
                    // The asker may have what it wants and be gone.
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        count
    }
}

/// A query for an A record (RFC 1035 §4.1).
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn receive(client: &UdpSocket) -> (u16, Answer) {
    let mut buffer = [0; 4096];
    let size = client.recv(&mut buffer).expect("an answer in time");
    let message = &buffer[..size];
    let has_answer = u16::from_be_bytes([message[6], message[7]]) > 0;
    let address = has_answer.then(|| message[size - 4..].try_into().expect("four bytes"));
    let id = u16::from_be_bytes([message[0], message[1]]);
    (id, Answer { rcode: message[3] & 0x0f, address })
}

/// The question's end in a query.
fn question_end(query: &[u8]) -> usize {
    query[12..].iter().position(|byte| *byte == 0).expect("a root label") + 12 + 5
}

/// A reply to `query` with this code, and an address where there is one.
fn reply(query: &[u8], rcode: u8, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut message = query[..question_end(query)].to_vec();
    message[2] = 0x81;
    message[3] = 0x80 | rcode;
    message[6..12].fill(0);
    if let Some(address) = address {
        message[7] = 1;
        message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address);
    }
    message
}

#[test]
fn forged_and_broken_answers_are_not_believed() {
    in_time(GIVES_UP, || {
        let served = Served::new(None);
        let waited = [
            ("id.example.com", Behaviour::WrongId),
            ("garbage.example.com", Behaviour::Garbage),
            ("silent.example.com", Behaviour::Silent),
        ]
        .map(|(name, behaviour)| {
            served.world.sim.dns().script(name, behaviour);
            let (answer, took) = served.ask(name);
            assert_eq!(answer, FAILED, "{name}");
            assert_eq!(served.counts(name), (3, 0), "{name}: at 0, 1 and 2 s");
            took
        });
        served.end();
        waited
    });
}

#[test]
fn a_failure_is_asked_for_no_more_than_it_must_and_remembered() {
    // RFC 9520 §3.2: at least a second without another question.
    const REMEMBERED: Duration = Duration::from_secs(1);
    in_time(REMEMBERED, || {
        let served = Served::new(None);
        let took = [
            ("servfail.example.com", Behaviour::Servfail),
            ("refused.example.com", Behaviour::Refused),
        ]
        .map(|(name, behaviour)| {
            let begun = Instant::now();
            served.world.sim.dns().script(name, behaviour);
            assert_ne!(served.ask(name).0.rcode, NOERROR, "{name}");
            let (asked, _) = served.counts(name);
            assert!((1..=3).contains(&asked), "{name}: {asked}");
            assert_ne!(served.ask(name).0.rcode, NOERROR);
            let took = begun.elapsed();
            if took < REMEMBERED {
                assert_eq!(served.counts(name).0, asked, "{name}: it was asked again");
            }
            took
        });
        served.end();
        took
    });
}

#[test]
fn truncation_leads_to_tcp_and_absence_to_one_question() {
    let served = Served::new(None);
    served.world.sim.dns().script("example.com", Behaviour::Truncate);
    assert_eq!(served.ask("example.com").0, EXAMPLE);
    assert_eq!(served.counts("example.com"), (1, 1));
    assert_eq!(served.ask("missing.example").0.rcode, NXDOMAIN);
    assert_eq!(served.ask("missing.example").0.rcode, NXDOMAIN);
    assert_eq!(served.counts("missing.example"), (1, 0), "an absence is remembered");
    served.end();
}

#[test]
fn a_thousand_identical_questions_are_one_upstream() {
    let served = Served::new(None);
    let delay = Behaviour::Delay(Duration::from_millis(300));
    served.world.sim.dns().script("www.example.com", delay);
    // Many clients: the answers come in one burst, and a socket holds few.
    let clients: Vec<UdpSocket> = (0..20).map(|_| served.client()).collect();
    for client in &clients {
        for id in 0..50 {
            client.send(&query(id, "www.example.com")).expect("loopback");
        }
    }
    for client in &clients {
        let mut waiting: Vec<u16> = (0..50).collect();
        while !waiting.is_empty() {
            let (id, answer) = receive(client);
            assert_eq!(answer, EXAMPLE);
            waiting.retain(|one| *one != id);
        }
    }
    assert_eq!(served.counts("www.example.com"), (1, 0));
    served.end();
}

#[test]
fn questions_that_wait_leave_the_proxy_its_descriptors() {
    let served = Served::short_of_descriptors(128);
    let name = |number: usize| format!("n{number}.example.com");
    for number in 0..300 {
        served.world.sim.dns().script(&name(number), Behaviour::Silent);
    }
    let clients: Vec<UdpSocket> = (0..10).map(|_| served.client()).collect();
    for (number, client) in (0..300).zip(clients.iter().cycle()) {
        client.send(&query(7, &name(number))).expect("loopback");
    }
    let asked = || (0..300).filter(|number| served.counts(&name(*number)).0 > 0).count();
    let begun = Instant::now();
    while asked() < 32 {
        assert!(begun.elapsed() < PATIENCE, "half of the descriptors are for questions");
    }
    // Meanwhile a look-up of the proxy's own, its connection and the app's.
    let mut curl = served.world.sim.command("curl");
    curl.args(["-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", "http://hello/"]);
    assert_eq!(start(&mut curl).wait().ok(), "200");
    for _ in 0..30 {
        for client in &clients {
            assert_eq!(receive(client).1, FAILED);
        }
    }
    assert!(asked() <= 128, "{} of 300 were asked", asked());
    served.end();
}

#[test]
fn a_nameserver_that_is_runsd_itself_is_told_and_never_asked() {
    let world = World::default();
    let lookup = ["getent", "ahostsv4", "example.com"];
    let itself = ["--nameserver", "127.0.0.1"];
    let both = [&itself[..], &["--nameserver", "169.254.169.254"]].concat();
    // Each look-up has a runsd of its own.
    in_time(GIVES_UP, || {
        [(&itself[..], false), (&both, true)].map(|(options, found)| {
            let begun = Instant::now();
            let ran = world.run(options, &lookup);
            let took = begun.elapsed();
            assert_eq!(ran.code == Some(0), found, "{ran:#?}");
            assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
            assert!(ran.err.contains("127.0.0.1:53 is this runsd itself"), "{ran:#?}");
            assert_eq!(ran.err.contains("no names but services'"), !found, "{ran:#?}");
            took
        })
    });
}

#[test]
fn the_second_nameserver_stands_in_for_the_first() {
    let soon = Duration::from_millis(900);
    // Each with the longest that it may take; nobody there is ECONNREFUSED.
    in_time(soon, || {
        let absent = Served::new(Some(TWO));
        let (answer, took) = absent.ask("example.com");
        assert_eq!(answer, EXAMPLE);
        absent.end();
        [took]
    });
    for (what, rcode, most) in [
        ("SERVFAIL", Some(SERVFAIL), soon),
        ("REFUSED", Some(5), soon),
        ("silence", None, Duration::from_secs(3)),
    ] {
        in_time(most, || {
            let served = Served::new(Some(TWO));
            let count = served.first(move |query| {
                rcode.map(|rcode| reply(query, rcode, None)).into_iter().collect()
            });
            let (answer, took) = served.ask("example.com");
            assert_eq!(answer, EXAMPLE, "{what}");
            assert_eq!(count.load(Ordering::SeqCst), 1, "{what}");
            assert_eq!(served.counts("example.com"), (1, 0), "{what}");
            served.end();
            [took]
        });
    }
}

#[test]
fn the_first_nameservers_word_counts() {
    let served = Served::new(Some(TWO));
    let count = served.first(|query| vec![reply(query, NXDOMAIN, None)]);
    assert_eq!(served.ask("example.com").0.rcode, NXDOMAIN);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(served.counts("example.com"), (0, 0), "NXDOMAIN is an answer");
    served.end();
}

#[test]
fn of_many_answers_only_the_true_one_is_taken() {
    let served = Served::new(Some(TWO));
    const EVIL: [u8; 4] = [203, 0, 113, 66];
    const TRUE: [u8; 4] = [203, 0, 113, 1];
    let count = served.first(|query| {
        let forged = reply(query, NOERROR, Some(EVIL));
        let changed = |at: usize, bits: u8| {
            let mut message = forged.clone();
            message[at] ^= bits;
            message
        };
        let end = question_end(query);
        vec![
            // Another id, another name, another type, another class, a query, two
            // questions, half a message, nothing.
            changed(0, 0x01),
            changed(13, 0x01),
            changed(end - 3, 0x1d),
            changed(end - 1, 0x02),
            changed(2, 0x80),
            changed(5, 0x03),
            forged[..14].to_vec(),
            Vec::new(),
            reply(query, NOERROR, Some(TRUE)),
            forged,
        ]
    });
    let (answer, _) = served.ask("example.com");
    assert_eq!(answer, Answer { rcode: NOERROR, address: Some(TRUE) });
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(served.counts("example.com"), (0, 0));
    served.end();
}
