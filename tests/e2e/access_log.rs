//! The access log: one record for each request, whatever became of it, and what
//! the log says of failures.

use cloudrun_sim::Options;
use runsd_tests::{Ran, World};
use serde_json::Value;
use std::process::Command;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The bytes of the WebSocket's first head in [`REQUESTS`].
const HANDSHAKE: u64 = 141;

/// A gRPC service that answers before it has read a call resets the rest of it,
/// which curl calls an error (92) if it was still sending. The answer is there.
/// Every request that the proxy can be sent, from an app that knows nothing.
const REQUESTS: &str = r#"
set -e
curl -sS -m 30 -o /dev/null -A test-agent 'http://hello/a?code=sekret&x=1' \
    -H "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" \
    -H 'Cookie: session=sekret' -H 'Authorization: Basic sekret'
curl -sS -m 30 -o /dev/null --http2-prior-knowledge http://echo/up --data-binary 12345678 \
    -H "X-Cloud-Trace-Context: 0af7651916cd43dd8448eb211c80319c/255;o=0"
for method in Unary Fail; do
    printf '\0\0\0\0\002hi' | curl -s -m 30 -o /dev/null --http2-prior-knowledge \
        -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- \
        "http://grpc/sim.Echo/$method" || [ $? = 92 ]
done
curl -sS -m 30 -o /dev/null http://hello.us-east1.999999999999.run.internal/
curl -sS -m 30 -o /dev/null --http2-prior-knowledge -H 'content-type: application/grpc' \
    -X POST http://hello.us-east1.999999999999.run.internal/sim.Echo/Unary
python3 - <<'PYTHON'
import socket
def say(data, answers):
    with socket.create_connection(("127.0.0.1", 80), 30) as tcp:
        tcp.sendall(data)
        got = b""
        while not got.endswith(answers):
            piece = tcp.recv(65536)
            if not piece:
                break
            got += piece
    return got
say(b"GET / HTTP/1.1\r\nHost: hello\r\nBad Field: 1\r\n\r\n", b"}\n")
upgrade = (b"GET / HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
# A masked close frame of 1000, which comes back.
say(upgrade + b"\x88\x82\0\0\0\0\x03\xe8", b"\x88\x02\x03\xe8")
PYTHON
"#;

/// The records of the access log.
fn records(ran: &Ran) -> Vec<Value> {
    let lines = ran.err.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    });
    lines.filter(|record| record["logger"] == "runsd.access").collect()
}

/// The only record of a request whose URL ends so.
fn of<'a>(records: &'a [Value], url: &str) -> &'a Value {
    let is = |record: &&Value| record["httpRequest"]["requestUrl"] == url;
    let found: Vec<&Value> = records.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{url}: {records:#?}");
    found[0]
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn every_request_has_one_record_whatever_became_of_it() {
    let world = World::default();
    let ran = world.run(&["--access-log"], &["bash", "-c", REQUESTS]);
    ran.ok();
    let records = records(&ran);
    assert_eq!(records.len(), 8, "{records:#?}");
    assert!(!ran.err.contains("sekret"), "{}", ran.err);

    let plain = of(&records, "http://hello/a?code=*&x=*");
    let request = &plain["httpRequest"];
    assert_eq!(request["requestMethod"], "GET");
    assert_eq!((&request["status"], &request["protocol"]), (&200.into(), &"HTTP/1.1".into()));
    assert_eq!(request["userAgent"], "test-agent");
    assert!(request["latency"].as_str().expect("text").ends_with('s'));
    assert!(number(&request["responseSize"]) > 50 && number(&request["requestSize"]) > 200);
    assert_eq!(plain["runsd"]["service"], "hello");
    assert_eq!(plain["runsd"]["host"], "hello-123456789012.us-central1.run.app");
    assert_eq!(plain["severity"], "INFO");
    let google =
        |record: &Value, key: &str| record[format!("logging.googleapis.com/{key}")].clone();
    assert_eq!(google(plain, "trace"), format!("projects/sim-project/traces/{TRACE}"));
    assert_eq!(google(plain, "spanId"), "b7ad6b7169203331");
    assert_eq!(google(plain, "trace_sampled"), true);

    let stream = of(&records, "http://echo/up");
    assert_eq!(stream["httpRequest"]["protocol"], "HTTP/2");
    assert!(number(&stream["httpRequest"]["requestSize"]) > 8);
    assert_eq!(google(stream, "spanId"), "00000000000000ff");
    assert_eq!(google(stream, "trace_sampled"), false);

    let called = of(&records, "http://grpc/sim.Echo/Unary");
    assert_eq!(
        (&called["httpRequest"]["status"], &called["runsd"]["grpcStatus"]),
        (&200.into(), &0.into())
    );
    assert_eq!(of(&records, "http://grpc/sim.Echo/Fail")["runsd"]["grpcStatus"], 9);

    let refused = of(&records, "http://hello.us-east1.999999999999.run.internal/");
    assert_eq!(
        (&refused["httpRequest"]["status"], &refused["severity"]),
        (&421.into(), &"WARNING".into())
    );
    assert!(refused["runsd"]["reason"].as_str().expect("a reason").contains("--allow-project"));
    let call = of(&records, "http://hello.us-east1.999999999999.run.internal/sim.Echo/Unary");
    assert_eq!(
        (&call["httpRequest"]["status"], &call["runsd"]["grpcStatus"]),
        (&200.into(), &5.into())
    );
    let unread = records.iter().find(|record| record["httpRequest"]["status"] == 400);
    let unread = &unread.expect("a request that cannot be read")["httpRequest"];
    assert!(unread.get("requestUrl").is_none() && number(&unread["requestSize"]) > 40);
    let socket = of(&records, "http://ws/");
    assert_eq!(socket["httpRequest"]["status"], 101);
    // Both heads, and the frames behind them: the app's has 8 bytes.
    let size = number(&socket["httpRequest"]["requestSize"]);
    assert_eq!(size, HANDSHAKE + 8, "{socket}");
}

#[test]
fn the_log_is_off_unless_it_is_asked_for_and_so_is_the_question_it_needs() {
    let world = World::default();
    world.curl(&["http://hello/"]).ok();
    let asks = |world: &World| {
        world.sim.metadata().calls().iter().filter(|path| path.ends_with("/project-id")).count()
    };
    assert_eq!(asks(&world), 0);
    let ran = world.run(&[], &["curl", "-sS", "http://hello/"]);
    assert_eq!(ran.err, "", "quiet by default");
    world.run(&["--access-log"], &["true"]).ok();
    assert_eq!(asks(&world), 1);
}

#[test]
fn a_dead_service_is_explained_in_the_body_and_once_in_the_log() {
    let world = World::default();
    world.sim.front().refuse(true);
    let script = "for n in 1 2 3; do curl -sS -m 30 http://hello/$n; done";
    let ran = world.run(&[], &["bash", "-c", script]);
    for line in ran.ok().lines() {
        let said: Value = serde_json::from_str(line).expect("problem details");
        assert_eq!((&said["status"], &said["service"]), (&502.into(), &"hello".into()));
        assert_eq!(said["host"], "hello-123456789012.us-central1.run.app");
        let caller = said["caller"].as_str().expect("it has a token");
        assert!(caller.ends_with("-compute@developer.gserviceaccount.com"), "{said}");
        assert!(said["remedy"].as_str().expect("what to do").contains("VPC"), "{said}");
    }
    let told = ran.err.lines().filter(|line| line.contains("\"runsd.proxy\""));
    let told: Vec<Value> = told.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<&str> = told.iter().filter_map(|one| one["message"].as_str()).collect();
    assert_eq!(messages.len(), 2, "{}", ran.err);
    let parts = ["cannot reach hello", "hello-123456789012", "developer.gserviceaccount", "VPC"];
    for part in parts {
        assert!(messages[0].contains(part), "{part}: {}", messages[0]);
    }
    assert!(messages[1].contains("(repeated 2 times in "), "{}", messages[1]);
    // Where each request has its record, that says all of it, and nothing else does.
    let ran = world.run(&["--access-log"], &["bash", "-c", script]);
    let dead = records(&ran);
    assert_eq!((dead.len(), ran.err.lines().count()), (3, 3), "{}", ran.err);
    for record in dead {
        let reason = record["runsd"]["reason"].as_str().expect("a reason");
        assert_eq!(record["severity"], "ERROR");
        assert!(parts.iter().all(|part| reason.contains(part)), "{record}");
    }
}

#[test]
fn a_scanner_that_makes_names_up_cannot_fill_the_log() {
    let world = World::default();
    let script = "
import http.client
for number in range(500):
    app = http.client.HTTPConnection('127.0.0.1', 80)
    app.request('GET', '/', headers={'Host': f'bad_{number}'})
    assert app.getresponse().status == 421
";
    let ran = world.run(&[], &["python3", "-c", script]);
    ran.ok();
    assert_eq!(ran.err.lines().count(), 21, "{}", ran.err);
    let summary = ran.err.lines().last().expect("a summary");
    assert!(summary.contains("480 more messages about http_request_denied held back"), "{summary}");
}

#[test]
fn the_platforms_refusals_are_explained_with_the_command_that_mends_them() {
    let world = World::new(Options { deny: vec!["hello".to_owned()], ..Options::default() });
    let script = "for n in 1 2; do curl -sS -o /dev/null -w '%{http_code} ' http://hello/; \
                  curl -sS -o /dev/null -w '%{http_code} ' http://nobody/; \
                  curl -sS -o /dev/null -w '%{http_code} ' --http2-prior-knowledge http://status/?code=404; done";
    let ran = world.run(&[], &["bash", "-c", script]);
    assert_eq!(ran.ok(), "403 404 404 403 404 404 ");
    let command = "gcloud run services add-iam-policy-binding hello --region=us-central1 \
                   --project=123456789012 \
                   --member=serviceAccount:123456789012-compute@developer.gserviceaccount.com \
                   --role=roles/run.invoker";
    assert_eq!(ran.err.matches(command).count(), 1, "{}", ran.err);
    assert_eq!(
        ran.err.matches("there is no service nobody in us-central1").count(),
        1,
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("service status"), "its own 404 is its own: {}", ran.err);
}

/// What a command writes on a terminal of its own.
fn on_a_terminal(world: &World, variables: &str, options: &[&str]) -> String {
    let script = format!(
        "import os, pty, sys\n\
         os.environ.update({variables})\n\
         pty.spawn(sys.argv[1:])"
    );
    let runsd = runsd_tests::runsd();
    let mut command: Command = world.sim.command("python3");
    command.args(["-c", &script]).arg(runsd);
    command.args(options).args(["--log-format=text", "--", "curl", "-sS", "-o", "/dev/null"]);
    command.arg("http://hello.us-east1.999999999999.run.internal/?key=sekret");
    runsd_tests::start(&mut command).wait().ok().to_owned()
}

#[test]
fn a_terminal_gets_colours_unless_it_wants_none() {
    let world = World::default();
    let coloured = on_a_terminal(&world, "{}", &[]);
    assert!(coloured.contains("\x1b[33mrunsd: warning: \x1b[0m"), "{coloured:?}");
    let coloured = on_a_terminal(&world, "{}", &["--access-log"]);
    assert!(coloured.contains("?key=* 421 "), "{coloured:?}");
    assert!(coloured.contains("\x1b[2mrunsd:\x1b[0m \x1b[33mGET http://"), "{coloured:?}");
    let plain = on_a_terminal(&world, "{'NO_COLOR': '1'}", &[]);
    assert!(plain.contains("runsd: warning: ") && !plain.contains('\x1b'), "{plain:?}");
}
