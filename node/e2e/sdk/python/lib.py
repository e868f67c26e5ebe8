"""What the suites share: where the gateway is, how a check is named and counted."""

import json
import os
import re
import sys
import traceback

BASE = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]
LIMITED_KEY = os.environ["LIMITED_KEY"]  # may call once a minute
MODELS = {"gpt": "openai", "claude": "anthropic"}

# The fake's tools always get these arguments.
TOOL_ARGUMENTS = {"location": "Zürich", "days": 3}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PARAMETERS = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["location"],
}

_failed = 0


def check(name, body):
    """Run one claim and say how it went. Clients carry their own timeouts."""
    global _failed
    try:
        body()
        print(f"ok   {name}", flush=True)
    except Exception:  # a failed claim must not hide the others
        _failed += 1
        print(f"FAIL {name}: {traceback.format_exc()}", flush=True)


def same(got, want):
    assert got == want, f"{got!r}, want {want!r}"


def greeting(text):
    assert re.fullmatch(r"Héllo 世界 🙂 from [\w.-]+\.", text), repr(text)


def rejects(kind, call):
    """Return the error that a call must end with, an instance of kind."""
    try:
        call()
    except kind as err:
        return err
    except Exception as err:
        raise AssertionError(f"{type(err).__name__} ({err}), want {kind.__name__}") from err
    raise AssertionError(f"no error, want {kind.__name__}")


def arguments(text):
    same(json.loads(text), TOOL_ARGUMENTS)


def finish():
    print("all checks passed" if _failed == 0 else f"{_failed} checks failed")
    sys.exit(0 if _failed == 0 else 1)
