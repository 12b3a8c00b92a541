"""What has a low priority does what others wait for with the one that it had."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path

from emitter.priority import urgently

_SCRIPT = """
import json, os, threading
from concurrent.futures import ThreadPoolExecutor
from emitter.priority import lower, urgently
def mine(): return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
def fail(): raise KeyError("no")
first = mine()
lower(5)
later = ThreadPoolExecutor(1)
try: urgently(fail)
except KeyError as error: said = str(error)
print(json.dumps([urgently(mine) - first, mine() - first, later.submit(mine).result() - first, said]))
"""


class PriorityTest(unittest.TestCase):
    @unittest.skipUnless(sys.platform == "linux", "elsewhere a thread has no niceness of its own")
    def test_only_what_is_urgent_keeps_the_first_priority_and_its_errors_come_through(self):
        command = [sys.executable, "-c", _SCRIPT]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(done.stdout), [0, 5, 5, "'no'"])

    def test_where_nothing_was_lowered_it_is_done_at_once(self):
        self.assertEqual(urgently(lambda: 7), 7)


if __name__ == "__main__":
    unittest.main()
