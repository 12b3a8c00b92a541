"""The tests. What hypothesis tries is the same in every run: a failure must be there again when one looks for it.

Nor does it matter whether they run in the foreground: what a script starts in the background has SIGINT ignored, and so
would have every process that they start.
"""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
