"""Fit the full head."""

import torch

from treehead import artifacts, console, embeddings
from treehead.heads import linear

settings = snakemake.params.linear
with console.job(snakemake.log[0]):
    torch.set_num_threads(settings["threads"])
    features, fine = embeddings.read(snakemake.input.embeddings).flat()
    head = linear.fit(features, fine, settings["classes"], settings, settings["seed"])
    artifacts.write_tensors(snakemake.output[0], head._asdict())
