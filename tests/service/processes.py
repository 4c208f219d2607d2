"""A service in a process of its own, as an operator starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from tests.service.conftest import TOKEN


def _free():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Served:
    """`lambda-search serve`, ended at the end of a `with`."""

    def __init__(self, store, *options, token=TOKEN, port=0):
        self.port = port or _free()
        self.address = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "lambda_search", "serve", "--port", str(self.port)]
        environment = {**os.environ, "LAMBDA_SEARCH_STORE": store}
        if token:
            environment["LAMBDA_SEARCH_TOKEN"] = token
        self.process = subprocess.Popen(
            [*command, *options], env=environment, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.get("/v1/allowed")
                return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        self.process.kill()
        raise AssertionError(self.process.communicate()[1])

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def get(self, path, **headers):
        request = urllib.request.Request(self.address + path, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def end(self, seconds=30):
        """Ends it as service managers do; its exit code and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=seconds)
        return self.process.returncode, told
