"""Completion scripts: what bash offers, asked in bash itself; and `--version` of command and programs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ernie.command import VERBS, main
from ernie.completion import SHELLS
from propeller.errors import UsageError

ROOT = Path(__file__).parents[2]
WRITING = """
import contextlib, pathlib, sys
from ernie.command import main
for shell in sys.argv[2:]:
    with open(pathlib.Path(sys.argv[1]) / shell, 'w', encoding='utf-8') as f, contextlib.redirect_stdout(f):
        main(['completion', shell])
print(*sys.modules)
"""
ASKED = """
source "$1"
shift
while [ $# -gt 0 ]; do
    IFS='|' read -r -a COMP_WORDS <<< "$1|"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _ernie
    (IFS=' '; echo "${COMPREPLY[*]}")
    shift
done
"""


@pytest.fixture(scope='module')
def scripts(tmp_path_factory):
    """Folder with the script for each shell, in the file of its name."""
    folder = tmp_path_factory.mktemp('completion')
    command = [sys.executable, '-c', WRITING, folder, *SHELLS]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    assert 'paddle' not in done.stdout.split()
    return folder


@pytest.mark.skipif(not shutil.which('bash'), reason='no bash')
def test_bash_completes_verbs_flags_values_and_files(scripts, tmp_path):
    for name in ('clips.csv', 'out one.csv'):
        (tmp_path / name).write_text('')
    (tmp_path / 'ask').write_text(ASKED)
    expected = {
        'ernie|pre': {'predict', 'pretrain'},
        'ernie|--v': {'--version'},
        'ernie|finetune|cl': {'classify', 'clips.csv'},
        'ernie|finetune|classify|--label_c': {'--label_column'},
        'ernie|finetune|tag|--precision|b': {'bf16'},
        'ernie|predict|--top': {'--top_k'},
        'ernie|predict|m|--format|': {'tsv', 'jsonl', 'csv', 'parquet', 'text'},
        'ernie|predict|m|--carry|t': {'true'},
        'ernie|predict|cl': {'clips.csv'},
        'ernie|predict|m|--output|ou': {'out', 'one.csv'},
        'ernie|completion|': set(SHELLS),
        'ernie|launch|--nproc': {'--nproc_per_node'},
        'ernie|nothing|x': set(),
    }
    command = ['bash', '--norc', tmp_path / 'ask', scripts / 'bash', *expected]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0 and not done.stderr
    found = [set(line.split()) for line in done.stdout.splitlines()]
    assert dict(zip(expected, found, strict=True)) == expected


@pytest.mark.parametrize('shell', SHELLS)
def test_every_verb_is_in_the_script(scripts, shell):
    script = (scripts / shell).read_text(encoding='utf-8')
    assert all(name in script for name in VERBS) and '--min_confidence'.lstrip('-') in script
    if shutil.which(shell):
        subprocess.run([shell, '-n', scripts / shell], check=True)


def test_other_shells_are_refused():
    with pytest.raises(UsageError, match="invalid choice: 'tcsh'"):
        main(['completion', 'tcsh'])


def test_versions_are_said_without_loading_paddle():
    code = 'import sys\nfrom ernie.command import main\nmain(["--version"])\nassert "paddle" not in sys.modules'
    commands = [['-c', code], ['run_classifier.py', '--version'], ['-m', 'ernie', 'predict', '--version']]
    said = [subprocess.run([sys.executable, *c], capture_output=True, text=True, cwd=ROOT) for c in commands]
    assert {done.returncode for done in said} == {0} and len({done.stdout for done in said}) == 1
    words = said[0].stdout.split()
    assert words[0] == 'ernie' and words[2].startswith('paddlepaddle') and words[-1] == sys.version.split()[0]
