# In: what was trained, and the embeddings of val and test.
# Out: metrics, predictions and comparisons.
rule record_config:
    """The configuration that this run used, beside its results."""
    input:
        code=code("record_config"),
    output:
        "<results>/config.yaml",
    log:
        "<results>/logs/record_config.log",
    threads: 1
    params:
        config=config,
    script:
        "../scripts/record_config.py"


rule evaluate_backbone:
    """The head that the backbone was trained with, on the test images."""
    input:
        head="{model}/backbone/head.safetensors",
        val="{model}/embeddings/val.safetensors",
        test="{model}/embeddings/test.safetensors",
        code=code("evaluate_backbone"),
    output:
        "{model}/backbone/metrics.json",
    log:
        "{model}/logs/evaluate_backbone.log",
    threads: 1
    params:
        own_head=lambda wildcards: stages.own_head(training_of(wildcards.model), TAXONOMY),
    script:
        "../scripts/evaluate_backbone.py"


rule evaluate_head:
    """Predictions and cost of the packed head on the test images.

    Classes one by one are those of the first precision and seed.
    """
    input:
        test="{model}/embeddings/test.safetensors",
        val="{model}/embeddings/val.safetensors",
        packed=expand("{{model}}/heads/{{head}}/packed/{name}.bin", name=PACKED),
        taxonomy="<results>/taxonomy.json",
        code=lambda wildcards: code("evaluate_head", wildcards.head),
    output:
        metrics="{model}/heads/{head}/metrics.json",
        per_class="{model}/heads/{head}/per_class.csv",
        predictions="{model}/heads/{head}/predictions.parquet",
    log:
        "{model}/logs/evaluate_head/{head}.log",
    threads: config["threads"]["heads"]
    params:
        evaluation=lambda wildcards: stages.head_evaluation(config, HEADS, wildcards.head),
    script:
        "../scripts/evaluate_head.py"


if config["comparison"]["processor"]:

    rule count_instructions:
        """Flash, RAM and instructions of a head's C on an emulated processor, over images of val."""
        input:
            backbone=branch(
                lambda wildcards: wildcards.model == INT8,
                then="{model}/backbone/backbone.onnx",
                otherwise=[],
            ),
            train="{model}/embeddings/train.safetensors",
            val="{model}/embeddings/val.safetensors",
            packed=expand(
                "{{model}}/heads/{{head}}/packed/{precision}-{seed}.bin",
                precision=config["precisions"],
                seed=config["seeds"][0],
            ),
            code=lambda wildcards: code("count_instructions", wildcards.head),
        output:
            "{model}/heads/{head}/instructions.json",
        log:
            "{model}/logs/count_instructions/{head}.log",
        threads: 1
        params:
            instructions=lambda wildcards: stages.instructions(config, HEADS, wildcards.head),
        script:
            "../scripts/count_instructions.py"


rule compare_heads:
    """All heads at all precisions as one table, each against the linear head of the same seed."""
    input:
        metrics=expand("{{model}}/heads/{head}/metrics.json", head=HEADS),
        predictions=expand("{{model}}/heads/{head}/predictions.parquet", head=HEADS),
        instructions=branch(
            config["comparison"]["processor"],
            then=expand("{{model}}/heads/{head}/instructions.json", head=HEADS),
            otherwise=[],
        ),
        code=code("compare_heads"),
    output:
        "{model}/pareto.csv",
    log:
        "{model}/logs/compare_heads.log",
    threads: 1
    params:
        comparison=lambda wildcards: stages.comparison(config, wildcards.model),
    script:
        "../scripts/compare_heads.py"


rule choose_head:
    """The smallest head that loses little against the full one: val and the packed files decide."""
    input:
        val="{model}/embeddings/val.safetensors",
        packed=expand("{{model}}/heads/{head}/packed/{name}.bin", head=HEADS, name=PACKED),
        code=lambda wildcards: code("choose_head", *HEADS),
    output:
        "{model}/heads/choice.json",
    log:
        "{model}/logs/choose_head.log",
    threads: config["threads"]["heads"]
    resources:
        runtime=10,
    params:
        choice=stages.choice(config, HEADS),
    script:
        "../scripts/choose_head.py"


rule evaluate_choice:
    """The chosen head, and its figures on the test images."""
    input:
        choice="{model}/heads/choice.json",
        predictions=expand("{{model}}/heads/{head}/predictions.parquet", head=HEADS),
        code=code("evaluate_choice"),
    output:
        "{model}/chosen.json",
    log:
        "{model}/logs/evaluate_choice.log",
    threads: 1
    params:
        heads={"names": list(HEADS)},
    script:
        "../scripts/evaluate_choice.py"


rule evaluate_hierarchy:
    """The tree from its reduced tensors, on the test images, beside the full head."""
    input:
        **COMPLETING,
        test="{model}/embeddings/test.safetensors",
        val="{model}/embeddings/val.safetensors",
        taxonomy="<results>/taxonomy.json",
        parent="{model}/hierarchy100/parent.safetensors",
        weights=expand("{{model}}/hierarchy100/reduced/{parent}_weight.pt", parent=PARENTS),
        biases=expand("{{model}}/hierarchy100/reduced/{parent}_bias.pt", parent=PARENTS),
        linear="{model}/heads/linear/head.safetensors",
        config="<results>/config.yaml",
        origin=ORIGIN,
        hashed=[
            f"{DATASET}/train.parquet",
            f"{DATASET}/test.parquet",
            "{model}/backbone/weights.safetensors",
        ],
        code=code("evaluate_hierarchy"),
    output:
        metrics="{model}/hierarchy100/metrics.json",
        per_class="{model}/hierarchy100/per_class.csv",
        predictions="{model}/hierarchy100/predictions.parquet",
    log:
        "{model}/logs/evaluate_hierarchy.log",
    threads: config["threads"]["heads"]
    params:
        evaluation=stages.evaluation(config),
    script:
        "../scripts/evaluate_hierarchy.py"


rule evaluate_cluster_parent:
    """Accuracy of the parent layer of the learned clusters on the test images."""
    input:
        test="<results>/embeddings/test.safetensors",
        taxonomy="<results>/hierarchy10/taxonomy.json",
        parent="<results>/hierarchy10/parent.safetensors",
        code=code("evaluate_cluster_parent"),
    output:
        metrics="<results>/hierarchy10/metrics.json",
        predictions="<results>/hierarchy10/predictions.parquet",
    log:
        "<results>/logs/evaluate_cluster_parent.log",
    threads: 1
    script:
        "../scripts/evaluate_cluster_parent.py"


rule evaluate_checkpoint:
    """The ten-cluster head that came with the study's checkpoint, on the test images."""
    input:
        test="<results>/embeddings/test.safetensors",
        weights=f"{WEIGHTS}.safetensors",
        clusters=local("resources/taxonomies/study_clusters.json"),
        code=code("evaluate_checkpoint"),
    output:
        "<results>/hierarchy10/checkpoint.json",
    log:
        "<results>/logs/evaluate_checkpoint.log",
    threads: 1
    params:
        finetune={"epochs": config["finetune"]["epochs"]},
    script:
        "../scripts/evaluate_checkpoint.py"


rule compare_variants:
    """Each variant's own head, and the trees of those that have a parent layer, beside the study's."""
    input:
        heads=[f"{model_of(name)}/backbone/metrics.json" for name in VARIANTS],
        trees=[
            f"{model_of(name)}/hierarchy100/metrics.json"
            for name in filter(settings.has_parents, VARIANTS)
        ],
        study=local("resources/study_networks.csv"),
        code=code("compare_variants"),
    output:
        table="<results>/networks.csv",
        figure=report(
            "<results>/networks.svg",
            caption="../report/networks.rst",
            category="Training",
            labels={"figure": "the backbone trained for each objective"},
        ),
    log:
        "<results>/logs/compare_variants.log",
    threads: 1
    params:
        variants=stages.compared_variants(config, TAXONOMY),
    script:
        "../scripts/compare_variants.py"
