"""Types and settings: what editors are told is what is there."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runsd

PYTHON = Path(__file__).resolve().parent.parent
CHECKOUT = PYTHON.parent


@pytest.mark.parametrize(
    "checker",
    [
        ["mypy", "--strict", "runsd", "tests"],
        ["mypy.stubtest", "--allowlist=tests/stubtest.txt", "runsd"],
        ["basedpyright", "--level=error", "--project=tests/pyright.json"],
    ],
    ids=["mypy", "stubtest", "pyright"],
)
def test_types(checker: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PYTHON)}
    command = [sys.executable, "-m", *checker]
    done = subprocess.run(
        command, cwd=PYTHON, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_are_the_settings_of_the_command() -> None:
    table = (CHECKOUT / "core/src/settings/table.rs").read_text(encoding="utf-8")
    rows = re.findall(
        r"^    (value|flag|list|process)\((?:value\(|flag\()?\s*"
        r'(?:"(\w+)"|\(\s*"\w+",\s*"(\w+)"\s*\))',
        table.split("pub static SETTINGS", 1)[1],
        re.M,
    )
    keys = {key or plural for kind, key, plural in rows if kind != "process"}
    assert len(keys) > 20, rows
    parameters = inspect.signature(runsd.start).parameters
    named = {name for name, kind in parameters.items() if kind.kind is kind.KEYWORD_ONLY}
    # How lines look is for logging to say.
    assert named == keys - {"log_format"} | {"config"}
