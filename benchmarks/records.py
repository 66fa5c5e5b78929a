"""What the records of files cost a run at most: hashing all that jobs read and made, and writing.

Images count whole for each job, which itself checks only those that it reads, by a faster digest.

All is done once more, job by job; files of one folder that were made from the same are of one job.

    python -m benchmarks.records results
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from treehead import artifacts, records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    results = parser.parse_args().results
    jobs = defaultdict(list)
    for file in filter(lambda file: records.place(file).is_file(), records.verify(results).files):
        record = artifacts.read_json(records.place(file))
        inputs = [*record["inputs"], *record["given"]]
        jobs[file.parent, tuple((file.parent / name).resolve() for name in inputs)].append(file)
    begin, read = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(dir=results) as folder:
        for (_, inputs), made in jobs.items():
            there = [path for path in inputs if path.is_file()]
            for path in (*there, *made):
                artifacts.sha256(path)
                read += path.stat().st_size
            for number, path in enumerate(made):
                record = artifacts.read_json(records.place(path))
                artifacts.write_json(Path(folder, str(number)), record)
    seconds = time.perf_counter() - begin
    print(f"{len(jobs):,} jobs, {read / 1e9:.2f} GB hashed: {seconds:.2f} s")


if __name__ == "__main__":
    main()
