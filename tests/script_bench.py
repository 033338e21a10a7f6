"""What the tests of the shell scripts share: a folder to run them in, and a stand-in for Python that records."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / 'script'

# Writes its arguments, separated by NUL, to a new file; answers "no GPU" when it is asked for one with -c.
STAND_IN = """#!/bin/sh
[ "$1" != -c ] || exit "${FAKE_CUDA:-1}"
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
        unset = ('CUDA_VISIBLE_DEVICES', 'RUNS', 'SEED', 'TOKENIZER', 'USE_FP16', 'e_executor', 'ERNIE_ROOT')
        base = {k: v for k, v in os.environ.items() if k not in unset}
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

    def flags(self, name='run_classifier.py'):
        """The flags of every run of the program as dictionaries; the last value of a flag counts, as in argparse."""
        runs = []
        for program, *rest in self.recorded():
            assert program == f'{ROOT}/{name}'
            assert len(rest) % 2 == 0
            assert all(name.startswith('--') for name in rest[::2])
            runs.append(dict(zip(rest[::2], rest[1::2], strict=True)))
        return runs


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
