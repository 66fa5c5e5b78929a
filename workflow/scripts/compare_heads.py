"""Put all heads into one table."""

import pandas

from treehead import artifacts, console
from treehead.evaluation import comparison

settings = snakemake.params.comparison
with console.job(snakemake.log[0]):
    frame = comparison.table(
        [artifacts.read_json(path) for path in snakemake.input.metrics],
        [pandas.read_parquet(path) for path in snakemake.input.predictions],
        [pandas.read_csv(path, sep="\t")["s"].iloc[0] for path in snakemake.input.seconds],
        settings["baselines"],
        settings["margin"],
    )
    artifacts.write_text(snakemake.output[0], frame.to_csv(index=False, float_format="%.6g"))
