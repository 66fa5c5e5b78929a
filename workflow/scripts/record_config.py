"""Record the effective configuration."""

import yaml

from treehead import artifacts, console

with console.job(snakemake.log[0]):
    text = yaml.safe_dump(snakemake.params.config, sort_keys=True)
    artifacts.write_text(snakemake.output[0], text)
