"""How a file gets a name that nothing has yet, in one step that the kernel decides: of many who want it one gets it.

By a second name for the file (a hard link), as every usual disk knows them. FAT, exFAT and some network file systems do
not: there by a rename that replaces nothing (Linux).
"""

from __future__ import annotations

import ctypes
import errno
import os

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # what file systems without them say
_HERE = -100  # AT_FDCWD: paths are as the process sees them
_REPLACE_NOTHING = 1  # RENAME_NOREPLACE


def give_new_name(source: str, target: str) -> None:
    """Let `target` be the file `source`, whose own name may be gone then. Raises FileExistsError where something has
    that name, and OSError with EOPNOTSUPP where the file system knows neither way.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(source, target, error)


def _rename(source: str, target: str, refusal: OSError) -> None:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise _unsupported(target) from refusal
    if rename(_HERE, os.fsencode(source), _HERE, os.fsencode(target), ctypes.c_uint(_REPLACE_NOTHING)) != 0:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise _unsupported(target) from refusal
        raise OSError(code, os.strerror(code), source, None, target)


def _unsupported(target: str) -> OSError:
    return OSError(errno.EOPNOTSUPP, "this file system has neither hard links nor renames that replace nothing", target)
