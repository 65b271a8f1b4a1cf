//! On a laptop and in CI: routes lead to local ports and to real services, with
//! the identity of whoever is logged in there. Every kind of credentials meets
//! token endpoints that check it, and the service checks what came of it.

use cloudrun_sim::google::{ACCOUNT, USER};
use cloudrun_sim::{Login, Options};
use runsd_tests::{Ran, World, start};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const URL: &str = "https://hello-123456789012.us-central1.run.app";
const ROUTE: &str = "hello=https://hello-123456789012.us-central1.run.app";

fn laptop(login: Login) -> World {
    World::new(Options { laptop: Some(login), ..Options::default() })
}

/// Calls the service by its name under runsd: body and status.
fn call(world: &World) -> Ran {
    call_with(world, &[])
}

/// The same, with more in the environment.
fn call_with(world: &World, environment: &[(&str, &str)]) -> Ran {
    let app = ["curl", "-sS", "-m", "30", "-w", " %{http_code}", "http://hello/"];
    let mut command = world.command(&["--route", ROUTE], &app);
    start(command.envs(environment.iter().copied())).wait()
}

/// What the front end made of the only request.
fn identity(world: &World) -> (u16, Option<String>, String) {
    let seen = world.sim.front().requests();
    let [seen] = &seen[..] else { panic!("{seen:#?}") };
    (seen.status, seen.audience.clone(), seen.verdict.clone())
}

fn reached(world: &World, ran: &Ran) {
    assert_eq!(ran.ok(), "hello from hello (us-central1)\n 200", "{ran:#?}");
    assert_eq!(identity(world), (200, Some(URL.to_owned()), "token ok".to_owned()));
}

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        // Tests run beside each other, and several name credentials.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("runsd-e2e-laptop-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        Folder(folder)
    }

    /// Writes a credentials file and yields its path.
    fn credentials(&self, document: &Value) -> String {
        self.write("credentials.json", &document.to_string())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same call with a credentials file that the environment names.
fn call_as(world: &World, document: &Value) -> Ran {
    let folder = Folder::new("named");
    call_with(world, &[("GOOGLE_APPLICATION_CREDENTIALS", &folder.credentials(document))])
}

#[test]
fn a_service_accounts_key_signs_for_a_token() {
    let world = laptop(Login::Key);
    let ran = call(&world);
    reached(&world, &ran);
    assert_eq!(ran.err, "");
    assert_eq!(world.sim.google().calls(), [format!("oauth2 assertion target_audience={URL}")]);
}

#[test]
fn a_user_acts_as_a_service_account() {
    let world = laptop(Login::Impersonated);
    reached(&world, &call(&world));
    let calls = world.sim.google().calls();
    let asked = format!("iamcredentials generateIdToken {ACCOUNT} audience={URL}");
    let acted = format!("{USER} acts as {ACCOUNT} by 1 delegates");
    assert_eq!(calls, ["oauth2 refresh".to_owned(), asked, acted]);
}

#[test]
fn a_key_acts_as_another_service_account() {
    let world = laptop(Login::None);
    let ran = call_as(&world, &world.sim.google().impersonated_by_key());
    reached(&world, &ran);
    let calls = world.sim.google().calls();
    assert_eq!(calls[0], "oauth2 assertion scope=https://www.googleapis.com/auth/iam");
    assert_eq!(calls.len(), 3, "{calls:?}");
}

#[test]
fn another_providers_token_in_a_file_is_exchanged() {
    let world = laptop(Login::External);
    reached(&world, &call(&world));
    let calls = world.sim.google().calls();
    assert_eq!(calls[0], "sts exchange scope=https://www.googleapis.com/auth/iam");
    assert!(calls[2].starts_with("principal:ci acts as "), "{calls:?}");
}

#[test]
fn another_providers_token_comes_as_json_and_by_a_url() {
    let world = laptop(Login::None);
    let google = world.sim.google();
    let folder = Folder::new("json");
    let json = json!({ "value": google.subject_token() }).to_string();
    let file = folder.write("token.json", &json);
    let format = json!({ "type": "json", "subject_token_field_name": "value" });
    let mut document = google.credentials(Login::External, Path::new(&file)).expect("credentials");
    document["credential_source"]["format"] = format.clone();
    reached(&world, &call_as(&world, &document));
    document["credential_source"] = json!({
        "url": "http://127.0.0.1:PORT/token?a=b",
        "headers": { "X-Ask": "yes" },
        "format": format,
    });
    // The second by a server whose answers end with the connection.
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        world.sim.front().clear();
        let file = folder.credentials(&document);
        reached(&world, &call_with_provider(&world, version, &json, &file));
    }
}

/// Calls the service while a URL of the machine's own, as those of CI systems and
/// clouds are, gives the answer `json` to whoever has the header by which it knows
/// who asks. `file` names it, with PORT for its port.
fn call_with_provider(world: &World, version: &str, json: &str, file: &str) -> Ran {
    let provider = "
import http.server, os, subprocess, sys, threading
class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = sys.argv[3]
    def do_GET(self):
        known = self.headers['X-Ask'] == 'yes' and self.path == '/token?a=b'
        body = sys.argv[1].encode() if known else b'no'
        self.send_response(200 if known else 403)
        if self.protocol_version != 'HTTP/1.0':
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
text = open(sys.argv[2]).read().replace('PORT', str(server.server_port))
open(sys.argv[2], 'w').write(text)
sys.exit(subprocess.call(sys.argv[4:]))
";
    let runsd = runsd_tests::runsd().display().to_string();
    let app = ["curl", "-sS", "-m", "30", "-w", " %{http_code}", "http://hello/"];
    let mut command = world.sim.command("python3");
    command.args(["-c", provider, json, file, version, &runsd, "--route", ROUTE, "--"]).args(app);
    start(command.env("GOOGLE_APPLICATION_CREDENTIALS", file)).wait()
}

#[test]
fn a_users_own_login_has_one_audience_and_is_warned_of_once() {
    let world = laptop(Login::User);
    let ran = call(&world);
    assert!(ran.ok().ends_with(" 401"), "{ran:#?}");
    let (_, audience, verdict) = identity(&world);
    let audience = audience.expect("a token came along");
    assert_eq!(verdict, "token for another audience");
    assert_eq!(ran.err.matches("--impersonate-service-account=").count(), 1, "{}", ran.err);
    // A service that takes this audience as one of its own takes the token.
    let audiences = vec![("hello".to_owned(), audience.clone())];
    let options = Options { laptop: Some(Login::User), audiences, ..Options::default() };
    let world = World::new(options);
    assert!(call(&world).ok().ends_with(" 200"));
    assert_eq!(identity(&world), (200, Some(audience), "token ok".to_owned()));
}

#[test]
fn a_simulation_without_namespaces_serves_every_login_too() {
    for login in [Login::Key, Login::Impersonated, Login::External] {
        let options = Options { laptop: Some(login), loopback: true, ..Options::default() };
        let world = World::new(options);
        let ran = call(&world);
        reached(&world, &ran);
        assert!(!world.sim.google().calls().is_empty());
    }
}

#[test]
fn without_credentials_the_way_to_get_some_is_said() {
    let world = laptop(Login::None);
    for silent in [false, true] {
        world.sim.metadata().silent(silent);
        world.sim.metadata().absent(!silent);
        let ran = call(&world);
        assert!(ran.ok().ends_with(" 503"), "{ran:#?}");
        for part in
            ["there are no credentials", "application_default_credentials.json", "gcloud auth"]
        {
            assert!(ran.out.contains(part), "no {part:?}: {ran:#?}");
        }
    }
    assert!(world.sim.front().requests().is_empty(), "nothing went out without a token");
}

#[test]
fn a_machine_with_a_metadata_server_needs_no_file() {
    let world = laptop(Login::None);
    world.sim.metadata().absent(false);
    world.sim.metadata().fail_tokens(2, 503);
    reached(&world, &call(&world));
    assert_eq!(world.sim.metadata().token_fetches(), 3, "what passes is tried again");
}

#[test]
fn a_file_that_is_named_and_missing_is_not_passed_over() {
    let world = laptop(Login::Key);
    let ran = call_with(&world, &[("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json")]);
    assert!(ran.ok().ends_with(" 503"), "{ran:#?}");
    assert!(ran.out.contains("/no/such/file.json, which GOOGLE_APPLICATION_CREDENTIALS names"));
    assert!(world.sim.google().calls().is_empty());
}

#[test]
fn gclouds_own_folder_may_be_elsewhere() {
    let world = laptop(Login::None);
    let folder = Folder::new("sdk");
    let document = world.sim.google().credentials(Login::Key, Path::new("")).expect("a key");
    folder.write("application_default_credentials.json", &document.to_string());
    let place = folder.0.display().to_string();
    reached(&world, &call_with(&world, &[("CLOUDSDK_CONFIG", &place)]));
}

#[test]
fn what_has_ended_or_is_not_permitted_is_said_with_the_remedy() {
    for (login, spoil, parts) in [
        (
            Login::Key,
            (|world: &World| world.sim.google().delete_key(true)) as fn(&World),
            ["Invalid JWT Signature", "gcloud iam service-accounts keys create"],
        ),
        (
            Login::User,
            |world| world.sim.google().end_login(true),
            ["Token has been expired or revoked", "gcloud auth application-default login"],
        ),
        (
            Login::Impersonated,
            |world| world.sim.google().deny_acting(true),
            ["PERMISSION_DENIED", "roles/iam.serviceAccountOpenIdTokenCreator"],
        ),
    ] {
        let world = laptop(login);
        spoil(&world);
        let ran = call(&world);
        assert!(ran.ok().ends_with(" 503"), "{login:?}: {ran:#?}");
        assert_eq!(world.sim.front().requests(), []);
        for part in parts {
            assert!(ran.out.contains(part), "{login:?}, no {part:?}: {}", ran.out);
        }
    }
}

#[test]
fn an_endpoint_that_fails_for_a_while_is_asked_again() {
    let world = laptop(Login::Key);
    world.sim.google().fail_next(3, 503);
    reached(&world, &call(&world));
}

#[test]
fn a_hostile_file_gets_no_secret_anywhere_else() {
    let world = laptop(Login::None);
    let google = world.sim.google();
    let folder = Folder::new("hostile");
    let secret = folder.write("secret", "a local secret");
    let key = google.credentials(Login::Key, Path::new("")).expect("a key");
    let user = google.credentials(Login::User, Path::new("")).expect("a login");
    let external = google.credentials(Login::External, Path::new(&secret)).expect("a file");
    for (document, field) in [
        (&key, "token_uri"),
        (&user, "token_uri"),
        (&external, "token_url"),
        (&external, "service_account_impersonation_url"),
    ] {
        for host in ["https://example.com", "http://oauth2.googleapis.com"] {
            let mut document = document.clone();
            document[field] = format!("{host}/serviceAccounts/a@b:generateAccessToken").into();
            let ran = call_as(&world, &document);
            assert!(ran.ok().ends_with(" 503") && ran.out.contains(field), "{field}: {ran:#?}");
        }
    }
    assert!(world.sim.front().external().is_empty());
    assert!(google.calls().is_empty());
}

#[test]
fn no_secret_of_a_login_is_in_any_log() {
    for login in [Login::Key, Login::User, Login::Impersonated, Login::External] {
        let world = laptop(login);
        let google = world.sim.google();
        let app = ["curl", "-sS", "-m", "30", "http://hello/"];
        let mut said = world.run(&["--log-level=trace", "--route", ROUTE], &app).err;
        // And when everything is refused.
        google.end_login(true);
        google.delete_key(true);
        google.deny_acting(true);
        let ran = world.run(&["--log-level=trace", "--route", ROUTE], &app);
        said += &(ran.err + &ran.out);
        said += &world.run_plain(&["explain", "hello", "--route", ROUTE]).out;
        assert!(said.contains("hello"), "{said}");
        for secret in ["PRIVATE KEY", "eyJ", "ya29", "SIMULATED-", google.subject_token()] {
            assert!(!said.contains(secret), "{login:?}: {secret} in {said}");
        }
    }
}

#[test]
fn on_cloud_run_the_instance_is_who_calls() {
    let world = World::default();
    let document = world.sim.google().credentials(Login::Key, Path::new("")).expect("a key");
    let ran = call_as(&world, &document);
    reached(&world, &ran);
    assert!(world.sim.google().calls().is_empty());
    assert_eq!(world.sim.metadata().token_fetches(), 1);
}
