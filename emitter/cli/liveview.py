"""What a person sees who watches a daemon at a terminal: where time stands, what flows, what went last.

It is drawn on stderr a few times a second by a thread of its own; log lines appear above it.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emitter.cli.printing import size_text
from emitter.clock import duration_text, text_of
from emitter.model import TableProgress
from emitter.watch.board import STEPS_MAX, Board, Picture, shortened
from emitter.watch.observer import DaemonStatus

FRAMES_PER_SECOND = 4
NOTICE_LENGTH_MAX = 156  # two lines of 80
_LINES_AROUND = 14  # all but a line per table and per step; the last few are room for log lines above
_ENDS = {
    "signal": "Stopped as asked.",
    "batches": "Done: all batches are written.",
    "until": "Done: the end is reached.",
}


def terminal() -> Console | None:
    """The terminal behind stderr, if there is one that can be drawn on."""
    console = Console(stderr=True)
    drawable = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return console if drawable else None


class LiveView:
    """Draws a board inside `with`. `render` makes one picture of the moment."""

    def __init__(self, board: Board, console: Console, *, url: str = "") -> None:
        """`url`: where the status page is."""
        self._board = board
        self._console = console
        self._url = url
        self._size = console.size
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=FRAMES_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def render(self) -> RenderableType:
        """The picture of the moment, no higher and no wider than the console."""
        self._follow_size()
        picture = self._board.picture()
        if picture.status is None:
            return _notice(picture) or Text("Starting: taking the lock, reading the journal, recovering ...")
        room = self._console.size.height - _LINES_AROUND - len(picture.tables)
        return Group(
            *self._head(picture.status, picture.running_seconds),
            Text(),
            _table_of_tables(picture, self._console.size.width),
            Text(),
            _table_of_steps(picture, min(max(room, 1), STEPS_MAX), self._console.size.width),
            _upkeep(picture),
            _notice(picture) or Text("Ctrl-C finishes the batch under way and stops.", style="dim"),
        )

    def _follow_size(self) -> None:
        """Begin on an empty screen where the terminal has another size than before: it has wrapped or moved the lines
        of the last picture, so that going up by as many lines as it had would leave parts of it behind.
        """
        size = self._console.size
        if size != self._size:
            self._size = size
            self._console.control(Control.home(), Control.clear())

    def _head(self, status: DaemonStatus, running_seconds: float) -> list[Text]:
        lag_style = "yellow" if status.lag_seconds > 3 * status.batch_seconds else "bold"
        what = Text.assemble(
            ("emitter", "bold cyan"),
            f"  {status.domain} as {status.format} into ",
            (status.output_uri, "bold"),
        )
        if status.slice.count > 1:
            what.append(f", slice {status.slice}")
        time = Text.assemble(
            "Simulated ",
            (text_of(int(status.simulated_slot)), "bold"),
            "   speed ",
            (_speed(status.speed), "bold"),
            "   lag ",
            (duration_text(status.lag_seconds), lag_style),
            _level_text(status),
            "   running for ",
            (duration_text(running_seconds), "bold"),
        )
        lines = [what, time, Text(self._url, style="dim")]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines


def _notice(picture: Picture) -> Text:
    if picture.ended:
        reason = picture.ended
        return Text(_ENDS.get(reason, "Stopped by an error."), style="" if reason in _ENDS else "red")
    return Text(shortened(picture.retrying, NOTICE_LENGTH_MAX), style="yellow")


def _upkeep(picture: Picture) -> Text:
    """A line; empty before the first round."""
    last = picture.upkeep.last_round
    if last is None:
        return Text()
    ago = duration_text(picture.monotonic_seconds - last.monotonic_seconds)
    chores = "1 chore" if last.chores == 1 else f"{last.chores:,} chores"
    said = f"{chores}, {size_text(last.freed_bytes)} freed" if last.chores else "nothing to do"
    words = {"ok": said, "skipped": "left to another process"}.get(last.outcome, last.outcome)
    style = "dim" if last.outcome in ("ok", "skipped") else "yellow"
    return Text(f"Upkeep {ago} ago: {words}", style=style, no_wrap=True, overflow="ellipsis")


def _table_of_tables(picture: Picture, room: int) -> Table:
    widths_min = {"table": 11, "rows/s": 9, "target/s": 9, "rows": 12, "bytes": 8, "files": 6, "last commit": 14}
    table = _table(widths_min, room)
    for line in picture.tables:
        target, written, last = line.target_rows_per_second, line.written or TableProgress(0), line.last_commit
        table.add_row(
            line.name,
            _rate(line.rows_per_second),
            "max" if target is None else _rate(target),
            f"{written.rows:,}",
            size_text(written.bytes),
            f"{written.files:,}",
            f"{duration_text(picture.monotonic_seconds - last.monotonic_seconds)} ago" if last else "",
        )
    return table


def _table_of_steps(picture: Picture, count: int, room: int) -> Table:
    table = _table({"last steps from": 30, "rows": 10, "bytes": 8, "took": 9, "lag": 10}, room)
    for line in picture.steps[:count]:
        table.add_row(
            f"{text_of(line.window.first)}  +{duration_text(line.window.seconds)}",
            f"{line.rows:,}",
            size_text(line.bytes),
            f"{line.seconds * 1000:,.0f} ms",
            duration_text(line.lag_seconds),
        )
    return table


def _table(widths_min: dict[str, int], room: int) -> Table:
    """Columns of such widths at least, so that they stand still while numbers grow; without the room for that they are
    as wide as they have to be, so that none is cut. The first is text.
    """
    is_narrow = sum(widths_min.values()) + len(widths_min) > room
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for place, (title, width_min) in enumerate(widths_min.items()):
        table.add_column(
            title, min_width=0 if is_narrow else width_min, justify="right" if place else "left", no_wrap=True
        )
    return table


def _level_text(status: DaemonStatus) -> str:
    """When nothing will be behind any more, where that takes a while."""
    level = status.level_in_seconds
    return f", level in {duration_text(level)}" if level is not None and level >= 1 else ""


def _speed(speed: float | None) -> str:
    return "max" if speed is None else f"{speed:,g}x"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.2f}"
