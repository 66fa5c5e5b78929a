"""Fit a head, once for each seed."""

import torch

from treehead import console, records
from treehead.data import embeddings, taxonomy
from treehead.heads import fitting

settings, name = snakemake.params.head, snakemake.wildcards.head
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    torch.set_num_threads(settings["threads"])
    train = embeddings.examples(snakemake.input.embeddings, settings["classes"])
    teachers = [(settings["teacher"], fitting.load(path)) for path in snakemake.input.teacher]
    heads = fitting.fit(
        settings["module"],
        train,
        settings=taxonomy.complete(settings["settings"], snakemake.input.taxonomy),
        seeds=settings["seeds"],
        what=name,
        class_weights=settings["class_weights"],
        teacher=next(iter(teachers), None),
    )
    fitting.save(snakemake.output[0], heads)
    console.say(f"{name}: fitted for {len(settings['seeds'])} seeds")
