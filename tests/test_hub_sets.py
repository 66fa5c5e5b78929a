"""Data sets of the hub: the real clients against a server of our own, in one process for all."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, logging, sys
from treehead.artifacts import InputError
from treehead.data import catalog
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("treehead").addHandler(handler)
logging.getLogger("treehead").setLevel("INFO")
for line in sys.stdin:
    settings = json.loads(line)
    try:
        source = catalog.opened(settings)
        contents = source.read(list(range(len(source.entries))))
        data = [c.hex() if isinstance(c, bytes) else c.read_bytes().hex() for c in contents]
        listing, found = catalog.listed(source, settings)
        answer = {"entries": source.entries, "data": data, "labels": listing.labels}
        answer |= {"parts": listing.parts, "revision": source.revision, **found._asdict()}
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps({**answer, "said": lines}), flush=True)
    lines.clear()
"""
