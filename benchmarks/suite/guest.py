"""The other side of the pipe: works of another environment, measured by its own clocks.

Started by `hosts.Guest` with the Python of that environment; requests and answers are JSON, a line each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from measure import Batch, clocked


class Works(dict[str, Batch]):
    """What a guest can do, by name; modules of works add to it."""


def answer(request: dict[str, Any], works: Works) -> Any:
    """Do what is asked for: ``time`` a work, or ``call`` a function that prepares some."""
    if "time" in request:
        return clocked(works[request["time"]])(request["count"])
    module = importlib.import_module(request["module"])
    return getattr(module, request["call"])(works, **request["arguments"])


def main() -> None:
    """Answer until the pipe is closed."""
    # Whatever libraries print must not get between the answers.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    works = Works()
    for line in sys.stdin:
        try:
            reply = {"result": answer(json.loads(line), works)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
