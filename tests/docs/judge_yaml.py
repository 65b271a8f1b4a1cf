"""Judges a Cloud Run YAML by the fields the platform knows: judge_yaml.py FILE

Prints it as JSON. Beside the schema: names that other fields refer to are
there, exactly one container takes the requests, and no variable comes twice.
"""

import json
import pathlib
import sys

# Where this is installed, jsonschema makes a parser of it that nobody asks for
# here: two seconds of computing for each file that is judged.
sys.modules["rfc3987_syntax"] = None

import jsonschema
import yaml

SCHEMA = json.loads(pathlib.Path(__file__).with_name("cloud_run.schema.json").read_text())


def containers(said):
    template = said["spec"]["template"]
    return template["spec"].get("containers") or template["spec"]["template"]["spec"]["containers"]


def judge(said):
    jsonschema.validate(said, SCHEMA, jsonschema.Draft202012Validator)
    all_of_them = containers(said)
    names = [one["name"] for one in all_of_them]
    assert len(set(names)) == len(names), names
    for one in all_of_them:
        variables = [each["name"] for each in one.get("env", [])]
        assert len(set(variables)) == len(variables), variables
    if said["kind"] == "Service":
        entrances = [one["name"] for one in all_of_them if "ports" in one]
        assert len(entrances) == 1, f"one container takes the requests, not {entrances}"
        annotations = said["spec"]["template"].get("metadata", {}).get("annotations", {})
        waits = json.loads(annotations.get("run.googleapis.com/container-dependencies", "{}"))
        for name in [*waits, *(other for others in waits.values() for other in others)]:
            assert name in names, f"there is no container {name}"
        for name in {other for others in waits.values() for other in others}:
            [waited_for] = [one for one in all_of_them if one["name"] == name]
            assert "startupProbe" in waited_for, f"{name} is waited for without a probe"
    return all_of_them


text = pathlib.Path(sys.argv[1]).read_text()
print(json.dumps(judge(yaml.safe_load(text))))
