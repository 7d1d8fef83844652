"""Stands in for a router, worker or gateway: serves /ready where it is told to, until SIGTERM.

LORELAY_STAND_IN=fail ends it at once, with a last word.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Ready(BaseHTTPRequestHandler):
    """Says that it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def main() -> None:
    """Serve until told to stop."""
    if os.environ.get("LORELAY_STAND_IN") == "fail":
        sys.exit("no encoder of that name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = HTTPServer(("127.0.0.1", 0), Ready)
    for variable in ("LORELAY_GATEWAY_ADDRESS_FILE", "LORELAY_ADDRESS_FILE"):
        if variable in os.environ:
            Path(os.environ[variable]).write_text(f"127.0.0.1:{server.server_port}\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
