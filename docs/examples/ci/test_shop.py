"""Tests of the shop in CI, without a cloud: the simulated Cloud Run runs it."""

import json
import subprocess
from pathlib import Path

import pytest

SHOP = Path(__file__).parent.parent / "compose"
BILLING = "https://billing-123456789012.us-central1.run.app"
CALL = """
python3 orders.py 8081 & orders=$!
{runsd} python3 shop.py & shop=$!
for port in 8081 8080; do
    until (exec 3<>/dev/tcp/localhost/$port) 2>/dev/null; do sleep 0.1; done
done
curl -sS http://localhost:8080/
kill $orders $shop
"""


@pytest.fixture
def simulated(tmp_path):
    """Runs a script in a simulation; returns its output and what the services saw."""

    def run(script, *options):
        record = tmp_path / "requests.json"
        command = ["cloudrun-sim", *options, "--requests-json", record, "--", "bash", "-c", script]
        ran = subprocess.run(
            command, cwd=SHOP, capture_output=True, text=True, timeout=60, check=True
        )
        return ran.stdout, json.loads(record.read_text())["requests"]

    return run


def test_on_cloud_run_both_are_services(simulated):
    output, requests = simulated(CALL.format(runsd="runsd --"))
    assert output == "hello from orders (us-central1)\nhello from billing (us-central1)\n"
    assert {request["check"] for request in requests} == {"token ok"}


def test_on_a_laptop_one_is_a_local_port_and_one_real(simulated):
    output, [billing] = simulated(
        CALL.format(runsd="runsd --config laptop.json --"), "--laptop=impersonated"
    )
    assert output == "orders, without a token\nhello from billing (us-central1)\n"
    assert billing["audience"] == BILLING
    assert billing["status"] == 200


def test_the_shop_is_told_when_it_may_not_call(simulated):
    output, requests = simulated(CALL.format(runsd="runsd --"), "--deny", "billing")
    assert output == ""
    assert [(request["service"], request["status"]) for request in requests] == [
        ("orders", 200),
        ("billing", 403),
    ]
