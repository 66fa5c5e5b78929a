"""Write the model card of a run."""

from pathlib import Path

from treehead import artifacts, console, records
from treehead.deploy import card

results = Path(snakemake.params.card["results"])
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    deployed = [str(Path(file).relative_to(results)) for file in snakemake.input.deployed]
    artifacts.write_text(snakemake.output[0], card.text(results, deployed=deployed))
