"""Print the submissions that a dry run would be, by Snakemake's own groups, and what they ask for.

A line is one submission: how many jobs, CPUs, MB of memory and minutes, then the rules of the jobs.
Snakemake shows groups of jobs only when it submits them.
"""

import sys

import snakemake.cli
from snakemake.dag import DAG
from snakemake.resources import GroupResources

grouped = DAG.postprocess


async def postprocess(self: DAG, *arguments: object, **named: object) -> None:
    await grouped(self, *arguments, **named)
    jobs = set(self.needrun_jobs())
    for one in {self.get_job_group(job) or job for job in jobs}:
        inside, asked = [one], one.resources
        if one.is_group():
            # A dry run adds up what a submission doesn't.
            inside = one.jobs
            asked = GroupResources.basic_layered(one.toposorted, one.global_resources, False)
        size = (len(inside), *(asked[name] for name in ("_cores", "mem_mb", "runtime")))
        print("submission:", *size, *sorted({job.rule.name for job in inside}))


DAG.postprocess = postprocess
snakemake.cli.main(["--dry-run", *sys.argv[1:]])
