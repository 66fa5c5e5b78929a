from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=config["results"],


report: "workflow/report/workflow.rst"


wildcard_constraints:
    model=one_of([*TRAINED, INT8]),
    parent=one_of(PARENTS),
    split="train|val|test",
    shard=r"\d+",
    head=one_of(HEADS),


include: "workflow/rules/data.smk"
include: "workflow/rules/backbones.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/hierarchy.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/report.smk"


rule all:
    """The hierarchical classifier's metrics and bare tensors, and the figures of the report."""
    default_target: True
    input:
        "<results>/hierarchy100/metrics.json",
        expand("<results>/hierarchy100/reduced/{parent}_weight.pt", parent=PARENTS),
        expand("<results>/hierarchy100/reduced/{parent}_bias.pt", parent=PARENTS),
        expand("<results>/figures/{figure}", figure=FIGURES),
