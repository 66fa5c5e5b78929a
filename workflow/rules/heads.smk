# In: the embeddings. Out: each head of the comparison, fitted, packed and measured, and what compares them.
PRECISIONS = config["precisions"]
SEEDS = config["seeds"]
PACKED = expand("{precision}-{seed}", precision=PRECISIONS, seed=SEEDS)


rule fit_head:
    """A head on the train embeddings, once for each seed."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        teacher=lambda wildcards: expand(
            "<results>/heads/{teacher}/head.safetensors", teacher=teacher(wildcards.head)
        ),
        taxonomy=lambda wildcards: LEARNED if reads_taxonomy(wildcards.head) else [],
        code=lambda wildcards: code("fit_head", wildcards.head, *teacher(wildcards.head)),
    output:
        "<results>/heads/{head}/head.safetensors",
    log:
        "<results>/logs/fit_head/{head}.log",
    benchmark:
        "<results>/benchmarks/fit_head/{head}.tsv"
    threads: config["threads"]["heads"]
    params:
        head=lambda wildcards: stages.head(config, TAXONOMY, HEADS, wildcards.head),
    script:
        "../scripts/fit_head.py"


rule pack_head:
    """The head as a device would hold it: one file for each precision and seed."""
    input:
        head="<results>/heads/{head}/head.safetensors",
        code=code("pack_head"),
    output:
        expand("<results>/heads/{{head}}/packed/{name}.bin", name=PACKED),
    log:
        "<results>/logs/pack_head/{head}.log",
    threads: 1
    params:
        files={"names": PACKED},
    script:
        "../scripts/pack_head.py"


rule evaluate_head:
    """What the packed head says of the test images, and what that costs."""
    input:
        test="<results>/embeddings/test.safetensors",
        val="<results>/embeddings/val.safetensors",
        packed=expand("<results>/heads/{{head}}/packed/{name}.bin", name=PACKED),
        taxonomy=LEARNED,
        code=lambda wildcards: code("evaluate_head", wildcards.head),
    output:
        metrics="<results>/heads/{head}/metrics.json",
        predictions="<results>/heads/{head}/predictions.parquet",
    log:
        "<results>/logs/evaluate_head/{head}.log",
    threads: config["threads"]["heads"]
    params:
        evaluation=lambda wildcards: stages.head_evaluation(config, TAXONOMY, HEADS, wildcards.head),
    script:
        "../scripts/evaluate_head.py"


rule compare_heads:
    """All heads at all precisions as one table, each against the linear head of the same seed."""
    input:
        metrics=expand("<results>/heads/{head}/metrics.json", head=HEADS),
        predictions=expand("<results>/heads/{head}/predictions.parquet", head=HEADS),
        seconds=expand("<results>/benchmarks/fit_head/{head}.tsv", head=HEADS),
        code=code("compare_heads"),
    output:
        "<results>/pareto.csv",
    log:
        "<results>/logs/compare_heads.log",
    threads: 1
    params:
        comparison=stages.comparison(config),
    script:
        "../scripts/compare_heads.py"


rule draw_pareto:
    """Accuracy against MACs and against bytes, with the frontier and the study's numbers."""
    input:
        table="<results>/pareto.csv",
        study="resources/study.csv",
        backbone="<results>/backbone/cost.json",
        code=code("draw_pareto"),
    output:
        report(
            "<results>/pareto.svg",
            caption="../report/pareto.rst",
            category="Results",
            labels={"figure": "accuracy against cost"},
        ),
    log:
        "<results>/logs/draw_pareto.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/draw_pareto.py"


rule write_study:
    """The study's numbers beside ours, row by row."""
    input:
        table="<results>/pareto.csv",
        study="resources/study.csv",
        defects="resources/study_defects.csv",
        code=code("write_study"),
    output:
        "<results>/study.md",
    log:
        "<results>/logs/write_study.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/write_study.py"
