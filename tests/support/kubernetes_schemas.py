"""Whether objects are what Kubernetes takes: by its own schemas, release by release, and by two small ones of ours for
what the Prometheus operator brings. Unknown keys are refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from unittest.mock import patch

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

from tests.support.kubernetes_tools import Object

RELEASES = tuple(dict.fromkeys(".".join(version.split(".")[:2]) for version in utils.all_versions()))[-3:]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}


def _only(required: dict[str, Schema], **optional: Schema) -> Schema:
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def _some(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _custom(kind: str, spec: Schema) -> Schema:
    return _only(
        {
            "apiVersion": {"const": "monitoring.coreos.com/v1"},
            "kind": {"const": kind},
            "metadata": _only({"name": NAME}, labels=TEXTS),
            "spec": spec,
        }
    )


_RULE = {"expr": TEXT}
_MORE: dict[str, Schema] = {"labels": TEXTS, "annotations": TEXTS}
CUSTOM = {
    "ServiceMonitor": _custom(
        "ServiceMonitor",
        _only(
            {
                "selector": _only({"matchLabels": TEXTS}),
                "endpoints": _some(_only({"port": TEXT}, interval=DURATION, scrapeTimeout=DURATION, path=TEXT)),
            },
            jobLabel=TEXT,
        ),
    ),
    "PrometheusRule": _custom(
        "PrometheusRule",
        _only(
            {
                "groups": _some(
                    _only(
                        {
                            "name": TEXT,
                            "rules": _some(
                                {
                                    "oneOf": [
                                        _only({"alert": TEXT, **_RULE}, **{"for": DURATION}, **_MORE),
                                        _only({"record": TEXT, **_RULE}, labels=TEXTS),
                                    ]
                                }
                            ),
                        },
                        interval=DURATION,
                    )
                )
            }
        ),
    ),
}


def check(found: Object, release: str) -> None:
    """Raises jsonschema.ValidationError where a release of Kubernetes would not take it."""
    if found["kind"] in CUSTOM:
        jsonschema.validate(found, CUSTOM[found["kind"]])
        return
    with patch.object(utils, "schema_contents", _schema_contents):  # it reads the definitions again for every object
        kubernetes_validate.validate(found, release, strict=True)


_schema_contents = cache(utils.schema_contents)
