"""Draw some train images of each class."""

from treehead import console, records
from treehead.data import dataset, taxonomy
from treehead.report import figures

settings, given = snakemake.params.dataset, snakemake.input
by_row = [given.images]
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
    tree = taxonomy.read(given.taxonomy)
    fine = dataset.labels(given.table)
    rows = dataset.first_of_each(fine, 4)
    images = dataset.pixels(given.images, given.table)[rows]
    figures.save(
        figures.contact_sheet(images, fine[rows], tree, settings["title"]), snakemake.output[0]
    )
