"""The two-level classifier, put together from a parent layer and the layers of its children."""

import numpy as np

from treehead.artifacts import InputError
from treehead.data.taxonomy import Taxonomy
from treehead.heads.layers import Linear, Tree


def assemble(taxonomy: Taxonomy, parent: Linear, children: list[Linear], reads: str) -> Tree:
    """The tree whose children were each trained against their siblings alone.

    Args:
        taxonomy: the classes of each parent, in the order of their child labels.
        parent: weight (parents, dim).
        children: for each parent a layer of weight (its children, inputs).
        reads: what children read, "features" or "parent_logits".

    Raises:
        InputError: a layer has not as many rows as its parent has children.
    """
    for number, (members, child) in enumerate(zip(taxonomy.classes, children, strict=True)):
        if not len(members) == len(child.weight) == len(child.bias):
            raise InputError(
                f"The layer of parent {number} has {len(child.weight)} rows for {len(members)} "
                "children; delete its files in hierarchy100/ and run again."
            )
    stacked = Linear(*map(np.concatenate, zip(*children, strict=True)))
    rows = np.argsort(np.concatenate(taxonomy.classes))
    child = Linear(stacked.weight[rows], stacked.bias[rows])
    return Tree(parent, child, taxonomy.parent_of(), reads, among_siblings=True)
