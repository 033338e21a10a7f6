"""What the tests of the shell scripts share: a folder to run them in, and a stand-in for Python that records."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / 'script'

# Writes its arguments, separated by NUL, to a new file. Questions with -c are answered: what the machine has (a core
# and no GPU, unless the test says otherwise), and whether Paddle can use a GPU (it cannot).
STAND_IN = """#!/bin/sh
case "$*" in
    *usable_cores*) printf '%s %s\\n' "${FAKE_CORES:-1}" "${FAKE_GPUS-}"; exit ;;
    -c*) exit "${FAKE_CUDA:-1}" ;;
esac
n=$(($(ls "$RECORDS" | wc -l) + 1))
printf '%s\\0' "$@" > "$RECORDS/$n"
echo "out of run $n"
echo "err of run $n" >&2
[ "$n" != "${FAIL_AT:-0}" ] || exit 7
"""


class Bench:
    """A folder to run scripts in: a model, task data, and the stand-in for Python."""

    def __init__(self, root):
        self.cwd, self.model, self.data = root / 'my work', root / 'a model', root / 'task data'
        self.records = root / 'records'
        for folder in (self.cwd, self.model / 'params', self.data, self.records):
            folder.mkdir(parents=True)
        for name in ('vocab.txt', 'ernie_config.json'):
            (self.model / name).touch()
        self.python = self.executable(root / 'stand in', STAND_IN)
        self.bin = root / 'bin'
        self.bin.mkdir()
        self.executable(self.bin / 'nvidia-smi', '#!/bin/sh\nexit 9\n')

    @staticmethod
    def executable(path, text):
        path.write_text(text, encoding='utf-8')
        path.chmod(0o755)
        return path

    def sets(self, *names):
        for name in names:
            (self.data / name).parent.mkdir(parents=True, exist_ok=True)
            (self.data / name).touch()

    def run(self, script, *flags, env=None, check=True):
        base = clean_environment()
        base.update(MODEL_PATH=str(self.model), TASK_DATA_PATH=str(self.data), PYTHON=str(self.python))
        base.update(RECORDS=str(self.records), PATH=f'{self.bin}:{base["PATH"]}')
        base.update(env or {})
        base = {k: v for k, v in base.items() if v is not None}
        result = subprocess.run(['sh', str(script), *flags], cwd=self.cwd, env=base, capture_output=True, text=True)
        assert not check or result.returncode == 0, result.stderr
        return result

    def recorded(self):
        """The arguments of every run of the program, in order."""
        files = sorted(self.records.iterdir(), key=lambda p: int(p.name))
        return [p.read_text(encoding='utf-8').split('\0')[:-1] for p in files]

    def flags(self, name='run_classifier.py', launcher=None):
        """The flags of every run of the program as dictionaries; the last value of a flag counts, as in argparse.

        `launcher` is the same for the launcher that must have started it, None if it must have been started directly.
        """
        runs = []
        for recorded in self.recorded():
            at = recorded.index(f'{ROOT}/{name}')
            started_by, given = recorded[:at][:1], pairs(recorded[1:at])
            assert started_by == ([f'{ROOT}/finetune_launch.py'] if launcher else [])
            assert given == (launcher or {})
            runs.append(pairs(recorded[at + 1 :]))
        return runs


def clean_environment():
    """The environment of the tests without what the scripts read."""
    names = ('CUDA_VISIBLE_DEVICES', 'RUNS', 'SEED', 'TOKENIZER', 'USE_FP16', 'e_executor', 'ERNIE_ROOT')
    names += ('NPROC_PER_NODE', 'NODE_IPS', 'NODE_ID', 'LAUNCH_FLAGS')
    return {name: value for name, value in os.environ.items() if name not in names}


def pairs(arguments):
    """`['--name', 'value', ...]` as a dictionary."""
    assert len(arguments) % 2 == 0
    assert all(name.startswith('--') for name in arguments[::2])
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


# Usable cores -> GPUs of the recipe -> processes and batches accumulated in each: one core needs no launcher, and the
# processes share the published batch equally.
SHARES = {1: {8: (1, 8), 2: (1, 2)}, 5: {8: (4, 2), 2: (2, 1)}}


def shares(gpus, cores):
    """(flags of the launcher, flag of the program) of a recipe for several GPUs; (None, nothing) of one for a GPU."""
    if gpus == 1:
        return None, {}
    processes, parts = SHARES[cores][gpus]
    launcher = {'--nproc_per_node': str(processes)} if processes > 1 else None
    return launcher, {'--gradient_accumulation_steps': str(parts)}


def share_line(gpus, batch, unit, cores):
    """What a script for several GPUs says."""
    processes, parts = SHARES[cores][gpus]
    here = f'{processes} CPU process{"es" if processes > 1 else ""} x batch {batch}'
    here += f' x {parts} accumulated' if parts > 1 else ''
    total = f'{gpus * batch} {unit}'
    return f'published for {gpus} GPUs (global batch {total}); this machine: {here} = {total}\n'


def chinese(size, task):
    return SCRIPT / 'zh_task' / f'ernie_{size}' / f'run_{task}.sh'


def glue(size, task):
    return SCRIPT / 'en_glue' / f'ernie_{size}' / task / 'task.sh'


def glue_sets(task):
    if task != 'MNLI':
        return [f'{task}/{part}.tsv' for part in ('train', 'dev', 'test')]
    return [
        'MNLI/train.tsv',
        'MNLI/diagnostic.tsv',
        *(f'MNLI/{m}/{p}.tsv' for m in ('m', 'mm') for p in ('dev', 'test')),
    ]
