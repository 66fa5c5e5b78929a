"""Write the taxonomy, after comparing it with the labels of the train images."""

from treehead import console, dataset, taxonomy

with console.job(snakemake.log[0]):
    tree = taxonomy.Taxonomy(**snakemake.params.taxonomy["content"])
    if snakemake.params.taxonomy["setting"] == "superclass":
        fine, coarse = dataset.labels(snakemake.input.train)
        taxonomy.check_labels(tree, fine, coarse, snakemake.input.train)
    tree.write(snakemake.output[0])
