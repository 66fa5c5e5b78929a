# In: the merged config. Out: the checked config, its taxonomy, and the names that rules share.
from snakemake.exceptions import WorkflowError

from treehead import provenance, settings, stages, taxonomy
from treehead.artifacts import InputError

try:
    settings.check(config, workflow.source_path("../schemas/config.schema.yaml"))
    TAXONOMY = taxonomy.choose(
        config["taxonomy"], config["dataset"]["name"], config["dataset"]["classes"]
    )
    LOCAL_FILES = stages.local_files(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

PARENTS = [str(parent) for parent in range(len(TAXONOMY.classes))]
DATASET = f"resources/datasets/{config['dataset']['name']}"
WEIGHTS = "resources/weights/{architecture}-{digest}".format(
    architecture=config["backbone"]["architecture"],
    digest=provenance.digest(stages.weights(config)),
)


def code(rule):
    """A rule's script and the treehead modules that it reaches: when one changes, the rule is invalid."""
    script = f"workflow/scripts/{rule}.py"
    return [script, *provenance.reached_modules(script)]
