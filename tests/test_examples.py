"""The examples for clusters: their own tools and schemas accept them, and what they start is a command of the book."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cvae_lib.tools.cli import make_parser
from cvae_lib.training.distributed import read_tf_config

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "examples" / "cluster"
MANIFEST = CLUSTER / "kubernetes.yaml"
SCRIPT = CLUSTER / "train.sbatch"
# The long options of sbatch, from https://slurm.schedmd.com/sbatch.html (25.05).
SBATCH = set(
    """
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container
    container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
    dependency distribution error exclude exclusive export export-file extra extra-node-info get-user-env gid gpu-bind
    gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags help hint hold ignore-pbs input job-name
    kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network
    nice no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
    ntasks-per-socket oom-kill-step open-mode output overcommit oversubscribe parsable partition prefer priority
    profile propagate qos quiet reboot requeue reservation resv-ports segment signal sockets-per-node spread-job
    stepmgr switches test-only thread-spec threads-per-core time time-min tmp tres-bind tres-per-task uid usage
    use-min-nodes verbose version wait wait-all-nodes wckey wrap
    """.split()
)


@pytest.fixture
def stand_ins(tmp_path):
    """A folder of programs that write down how they are called, instead of doing anything: the function makes one."""

    def make(name):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        code = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ.get('TF_CONFIG')]))\n"
        path.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return path.parent

    return make


def run_bash(code, folder, **environment):
    environment = {**os.environ, **environment, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", *code], env=environment, capture_output=True, encoding="utf-8", timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_command(arguments):
    """The words after `python` are a command of the book, with options that it has."""
    assert arguments[:2] == ["-m", "cvae_lib"]
    return make_parser().parse_args(arguments[2:])


# Slurm


def test_the_batch_script_is_a_script():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def test_slurm_has_all_options_of_the_batch_script():
    """Slurm reads them above the first command, and ignores those below it."""
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    found = [(number, line.split()[1]) for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert len(found) > 5
    for number, option in found:
        assert number < first and re.match(r"--([a-z-]+)(=\S+)?$", option), option
        assert option[2:].partition("=")[0] in SBATCH, option


def test_the_batch_script_starts_one_training_on_all_machines(stand_ins, tmp_path):
    folder = stand_ins("srun")
    arguments, _ = run_bash([str(SCRIPT)], folder, CVAE_DATA="mnist.npz", SLURM_SUBMIT_DIR=str(tmp_path))
    options = check_command(arguments[arguments.index("python") + 1 :])
    assert (options.name, options.out) == ("mnist-2d", "trained")


def test_the_batch_script_wants_the_data(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "CVAE_DATA"}
    done = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, encoding="utf-8", timeout=30)
    assert done.returncode and "CVAE_DATA: expected the path of mnist.npz" in done.stderr


# Kubernetes


@pytest.fixture
def manifest():
    return {part["kind"]: part for part in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))}


def test_kubernetes_has_all_fields_of_the_manifest(manifest):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    version = kubernetes_validate.latest_version()
    for part in manifest.values():
        kubernetes_validate.validate(part, version, strict=True)
    manifest["Job"]["spec"]["parallelisms"] = 4
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest["Job"], version, strict=True)


def test_the_pods_have_the_names_that_they_call(manifest, stand_ins):
    """Kubernetes calls the pod of an index `job-index`, in the domain of the service that selects the job's pods."""
    service, job = manifest["Service"], manifest["Job"]
    name, domain, pods = job["metadata"]["name"], service["metadata"]["name"], job["spec"]["completions"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert job["spec"]["template"]["spec"]["subdomain"] == domain
    assert job["spec"]["parallelism"] == pods > 1
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    code = [*container["command"][1:], *container["args"]]
    for index in range(pods):
        arguments, config = run_bash(code, stand_ins("python"), **given, JOB_COMPLETION_INDEX=str(index))
        assert check_command(arguments).name == "mnist-2d"
        assert read_tf_config(config) == ([f"{name}-{i}.{domain}:2222" for i in range(pods)], index)


# Dask


def test_each_job_of_the_sweep_makes_one_row_at_a_time(monkeypatch):
    """And Slurm has the options that Dask asks it for."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    monkeypatch.syspath_prepend(str(CLUSTER))
    import sweep_on_slurm

    with sweep_on_slurm.start_cluster() as cluster:
        script = cluster.job_script()
    assert "--nthreads 1 " in script and "--nworkers" not in script
    options = re.findall(r"^#SBATCH --([a-z-]+)", script, re.MULTILINE)
    assert "#SBATCH --cpus-per-task=1" in script and set(options) <= SBATCH


def test_the_readme_lists_all_examples():
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in CLUSTER.iterdir() if path.suffix in (".sbatch", ".yaml", ".py")}
    assert set(re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE)) == files
