//! The examples of images and of Cloud Run's YAML do what they say: their
//! files are put together as they tell, and their command lines run.

use crate::page::files;
use crate::roots::{Root, Stage, copy, stages};
use cloudrun_sim::Options;
use runsd_tests::{Ran, World, finish, root, runsd, start};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXAMPLES: &str = "docs/examples";

fn dist() -> PathBuf {
    let path = root().join("target/dist/runsd");
    assert!(path.exists(), "make command comes first");
    path
}

/// The app of the images: a static program that fetches the URL it is given.
fn app(name: &str) -> PathBuf {
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{name}"));
    let mut command = Command::new("musl-gcc");
    command.args(["-static", "-O1", "-o"]).arg(&made);
    finish(command.arg(root().join("tests/init/programs/fetch.c"))).ok();
    made
}

/// Where a file of the build context, or of another stage, comes from here.
fn source(stage: Option<&Stage>, name: &str, app: &Path) -> PathBuf {
    let made_elsewhere = match (stage, name) {
        (None, "app") => Some(app.to_owned()),
        (None, "runsd") => Some(dist()),
        (None, _) => None,
        (Some(stage), name) => {
            let made = name.rsplit('/').next().unwrap_or_default();
            let runs: Vec<&str> = stage
                .instructions
                .iter()
                .filter(|one| one.word == "RUN")
                .map(|one| one.rest.as_str())
                .collect();
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folder = folder.strip_suffix("/bin").unwrap_or(folder);
            assert!(runs.iter().any(|run| run.contains(folder)), "{name} is made by no RUN");
            Some(if made == "runsd" { dist() } else { app.to_owned() })
        }
    };
    made_elsewhere.unwrap_or_else(|| root().join(EXAMPLES).join(name))
}

/// The image of a Dockerfile, as a folder, and its last stage.
fn image(world: &World, file: &str) -> (Root, Stage) {
    let text = fs::read_to_string(root().join(file)).expect("an example");
    let mut all = stages(&text);
    let name = file.rsplit('/').next().unwrap_or_default();
    let (made, app) = (Root::new(name), app(name));
    // What the container's runtime adds, and the simulation's certificates.
    made.put("etc/resolv.conf", world.sim.resolv_conf());
    made.put("etc/hosts", "127.0.0.1 localhost\n");
    made.put("ca.pem", world.sim.ca_pem());
    let last = all.pop().expect("a stage");
    for stage in all.iter().chain([&last]) {
        for line in stage.instructions.iter().filter(|one| one.word == "COPY") {
            let (from, what, to) = copy(line);
            let from = from.map(|name| {
                let found = all.iter().find(|stage| stage.name.as_deref() == Some(&name));
                found.unwrap_or_else(|| panic!("{file}: there is no stage {name}"))
            });
            for one in what {
                let path = source(from, &one, &app);
                assert!(path.exists(), "{file}: COPY {one}: there is no {}", path.display());
                if std::ptr::eq(stage, &last) {
                    made.copy(&path, &to);
                }
            }
        }
    }
    (made, last)
}

/// Runs an image as a container: ENTRYPOINT, CMD and one argument more.
fn run_image(world: &World, file: &str, argument: &str) -> Ran {
    let (made, last) = image(world, file);
    let user = last.last("USER").map_or("0:0", |user| user.rest.as_str());
    let script = "mount --bind \"$1\" \"$1\" && exec chroot --userspec=\"$2\" \"$1\" \"${@:3}\"";
    let mut command = world.sim.command("unshare");
    command.env("SSL_CERT_FILE", "/ca.pem").env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin");
    command.args(["-m", "bash", "-c", script, "bash"]).arg(&made.0).arg(user);
    start(command.args(last.argv()).arg(argument)).wait()
}

#[test]
fn every_image_reaches_a_service_by_name() {
    let mut judged = 0;
    for file in files(EXAMPLES, "Dockerfile") {
        // The sidecar has no app, and what is composed has tests of its own.
        if file.ends_with("sidecar.Dockerfile") || file.contains("/compose/") {
            continue;
        }
        let world = World::default();
        let ran = run_image(&world, &file, "http://hello/");
        let expected = match file.rsplit('/').next() {
            Some("nonroot.Dockerfile") => "200 as 65534:65534 by proxy",
            Some("distroless.Dockerfile") => "200 as 65532:65532",
            _ => "200 as 0:0",
        };
        assert_eq!((ran.code, ran.out.trim()), (Some(0), expected), "{file}: {ran:#?}");
        let served = world.sim.front().requests();
        assert_eq!(served.len(), 1, "{file}: {served:?}");
        judged += 1;
    }
    assert!(judged >= 5, "{judged} images");
}

#[test]
fn the_multi_stage_image_builds_what_it_copies() {
    let text = fs::read_to_string(root().join(EXAMPLES).join("multi-stage.Dockerfile"));
    let text = text.expect("an example");
    // The app compiles as its stage says.
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("example-app");
    let build = "CGO_ENABLED=0 go build -o /out/app .";
    assert!(text.contains(build), "another command builds the app");
    let mut command = Command::new("bash");
    command.current_dir(root().join(EXAMPLES)).env("GOFLAGS", "-mod=mod");
    let venv = root().join(".venv/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{}", venv.display()));
    command.args(["-c", &build.replace("/out/app", &out.display().to_string())]);
    finish(&mut command).ok();
    assert!(out.exists());
    // runsd is compiled for the target that `make command` compiles it for.
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    for part in ["-C target-feature=+crt-static", "--target"] {
        assert!(text.contains(part) && makefile.contains(part), "{part}");
    }
}

/// What the judge, who knows Cloud Run's fields, makes of a file.
fn containers(file: &str) -> Vec<Value> {
    let mut command = Command::new(root().join(".venv/bin/python"));
    command.arg(root().join("tests/docs/judge_yaml.py")).arg(root().join(file));
    let judged = finish(&mut command);
    serde_json::from_str(judged.ok()).expect("the judge prints JSON")
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn environment(container: &Value) -> Vec<(String, String)> {
    let list = container["env"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.map(|one| (text(&one["name"]), text(&one["value"]))).collect()
}

/// The app of a container, under runsd where its image has one: curl.
fn call(world: &World, container: &Value, has_runsd: bool, name: &str) -> Ran {
    let mut command =
        if has_runsd { world.sim.command(runsd()) } else { world.sim.command("curl") };
    if has_runsd {
        command.args(["--", "curl"]);
    }
    command.args(["-sS", "-w", " %{http_code}", &format!("http://{name}/")]);
    // A strict one waits 2 s to learn where it is, which a busy machine may need.
    command.env("RUNSD_REGION", "us-central1").env("RUNSD_PROJECT", "123456789012");
    command.envs(environment(container));
    start(&mut command).wait()
}

#[test]
fn every_service_and_job_calls_what_it_may() {
    let mut judged = 0;
    for file in files(EXAMPLES, ".yaml") {
        if file.contains("/compose/") {
            continue;
        }
        let all = containers(&file);
        if let [alone] = all.as_slice() {
            let services = vec!["orders".to_owned()];
            let world = World::new(Options { services, ..Options::default() });
            let ran = call(&world, alone, true, "orders");
            assert!(ran.ok().ends_with(" 200"), "{file}: {ran:#?}");
        }
        judged += 1;
    }
    assert!(judged >= 3, "{judged} files");
}

#[test]
fn the_sidecar_is_ready_when_its_probe_says_so() {
    let all = containers("docs/examples/service-sidecar.yaml");
    let [app, sidecar] = all.as_slice() else { panic!("two containers") };
    let world = World::default();
    let arguments = strings(&sidecar["args"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let running = start(&mut world.command(&arguments, &[]));
    let probe = &sidecar["startupProbe"]["httpGet"];
    let (path, port) = (&probe["path"], &probe["port"]);
    let url = format!("http://127.0.0.1:{port}{}", path.as_str().unwrap_or_default());
    // As the platform does: once a second, until it is answered well.
    let asks = ["-sS", "-f", "--retry", "30", "--retry-delay", "1", "--retry-connrefused", &url];
    start(world.sim.command("curl").args(asks)).wait().ok();
    let ran = call(&world, app, false, "hello");
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
}
