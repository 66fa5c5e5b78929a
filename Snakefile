import re

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


# The folder of a model: its backbone, embeddings, heads and tree. A variant's is another one.
pathvars:
    results=config["results"],
    model="<results>",


report: "workflow/report/workflow.rst"


wildcard_constraints:
    parent="|".join(PARENTS),
    split="train|val|test",
    head="|".join(map(re.escape, HEADS)),


include: "workflow/rules/data.smk"
include: "workflow/rules/backbones.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/hierarchy.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/int8.smk"
include: "workflow/rules/networks.smk"


rule all:
    """The hierarchical classifier's metrics and bare tensors, and the figures of the report."""
    default_target: True
    input:
        "<results>/hierarchy100/metrics.json",
        expand("<results>/hierarchy100/reduced/{parent}_weight.pt", parent=PARENTS),
        expand("<results>/hierarchy100/reduced/{parent}_bias.pt", parent=PARENTS),
        expand("<results>/figures/{figure}", figure=FIGURES),
