"""`httpx` against many services, over the version of HTTP that is named; prints
each check it passed."""

import sys

import http_checks
import httpx


class Client(httpx.Client):
    def body(self, content):
        return {"content": content}


version = sys.argv[1]
with Client(http1=version == "1", http2=version == "2", timeout=30) as client:
    assert client.get("http://hello/").http_version == ("HTTP/2" if version == "2" else "HTTP/1.1")
    http_checks.run(client, {"follow_redirects": True})
