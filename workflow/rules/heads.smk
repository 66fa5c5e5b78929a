# In: the embeddings of train.
# Out: each head of the comparison, fitted and packed.
PACKED = expand("{precision}-{seed}", precision=config["precisions"], seed=config["seeds"])


rule fit_head:
    """Fit a head to the train embeddings, once for each seed."""
    input:
        embeddings="{model}/embeddings/train.safetensors",
        teacher=lambda wildcards: [
            f"{wildcards.model}/heads/{name}/head.safetensors" for name in teacher(wildcards.head)
        ],
        taxonomy=lambda wildcards: LEARNED if reads_taxonomy(wildcards.head) else [],
        code=lambda wildcards: code("fit_head", wildcards.head, *teacher(wildcards.head)),
    output:
        "{model}/heads/{head}/head.safetensors",
    log:
        "{model}/logs/fit_head/{head}.log",
    benchmark:
        "{model}/benchmarks/fit_head/{head}.tsv"
    threads: config["threads"]["heads"]
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        head=lambda wildcards: stages.head(config, TAXONOMY, HEADS, wildcards.head),
    script:
        "../scripts/fit_head.py"


rule pack_head:
    """The head as a device stores it: one file for each precision and seed."""
    input:
        head="{model}/heads/{head}/head.safetensors",
        code=code("pack_head"),
    output:
        expand("{{model}}/heads/{{head}}/packed/{name}.bin", name=PACKED),
    log:
        "{model}/logs/pack_head/{head}.log",
    threads: 1
    params:
        files={"names": PACKED},
    script:
        "../scripts/pack_head.py"
