"""The program that runs the examples of the documentation (script/documents)."""

import subprocess

import pytest

from script.documents.__main__ import order
from script.documents.compare import chosen_lines, cleaned, masked
from script.documents.page import Block, Page
from script.documents.regenerate import difference, regenerate
from script.documents.scratch import Scratch

PAGE = """<!-- runs after: README.md, docs/data.md -->
# A page

```sh
printf 'a 0.25 in 3.1 s\\nb 7\\n'
```

```text
a 0.25 in 2.9 s
b 8
```

<!-- not run: no GPU -->
```sh
false
```

```text
not touched
```

1. in a list:

   ```sh
   printf 'step 1, loss 3\\nstep 2, loss 2\\nnoise\\nend\\n' >&2
   ```

   <!-- some lines -->
   ```text
   step 2, loss 1
   end
   ```

<!-- file: made.txt -->
```yaml
a: 1
```

```sh
echo x > out.txt; cat made.txt
```

<!-- content of: out.txt -->
```text
y
```

<!-- not output -->
```text
error: FILE
```
"""


class Folder:
    """Runs shell blocks in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def forget_shell(self):
        pass

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def run(self, block, timeout):
        command = ['sh', '-e', '-c', block.text]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def page():
    from script.documents.page import ROOT

    return Page(ROOT / 'docs/no_such_page.md', PAGE)


def test_a_page_gets_todays_outputs_and_keeps_clocks(page, tmp_path):
    text, faults = regenerate(page, Folder(tmp_path), say=lambda line: None)
    assert faults == []
    changes = [line for line in difference(page, text).splitlines() if line[0] in '+-'][2:]
    assert changes == [
        *('-b 8', '+b 7'),
        *('-   step 2, loss 1', '+   step 2, loss 2', '-y', '+x'),
    ]
    again, faults = regenerate(Page(page.path, text), Folder(tmp_path), say=lambda line: None)
    assert (again, faults) == (text, [])
    assert page.needs == ['README.md', 'docs/data.md'] and page.not_run is None


def test_a_command_that_fails_and_a_line_that_is_gone_are_told(page, tmp_path):
    broken = Page(page.path, page.text.replace('echo x > out.txt;', 'false;').replace('end\n   ```', 'bye\n   ```'))
    _, (gone, failed) = regenerate(broken, Folder(tmp_path), say=lambda line: None)
    assert gone.text == 'no line of the output is like: bye'
    assert failed.text.startswith('exit code 1')
    assert [broken.text.splitlines()[fault.line - 1].strip() for fault in (gone, failed)] == ['```text', '```sh']


def test_the_lines_of_a_shortened_output_come_in_their_order():
    printed = 'step: 1, loss: 2.5\nstep: 2, loss: 1e-3\nstep: 3, loss: 0.1\nlast\n'
    shown = 'step: 2, loss: 9\n...\nlast\n'
    assert chosen_lines(shown, printed) == ('step: 2, loss: 1e-3\n...\nlast\n', [])
    assert chosen_lines('last\nstep: 2, loss: 9\n', printed)[1] == ['step: 2, loss: 9']


@pytest.mark.parametrize(
    ('a', 'b'),
    [
        ('elapsed time: 2.07 s, file: x', 'elapsed time: 11.3 s, file: x'),
        ('time: 1 min 21 s', 'time: 58 s'),
        ('speed: 1.77 steps/s', 'speed: 12 steps/s'),
        ('loss 0.5, 1,204 tokens/s', 'loss 0.5, 999 tokens/s'),
        ('127.0.0.1:6170', '127.0.0.1:40001'),
        ('2026-01-02 03:04:05', '2027-11-12 13:14:15'),
    ],
)
def test_clocks_rates_and_ports_are_no_difference(a, b):
    assert masked(a) == masked(b)


@pytest.mark.parametrize('pair', [('acc: 0.8', 'acc: 0.9'), ('300 rows', '301 rows'), ('step_3', 'step_4')])
def test_results_are(pair):
    assert masked(pair[0]) != masked(pair[1])


def test_what_a_terminal_would_show(tmp_path):
    printed = f'[INFO] 2026-11-28 22:12:58,118 [evaluation.py:   70]:\t\x1b[1mdev\x1b[0m {tmp_path}/out\n 10%\r100%\n'
    assert cleaned(printed, tmp_path) == 'dev out\n100%\n'


def test_pages_come_after_those_that_they_need():
    known = {name: Page('x', f'<!-- runs after: {needs} -->\n# x\n') for name, needs in {'a': 'b, c', 'b': 'c'}.items()}
    known['c'] = Page('x', '# x\n')
    assert order(['a', 'b'], known) == ['c', 'b', 'a']
    with pytest.raises(SystemExit, match='no page d'):
        order(['d'], known)


def test_commands_run_in_a_clone_with_packages_of_the_repository_or_on_a_terminal(tmp_path, monkeypatch):
    """What one block exports the next one has; a new page begins with a new shell."""
    monkeypatch.setattr(Scratch, '_copy', lambda self: (tmp_path / 'pyproject.toml').touch())
    monkeypatch.setattr(Scratch, '_make_environment', lambda self: None)
    monkeypatch.setenv('MODEL_PATH', 'of the user')
    scratch = Scratch(tmp_path)

    def printed(text, mark=''):
        return scratch.run(Block('sh', text, mark, '', 0, 0, ''), 20)

    assert printed('echo ${MODEL_PATH-none}; export MODEL_PATH=mine; test -t 1 || echo file') == (0, 'none\nfile\n')
    assert printed('echo $MODEL_PATH; pwd') == (0, f'mine\n{tmp_path.resolve()}\n')
    scratch.forget_shell()
    assert printed('echo ${MODEL_PATH-none}; false; echo no')[0] == 1
    code, text = printed('test -t 1 && printf "1\\r2\\n"', 'terminal')
    assert code == 0 and cleaned(text, tmp_path) == '2\n'
    assert not scratch.was_run('README.md')
    scratch.set_run('README.md')
    assert Scratch(tmp_path).was_run('README.md')
