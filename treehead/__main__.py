"""Print the main figures of metrics files: python -m treehead results/hierarchy100/metrics.json"""

import argparse
import sys

from treehead import figures
from treehead.artifacts import InputError, read_json


def main() -> int:
    """Print one small table for each metrics file."""
    parser = argparse.ArgumentParser(prog="python -m treehead", description=__doc__)
    parser.add_argument("metrics", nargs="+", help="a metrics.json that the pipeline wrote")
    for path in parser.parse_args().metrics:
        try:
            report = read_json(path)
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        dataset = report["dataset"]
        print(f"\n{path}\n{dataset['name']}: {dataset['note']}; {report['n_test']:,} test images\n")
        print(figures.summary(report).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
