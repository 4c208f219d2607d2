"""A service that a browser can reach, in a thread of this process."""

import threading
import time
from contextlib import contextmanager

import uvicorn

from lambda_search.service.app import create_app
from lambda_search.service.settings import Settings


@contextmanager
def reachable(**settings):
    """A service on a free port of this machine; its address."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(Settings(**settings)), port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def follow(browser, **options):
    """A new page of a browser; errors, and what is asked of others, are collected."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "console",
        lambda told: page.problems.append(told.text) if told.type == "error" else None,
    )
    page.on(
        "request",
        lambda asked: (
            page.problems.append(asked.url)
            if not asked.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else None
        ),
    )
    return page
