"""A real browser looks at the status page of a real run: on a desk and on a phone, by day and by night.

With SCREENSHOTS_FOLDER it leaves there what it saw.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import TIMEOUT_MS, Watch, chromium
from tests.support.child import REPOSITORY
from tests.support.prometheus import free_port

CONFIG = """
clock: {{start: 2026-01-01T09:00:00Z, speed: 60, batch_seconds: 60, on_restart: catch_up, batch_rows_max: 2000}}
output: {{uri: "{output}"}}
server: {{port: {port}}}
maintenance: {{interval_seconds: 5}}
ecommerce: {{customers: 100, products: 50, orders_per_second: 5}}
"""
SIZES = {"desktop": (1280, 900), "phone": (390, 844), "narrow": (360, 740)}
ORDERS = "#tables tbody tr:nth-child(3) td:nth-child(4)"  # how many rows of them there are
SNAPSHOT = """
- banner:
  - heading "emitter" [level=1]
  - status: Running
- main:
  - region "Now":
    - term: Simulated time
    - term: Wall time
    - term: Rows per second
    - term: Behind
  - region "The rate of the day":
    - heading "The rate of the day" [level=2]
    - figure /Thursday, 1 January 2026 \\(UTC\\)/
  - region "Tables":
    - table "Tables":
      - rowgroup:
        - row:
          - columnheader "Table"
          - columnheader "Rows/s"
      - rowgroup:
        - row /customers .*/:
          - rowheader "customers"
        - row /products .*/
        - row /orders .*/
        - row /order_items .*/
        - row /payments .*/
  - region "Upkeep":
    - heading "Upkeep" [level=2]
    - paragraph: /The last round, .* ago, went well/
    - table "Upkeep":
      - rowgroup:
        - row:
          - columnheader "Table"
          - columnheader "Files now"
      - rowgroup:
        - row /customers .*/:
          - rowheader "customers"
  - region "Faults of the last hour":
    - paragraph: None.
- contentinfo:
  - navigation "For machines":
    - link "/api/status"
    - link "/metrics"
    - link "/readyz"
    - link "/livez"
"""

expect.set_options(timeout=TIMEOUT_MS)


class Run:
    """`emitter run` in a folder of its own, always at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "<i>shop"
        self.url = f"http://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        (folder / "emitter.yaml").write_text(CONFIG.format(output=self.output, port=port), encoding="utf-8")

    def start(self) -> None:
        command = [sys.executable, "-m", "emitter", "run", "-c", str(self.folder / "emitter.yaml")]
        with (self.folder / "emitter.log").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=REPOSITORY)
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it does not start: {(self.folder / 'emitter.log').read_text('utf-8')}")
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            self.status()
        except urllib.error.URLError:
            return False
        return True

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it moves meanwhile."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def sleep_through(self, seconds: float) -> None:
        """As if the machine had been off for so long. Only while nothing runs."""
        path = self.output / "_emitter/anchor.json"
        anchor = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**anchor, "wall_seconds": anchor["wall_seconds"] - seconds}), encoding="utf-8")

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/status", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
        return found


class PageCase(unittest.TestCase):
    """A run and a browser for all tests of a class."""

    browser: Browser
    run_: Run

    @classmethod
    def setUpClass(cls) -> None:
        cls.browser = cls.enterClassContext(chromium())
        cls.run_ = Run(Path(cls.enterClassContext(tempfile.TemporaryDirectory())))
        cls.run_.start()
        cls.addClassCleanup(cls.run_.end)

    def open(self, size: str = "desktop", scheme: Any = "light", **options: Any) -> tuple[Page, Watch]:
        width, height = SIZES[size]
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        self.addCleanup(context.close)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        watch = Watch(page)
        page.goto(self.run_.url)
        return page, watch

    def keep(self, page: Page, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS_FOLDER"):
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def wait_for_change(self, page: Page, selector: str) -> None:
        before = page.locator(selector).inner_text()
        page.wait_for_function(
            "([selector, before]) => document.querySelector(selector).innerText !== before", arg=[selector, before]
        )


class LookingTest(PageCase):
    def test_it_shows_the_run_and_moves_with_it(self) -> None:
        for size in SIZES:
            for scheme in ("light", "dark"):
                with self.subTest(size, scheme=scheme):
                    page, watch = self.open(size, scheme)
                    expect(page.get_by_role("status")).to_have_text("Running")
                    for moving in ("#simulated", "#wall", ORDERS):
                        self.wait_for_change(page, moving)
                    self.assertEqual({url.split("/")[2] for url in watch.urls}, {self.run_.url.split("/")[2]})
                    self.assertEqual(watch.complaints, [])
                    self.assertFalse(page.evaluate("document.documentElement.scrollWidth > innerWidth"), "it overflows")
                    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    self.assertEqual(int(re.findall(r"\d+", paper)[0]) > 128, scheme == "light")
                    self.keep(page, f"running-{size}-{scheme}")

    def test_it_can_be_heard(self) -> None:
        for size in SIZES:
            with self.subTest(size):
                page, _ = self.open(size)
                expect(page.get_by_role("status")).to_have_text("Running")
                expect(page.locator("body")).to_match_aria_snapshot(SNAPSHOT)

    def test_it_tells_what_upkeep_did(self) -> None:
        left = self.run_.output / "orders" / ".x.parquet.4711-4712-3.tmp"  # as a kill leaves it
        left.write_bytes(b"12345")
        os.utime(left, (0, 0))
        page, watch = self.open()
        orders = page.locator("#upkeep tbody tr").filter(has_text="orders")
        expect(orders.get_by_role("cell").last).to_have_text("1 unused file removed")
        expect(orders.get_by_role("cell").nth(2)).to_have_text("5 B")
        self.assertFalse(left.exists())
        self.assertRegex(orders.get_by_role("cell").first.inner_text(), r"^\d+$")
        expect(page.locator("#upkeep-text")).to_contain_text("went well")
        self.assertEqual(watch.complaints, [])

    def test_it_can_be_gone_through_with_a_keyboard(self) -> None:
        page, _ = self.open()
        expect(page.get_by_role("status")).to_have_text("Running")
        found = []
        for _ in range(4):
            page.keyboard.press("Tab")
            found.append(page.evaluate("document.activeElement.textContent"))
            self.assertEqual(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "solid")
        self.assertEqual(found, ["/api/status", "/metrics", "/readyz", "/livez"])
        page.keyboard.press("Enter")
        page.wait_for_url("**/livez")
        self.assertEqual(json.loads(page.locator("body").inner_text()), {"alive": True})

    def test_it_asks_only_while_somebody_looks(self) -> None:
        page, watch = self.open()
        expect(page.get_by_role("status")).to_have_text("Running")
        hide = """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        page.evaluate(hide, True)
        page.wait_for_load_state("networkidle")
        asked = len(watch.urls)
        page.wait_for_timeout(2500)  # more than two of its rounds
        self.assertEqual(len(watch.urls), asked)
        page.evaluate(hide, False)
        self.wait_for_change(page, "#wall")
        self.assertGreater(len(watch.urls), asked)

    def test_it_tells_the_output_as_text(self) -> None:
        page, _ = self.open()
        expect(page.locator("#what")).to_have_text(f"ecommerce as parquet into {self.run_.output}")
        expect(page.locator("#what i")).to_have_count(0)

    def test_what_is_put_into_it_does_not_run(self) -> None:
        page, _ = self.open()
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.intruder = true";
            document.head.append(script);
        }""")
        self.assertFalse(page.evaluate("window.intruder === true"))

    def test_without_javascript_it_says_what_it_is(self) -> None:
        page, watch = self.open(java_script_enabled=False)
        self.assertIn("This page needs JavaScript", page.locator("body").inner_text())
        page.locator("noscript a").click()
        expect(page.locator("body")).to_contain_text('"run_id"')
        self.assertEqual(watch.complaints, [])


class TroubleTest(PageCase):
    def test_a_failure_is_told_and_its_end_too(self) -> None:
        page, watch = self.open()
        expect(page.get_by_role("status")).to_have_text("Running")
        self.wait_for_change(page, ORDERS)
        orders = self.run_.output / "orders"
        with self.run_.frozen():
            orders.rename(orders.with_name("elsewhere"))
            orders.touch()
        expect(page.get_by_role("status")).to_have_text("Retrying")
        expect(page.locator("#message")).to_contain_text("failed, the next follows in")
        expect(page.get_by_role("listitem").first).to_contain_text("Not a directory. Try: a file stands where")
        expect(page.locator("#faults-text")).to_contain_text("failed attempts:")
        self.keep(page, "retrying")
        with self.run_.frozen():
            orders.unlink()
            orders.with_name("elsewhere").rename(orders)
        expect(page.get_by_role("status")).to_have_text("Running")
        expect(page.locator("#message")).to_be_hidden()
        # Above it may stand that the commit which failed was finished.
        expect(page.get_by_role("listitem").filter(has_text="Not a directory").first).to_be_visible()
        self.assertEqual(watch.complaints, [])
        self.assertGreater(self.run_.status()["faults"]["counts"]["retry"], 0)


class GoneTest(PageCase):
    def test_a_daemon_that_is_gone_is_told_and_so_is_how_it_catches_up(self) -> None:
        page, _ = self.open()
        expect(page.get_by_role("status")).to_have_text("Running")
        self.run_.end(signal.SIGKILL)
        expect(page.get_by_role("status")).to_have_text("No answer")
        expect(page.locator("#message")).to_contain_text("The daemon does not answer")
        expect(page).to_have_title("No answer · emitter")
        self.keep(page, "gone")
        self.run_.sleep_through(3 * 3600)
        self.run_.start()
        expect(page.get_by_role("status")).to_have_text("Catching up")
        expect(page.locator("#lag")).to_have_text(re.compile(r"^7 d \d+ h$"))
        expect(page.locator("#message")).to_be_hidden()
        self.wait_for_change(page, ORDERS)
        with urllib.request.urlopen(f"{self.run_.url}/readyz", timeout=10) as response:
            ready = json.load(response)
        self.assertTrue(ready["ready"])
        self.assertRegex(ready["note"], "catching up: 7 d .* of simulated time behind")
        self.keep(page, "catching-up")


if __name__ == "__main__":
    unittest.main()
