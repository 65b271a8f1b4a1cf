//! `runsd explain` and `runsd doctor`: what they say is what would happen, and
//! what to do about it.

use cloudrun_sim::google::ACCOUNT;
use cloudrun_sim::{Behaviour, Login, Options};
use runsd_tests::{Ran, World, copy_program, runsd, start};
use serde_json::Value;
use std::process::Command;

const ROUTE: &str = "hello=https://hello-123456789012.us-central1.run.app";

/// The one finding with this name.
fn found(ran: &Ran, what: &str) -> Value {
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    let list = report["findings"].as_array().expect("findings");
    let found: Vec<&Value> = list.iter().filter(|finding| finding["what"] == what).collect();
    let [one] = &found[..] else { panic!("{} of {what:?} in {}", found.len(), ran.out) };
    (*one).clone()
}

fn finding(ran: &Ran, what: &str) -> (String, String) {
    let found = found(ran, what);
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail") + " -> " + &text("remedy"))
}

/// One finding has this verdict, and says all of these.
fn says(ran: &Ran, what: &str, verdict: &str, parts: &[&str]) {
    let (is, text) = finding(ran, what);
    assert_eq!(is, verdict, "{what}: {text}");
    for part in parts {
        assert!(text.contains(part), "{what}, no {part:?}: {text}");
    }
}

fn doctor(world: &World, arguments: &[&str]) -> Ran {
    world.run_plain(&[&["doctor", "--json"], arguments].concat())
}

fn laptop(login: Login) -> World {
    World::new(Options { laptop: Some(login), ..Options::default() })
}

#[test]
fn a_name_is_explained_to_its_end() {
    let world = World::default();
    let ran = world.run_plain(&["explain", "green---hello.us-east1", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    for (what, part) in [
        ("name", "tag \"green\""),
        ("place", "region us-central1, project 123456789012"),
        ("url", "https://green---hello-123456789012.us-east1.run.app"),
        ("audience", "https://hello-123456789012.us-east1.run.app"),
        ("header", "X-Serverless-Authorization where the app sends an Authorization of its own"),
        ("address", "198.18.0.10:443"),
        ("connection", "HTTP/2"),
        ("token", "developer.gserviceaccount.com"),
        ("source", "the metadata server at 169.254.169.254"),
    ] {
        says(&ran, what, "ok", &[part]);
    }
    assert!(!ran.out.contains("eyJ"), "a token is shown: {}", ran.out);
}

#[test]
fn what_no_step_without_a_call_can_tell_is_not_claimed() {
    let world = World::default();
    // The platform answers for every name, so a slip of the pen looks well too.
    let ran = world.run_plain(&["explain", "helo", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "service", "unknown", &["not called", "runsd doctor helo"]);
    says(&ran, "connection", "ok", &[]);
    assert!(world.sim.front().requests().is_empty());
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(report["verdict"], "ok");
    world.sim.front().refuse(true);
    let ran = world.run_plain(&["explain", "helo"]);
    assert!(!ran.out.contains("not called"), "a failure says enough: {}", ran.out);
}

#[test]
fn programs_find_values_by_their_names() {
    let world = World::default();
    let ran = world.run_plain(&["explain", "green---hello.us-east1", "--json"]);
    let url = "https://green---hello-123456789012.us-east1.run.app";
    for (what, fact, value) in [
        ("name", "service", "hello"),
        ("name", "tag", "green"),
        ("name", "region", "us-east1"),
        ("place", "region", "us-central1"),
        ("place", "project", "123456789012"),
        ("url", "url", url),
        ("audience", "audience", "https://hello-123456789012.us-east1.run.app"),
        ("header", "header", "Authorization"),
        ("address", "addresses", "198.18.0.10:443"),
        ("connection", "peer", "198.18.0.10:443"),
        ("connection", "protocol", "HTTP/2"),
        ("token", "account", "123456789012-compute@developer.gserviceaccount.com"),
        ("source", "source", "the metadata server at 169.254.169.254"),
    ] {
        assert_eq!(found(&ran, what)["facts"][fact], value, "{what} {fact}");
    }
    let seconds = |fact: &str| {
        let token = found(&ran, "token");
        token["facts"][fact].as_str().expect("a number").parse::<u64>().expect("a number")
    };
    let (age, left) = (seconds("age_seconds"), seconds("expires_in_seconds"));
    assert!((3598..=3600).contains(&(age + left)), "{age} + {left}");
    let ran = doctor(&world, &["hello"]);
    assert_eq!(found(&ran, "call")["facts"]["status"], "200");
    assert_eq!(found(&ran, "call")["facts"]["answered_by"], "service");
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(report["verdict"], "ok");
    for finding in report["findings"].as_array().expect("findings") {
        let keys: Vec<&String> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["detail", "facts", "remedy", "verdict", "what"], "{finding}");
    }
}

#[test]
fn what_is_wrong_with_a_name_is_said() {
    let world = World::default();
    let explain = |arguments: &[&str]| {
        let ran = world.run_plain(&[&["explain", "--json"], arguments].concat());
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        ran
    };
    let other = explain(&["hello.us-east1.999999999999"]);
    says(&other, "url", "failure", &["--allow-project 999999999999"]);
    says(&explain(&["he_llo"]), "name", "failure", &["letters, digits", "--route he_llo="]);
    says(&explain(&["api.example.com"]), "name", "failure", &["--route api.example.com="]);
    says(&explain(&["metadata"]), "url", "failure", &["reserved"]);
    says(&explain(&["--allow", "other", "hello"]), "url", "failure", &["--allow"]);
    says(&explain(&["https://hello/a"]), "name", "failure", &["http:// on port 80 alone"]);
    says(&explain(&["hello:8080"]), "name", "failure", &["call a service as http://hello"]);
    says(&doctor(&world, &["https://hello"]), "name", "failure", &["http:// on port 80 alone"]);
    let ran = world.run_plain(&["explain", "he_llo"]);
    assert!(ran.out.starts_with("FAILED   name  \"he_llo\""), "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.len() <= 100), "{}", ran.out);
}

#[test]
fn a_region_that_is_misspelt_or_has_no_such_service_is_said() {
    let world = World::default();
    let host = "hello-123456789012.us-centrall1.run.app";
    world.sim.dns().script(host, Behaviour::Nxdomain);
    let ran = world.run_plain(&["explain", "--json", "hello.us-centrall1"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "url", "warning", &["did you mean us-central1?"]);
    says(&ran, "address", "failure", &[host, "check the service's name and region"]);
}

#[test]
fn the_doctor_finds_what_stands_in_the_way() {
    let world = World::new(Options { deny: vec!["hello".to_owned()], ..Options::default() });
    let before = world.sim.resolv_conf();
    let ran = doctor(&world, &["hello"]);
    assert_eq!(ran.code, Some(1), "a call that is refused is a failure: {ran:#?}");
    says(&ran, "mode", "ok", &["full mode"]);
    says(&ran, "nameserver", "ok", &["169.254.169.254:53"]);
    says(&ran, "metadata", "ok", &["169.254.169.254 answers"]);
    says(&ran, "clock", "ok", &["agrees"]);
    says(&ran, "tls roots", "ok", &["/etc/ssl/certs/ca-certificates.crt"]);
    let grant = "gcloud run services add-iam-policy-binding hello --region=us-central1 \
                 --project=123456789012 \
                 --member=serviceAccount:123456789012-compute@developer.gserviceaccount.com \
                 --role=roles/run.invoker";
    says(&ran, "call", "failure", &["403", "by the front end", grant]);
    assert_eq!(world.sim.resolv_conf(), before);
    world.sim.dns().script("*", Behaviour::Silent);
    world.sim.metadata().silent(true);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "nameserver", "failure", &["does not answer", "--nameserver"]);
    says(&ran, "metadata", "failure", &["cannot be reached", "--region"]);
    says(&ran, "place", "failure", &["--region"]);
}

#[test]
fn the_doctor_says_the_mode_that_a_start_would_take() {
    let world = World::default();
    // The binary's folder may be closed to others: a copy where anyone can go.
    let copy = std::env::temp_dir().join(format!("runsd-doctor-{}", std::process::id()));
    copy_program(&runsd(), &copy);
    let own = copy.display().to_string();
    // As nobody, whom the kernel lets have neither port nor file.
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.sim.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &own]);
        start(command.args(arguments).envs(variables.iter().copied())).wait()
    };
    let none: &[(&str, &str)] = &[];
    let app_has_it = [("PORT", "80")];
    let proxied = [("http_proxy", "http://198.51.100.1:3128")];
    let full = "full mode: cannot listen on 127.0.0.1:53: this user may not bind port 53";
    for (options, variables, verdict, mode, parts) in [
        (&[][..], none, "warning", "proxy", &["proxy mode instead of", full, "http_proxy"][..]),
        (&["--strict"], none, "failure", "none", &["by --strict", "may not bind port 53"]),
        (&["--mode=full"], none, "failure", "none", &["by --mode full", "may not bind port 53"]),
        (&["--proxy=off"], none, "warning", "off", &["off mode instead of", full, "--proxy off"]),
        (&["--mode=proxy"], none, "ok", "proxy", &["proxy mode"]),
        (&["--mode=off"], none, "ok", "off", &["off mode"]),
        (&[], &app_has_it, "warning", "proxy", &["proxy mode instead of", "PORT=80"]),
        (&[], &proxied, "warning", "proxy", &["proxy mode instead of", full, "unset http_proxy"]),
        (&["--mode=proxy"], &proxied, "warning", "proxy", &["unset http_proxy"]),
        (
            &["--mode=proxy", "--strict"],
            &proxied,
            "failure",
            "none",
            &["by --strict", "http_proxy"],
        ),
    ] {
        let about = format!("{options:?} {variables:?}");
        let ran = run(&[&["doctor", "--json"], options].concat(), variables);
        says(&ran, "mode", verdict, parts);
        assert_eq!(found(&ran, "mode")["facts"]["mode"], mode, "{about}");
        assert_eq!(ran.code, Some(i32::from(verdict == "failure")), "{about}: {ran:#?}");
        // And a start does what the doctor says.
        let ran = run(&[options, &["--log-level=debug", "--", "true"]].concat(), variables);
        assert_eq!(ran.code == Some(0), mode != "none", "{about}: {ran:#?}");
        let told = match mode {
            "proxy" => "proxy mode; DNS on []",
            "off" if verdict == "ok" => "the mode is off",
            "off" => "names of services lead nowhere",
            _ => "",
        };
        assert!(ran.err.contains(told), "{about}: {ran:#?}");
    }
    std::fs::remove_file(&copy).expect("the copy");
    let ran = doctor(&world, &[]);
    assert_eq!(found(&ran, "mode")["facts"]["mode"], "full");
}

#[test]
fn a_wrong_name_and_a_closed_ingress_are_the_front_ends_404() {
    let world = World::new(Options { internal: vec!["hello".to_owned()], ..Options::default() });
    for name in ["hello", "nobody"] {
        let ran = doctor(&world, &[name]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let see = "gcloud run services list --project=123456789012";
        let route = format!("--route {name}=URL");
        let parts = ["404", "by the front end", see, "ingress is internal", route.as_str()];
        says(&ran, "call", "failure", &parts);
        assert_eq!(found(&ran, "call")["facts"]["answered_by"], "front end");
    }
}

#[test]
fn a_services_own_refusal_is_told_from_the_front_ends() {
    let world = World::default();
    // It wants an upgrade, and says so over the same front end.
    let ran = doctor(&world, &["ws"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "call", "ok", &["426", "the service was reached"]);
    assert_eq!(found(&ran, "call")["facts"]["answered_by"], "service");
}

/// A program that speaks HTTP/2 alone, in the clear or by a certificate of its own.
const ONLY_HTTP2: &str = r#"
set -e
folder=$(mktemp -d)
trap 'kill $clear $tls; rm -rf "$folder"' EXIT
cat >"$folder/clear.py" <<'PYTHON'
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], file=open(sys.argv[1], "w"))
while True:
    peer, _ = listener.accept()
    peer.recv(1)
    peer.sendall(bytes.fromhex("000006040000000000000300000064"))
    peer.recv(65536)
PYTHON
mkfifo "$folder/port"
python3 "$folder/clear.py" "$folder/port" &
clear=$!
"$1" doctor --json api --route "api=http://127.0.0.1:$(cat "$folder/port")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost     -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE     -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
mkfifo "$folder/nothing"
exec 3<>"$folder/nothing"
exec 4< <(exec openssl s_server -accept 0 -alpn h2 -key "$folder/key.pem" \
    -cert "$folder/cert.pem" <&3 2>/dev/null)
tls=$!
until [ "${line%% *}" = ACCEPT ]; do read -r line <&4; done
port=${line##*:}
"$1" doctor --json --ca-file "$folder/cert.pem" api --route "api=https://localhost:$port,token=off"
"#;

#[test]
fn a_service_that_speaks_http2_alone_is_told_from_a_broken_one() {
    let world = laptop(Login::None);
    let mut command = world.sim.command("bash");
    let ran = start(command.args(["-c", ONLY_HTTP2, "bash"]).arg(runsd())).wait();
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 2), "{ran:#?}");
    for line in ran.out.lines() {
        let one = Ran { out: line.to_owned(), err: String::new(), ..ran };
        says(&one, "call", "unknown", &["HTTP/2 alone", "--upstream-http 2 -- curl http://api/"]);
    }
    let ran = doctor(&World::default(), &["grpc"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "call", "unknown", &["HTTP/2 alone", "a gRPC app speaks HTTP/2 by itself"]);
}

#[test]
fn a_clock_that_is_wrong_is_said() {
    let world = World::default();
    for (ahead, verdict, part) in [
        (5, "ok", "agrees"),
        (90, "warning", "s behind that of the metadata server"),
        (-900, "failure", "s ahead of that of the metadata server"),
    ] {
        world.sim.metadata().set_clock(ahead);
        let ran = doctor(&world, &[]);
        says(&ran, "clock", verdict, &[part]);
        assert_eq!(ran.code, Some(i32::from(verdict == "failure")), "{ran:#?}");
    }
}

#[test]
fn a_runsd_at_work_is_asked_as_an_app_asks_it() {
    let world = World::default();
    let own = runsd().display().to_string();
    let ran = world.run(&[], &[&own, "doctor", "--json", "hello"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "mode", "ok", &["a runsd is at work here already"]);
    says(&ran, "dns path", "ok", &["127.0.0.1:53 says hello.run.internal is 127.0.0.1"]);
    let ran = world.run(&[], &[&own, "doctor", "--json", "hel_lo"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "dns path", "failure", &["knows no hel_lo.run.internal", "runsd explain"]);
}

#[test]
fn certificates_that_cannot_be_used_are_said() {
    let world = World::default();
    let ran = doctor(&world, &["--ca-file", "/etc/hostname"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "tls roots", "failure", &["/etc/hostname", "--ca-file"]);
    let ran = doctor(&world, &["--ca-file", "/etc/ssl/certs/ca-certificates.crt"]);
    says(&ran, "tls roots", "ok", &["/etc/ssl/certs/ca-certificates.crt"]);
}

#[test]
fn credentials_have_no_say_on_cloud_run() {
    let world = World::default();
    let mut command = world.command(&["doctor", "--json"], &[]);
    let ran = start(command.env("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")).wait();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "credentials", "warning", &["runsd does not use", "--service-account"]);
    let mut command = world.command(&["doctor", "--json"], &[]);
    let ran = start(command.env("CLOUD_RUN_ID_TOKEN", "a.b.c")).wait();
    says(&ran, "credentials", "warning", &["CLOUD_RUN_ID_TOKEN", "every audience"]);
}

#[test]
fn a_laptop_is_told_what_is_missing() {
    let mut doctor = Command::new(runsd());
    let ran = start(doctor.args(["doctor", "--json"]).env_remove("K_SERVICE")).wait();
    assert!(finding(&ran, "platform").1.contains("--route"), "{ran:#?}");
    says(&ran, "mode", "ok", &["off mode"]);
}

#[test]
fn a_laptop_without_credentials_is_led_to_some() {
    let world = laptop(Login::None);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, Some(0), "nothing is broken yet: {ran:#?}");
    let login = "gcloud auth application-default login --impersonate-service-account=";
    says(&ran, "credentials", "warning", &["there are no credentials", login]);
    let ran = doctor(&world, &["hello"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let parts = ["--route hello=http://localhost:PORT", "gcloud run services describe hello"];
    says(&ran, "url", "failure", &parts);
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:#?}");
    says(&ran, "platform", "ok", &["routes: hello"]);
    says(&ran, "mode", "ok", &["proxy mode"]);
    says(&ran, "token", "failure", &["there are no credentials", login]);
    let ran = world.run_plain(&["explain", "--json", "hello"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "platform", "warning", &["--route hello="]);
    says(&ran, "url", "failure", &["--region REGION --project NUMBER"]);
    let there = ["--region", "us-central1", "--project", "123456789012"];
    let ran = world.run_plain(&[&["explain", "--json", "hello"], &there[..]].concat());
    says(&ran, "url", "ok", &["https://hello-123456789012.us-central1.run.app"]);
    says(&ran, "connection", "ok", &["certificate verified"]);
    says(&ran, "token", "failure", &[login]);
    assert!(world.sim.front().requests().is_empty());
}

#[test]
fn a_laptop_with_credentials_is_told_who_it_is() {
    let world = laptop(Login::Impersonated);
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    says(&ran, "credentials", "ok", &["a user's own login, impersonating", ACCOUNT]);
    says(&ran, "token", "ok", &[ACCOUNT]);
    says(&ran, "clock", "ok", &["the service's front end"]);
    says(&ran, "call", "ok", &["200"]);
    world.sim.front().deny("hello");
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    says(&ran, "call", "failure", &["403", &format!("--member=serviceAccount:{ACCOUNT}")]);
    world.sim.google().end_login(true);
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "token", "failure", &["expired or was revoked", "gcloud auth"]);
    let world = laptop(Login::User);
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    says(&ran, "credentials", "warning", &["one audience", "--impersonate-service-account"]);
    says(&ran, "call", "failure", &["401", "audience"]);
}

#[test]
fn a_laptop_without_a_network_or_a_program_is_told_so() {
    let world = laptop(Login::Key);
    world.sim.dns().script("*", Behaviour::Silent);
    let ran = doctor(&world, &["hello", "--route", ROUTE]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "nameserver", "failure", &["does not answer", "check the network"]);
    says(&ran, "connection", "failure", &["cannot resolve", "check the network"]);
    let ran = doctor(&world, &["api", "--route", "api=http://localhost:9"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    says(&ran, "connection", "failure", &["refused", "is the program at work there"]);
}
