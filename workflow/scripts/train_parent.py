"""Train a parent layer."""

import numpy as np
import torch

from treehead import artifacts, console, records
from treehead.data import embeddings, taxonomy
from treehead.hierarchy import parent

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    settings = taxonomy.complete(snakemake.params.parent, snakemake.input.taxonomy)
    torch.set_num_threads(settings["threads"])
    train = embeddings.examples(snakemake.input.embeddings, len(settings["parent_of"]))
    own = ("objective", "child_weight", "class_weights")
    objective = {key: settings[key] for key in own if key in settings}
    head = parent.fit(
        train,
        parent_of=np.array(settings["parent_of"]),
        training=settings,
        seed=settings["seed"],
        **objective,
    )
    artifacts.write_tensors(snakemake.output[0], head._asdict())
