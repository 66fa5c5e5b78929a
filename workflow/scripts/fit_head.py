"""Fit a head of the comparison, once for each seed."""

import torch

from treehead import artifacts, console
from treehead.data import embeddings, taxonomy
from treehead.heads import fitting

settings, name = snakemake.params.head, snakemake.wildcards.head
with console.job(snakemake.log[0]):
    torch.set_num_threads(settings["threads"])
    features, labels = embeddings.read(snakemake.input.embeddings).flat()
    train = embeddings.Examples(features, labels, settings["classes"])
    teacher = None
    if settings["teacher"]:
        teacher = settings["teacher"], artifacts.read_tensors(snakemake.input.teacher[0])
    own = taxonomy.complete(settings["settings"], snakemake.input.taxonomy)
    fitted = fitting.fit(settings["module"], train, own, settings["seeds"], teacher, name)
    artifacts.write_tensors(snakemake.output[0], fitted)
    console.say(f"{name}: fitted for {len(settings['seeds'])} seeds")
