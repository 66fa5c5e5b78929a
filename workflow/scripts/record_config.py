"""Record the effective configuration."""

import yaml

from treehead import artifacts, console, records

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    text = yaml.safe_dump(snakemake.params.config, sort_keys=True)
    artifacts.write_text(snakemake.output[0], text)
