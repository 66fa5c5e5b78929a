"""Write the taxonomy, checked against the labels of the train images."""

from treehead import console
from treehead.data import dataset, taxonomy

with console.job(snakemake.log[0]):
    setting, content = (snakemake.params.taxonomy[key] for key in ("setting", "content"))
    tree = taxonomy.Taxonomy(**content) if content else taxonomy.read(snakemake.input.learned)
    if setting == "superclass":
        fine, coarse = dataset.labels(snakemake.input.train)
        taxonomy.check_labels(tree, fine, coarse, snakemake.input.train)
    tree.write(snakemake.output[0])
