"""The arrays of a head that was fitted for several seeds, in one file."""

from treehead.artifacts import Tensors


def of_seed(fitted: Tensors, seed: int) -> Tensors:
    """The arrays of one seed among those of all, named "<seed>/<array>"."""
    prefix = f"{seed}/"
    return {
        key.removeprefix(prefix): array for key, array in fitted.items() if key.startswith(prefix)
    }
