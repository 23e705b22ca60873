"""Python scripts in a new process, for behavior that is decided at import."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


def run_script(script: str, **environment: str) -> Any:
    """Run a script and return the JSON that it prints. It can import the package and tests."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_pid_and_sleep(path: str) -> None:
    """Write the process id to a file, then sleep until the process is killed."""
    partial = Path(f"{path}.partial")
    partial.write_text(str(os.getpid()))
    partial.rename(path)
    time.sleep(600)
