"""The tests. What hypothesis tries is the same in every run: a failure must be there again when one looks for it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
