"""Make the golden digests anew: `make golden`. With `--print`, only say what they are now.

Exit codes: 0 done, 1 rows have changed and their content version has not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from emitter.generators import domain_class
from tests.golden.cases import CASES

PATH = Path(__file__).parent / "digests.json"
MADE_BY = "make golden"


def current() -> dict[str, Any]:
    """What the code makes now: by domain, the content version and the digests of every case."""
    return {
        domain: {"content_version": domain_class(domain).content_version, "cases": dict(cases())}
        for domain, cases in CASES.items()
    }


def recorded() -> dict[str, Any]:
    """What the file says."""
    domains: dict[str, Any] = json.loads(PATH.read_text("utf-8"))["domains"]
    return domains


def changed_without_notice(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The cases whose rows are others under the same content version. New cases are none."""
    return [
        f"{domain}: {case}"
        for domain in old.keys() & new.keys()
        for case, digests in old[domain]["cases"].items()
        if new[domain]["content_version"] <= old[domain]["content_version"]
        and new[domain]["cases"].get(case, digests) != digests
    ]


def main(arguments: list[str]) -> int:
    made = current()
    if arguments == ["--print"]:
        sys.stdout.write(json.dumps(made))
        return 0
    changed = changed_without_notice(recorded(), made) if PATH.exists() else []
    if changed:
        lines = ["Rows have changed:", *changed, "Try: raise content_version in the domain's generator.py first"]
        sys.stderr.write("\n  ".join(lines) + "\n")
        return 1
    PATH.write_text(json.dumps({"made_by": MADE_BY, "domains": made}, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"wrote {PATH.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
