"""Write the model card of a run."""

from treehead import artifacts, console
from treehead.deploy import card

with console.job(snakemake.log[0]):
    artifacts.write_text(snakemake.output[0], card.text(snakemake.params.card["results"]))
