"""Server-sent events, each of which is acknowledged before the next one is sent."""

import sys

import httpx

version = sys.argv[1]
with httpx.Client(http1=version == "1", http2=version == "2", timeout=30) as client:
    with client.stream("GET", "http://sse/?n=100&gate=events") as response:
        assert response.headers["content-type"] == "text/event-stream"
        for line in response.iter_lines():
            if line.startswith("data: "):
                print(line.removeprefix("data: "))
                assert client.get("http://gate/?id=events").status_code == 204
