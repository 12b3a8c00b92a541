"""How much memory the kernel lets this process have: the limit of its control group (cgroup v2)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_limit_bytes(root: Path = ROOT, own: Path = OWN) -> int | None:
    """The lowest `memory.max` of the process's group and those above it, as far as they are to be seen: a container
    sees its own group alone. None where there is no limit, or no cgroup v2.
    """
    path = _path(own)
    if path is None:
        return None
    group = root / path
    limits = [_limit(folder / "memory.max") for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _path(own: Path) -> str | None:
    """Of the line `0::/system.slice/emitter.service` what follows the first slash."""
    lines = (_text(own) or "").splitlines()
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)


def _limit(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.isdecimal() else None  # else "max", or the file is not there


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:  # not Linux, not v2, or not to be seen: no limit is known
        return None
