# In: the data set and the weights. Out: the same backbone trained for each objective, and their comparison.
NETWORK = "<results>/networks/{network}"


wildcard_constraints:
    network="|".join(name for name in NETWORKS if name != MAIN) or "none",


use rule finetune_backbone as finetune_network with:
    output:
        weights=f"{NETWORK}/backbone/weights.safetensors",
        head=f"{NETWORK}/backbone/head.safetensors",
        history=f"{NETWORK}/backbone/history.csv",
    log:
        f"{NETWORK}/logs/finetune_backbone.log",
    benchmark:
        f"{NETWORK}/benchmarks/finetune_backbone.tsv"
    params:
        finetune=lambda wildcards: stages.finetune(configured(wildcards), TAXONOMY),


use rule export_backbone as export_network with:
    input:
        weights=f"{NETWORK}/backbone/weights.safetensors",
        train=f"{DATASET}/train.parquet",
        code=code("export_backbone"),
    output:
        f"{NETWORK}/backbone/backbone.onnx",
    log:
        f"{NETWORK}/logs/export_backbone.log",


use rule embed as embed_network with:
    input:
        images=branch(
            lambda wildcards: wildcards.split == "test",
            then=f"{DATASET}/test.parquet",
            otherwise=f"{DATASET}/train.parquet",
        ),
        onnx=f"{NETWORK}/backbone/backbone.onnx",
        weights=f"{NETWORK}/backbone/weights.safetensors",
        code=code("embed"),
    output:
        f"{NETWORK}/embeddings/{{split}}.safetensors",
    log:
        f"{NETWORK}/logs/embed/{{split}}.log",
    benchmark:
        f"{NETWORK}/benchmarks/embed/{{split}}.tsv"


use rule evaluate_backbone as evaluate_network with:
    input:
        head=f"{NETWORK}/backbone/head.safetensors",
        val=f"{NETWORK}/embeddings/val.safetensors",
        test=f"{NETWORK}/embeddings/test.safetensors",
        code=code("evaluate_backbone"),
    output:
        f"{NETWORK}/backbone/metrics.json",
    log:
        f"{NETWORK}/logs/evaluate_backbone.log",
    params:
        own_head=lambda wildcards: stages.own_head(configured(wildcards), TAXONOMY),


rule take_network_parent:
    """The parent layer that a network was trained with, for the children that are fitted under it."""
    input:
        head=f"{NETWORK}/backbone/head.safetensors",
        code=code("take_parent"),
    output:
        f"{NETWORK}/hierarchy100/parent.safetensors",
    log:
        f"{NETWORK}/logs/take_parent.log",
    threads: 1
    script:
        "../scripts/take_parent.py"


use rule train_child as train_network_child with:
    input:
        embeddings=f"{NETWORK}/embeddings/train.safetensors",
        parent=branch(
            config["child"]["input"] == "parent_logits",
            then=f"{NETWORK}/hierarchy100/parent.safetensors",
            otherwise=[],
        ),
        taxonomy=LEARNED,
        code=code("train_child"),
    output:
        f"{NETWORK}/hierarchy100/children/{{parent}}.safetensors",
    log:
        f"{NETWORK}/logs/train_child/{{parent}}.log",


use rule reduce_child as reduce_network_child with:
    input:
        child=f"{NETWORK}/hierarchy100/children/{{parent}}.safetensors",
        code=code("reduce_child"),
    output:
        weight=f"{NETWORK}/hierarchy100/reduced/{{parent}}_weight.pt",
        bias=f"{NETWORK}/hierarchy100/reduced/{{parent}}_bias.pt",
    log:
        f"{NETWORK}/logs/reduce_child/{{parent}}.log",


use rule fit_head as fit_network_head with:
    input:
        embeddings=f"{NETWORK}/embeddings/train.safetensors",
        teacher=lambda wildcards: expand(
            f"{NETWORK}/heads/{{teacher}}/head.safetensors",
            teacher=teacher(wildcards.head),
            network=wildcards.network,
        ),
        taxonomy=lambda wildcards: LEARNED if reads_taxonomy(wildcards.head) else [],
        code=lambda wildcards: code("fit_head", wildcards.head, *teacher(wildcards.head)),
    output:
        f"{NETWORK}/heads/{{head}}/head.safetensors",
    log:
        f"{NETWORK}/logs/fit_head/{{head}}.log",
    benchmark:
        f"{NETWORK}/benchmarks/fit_head/{{head}}.tsv"


use rule evaluate_hierarchy as evaluate_network_hierarchy with:
    input:
        test=f"{NETWORK}/embeddings/test.safetensors",
        val=f"{NETWORK}/embeddings/val.safetensors",
        taxonomy="<results>/taxonomy.json",
        parent=f"{NETWORK}/hierarchy100/parent.safetensors",
        weights=expand(
            f"{NETWORK}/hierarchy100/reduced/{{parent}}_weight.pt",
            parent=PARENTS,
            allow_missing=True,
        ),
        biases=expand(
            f"{NETWORK}/hierarchy100/reduced/{{parent}}_bias.pt",
            parent=PARENTS,
            allow_missing=True,
        ),
        linear=f"{NETWORK}/heads/linear/head.safetensors",
        config="<results>/config.yaml",
        hashed=[
            f"{DATASET}/train.parquet",
            f"{DATASET}/test.parquet",
            f"{NETWORK}/backbone/weights.safetensors",
        ],
        code=code("evaluate_hierarchy"),
    output:
        metrics=f"{NETWORK}/hierarchy100/metrics.json",
        predictions=f"{NETWORK}/hierarchy100/predictions.parquet",
    log:
        f"{NETWORK}/logs/evaluate_hierarchy.log",


rule compare_networks:
    """Each network's own head, and the trees of those that have a parent layer, beside the study's."""
    input:
        heads=[of_network(name, "backbone/metrics.json") for name in NETWORKS],
        trees=[
            of_network(name, "hierarchy100/metrics.json")
            for name in filter(settings.has_parents, NETWORKS)
        ],
        study="resources/study_networks.csv",
        code=code("compare_networks"),
    output:
        table="<results>/networks.csv",
        figure=report(
            "<results>/networks.svg",
            caption="../report/networks.rst",
            category="Training",
            labels={"figure": "the backbone trained for each objective"},
        ),
    log:
        "<results>/logs/compare_networks.log",
    threads: 1
    params:
        networks=stages.compared_networks(config, TAXONOMY),
    script:
        "../scripts/compare_networks.py"
