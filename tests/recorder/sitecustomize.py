"""At the end of each job's script, write which files of the library it has imported.

Python imports this module when it starts, since the tests put its folder on PYTHONPATH.
"""

import atexit
import json
import os
import sys
from pathlib import Path


def record() -> None:
    """One file for each job: its rule, its input, and what it has imported of the library."""
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if not hasattr(job, "rule"):
        return
    files = [
        module.__file__
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "treehead" and module.__file__
    ]
    imported = [Path(os.path.relpath(file)).as_posix() for file in files]
    folder = Path(".snakemake/imports")
    folder.mkdir(exist_ok=True)
    content = {"rule": job.rule, "input": list(job.input), "imported": imported}
    (folder / f"{job.rule}-{os.getpid()}.json").write_text(json.dumps(content))


atexit.register(record)
