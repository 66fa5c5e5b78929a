"""Draw some train images of each class."""

from treehead import console, records
from treehead.data import dataset, taxonomy
from treehead.report import figures

settings = snakemake.params.dataset
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    tree = taxonomy.read(snakemake.input.taxonomy)
    fine = dataset.labels(snakemake.input.table)
    rows = dataset.first_of_each(fine, 4)
    images = dataset.Pixels(snakemake.input.images)[rows]
    figures.save(
        figures.contact_sheet(images, fine[rows], tree, settings["title"]), snakemake.output[0]
    )
