"""A service that runs beside the shop, on a port of this machine."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Orders(BaseHTTPRequestHandler):
    def do_GET(self):
        known = "Authorization" in self.headers
        body = f"orders, {'with' if known else 'without'} a token\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("", int(sys.argv[1])), Orders).serve_forever()
