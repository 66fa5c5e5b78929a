"""Read the pictures of the data set, and check them and their labels."""

from treehead import console, records
from treehead.data import reading

# Processes that decode import this file once more, under another name.
if __name__ == "__main__":
    with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
        settings, known = (snakemake.params.reading[key] for key in ("dataset", "known"))
        settings = {**settings, "processes": snakemake.threads}
        reading.read(settings, known, dict(snakemake.output.items()))
