"""The dashboard names what there is, and is laid out as Grafana expects. That its queries give something is seen by
system_dashboard.py.
"""

from __future__ import annotations

import itertools
import re
import unittest
from typing import Any

from tests.support.dashboard import dashboard, panels, queries
from tests.support.metrics_page import sample_labels
from tests.support.promql import unknown_names

WIDTH = 24  # of Grafana's grid
BUILT_IN = {"__rate_interval", "__range"}


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in (("x", "w"), ("y", "h"))
    )


class DashboardTest(unittest.TestCase):
    def setUp(self) -> None:
        self.dashboard: dict[str, Any] = dashboard()

    def test_every_series_is_one_of_ours_with_these_labels(self) -> None:
        known = sample_labels()
        for where, expression in queries():
            self.assertEqual(unknown_names(expression, known), [], where)

    def test_every_metric_of_ours_is_shown(self) -> None:
        shown = " ".join(expression for _, expression in queries())
        ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in sample_labels() if name.startswith("emitter_")}
        self.assertEqual({name for name in ours if not re.search(rf"\b{name}(_bucket|_count|_sum)?\b", shown)}, set())

    def test_every_variable_that_is_used_is_there(self) -> None:
        known = {variable["name"] for variable in self.dashboard["templating"]["list"]}
        self.assertEqual(known, {"datasource", "job", "instance", "table"})
        for where, expression in queries():
            self.assertLessEqual(set(re.findall(r"\$\{?(\w+)", expression)), known | BUILT_IN, where)

    def test_every_query_of_a_panel_is_for_the_chosen_job_and_instance(self) -> None:
        for panel in panels():
            for target in panel["targets"]:
                selectors = re.findall(r"\b(?:emitter|process|python)_\w+(?:\{([^}]*)\})?", target["expr"])
                self.assertTrue(selectors, panel["title"])
                for matchers in selectors:
                    self.assertTrue(matchers.startswith('job=~"$job", instance=~"$instance"'), target["expr"])

    def test_every_panel_says_what_it_shows_in_which_unit_and_from_where(self) -> None:
        for panel in panels():
            self.assertTrue(panel["description"].endswith("."), panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
                self.assertEqual(source, {"type": "prometheus", "uid": "${datasource}"}, panel["title"])
            references = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(references), len(set(references)), panel["title"])

    def test_panels_have_ids_and_titles_of_their_own_and_do_not_overlap(self) -> None:
        everything = self.dashboard["panels"]
        for key in ("id", "title"):
            values = [panel[key] for panel in everything]
            self.assertEqual(len(values), len(set(values)), key)
        for panel in everything:
            self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], WIDTH, panel["title"])
        for one, other in itertools.combinations(everything, 2):
            self.assertFalse(overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"]))


if __name__ == "__main__":
    unittest.main()
