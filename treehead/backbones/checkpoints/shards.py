"""Weights in several files, joined by an index such as model.safetensors.index.json.

The graph of jobs lists these files, so this module must not import torch.
"""

from pathlib import Path, PurePosixPath

from treehead.artifacts import InputError, read_json


def files(path: str | Path) -> list[str]:
    """The weights file itself, and the shards that it names if it is an index."""
    return [str(path), *dict.fromkeys(str(shard) for shard in index(path).values())]


def index(path: str | Path) -> dict[str, Path]:
    """The file of each tensor that an index names; {} if `path` is no index."""
    path = Path(path)
    content = read_json(path) if path.suffix == ".json" and path.is_file() else {}
    if not isinstance(content, dict) or "weight_map" not in content:
        return {}
    named = content["weight_map"]
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise InputError(
            f"{path}: weight_map must give each tensor the name of its file; download it again."
        )
    for name, file in named.items():
        inside = PurePosixPath(file.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            raise InputError(
                f'{path}: the tensor {name} is in "{file}", outside of the index\'s folder; '
                "put all its files into one folder."
            )
    return {name: path.parent / file for name, file in named.items()}
