//! The tests that RFC 8906 §8 asks a nameserver to pass, by the tools that
//! operators have: for our zone and for names that are asked upstream.

use crate::served::Served;
use cloudrun_sim::Behaviour;
use runsd_tests::{root, start};
use std::net::Ipv4Addr;

impl Served {
    /// What a tool says of the last message that it got, in one form for all:
    /// `OPCODE RCODE FLAGS… answers=N [edns=VERSION[ do]]`.
    fn tell(&self, tool: &str, arguments: &str) -> String {
        let mut command = self.world.sim.command(tool);
        command.arg("@127.0.0.1").args(arguments.split(' '));
        let ran = start(&mut command).wait();
        digest(&ran.out).unwrap_or_else(|| panic!("{tool} {arguments}: {ran:#?}"))
    }
}

/// The tools' reports differ in case and punctuation alone.
fn digest(report: &str) -> Option<String> {
    let text =
        report.to_lowercase().replace(['=', ','], ";").replace("edns: version ", "version: ");
    let text = &text[text.rfind("->>header<<-")?..];
    let value = |key: &str| {
        let rest = &text[text.find(key)? + key.len()..];
        rest.split([';', '\n']).next().map(|found| found.trim().to_owned())
    };
    let rcode = value("status:").or_else(|| value("rcode:"))?;
    let mut said = format!("{} {rcode} {}", value("opcode:")?, value("flags:")?);
    said.push_str(&format!(" answers={}", value("answer:")?));
    if let Some(version) = value("version:") {
        let after = &text[text.find("version:")?..];
        let flags = after.split("flags:").nth(1)?.split(';').next()?.trim().to_owned();
        said.push_str(format!(" edns={version} {flags}").trim_end());
    }
    Some(said)
}

/// §8.1 and §8.2 for a zone of our own, and what it leaves to us.
const DIG: &[(&str, &str)] = &[
    ("+noedns +noad +norec run.internal SOA", "query noerror qr aa ra answers=1"),
    ("+noedns +noad +norec run.internal NS", "query noerror qr aa ra answers=1"),
    ("+noedns +noad +norec hello.run.internal TYPE1000", "query noerror qr aa ra answers=0"),
    ("+noedns +noad +norec +cd hello.run.internal", "query noerror qr aa ra cd answers=1"),
    ("+noedns +norec +ad hello.run.internal", "query noerror qr aa ra answers=1"),
    ("+noedns +noad +norec +zflag hello.run.internal", "query noerror qr aa ra answers=1"),
    ("+noedns +noad +rec hello.run.internal", "query noerror qr aa rd ra answers=1"),
    (
        "+noedns +noad +norec +opcode=15 +header-only hello.run.internal",
        "reserved15 notimp qr ra answers=0",
    ),
    ("+noedns +noad +norec +tcp hello.run.internal", "query noerror qr aa ra answers=1"),
    ("+nocookie +norec hello.run.internal", "query noerror qr aa ra answers=1 edns=0"),
    ("+nocookie +norec +tcp hello.run.internal", "query noerror qr aa ra answers=1 edns=0"),
    (
        "+nocookie +norec +edns=1 +noednsneg hello.run.internal",
        "query badvers qr ra answers=0 edns=0",
    ),
    ("+nocookie +norec +edns=1 +noednsneg example.com", "query badvers qr ra answers=0 edns=0"),
    ("+nocookie +norec +ednsopt=100 hello.run.internal", "query noerror qr aa ra answers=1 edns=0"),
    (
        "+nocookie +norec +ednsflags=0x80 hello.run.internal",
        "query noerror qr aa ra answers=1 edns=0",
    ),
    (
        "+nocookie +norec +edns=1 +noednsneg +ednsflags=0x80 hello.run.internal",
        "query badvers qr ra answers=0 edns=0",
    ),
    (
        "+nocookie +norec +edns=1 +noednsneg +ednsopt=100 hello.run.internal",
        "query badvers qr ra answers=0 edns=0",
    ),
    (
        "+nocookie +norec +bufsize=512 +dnssec +ignore run.internal DNSKEY",
        "query noerror qr aa ra answers=0 edns=0 do",
    ),
    ("+nocookie +norec +dnssec hello.run.internal", "query noerror qr aa ra answers=1 edns=0 do"),
    (
        "+nocookie +norec +edns=1 +noednsneg +dnssec hello.run.internal",
        "query badvers qr ra answers=0 edns=0 do",
    ),
    (
        "+cookie +nsid +expire +subnet=192.0.2.0/24 +norec hello.run.internal",
        "query noerror qr aa ra answers=1 edns=0",
    ),
    ("+nocookie +norec -c CH version.bind TXT", "query refused qr ra answers=0 edns=0"),
    (
        "+nocookie +norec +tcp +noall +comments run.internal AXFR",
        "query refused qr ra answers=0 edns=0",
    ),
    ("+nocookie hello.run.internal ANY", "query noerror qr aa rd ra answers=2 edns=0"),
    ("+nocookie no_service.run.internal", "query nxdomain qr aa rd ra answers=0 edns=0"),
    ("+nocookie metadata.run.internal", "query nxdomain qr aa rd ra answers=0 edns=0"),
    ("+nocookie -x 127.0.0.1", "query noerror qr aa rd ra answers=1 edns=0"),
    ("+nocookie localhost AAAA", "query noerror qr aa rd ra answers=1 edns=0"),
    ("+nocookie metadata.google.internal AAAA", "query noerror qr aa rd ra answers=0 edns=0"),
    // Asked upstream: relayed, and never authoritative.
    ("+noedns +noad example.com", "query noerror qr rd ra answers=1"),
    ("+nocookie +noad example.com", "query noerror qr rd ra answers=1 edns=0"),
    ("+nocookie +noad +tcp example.com", "query noerror qr rd ra answers=1 edns=0"),
    ("+nocookie +noad +ednsopt=100 example.com", "query noerror qr rd ra answers=1 edns=0"),
    ("+nocookie +noad +dnssec example.com", "query noerror qr rd ra answers=1 edns=0 do"),
    (
        "+nocookie +noad +bufsize=512 +ignore many.example.com",
        "query noerror qr tc rd ra answers=29 edns=0",
    ),
    ("+noedns +noad +tcp many.example.com", "query noerror qr rd ra answers=60"),
    ("+nocookie +noad example.com TYPE1000", "query noerror qr rd ra answers=0 edns=0"),
    ("+nocookie +noad missing.example", "query nxdomain qr rd ra answers=0 edns=0"),
];

const KDIG: &[(&str, &str)] = &[
    ("hello.run.internal +noedns", "query noerror qr aa rd ra answers=1"),
    ("hello.run.internal +edns=0", "query noerror qr aa rd ra answers=1 edns=0"),
    ("hello.run.internal +edns=1", "query badvers qr rd ra answers=0 edns=0"),
    ("hello.run.internal +zflag", "query noerror qr aa rd ra answers=1"),
    ("hello.run.internal +padding=64", "query noerror qr aa rd ra answers=1 edns=0"),
    ("hello.run.internal +ednsopt=65001:00ff", "query noerror qr aa rd ra answers=1 edns=0"),
    (
        "hello.run.internal +cookie +subnet=192.0.2.0/24",
        "query noerror qr aa rd ra answers=1 edns=0",
    ),
    ("hello.run.internal +tcp +keepopen", "query noerror qr aa rd ra answers=1"),
    ("hello.run.internal -c CH", "query refused qr rd ra answers=0"),
    ("hello.run.internal +bufsize=100", "query noerror qr aa rd ra answers=1 edns=0"),
    ("example.com +dnssec", "query noerror qr rd ra answers=1 edns=0 do"),
    ("us-east1.run.internal", "query noerror qr aa rd ra answers=0"),
];

const DRILL: &[(&str, &str)] = &[
    ("hello.run.internal", "query noerror qr aa rd ra answers=1"),
    ("-D hello.run.internal", "query noerror qr aa rd ra answers=1 edns=0 do"),
    ("-t hello.run.internal", "query noerror qr aa rd ra answers=1"),
    ("-o rd -o CD hello.run.internal", "query noerror qr aa cd ra answers=1"),
    ("-b 512 example.com", "query noerror qr rd ra answers=1 edns=0"),
    ("hello.run.internal MX", "query noerror qr aa rd ra answers=0"),
];

#[test]
fn dig_kdig_and_drill_get_what_the_standard_asks_for() {
    let served = Served::new(None);
    let many = (0..60).map(|last| Ipv4Addr::new(198, 51, 100, last).into()).collect();
    served.world.sim.dns().script("many.example.com", Behaviour::Address(many));
    for (tool, cases) in [("dig", DIG), ("kdig", KDIG), ("drill", DRILL)] {
        for (arguments, expected) in cases {
            assert_eq!(served.tell(tool, arguments), *expected, "{tool} {arguments}");
        }
    }
    // Everything that has another class, opcode or version stayed here. The
    // services' own hosts are looked up for the warm-up.
    let upstream = served.world.sim.dns().queries();
    let names: Vec<&str> = upstream.iter().map(|query| query.name.as_str()).collect();
    let known = ["example.com", "many.example.com", "missing.example"];
    let ours = |name: &&str| known.contains(name) || name.ends_with(".run.app");
    assert!(names.iter().all(ours), "{names:?}");
    served.end();
}

/// Messages that no tool makes by itself, built and read by dnspython.
#[test]
fn malformed_messages_get_the_answer_they_deserve() {
    let served = Served::new(None);
    let python = root().join(".venv/bin/python");
    let mut command = served.world.sim.command(python);
    command.arg(root().join("tests/resolvers/programs/malformed.py"));
    let ran = start(&mut command).wait();
    assert!(ran.ok().lines().count() > 30, "{ran:#?}");
    served.end();
}
