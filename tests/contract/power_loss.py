"""A disk that forgets what was not synced."""

from __future__ import annotations

import os
from pathlib import Path

from emitter.testing import FaultyStorage


class PowerLossStorage(FaultyStorage):
    """Knows what a power loss would leave: of a file what it held when it was last synced, of a folder the names
    it had when it was last synced, or, with luck, those it has now (file systems keep a rename whole).
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        super().__init__(uri)
        self._contents: dict[int, bytes] = {}  # inode -> what is durable of it
        self._names: dict[Path, dict[str, int]] = {}  # folder -> its durable names, and the inode of each

    def _fsync_file(self, descriptor: int) -> None:
        super()._fsync_file(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._contents[os.fstat(descriptor).st_ino] = path.read_bytes()

    def _fsync_folder(self, folder: str) -> None:
        super()._fsync_folder(folder)
        self._names[Path(folder)] = _names(Path(folder))

    def survivors(self, target: Path, *, all_names: bool) -> None:
        """Build what is left under `target`."""
        target.mkdir()
        self._copy(self.root, target, all_names)

    def _copy(self, folder: Path, target: Path, all_names: bool) -> None:
        for name, inode in (_names(folder) if all_names else self._names.get(folder, {})).items():
            if (folder / name).is_dir():  # no folder is ever removed or renamed
                (target / name).mkdir()
                self._copy(folder / name, target / name, all_names)
            else:
                (target / name).write_bytes(self._contents.get(inode, b""))


def _names(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}
