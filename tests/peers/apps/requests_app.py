"""`requests` against many services; prints each check it passed."""

import http_checks
import requests


class Client(requests.Session):
    def body(self, content):
        return {"data": content}

    def request(self, *arguments, **options):
        return super().request(*arguments, timeout=30, **options)


with Client() as client:
    http_checks.run(client, {"allow_redirects": True})
