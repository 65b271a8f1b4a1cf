"""A service that calls two others by their names, as it does on Cloud Run."""

import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        answers = []
        for name in ("orders", "billing"):
            with urllib.request.urlopen(f"http://{name}/", timeout=20) as answer:
                answers.append(answer.read().decode().strip())
        body = "\n".join(answers).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


port = int(os.environ.get("PORT", "8080"))
ThreadingHTTPServer(("", port), Shop).serve_forever()
