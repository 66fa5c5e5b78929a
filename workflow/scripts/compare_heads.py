"""Compare all heads in one table."""

from itertools import zip_longest

import pandas

from treehead import artifacts, console, records
from treehead.evaluation import comparison

given = snakemake.input
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    reports = map(artifacts.read_json, given.metrics)
    predictions = map(pandas.read_parquet, given.predictions)
    instructions = map(artifacts.read_json, given.instructions)
    each = zip_longest(reports, predictions, instructions)
    frame = comparison.table(
        [comparison.Measured(*one) for one in each], **snakemake.params.comparison
    )
    artifacts.write_text(snakemake.output[0], frame.to_csv(index=False, float_format="%.6g"))
