#!/usr/bin/env python
"""Pictures of the service's pages, from a store that is simulated for them: they stay true.

    python scripts/screenshots.py FOLDER            # every page: wide, on a phone, dark
    python scripts/screenshots.py FOLDER --readme   # the two small ones that README shows

They need Chromium. They show an empty store, a full one, a failed study, one that nobody drives.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import typer
import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from lambda_search.service.app import create_app
from lambda_search.service.settings import Settings
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.filled import MODEL
from tests.service.filled import fill
from tests.service.filled import spec

TOKEN = "of-the-pictures"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 760}
LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": WIDE},
    "phone": {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
}


def main(
    folder: Path,
    only: Annotated[list[str] | None, typer.Argument(help="Of these pages alone.")] = None,
    readme: Annotated[bool, typer.Option("--readme")] = False,
) -> None:
    """Take pictures of the service's pages."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        full = Store(f"sqlite:///{place}/full.db")
        found, claim = fill(full, pictures())
        threading.Thread(target=_drive, args=(full, claim), daemon=True).start()
        row = found[20].id[:12]
        if readme:
            with served(f"sqlite:///{place}/full.db") as address:
                looked = {"viewport": {"width": 1000, "height": 760}}
                for name, path in {
                    "model": f"/models/{MODEL}",
                    "study": "/studies/photos-100",
                }.items():
                    _take(chromium, address + path, folder / f"{name}.png", looked, whole=False)
                    _shrink(folder / f"{name}.png")
            return
        pages = {
            "models": "/",
            "found": "/?q=photos&steps=20",
            "none": "/?q=nobody-knows-it",
            "model": f"/models/{MODEL}",
            "published": "/models/adm-cifar10",
            "row": f"/rows/{row}",
            "retracted": f"/rows/{found['retracted'].id[:12]}",
            "superseded": f"/rows/{found['superseded'].id[:12]}",
            "compare": f"/compare?a={row}&b={found['superseded'].id[:12]}",
            "incomparable": f"/compare?a={row}&b={found[50].id[:12]}",
            "studies": "/studies",
            "running": "/studies/photos-100",
            "done": "/studies/photos-20",
            "failed": "/studies/faces-20",
            "queued": "/studies/waits",
            "new": "/studies/new",
            "evidence": "/evidence",
            "login": "/login",
            "missing": "/models/nobody",
        }
        with served(f"sqlite:///{place}/full.db") as address:
            for name, path in pages.items():
                if only and name not in only:
                    continue
                for look, options in LOOKS.items():
                    _take(chromium, address + path, folder / f"{name}-{look}.png", options)
            if not only or "refused" in only:
                _take_form(chromium, address, folder / "refused-wide.png")
        if only and not {"empty", "nobody"} & set(only):
            return
        waiting = Store(f"sqlite:///{place}/waiting.db")
        with served(f"sqlite:///{place}/waiting.db") as address:
            for look, options in LOOKS.items():
                _take(chromium, f"{address}/", folder / f"empty-{look}.png", options)
            Queue(waiting).submit("waits", spec("waits"))
            for look, options in LOOKS.items():
                for name, path in {"nobody": "/studies", "nobody-study": "/studies/waits"}.items():
                    _take(chromium, address + path, folder / f"{name}-{look}.png", options)
        chromium.close()


def pictures() -> tuple[bytes, bytes]:
    """Sheets of smooth blobs that stand for images: with more noise, and with less."""
    noise = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:32] / 31
    cells = []
    for _ in range(32):
        blob = sum(
            np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))[..., None] * colour
            for cx, cy, size, colour in (
                (*noise.uniform(0.2, 0.8, 2), noise.uniform(0.1, 0.3), noise.uniform(0, 1, 3))
                for _ in range(4)
            )
        )
        cells.append(np.clip(blob, 0, 1))
    sheets = []
    for strength in (0.16, 0.05):
        noisy = [np.clip(c + strength * noise.standard_normal(c.shape), 0, 1) for c in cells]
        sheet = np.concatenate(
            [np.concatenate(noisy[place : place + 8], axis=1) for place in range(0, 32, 8)]
        )
        content = BytesIO()
        Image.fromarray((255 * sheet).astype(np.uint8)).save(content, "PNG")
        sheets.append(content.getvalue())
    return sheets[0], sheets[1]


def _drive(store: Store, claim: Any) -> None:
    """Keeps the study that runs its driver's, as a driver does."""
    while Queue(store).keep_up([claim.lease]) == []:
        time.sleep(5)


@contextmanager
def served(store: str) -> Iterator[str]:
    """A service on this machine; its address."""
    app = create_app(Settings(store=store, token=TOKEN))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _take(
    chromium: Any, address: str, file: Path, options: dict[str, Any], whole: bool = True
) -> None:
    context = chromium.new_context(**options)
    page = context.new_page()
    page.goto(address)
    for figure in page.locator("[data-figure]").all():
        figure.locator(".main-svg").first.wait_for()
    page.wait_for_timeout(300)
    page.screenshot(path=file, full_page=whole)
    context.close()


def _take_form(chromium: Any, address: str, file: Path) -> None:
    """A study file with mistakes in it, refused line by line."""
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(f"{address}/login?next=/studies/new")
    page.fill("#token", TOKEN)
    page.click("main button")
    page.fill("#study", spec("wrong").replace("ddim", "dimm").replace("trials: 40", "trials: -1"))
    page.click("text=Queue it")
    page.locator("#wrong").wait_for()
    page.screenshot(path=file, full_page=True)
    context.close()


def _shrink(file: Path) -> None:
    with Image.open(file) as opened:
        opened.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    typer.run(main)
