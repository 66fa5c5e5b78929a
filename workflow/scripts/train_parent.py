"""Train the parent layer."""

import numpy as np
import torch

from treehead import artifacts, console
from treehead.data import embeddings, taxonomy
from treehead.hierarchy import parent

with console.job(snakemake.log[0]):
    settings = taxonomy.complete(snakemake.params.parent, snakemake.input.taxonomy)
    torch.set_num_threads(settings["threads"])
    features, fine = embeddings.read(snakemake.input.embeddings).flat()
    head = parent.fit(features, fine, np.array(settings["parent_of"]), settings, settings["seed"])
    artifacts.write_tensors(snakemake.output[0], head._asdict())
