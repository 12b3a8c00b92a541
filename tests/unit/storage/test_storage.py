"""What a storage promises, on a local disk and in memory, and a lock that outlives nobody."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from emitter.errors import CommitConflictError, SliceLockedError, StorageError, StorageNotFoundError, UsageError
from emitter.storage.base import Entry, Storage
from emitter.storage.local import LocalStorage
from emitter.testing import FaultyStorage, MemoryStorage, SimulatedCrash

REPOSITORY = Path(__file__).parents[3]


class StorageContract:
    storage: Storage

    def test_what_was_written_is_read(self):
        for write in (self.storage.write, self.storage.replace, self.storage.put_if_absent):
            path = f"a/b/{write.__name__}"
            write(path, b"\x00\xffdata")
            self.assertEqual(self.storage.read(path), b"\x00\xffdata")
            with self.storage.open_file(path) as file:
                file.seek(2)
                self.assertEqual(file.read(), b"data")

    def test_buffers_are_written_whole(self):
        self.storage.write("a", memoryview(b"0123456789")[2:5])
        self.assertEqual(self.storage.read("a"), b"234")

    def test_writing_replaces(self):
        for write in (self.storage.write, self.storage.replace):
            write("a", b"long before")
            write("a", b"new")
            self.assertEqual(self.storage.read("a"), b"new")

    def test_only_the_first_puts(self):
        self.assertTrue(self.storage.put_if_absent("a/b", b"first"))
        self.assertFalse(self.storage.put_if_absent("a/b", b"second"))
        self.assertEqual(self.storage.read("a/b"), b"first")

    def test_only_the_version_that_was_read_is_replaced(self):
        self.storage.replace_version("a/b", b"first", None)
        data, first = self.storage.read_version("a/b")
        self.assertEqual(data, b"first")
        with self.assertRaises(CommitConflictError):
            self.storage.replace_version("a/b", b"another first", None)
        second = self.storage.replace_version("a/b", b"second", first)
        self.assertEqual(self.storage.read_version("a/b"), (b"second", second))
        with self.assertRaises(CommitConflictError):
            self.storage.replace_version("a/b", b"late", first)
        self.assertEqual(self.storage.read("a/b"), b"second")

    def test_an_object_that_is_gone_is_no_version(self):
        self.storage.write("a/b", b"first")
        _, first = self.storage.read_version("a/b")
        self.storage.remove("a/b")
        with self.assertRaises(CommitConflictError):
            self.storage.replace_version("a/b", b"second", first)
        self.assertEqual(self.storage.list("a"), [])

    def test_sizes_are_told(self):
        self.storage.write("a/b", b"12345")
        self.assertEqual(self.storage.size("a/b"), 5)

    def test_one_of_many_puts_wins_and_all_agree(self):
        for race in range(20):
            wins: list[int] = []
            start = threading.Barrier(4)

            def put(number: int, path: str = f"races/{race}", start=start, wins=wins) -> None:
                start.wait()
                if self.storage.put_if_absent(path, b"%d" % number):
                    wins.append(number)

            threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([b"%d" % number for number in wins], [self.storage.read(f"races/{race}")])
        self.assertEqual(len(self.storage.list("races")), 20)

    def test_absent_is_its_own_error(self):
        for path in ("a", "a/b/c"):
            with self.assertRaises(StorageNotFoundError):
                self.storage.read(path)
            with self.assertRaises(StorageNotFoundError):
                self.storage.open_file(path)
            with self.assertRaises(StorageNotFoundError):
                self.storage.size(path)
            with self.assertRaises(StorageNotFoundError):
                self.storage.read_version(path)
            with self.assertRaises(StorageNotFoundError):
                self.storage.rename(path, "target")

    def test_lists_by_name_with_sizes(self):
        for path, data in (("f/b", b"12"), ("f/a/x", b""), ("f/.c", b"3"), ("g", b"")):
            self.storage.write(path, data)
        self.assertEqual(self.storage.list("f"), [Entry(".c", False, 1), Entry("a", True, 0), Entry("b", False, 2)])
        self.assertEqual(self.storage.list("nowhere/at/all"), [])

    def test_lists_what_comes_after_a_name(self):
        for name in ("a", "b", "c/d"):
            self.storage.write(f"x/{name}", b"")
        for after, found in (("", ["a", "b", "c"]), ("a", ["b", "c"]), ("aa", ["b", "c"]), ("z", [])):
            self.assertEqual([entry.name for entry in self.storage.list("x", after=after)], found)

    def test_walks_from_a_path_on(self):
        paths = ["y=1/m=1/a", "y=1/m=2/a", "y=1/m=2/b", "y=2/m=1/a"]
        for path in paths:
            self.storage.write(f"x/{path}", b"12")
        for first, place in (("", 0), ("y=1/m=1", 0), ("y=1/m=2", 1), ("y=1/m=3", 3), ("y=2/m=1", 3), ("y=3", 4)):
            found = [(file.path, file.size_bytes) for file in self.storage.walk("x", first)]
            self.assertEqual(found, [(f"x/{path}", 2) for path in paths[place:]])

    def test_removing_is_idempotent(self):
        self.storage.write("a/b", b"")
        for _ in range(2):
            self.storage.remove("a/b")
        self.assertEqual(self.storage.list("a"), [])

    def test_renaming_makes_folders_and_replaces(self):
        self.storage.write("a", b"new")
        self.storage.write("x/y/z", b"old")
        self.storage.rename("a", "x/y/z")
        self.storage.sync_folders({"x/y"})
        self.assertEqual(self.storage.read("x/y/z"), b"new")
        with self.assertRaises(StorageNotFoundError):
            self.storage.read("a")


class FoldersAndLocksContract(StorageContract):
    """What object stores do not have."""

    def test_a_file_where_a_folder_should_be_is_not_absence(self):
        self.storage.write("a", b"")
        attempts = [
            lambda: self.storage.read("a/b"),
            lambda: self.storage.list("a"),
            lambda: self.storage.write("a/b", b""),
            lambda: self.storage.replace("a/b/c", b""),
            lambda: self.storage.put_if_absent("a/b", b""),
        ]
        for attempt in attempts:
            with self.assertRaises(StorageError) as caught:
                attempt()
            self.assertNotIsInstance(caught.exception, StorageNotFoundError)
            self.assertIn("a file stands where a folder should be", caught.exception.hint)

    def test_a_folder_where_a_file_should_be_is_an_error(self):
        self.storage.write("a/b", b"")
        for write in (self.storage.write, self.storage.replace):
            with self.assertRaises(StorageError):
                write("a", b"")
        with self.assertRaises(StorageError):
            self.storage.put_if_absent("a", b"")

    def test_a_lock_has_one_holder_and_can_be_taken_again(self):
        for _ in range(2):
            with self.storage.lock("locks/a"), self.storage.lock("locks/b"):
                with self.assertRaises(SliceLockedError) as caught, self.storage.lock("locks/a"):
                    pass
                self.assertIn(f"held by process {os.getpid()}", caught.exception.problem)

    def test_a_lock_ends_with_an_exception(self):
        with self.assertRaises(KeyError), self.storage.lock("a"):
            raise KeyError
        with self.storage.lock("a"):
            pass


class MemoryStorageTest(FoldersAndLocksContract, unittest.TestCase):
    def setUp(self):
        self.storage = MemoryStorage()


class LocalCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "deep" / "out"
        self.storage = FaultyStorage(self.root)

    def names(self, folder: str = "") -> list[str]:
        return sorted(path.name for path in (self.root / folder).iterdir())


class LocalStorageTest(FoldersAndLocksContract, LocalCase):
    def test_takes_paths_and_file_uris(self):
        path = self.root.parent / "with space"
        for uri in (path, str(path), f"file://{path}", path.as_uri(), f"file://localhost{path}"):
            self.assertEqual(LocalStorage(uri).root, path, uri)
        for uri in ("s3://bucket/x", "file://other-host/x", "http://x/y", "a://[", "file:///a%00b", "a\0b"):
            with self.assertRaises(UsageError):
                LocalStorage(uri)

    def test_only_a_file_uri_is_read_as_one(self):
        for path, root in (("//[x", "//[x"), ("/a?b#c%20d", "/a?b#c%20d"), ("file:///a%20b%3Fc", "/a b?c")):
            self.assertEqual(str(LocalStorage(path).root), root)

    def test_a_relative_path_stays_where_it_was(self):
        self.assertEqual(LocalStorage("out").root, Path.cwd() / "out")

    def test_making_a_storage_makes_nothing(self):
        self.storage.list("a")
        self.assertFalse(self.root.exists())

    def test_no_attempt_leaves_anything_hidden(self):
        self.storage.write("a", b"")
        self.storage.replace("a", b"")
        self.storage.put_if_absent("a", b"")
        self.storage.put_if_absent("b", b"")
        for only in ("write", "fsync_file", "rename", "link", "fsync_folder"):
            for write in (self.storage.write, self.storage.replace, self.storage.put_if_absent):
                self.storage.fail(OSError(errno.ENOSPC, "full"), only=(only,))
                try:
                    write("c", b"123")
                except StorageError as error:
                    self.assertIn("free some space", error.hint)
                self.storage.heal()
                self.storage.remove("c")
        self.assertEqual(self.names(), ["a", "b"])

    def test_a_failed_write_leaves_the_old_object_whole(self):
        for write in (self.storage.write, self.storage.replace):
            write("a", b"old")
            for only in ("write", "fsync_file", "rename"):
                self.storage.fail(OSError(errno.EIO, "broken"), only=(only,))
                with self.assertRaises(StorageError):
                    write("a", b"new and longer")
                self.assertEqual(self.storage.read("a"), b"old")

    def test_renames_onto_another_disk_and_finishes_what_a_crash_interrupted(self):
        class TwoDisks(FaultyStorage):
            def _rename(self, source: str, target: str) -> None:
                if Path(source).parent != Path(target).parent:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                super()._rename(source, target)

        for at in range(1, 8):
            storage = TwoDisks(self.root / str(at))
            storage.write("a", b"whole")
            storage.fail(SimulatedCrash(), at=at, times=None)
            with contextlib.suppress(SimulatedCrash):
                storage.rename("a", "x/b")
            storage.heal()
            with contextlib.suppress(StorageNotFoundError):
                storage.rename("a", "x/b")
            self.assertEqual(storage.read("x/b"), b"whole")
            self.assertFalse((storage.root / "a").exists())

    def test_goes_on_after_a_short_write(self):
        def one_byte(descriptor: int, data: memoryview, real=os.write) -> int:
            return real(descriptor, data[:1])

        with mock.patch("os.write", one_byte):
            self.storage.write("a", b"0123456789")
        self.assertEqual(self.storage.read("a"), b"0123456789")

    def test_passes_over_temporary_names_that_are_taken(self):
        with mock.patch("emitter.storage.local._numbers", iter(range(5))):
            for number in range(3):
                taken = f".a.{os.getpid()}-{threading.get_native_id()}-{number}.tmp"
                self.root.mkdir(parents=True, exist_ok=True)
                (self.root / taken).write_bytes(b"somebody's")
            self.storage.write("a", b"ours")
        self.assertEqual(self.storage.read("a"), b"ours")
        self.assertEqual(len(self.names()), 4)

    def test_a_dangling_link_is_not_absence(self):
        self.root.mkdir(parents=True)
        (self.root / "a").symlink_to(self.root / "gone")
        with self.assertRaises(StorageError) as caught:
            self.storage.read("a")
        self.assertNotIsInstance(caught.exception, StorageNotFoundError)

    def test_errors_name_operation_and_path(self):
        with self.assertRaises(StorageError) as caught:
            self.storage.write("x" * 300, b"")
        self.assertIn("could not write", caught.exception.problem)
        self.assertIn("xxx: File name too long", caught.exception.problem)

    def test_new_folders_are_synced_in_their_parents_once(self):
        synced: list[Path] = []
        base = self.root.parent.parent  # the only one that was there before
        with mock.patch.object(LocalStorage, "_fsync_folder", lambda _, folder: synced.append(Path(folder))):
            self.storage.write("a/b/one", b"")
            self.assertEqual(synced, [])
            self.storage.sync_folders({"a/b"})
            new = [base, base / "deep", self.root, self.root / "a", self.root / "a" / "b"]
            self.assertEqual(synced, new)
            synced.clear()
            self.storage.replace("a/b/two", b"")
            self.assertEqual(synced, [self.root / "a" / "b"])
            synced.clear()
            for name in ("one", "two"):
                self.storage.remove(f"a/b/{name}")
            (self.root / "a" / "b").rmdir()
            self.storage.replace("a/b/three", b"")  # the folder is another one now
            self.assertEqual(synced, [self.root / "a", self.root / "a" / "b"])

    def test_a_folder_whose_sync_failed_is_synced_again(self):
        self.storage.write("a/b/one", b"")
        self.storage.fail(OSError(errno.EIO, "broken"), only=("fsync_folder",))
        with self.assertRaises(StorageError):
            self.storage.sync_folders({"a/b"})
        self.storage.heal()
        self.storage.calls.clear()
        self.storage.sync_folders({"a/b"})
        self.assertEqual(self.storage.calls, ["fsync_folder"] * 5)

    def test_check_reaches_what_is_there(self):
        self.storage.check()
        self.assertFalse(self.root.exists())
        self.root.parent.mkdir()
        self.root.write_text("a file")
        with self.assertRaises(StorageError):
            self.storage.check()

    def test_check_tries_what_rights_do_not_tell(self):
        for place in ("/proc/emitter", "/proc/emitter/shop", "/sys/emitter"):
            with self.assertRaisesRegex(StorageError, f"could not write, read and remove an object in {place}: "):
                LocalStorage(place).check()

    def test_check_fails_where_any_step_does_and_leaves_nothing(self):
        self.storage.put_if_absent("_emitter/journal/0", b"1")
        before = self.names()
        for kind in ("write", "fsync_file", "link"):
            self.storage.fail(OSError(errno.ENOSPC, "full"), only=(kind,))
            with self.assertRaises(StorageError):
                self.storage.check()
            self.storage.heal()
            self.assertEqual(self.names(), before)
        self.storage.fail(OSError(errno.EPERM, "append only"), only=("remove",), times=None)
        with self.assertRaisesRegex(StorageError, "and not removed"):
            self.storage.check()


class NoHardLinksTest(FoldersAndLocksContract, LocalCase):
    """A disk like FAT or exFAT."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch("os.link", side_effect=OSError(errno.EPERM, "not permitted")))

    def test_no_attempt_leaves_anything_hidden(self):
        self.storage.check()
        self.assertTrue(self.storage.put_if_absent("a", b"1"))
        self.assertFalse(self.storage.put_if_absent("a", b"2"))
        self.assertEqual((self.names(), self.storage.read("a")), (["a"], b"1"))
        self.assertEqual(list(self.root.parent.iterdir()), [self.root])

    def test_one_that_has_no_such_rename_either_is_refused_and_check_says_so(self):
        for library in (mock.Mock(spec=()), mock.Mock(**{"renameat2.return_value": -1})):
            self.enterContext(mock.patch("ctypes.CDLL", return_value=library))
            self.enterContext(mock.patch("ctypes.get_errno", return_value=errno.EINVAL))
            for act in (self.storage.check, lambda: self.storage.put_if_absent("a", b"")):
                with self.assertRaises(StorageError) as caught:
                    act()
                self.assertIn("neither hard links nor", caught.exception.problem)
                self.assertIn("ext4", caught.exception.hint)
        self.assertEqual(list(self.root.parent.parent.iterdir()), [self.root.parent])
        self.assertEqual(self.names(), [])


HOLD = """
import os, subprocess, sys
from emitter.storage.local import LocalStorage
with LocalStorage(sys.argv[1]).lock("slice.lock"):
    {then}
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""
SPAWN = """subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], close_fds=False)"""
FORK = """os.fork() or (sys.stdin.read(), os._exit(0))"""


class LockBetweenProcessesTest(LocalCase):
    """Holders are real processes. They and what they start end when their standard input does."""

    def holder(self, then: str = "pass") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD.format(then=then), str(self.root)]
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY)
        self.addCleanup(child.communicate)  # closes its input
        self.assertEqual(child.stdout.readline().strip(), str(child.pid))
        return child

    def test_a_live_process_keeps_it_and_is_named(self):
        child = self.holder()
        for _ in range(2):  # the refused one must not break it
            with self.assertRaises(SliceLockedError) as caught, self.storage.lock("slice.lock"):
                pass
            self.assertIn(f"held by process {child.pid}", caught.exception.problem)

    def test_a_killed_process_leaves_it_free(self):
        child = self.holder()
        child.send_signal(signal.SIGKILL)
        child.wait()
        with self.storage.lock("slice.lock"):
            pass

    def test_to_look_whether_it_is_held_neither_takes_nor_breaks_it(self):
        self.assertFalse(self.storage.is_locked("slice.lock"))
        child = self.holder()
        self.assertTrue(self.storage.is_locked("slice.lock"))
        with self.assertRaises(SliceLockedError), self.storage.lock("slice.lock"):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.assertFalse(self.storage.is_locked("slice.lock"))
        with self.storage.lock("slice.lock"):
            self.assertTrue(self.storage.is_locked("slice.lock"))
            look = "from emitter.storage.local import *; print(LocalStorage(sys.argv[1]).is_locked('slice.lock'))"
            command = [sys.executable, "-c", look, str(self.root)]
            seen = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
            self.assertEqual(seen.stdout, "True\n")  # also after this process has looked

    def test_what_a_killed_process_started_does_not_keep_it(self):
        for then in (SPAWN, FORK):
            with self.subTest(then=then):
                child = self.holder(then)
                child.send_signal(signal.SIGKILL)
                child.wait()
                with self.storage.lock("slice.lock"):
                    pass

    def test_what_a_live_process_started_does_not_break_it(self):
        # A forked child that ends closes its copy of the descriptor.
        self.holder("os.waitpid(os.fork() or os._exit(0), 0)")
        with self.assertRaises(SliceLockedError), self.storage.lock("slice.lock"):
            pass

    def test_a_forked_child_does_not_take_its_parents_lock_for_its_own(self):
        program = (
            "import os, sys\n"
            "from emitter.storage.local import LocalStorage\n"
            "storage = LocalStorage(sys.argv[1])\n"
            "def attempt():\n"
            "    try:\n"
            "        with storage.lock('slice.lock'): return 'taken'\n"
            "    except Exception as error: return error.problem\n"
            "def forked():\n"
            "    if not (child := os.fork()):\n"
            "        print(attempt(), flush=True); os._exit(0)\n"
            "    os.waitpid(child, 0)\n"
            "with storage.lock('slice.lock'):\n"
            "    print(os.getpid(), flush=True)\n"
            "    forked()\n"
            "    print(attempt(), flush=True)\n"
            "forked()\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", program, str(self.root)], capture_output=True, text=True, cwd=REPOSITORY, check=True
        )
        pid, in_child, in_parent, after = run.stdout.splitlines()
        self.assertTrue(in_child.endswith(f"held by process {pid}"), in_child)
        self.assertTrue(in_parent.endswith(f"held by process {pid} (this very one)"), in_parent)
        self.assertEqual(after, "taken")


if __name__ == "__main__":
    unittest.main()
