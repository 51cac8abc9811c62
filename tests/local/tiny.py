"""A tiny real program: serves GET /health/ready on its port until it is told to end. `tiny.py PORT [stubborn]`."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()


if __name__ == "__main__":
    stubborn = "stubborn" in sys.argv
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: sys.exit(0))
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
