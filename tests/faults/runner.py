"""Run scripts again and again, each in a fork of this process, in which the libraries are loaded.

One request a line on stdin, one answer a line on stdout, both JSON. It is started by `jobs.py`.
"""

import importlib
import json
import os
import pickle
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

# What jobs import late, and the pickles need: each fork would take a second for it.
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.optimize  # noqa: F401
import snakemake.script  # noqa: F401


def run(request: dict[str, Any]) -> None:
    """Run a script in this process, a minute at most; its stderr goes to a file."""
    signal.alarm(60)
    errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    os.dup2(2, 1)
    status = 1
    try:
        given = {"snakemake": pickle.loads(Path(request["job"]).read_bytes())}
        os.environ.update(request["environment"])
        if (more := request["memory"]) is not None:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
        runpy.run_path(request["script"], given, "__main__")
        status = 0
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        lines = Path(request["script"]).read_text().splitlines()
        for imported in [each for each in lines if each.startswith(("import ", "from "))]:
            exec(imported, {})
        for name in request["imported"]:
            importlib.import_module(name)
        child = os.fork()
        if not child:
            run(request)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"status": status}), flush=True)


if __name__ == "__main__":
    main()
