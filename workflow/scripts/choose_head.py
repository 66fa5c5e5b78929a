"""Choose a head by its packed files on val."""

from treehead import artifacts, console, records
from treehead.data import embeddings
from treehead.evaluation import choice

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    settings = snakemake.params.choice
    val = embeddings.read(snakemake.input.val)
    packed = [choice.measure(path, settings["heads"], val) for path in snakemake.input.packed]
    chosen = choice.choose(packed, full=tuple(settings["full"]), **settings["chosen"])
    artifacts.write_json(snakemake.output[0], chosen)
