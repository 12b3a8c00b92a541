"""Debian's chromium, driven by Playwright, that speaks to nobody but the page under test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

# No sandbox, because root has none; the rest keeps it from asking its maker for updates and the like.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
TIMEOUT_MS = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile. Raises FileNotFoundError where there is none."""
    binary = shutil.which("chromium")
    if binary is None:
        raise FileNotFoundError("chromium is not on PATH: run scripts/install-system.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=list(ARGUMENTS), timeout=TIMEOUT_MS)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What a page asks for and complains of, from its beginning."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
