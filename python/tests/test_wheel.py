"""The wheel: what ``pip install`` gives."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import conftest
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
import runsd
with runsd.start(mode="proxy") as engine:
    print(engine.proxy_url, runsd.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has nothing but the wheel, of this build."""
    folder = tmp_path_factory.mktemp("wheel")
    target = Path(os.environ.get("CARGO_TARGET_DIR", CHECKOUT / "target"))
    build = [CHECKOUT / "python/wheel", target / "debug/runsd", folder]
    options = ["--profile=dev", "--compatibility=linux", f"--interpreter={sys.executable}"]
    subprocess.run([*map(str, build), *options], check=True)
    (wheel,) = folder.glob("*.whl")
    assert "cp310-abi3" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".pyc", ".rs", ".toml"))], names
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    return python


def said(*command: str | Path) -> str:
    environment = conftest.plain_environment()
    del environment["PYTHONPATH"]
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=conftest.LIMIT,
        check=True,
    ).stdout


def test_it_has_the_package(installed: Path) -> None:
    url, file = said(installed, "-c", PROGRAM).split()
    assert url.startswith("http://127.0.0.1:")
    assert Path(file).is_relative_to(installed.parent.parent)


def test_it_has_the_command(installed: Path) -> None:
    direct = said(installed.parent / "runsd", "--version")
    assert direct.startswith("runsd ")
    assert said(installed, "-m", "runsd", "--version") == direct


def test_the_module_leaves_signals_as_the_command_does(installed: Path) -> None:
    ignored = ["--", "grep", "SigIgn", "/proc/self/status"]
    direct = said(installed.parent / "runsd", *ignored)
    # What started the tests may ignore some; nothing is added to that.
    assert direct == said(*ignored[1:])
    assert said(installed, "-m", "runsd", *ignored) == direct
