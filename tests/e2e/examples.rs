//! The examples of `docs/examples` that have no cloud: an app with and without
//! Docker, and its tests in CI. There is no Docker here, so a compose file's
//! containers are processes of one machine, by the very commands, environment and
//! files that it gives.

use cloudrun_sim::{Behaviour, Login, Options};
use runsd_tests::{Ran, World, root, runsd, start};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

const COMPOSE: &str = "docs/examples/compose";

fn python() -> Command {
    Command::new(root().join(".venv/bin/python"))
}

/// A YAML file of the examples.
fn yaml(path: &str) -> Value {
    let script = "import json, sys, yaml\n\
                  print(json.dumps(yaml.load(open(sys.argv[1]), yaml.BaseLoader)))";
    let ran = start(python().args(["-c", script]).arg(root().join(path))).wait();
    serde_json::from_str(ran.ok()).expect("JSON")
}

/// What the published schema of settings says of a file.
fn judged(path: &str) -> Ran {
    let mut judge = python();
    judge.arg(root().join("tests/apps/judge_schema.py"));
    start(judge.arg(root().join("docs/runsd.schema.json")).arg(root().join(path))).wait()
}

fn words(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("a list of texts")
}

/// The list behind an instruction of a Dockerfile, which is JSON.
fn instruction(dockerfile: &str, word: &str) -> Vec<String> {
    let line = dockerfile.lines().find_map(|line| line.strip_prefix(word));
    let list = line.unwrap_or_else(|| panic!("no {word} in {dockerfile}"));
    serde_json::from_str(list.trim()).expect("a JSON list")
}

#[test]
fn the_tests_for_ci_pass_as_they_are_written() {
    let own = runsd();
    let own = own.parent().expect("a folder").to_owned();
    assert!(own.join("cloudrun-sim").exists(), "build it first: cargo build --workspace");
    let known = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&known)));
    let mut pytest = python();
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "docs/examples/ci"]);
    pytest
        .current_dir(root())
        .env("PATH", path.expect("paths"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = start(&mut pytest).wait();
    assert!(ran.ok().contains("3 passed"), "{ran:#?}");
}

#[test]
fn the_workflow_names_what_is_there() {
    let workflow = yaml("docs/examples/ci/github-actions.yml");
    let mut configs = 0;
    for job in ["without-a-cloud", "against-real-services"] {
        for step in workflow["jobs"][job]["steps"].as_array().expect("steps") {
            let run = step["run"].as_str().unwrap_or_default();
            let mut words = run.split_whitespace().peekable();
            while let Some(word) = words.next() {
                match (word, words.peek()) {
                    ("pytest", Some(path)) => assert!(root().join(path).is_dir(), "{path}"),
                    ("--config", Some(path)) => {
                        configs += 1;
                        assert_eq!(judged(path).ok(), "valid\n", "{path}");
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(configs, 2);
}

/// The processes of the compose file: their argv and their environment here.
struct Container {
    argv: Vec<String>,
    env: Vec<(String, String)>,
}

/// What `compose.yaml` says of a container; paths inside are those of the files
/// that are mounted or copied there.
fn container(service: &Value, credentials: &Path) -> Container {
    let folder = root().join(COMPOSE);
    let mut inside: Vec<(String, PathBuf)> =
        vec![("/run/secrets/credentials".to_owned(), credentials.to_owned())];
    for volume in service["volumes"].as_array().into_iter().flatten() {
        let parts: Vec<&str> = volume.as_str().expect("a text").split(':').collect();
        assert_eq!(parts[2], "ro", "{volume}");
        inside.push((parts[1].to_owned(), folder.join(parts[0])));
    }
    let argv = match service["build"]["dockerfile_inline"].as_str() {
        Some(dockerfile) => {
            let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
            for (from, to) in copies.filter_map(|copy| copy.split_once(' ')) {
                let from = if from == "runsd" { runsd() } else { folder.join(from) };
                inside.push((to.to_owned(), from));
            }
            [instruction(dockerfile, "ENTRYPOINT"), instruction(dockerfile, "CMD")].concat()
        }
        None => words(&service["command"]),
    };
    let here = |text: &str| {
        let found = inside.iter().find(|(known, _)| known == text);
        found.map_or_else(|| text.to_owned(), |(_, path)| path.display().to_string())
    };
    for (path, file) in &inside {
        assert!(file.exists(), "{path} is {}", file.display());
    }
    let env = service["environment"].as_object().into_iter().flatten();
    Container {
        argv: argv.iter().map(|word| here(word)).collect(),
        env: env
            .map(|(name, value)| (name.clone(), here(value.as_str().expect("a text"))))
            .collect(),
    }
}

#[test]
fn the_compose_file_runs_the_app_that_goes_to_cloud_run() {
    for file in ["compose.json", "laptop.json"] {
        assert_eq!(judged(&format!("{COMPOSE}/{file}")).ok(), "valid\n", "{file}");
    }
    let compose = yaml(&format!("{COMPOSE}/compose.yaml"));
    let home = "${HOME}/.config/gcloud/application_default_credentials.json";
    assert_eq!(compose["secrets"]["credentials"]["file"], home);
    let world = World::new(Options { laptop: Some(Login::Impersonated), ..Options::default() });
    let variables = world.sim.environment();
    let home = variables.iter().find(|(name, _)| name == "HOME").expect("a home");
    let credentials =
        Path::new(&home.1).join(".config/gcloud/application_default_credentials.json");
    // Docker's nameserver knows the other containers.
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    world.sim.dns().script("orders", Behaviour::Address(vec![here]));
    let orders = container(&compose["services"]["orders"], &credentials);
    let shop = container(&compose["services"]["shop"], &credentials);
    assert_eq!(shop.argv[0], runsd().display().to_string());
    let quoted =
        |argv: &[String]| argv.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "{} & orders=$!; {} & shop=$!; for port in 8081 8080; do \
         until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.05; done; done; \
         curl -sS http://127.0.0.1:8080/; kill $orders $shop; wait",
        quoted(&orders.argv),
        quoted(&shop.argv)
    );
    let mut command = world.sim.command("bash");
    command.args(["-c", &script]).envs(shop.env);
    let ran = start(&mut command).wait();
    assert_eq!(ran.out, "orders, without a token\nhello from billing (us-central1)\n", "{ran:#?}");
    let seen = world.sim.front().requests();
    assert_eq!((seen.len(), seen[0].verdict.as_str()), (1, "token ok"));
}
