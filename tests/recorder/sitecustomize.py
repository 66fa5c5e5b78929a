"""At the end of each job's script, write which files of the library it has imported, and the job.

Python imports this module when it starts, since the tests put its folder on PYTHONPATH.
"""

import atexit
import json
import os
import pickle
import sys
from pathlib import Path


def record() -> None:
    """Files for each job: its rule, its files and what it imported; and what Snakemake gave it."""
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if not hasattr(job, "rule"):
        return
    files = [
        module.__file__
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "treehead" and module.__file__
    ]
    imported = [Path(os.path.relpath(file)).as_posix() for file in files]
    folder = Path(".snakemake/jobs")
    folder.mkdir(exist_ok=True)
    content = {"rule": job.rule, "input": list(job.input), "output": list(job.output)}
    name = folder / f"{job.rule}-{os.getpid()}"
    name.with_suffix(".json").write_text(json.dumps(content | {"imported": imported}))
    name.with_suffix(".pickle").write_bytes(pickle.dumps(job))


atexit.register(record)
