"""Compare all heads in one table."""

import pandas

from treehead import artifacts, console
from treehead.evaluation import comparison

with console.job(snakemake.log[0]):
    reports = map(artifacts.read_json, snakemake.input.metrics)
    predictions = map(pandas.read_parquet, snakemake.input.predictions)
    seconds = [pandas.read_csv(path, sep="\t")["s"].iloc[0] for path in snakemake.input.seconds]
    measured = list(map(comparison.Measured, reports, predictions, seconds))
    frame = comparison.table(measured, **snakemake.params.comparison)
    artifacts.write_text(snakemake.output[0], frame.to_csv(index=False, float_format="%.6g"))
