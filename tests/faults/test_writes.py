"""At each call that writes, syncs or renames a file, a job dies, the power fails or the disk does.

The jobs are those of a run of the whole graph; each is run once for each call and fault.
"""

import errno
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from jobs import Ended, Job, Runner, jobs, runner
from stages import STAGES

SAME = "each output is whole or absent, and the next run has the same bytes"
SENTENCE = "one sentence, no half file, and the same bytes once the disk is well"


@pytest.fixture(scope="module")
def run(own_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Jobs of a copy of the run; all files in its folder count, and no others."""
    project = own_run.copy(tmp_path_factory.mktemp("writes") / "project")
    with runner(project, project.folder) as run:
        run.jobs = {job.rule: job for job in jobs(project)}
        yield run


def contents(job: Job) -> dict[Path, bytes]:
    """What the job made; the history of a training tells how fast it was, and so does its hash."""
    files = [path for path in job.files() if path.is_file() and "history.csv" not in path.name]
    return {path: path.read_bytes() for path in files}


def each_call(run: Runner, job: Job, kind: str) -> Iterator[tuple[int, Ended]]:
    """Run the job once for each of its calls, which goes wrong."""
    with job.restored():
        job.clear()
        whole = run(job)
        assert whole.status == 0, whole.errors
        for call in range(1, whole.calls + 1):
            job.clear()
            yield call, run(job, call, kind)


@pytest.mark.parametrize("rule", STAGES)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("kill", marks=pytest.mark.fault("SIGKILL at each call that writes", SAME)),
        pytest.param(
            "data",
            marks=pytest.mark.fault("power failure at each call: unsynced data are lost", SAME),
        ),
        pytest.param(
            "names",
            marks=pytest.mark.fault("power failure at each call: unsynced renames are lost", SAME),
        ),
    ],
)
def test_killed_at_any_call_a_job_leaves_whole_files(
    run: Runner, rule: str, kind: str, record_property
):
    job = run.jobs[rule]
    whole, calls = contents(job), 0
    for call, ended in each_call(run, job, kind):
        assert ended.is_killed() or ended.calls < call, (call, ended)
        for path, content in contents(job).items():
            assert path.parent.name == ".made" or content == whole[path], (call, path)
        job.clear()
        again = run(job)
        assert again.status == 0, (call, again.errors)
        assert contents(job) == whole, call
        calls = call
    assert calls >= 4 * len(job.output)
    record_property("happened", f"{rule}: {calls} calls")


@pytest.mark.parametrize("rule", STAGES)
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            errno.ENOSPC, marks=pytest.mark.fault("the disk is full from each call on", SENTENCE)
        ),
        pytest.param(
            errno.EIO, marks=pytest.mark.fault("the disk fails from each call on", SENTENCE)
        ),
    ],
)
def test_a_disk_that_fails_at_any_call_is_told_in_a_sentence(
    run: Runner, rule: str, number: int, record_property
):
    job = run.jobs[rule]
    whole, calls = contents(job), 0
    halves = set(job.project.folder.rglob("*.part"))
    for call, ended in each_call(run, job, str(number)):
        logged = ended.status == 0 and contents(job) == whole  # only a line of the log failed
        assert ended.is_sentence() or logged, (call, ended)
        for path, content in contents(job).items():
            assert path.parent.name == ".made" or content == whole[path], (call, path)
        assert set(job.project.folder.rglob("*.part")) == halves, call
        calls = call
    job.clear()
    assert run(job).status == 0
    assert contents(job) == whole
    record_property("happened", f"{rule}: {calls} calls")


@pytest.mark.instrument
def test_the_library_counts_loses_and_fails(run: Runner, tmp_path: Path):
    """The instrument itself: without syncs data are lost, and with them they are not."""
    job = run.jobs["build_taxonomy"]
    whole = run(job)
    kinds = Counter(run(job, call, "kill").status for call in range(1, whole.calls + 2))
    assert kinds == {-9: whole.calls, 0: 1}, "the call after the last is none"
    artifacts = job.project.folder / "treehead/artifacts.py"
    text = artifacts.read_text()
    artifacts.write_text(text.replace("os.fsync(file.fileno())", "pass"))
    try:
        with runner(job.project, job.project.folder) as unsynced:
            found = set()
            for call in range(1, whole.calls + 1):
                job.clear()
                unsynced(job, call, "data")
                found |= {path.stat().st_size for path in job.output if path.is_file()}
    finally:
        artifacts.write_text(text)
    assert 0 in found
