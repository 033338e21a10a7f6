"""What README.md, README.zh.md and docs/*.md say: commands parse, links lead somewhere, examples run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from ernie.checkpoint.__main__ import make_parser as checkpoint_parser
from ernie.command import VERBS, find_verb, help_text
from ernie.finetune.flags import build_parser as finetune_parser
from ernie.inference.flags import build_parser as inference_parser
from ernie.pretrain.flags import build_parser as pretrain_parser
from ernie.quickstart.cli import build_parser as quickstart_parser
from ernie.zoo import BUNDLES
from ernie_encoder import build_parser as encoder_parser
from finetune_launch import build_parser as launch_parser
from finetune_launch import split_arguments
from script.documents.page import HEREDOC, Page, commands, pages
from tests.ernie.tiny_model import CONFIG, random_parameters, write_model

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = ROOT / 'README.md', ROOT / 'README.zh.md'
PAGES = [page for page in pages() if page.name != 'benchmark/README.md']
# Programs of the machine; everything else that a command starts must be in the repository.
MACHINE = {'.', 'cat', 'cd', 'cut', 'echo', 'export', 'git', 'head', 'ls', 'mkdir', 'pip', 'printf', 'python3', 'sed'}
PARSERS = {
    'script/quickstart.sh': quickstart_parser,
    'infer_classifyer.py': inference_parser,
    'ernie_encoder.py': encoder_parser,
    'train.py': pretrain_parser,
    'script/zh_task/pretrain.sh': pretrain_parser,
}
LOCAL_SCRIPTS = {block.value for page in PAGES for block in page.blocks if block.mark == 'file'}


def blocks(page, language):
    """Texts of the fenced blocks of one language."""
    return Page(page).texts(language)


ALL = [(page.name, words) for page in PAGES for block in page.texts('sh') for words in commands(block)]


def test_the_pages_hold_the_commands_that_a_user_needs():
    said = [' '.join(words) for name, words in ALL if name == 'README.md']
    assert said[:2] == ['sh script/quickstart.sh', 'sh script/test.sh']
    for program in (
        'ernie.zoo',
        'ernie.checkpoint convert',
        'run_classifier.py',
        'run_lcqmc.sh',
        'SST-2/task.sh',
        'cvt.sh',
    ):
        assert any(program in command for command in said), program


def check_flags(parser, words):
    """Fails, with the parser's own text, where it does not take the words. Abbreviations do not count."""
    known = {option for action in parser._actions for option in action.option_strings}
    assert {word for word in words if word.startswith('--')} <= known
    if '--config' in words:  # a file that is not here
        words = words[: words.index('--config')] + words[words.index('--config') + 2 :]
    parser.parse_args(words)


@pytest.mark.parametrize(
    ('page', 'words'), ALL, ids=lambda value: value if isinstance(value, str) else ' '.join(value[:3])
)
def test_command_exists_and_its_flags_parse(page, words):
    program, rest = words[0], words[1:]
    if program in ('sh', 'python') and not rest[0].startswith('-'):
        path, flags = rest[0], rest[1:]
        if path in LOCAL_SCRIPTS:
            return
        assert (ROOT / path).is_file()
        if path in PARSERS:
            check_flags(PARSERS[path](), flags)
        elif path.startswith('run_') or '_task/' in path or path.endswith('task.sh'):
            check_flags(finetune_parser(), flags)
        elif path == 'finetune_launch.py':
            own, script, arguments = split_arguments(launch_parser(), flags)
            check_flags(launch_parser(), own)
            test_command_exists_and_its_flags_parse(page, ['python', script, *arguments])
    elif rest[:2] == ['-m', 'paddle.distributed.launch']:
        script = next(i for i, word in enumerate(rest) if word.endswith('.py'))
        test_command_exists_and_its_flags_parse(page, ['python', *rest[script:]])
    elif program == 'python' and rest[0] == '-m':
        assert (ROOT / rest[1].replace('.', '/')).with_suffix('.py').is_file() or (
            ROOT / rest[1].replace('.', '/')
        ).is_dir()
        if rest[1] == 'ernie.checkpoint':
            checkpoint_parser().parse_args(rest[2:])
    elif program == 'ernie':
        check_verb(rest)
    else:
        assert program in MACHINE or program.startswith('.')


def check_verb(words):
    """Fails unless they are a verb of the command `ernie` and its flags."""
    if words == ['--help']:
        return
    name = find_verb(words)
    program = getattr(resolve_name(VERBS[name].place), '__self__', None)
    if program:
        check_flags(program.build_parser(), words[len(name.split()) :])


def test_the_readme_shows_the_verbs():
    assert help_text() + '\n' in blocks(ENGLISH, 'text')


def test_bundles_that_the_pages_download_exist():
    named = {n for page in PAGES for b in page.texts('sh') for n in re.findall(r'ernie\.zoo download ([\w.-]+)', b)}
    assert named and named <= set(BUNDLES)


PROSE = ('settings', 'differences', 'checkpoints', 'training', 'architecture')


def test_flags_named_in_the_prose_exist():
    parsers = (finetune_parser(), inference_parser(), encoder_parser(), launch_parser(), pretrain_parser())
    known = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    others = {'--to', '--config', '--vocab', '--run_config', '--hparam', '--no-deps', '--use_fast_executor'}
    others |= {'--max_unpacked_gb', '--their_python'}  # of ernie.zoo and a benchmark
    for page in (ENGLISH, CHINESE, *(ROOT / f'docs/{name}.md' for name in PROSE)):
        named = set(re.findall(r'--[a-z][a-z0-9_-]*', re.sub('<!--.*?-->', '', Page(page).prose)))
        assert named <= known | others, page.name


def code(page):
    """The blocks of a page, without their places."""
    return [block[:4] for block in page.blocks]


def test_both_readmes_hold_the_same_blocks():
    assert code(Page(ENGLISH)) == code(Page(CHINESE))
    headings = [re.findall(r'^#+ ', page.read_text(encoding='utf-8'), re.M) for page in (ENGLISH, CHINESE)]
    assert headings[0] == headings[1]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_relative_links_and_paths_exist(page):
    for link in re.findall(r'\]\(([^)#]+)', page.text):
        assert link.startswith('https://') or (page.path.parent / link).exists(), link
    for path in re.findall(r'`((?:script|docs|tests|benchmark|config|ernie|propeller)/[\w./-]*)`', page.prose):
        assert (ROOT / path).exists(), path


def test_results_are_quoted_with_the_line_of_the_program():
    """The dev lines of the README have the form that today's code prints."""
    from ernie.metrics.classification import format_dev_line

    quoted = re.findall(
        r'\[dev evaluation\] ave loss: ([\d.]+), acc:([\d.]+), data_num: (\d+), elapsed time: ([\d.]+) s',
        ENGLISH.read_text(encoding='utf-8'),
    )
    assert len(quoted) > 3
    for loss, acc, data_num, elapsed in quoted:
        values = {'acc': float(acc), 'data_num': int(data_num), 'loss': float(loss), 'elapsed': float(elapsed)}
        line = format_dev_line('simple_accuracy', values)
        assert line in ENGLISH.read_text(encoding='utf-8')


class Checkout:
    """A folder in which the commands of the README work: its programs, and a tiny model as `quickstart/model`."""

    def __init__(self, folder):
        self.folder = folder
        (folder / 'run_classifier.py').symlink_to(ROOT / 'run_classifier.py')
        config = {**CONFIG, 'max_position_embeddings': 64}
        write_model(folder / 'quickstart/model', random_parameters(config), config)

    def run(self, block):
        """Run a shell block of the README; run_classifier in this process, which saves loading paddle each time."""
        import run_classifier

        for path, text in HEREDOC.findall(block):
            (self.folder / path).write_text(text, encoding='utf-8')
        for words in commands(HEREDOC.sub('', block)):
            if words[:2] == ['python', 'run_classifier.py']:
                run_classifier.main(words[2:])
            else:
                line = next(line for line in block.splitlines() if line.startswith(words[0]) and words[1] in line)
                subprocess.run(['sh', '-c', line], check=True, capture_output=True)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp('readme'), os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ERNIE_CACHE', str(folder / 'cache'))
        os.chdir(folder)
        yield Checkout(folder)
        os.chdir(before)


def block_with(text):
    """The one shell block of the README that holds `text`."""
    (found,) = [block for block in blocks(ENGLISH, 'sh') if text in block]
    return found


def test_csv_example_trains_evaluates_predicts_and_resumes(checkout):
    training = block_with('messages.csv <<')
    checkout.run(training)
    out = checkout.folder / 'out/messages'
    state = json.loads((out / 'best/training_state.json').read_text())
    assert {'step_3', 'step_6', 'step_9', 'step_12', 'best', 'reports'} <= set(os.listdir(out))
    for name in ('投诉', '咨询', '表扬'):
        assert name in (out / 'best/report.txt').read_text(encoding='utf-8')

    checkout.run(block_with('--do_train false --do_test false'))
    (record,) = [json.loads(line) for line in (out / 'evaluation.jsonl').read_text().splitlines()]
    assert record['loss'] == pytest.approx(json.loads((out / 'best/metrics.json').read_text())['loss'], abs=1e-6)

    prediction = block_with('--test_save').replace('\ncat out/new.txt.2.9', '')
    checkout.run(prediction)
    lines = (checkout.folder / f'out/new.txt.{state["epoch"]}.{state["global_step"]}').read_text().splitlines()
    assert [len(line.split('\t')[1].split()) for line in lines] == [3, 3]

    before = (out / 'step_12/model.safetensors').read_bytes()
    for step in (6, 9, 12):
        shutil.rmtree(out / f'step_{step}')
    checkout.run(training.rstrip() + ' --resume true\n')
    assert (out / 'step_12/model.safetensors').read_bytes() == before


def test_python_training_example_runs(checkout, capsys):
    for path, text in HEREDOC.findall(block_with('messages.csv <<')):
        (checkout.folder / path).write_text(text, encoding='utf-8')
    (checkout.folder / 'labels.json').write_text('{"投诉": 0, "咨询": 1, "表扬": 2}', encoding='utf-8')
    (code,) = [block for block in blocks(ENGLISH, 'python') if 'ernie.finetune' in block]
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-1] == 'True'
    written = (checkout.folder / 'out/python/run.yaml').read_text()
    quoted = next(block for block in blocks(ROOT / 'docs/settings.md', 'yaml') if 'program:' in block)
    assert [line for line in quoted.splitlines() if line not in written.splitlines()] == []


def test_multilabel_example_trains(checkout):
    checkout.run(block_with('--is_multilabel'))
    report = json.loads((checkout.folder / 'out/tags/best/metrics.json').read_text())
    assert report['data_num'] == 5 and 0 <= report['micro_f1'] <= 1


def write_reviews(folder):
    """Two files of reviews in the form of the quickstart's: words tell the class, one label in ten is wrong.

    Without wrong labels the loss would end the second run of the tutorial before its first evaluation.
    """
    from tests.ernie.tiny_model import sentences, write_table

    folder.mkdir(parents=True)
    for name, count, seed in (('train', 600, 1), ('dev', 120, 2)):
        rows = enumerate(sentences(count, seed))
        write_table(
            folder / f'{name}.tsv', ['label', 'text_a'], [(y if i % 10 else 1 - y, text) for i, (text, y) in rows]
        )


@pytest.mark.slow
def test_propeller_tutorial_runs_as_it_stands(tmp_path):
    page = ROOT / 'docs/propeller.md'
    files = {block.value: block.text for block in Page(page).blocks if block.mark == 'file'}
    assert sorted(files) == ['learn.py', 'more.py', 'reviews.py', 'serve.py']
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding='utf-8')
    write_reviews(tmp_path / 'quickstart/task_data/chnsenticorp')
    outputs = {name: run_python(tmp_path, name) for name in ('learn.py', 'more.py', 'serve.py')}

    accuracy = float(re.match(r'accuracy ([\d.]+)\n', outputs['learn.py'].stdout).group(1))
    assert accuracy > 0.8
    assert len(outputs['learn.py'].stdout.splitlines()) == 1 + 32
    assert 'continuing from reviews_run/model_200' in outputs['more.py'].stderr
    assert (tmp_path / 'reviews_run/best/best.json').is_file()
    # These labels keep the loss above the hook's limit. With a higher one it ends the third run at once.
    assert last_checkpoint(tmp_path) == 600
    eager = files['more.py'].replace('StopAtLoss(0.3)', 'StopAtLoss(1.0)').replace('max_steps=600', 'max_steps=900')
    (tmp_path / 'eager.py').write_text(eager, encoding='utf-8')
    run_python(tmp_path, 'eager.py')
    assert 600 < last_checkpoint(tmp_path) < 610
    probabilities = re.findall(r'[\d.]+', outputs['serve.py'].stdout)
    assert len(probabilities) == 4 and float(probabilities[0]) + float(probabilities[1]) == pytest.approx(1, abs=2e-3)


def last_checkpoint(folder):
    """Step of the newest checkpoint of the tutorial's run."""
    return int((folder / 'reviews_run/ckpt_info').read_text().split()[-1].removeprefix('model_'))


def run_python(folder, name):
    """The finished process of one file of the tutorial."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_settings_example_of_the_tutorial_runs():
    (code,) = [text for text in blocks(ROOT / 'docs/propeller.md', 'python') if 'parse_runconfig' in text]
    exec(compile(code, 'docs/propeller.md', 'exec'), {})
