"""One machine of several that train together, as a program of its own.

python tests/machine.py <folder> <settings as JSON> <host:port>: the folder gets the state of the
unfinished training, the log, and the SHA-256 of what is trained.
"""

import json
import sys
from pathlib import Path

import torch
from training import Training, digest

from treehead import console
from treehead.training.checkpoint import Checkpoint


def main(folder: Path, settings: str, rendezvous: str) -> None:
    torch.set_num_threads(1)
    with console.job(folder / "log"):
        training = Training(json.loads(settings), images=19)
        training.run(Checkpoint(folder / "state.pt", 0), rendezvous)
        (folder / "digest").write_text(digest(training.model()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
