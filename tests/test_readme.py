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
from ernie.command import main as command
from ernie.programs import CLASSIFY, INFER, PRETRAIN, SERVE
from ernie.quickstart.cli import build_parser as quickstart_parser
from ernie.zoo import BUNDLES
from ernie.zoo.data_sets import DATA_SETS
from ernie_encoder import build_parser as encoder_parser
from example.finetune_ranker import build_parser as ranker_parser
from finetune_launch import build_parser as launch_parser
from finetune_launch import split_arguments
from script.documents.__main__ import translations
from script.documents.page import Page, commands, pages
from tests.ernie.tiny_model import CONFIG, random_parameters, write_model

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = ROOT / 'README.md', ROOT / 'README.zh.md'
PAGES = [page for page in pages() if page.name != 'benchmark/README.md']
# Programs of the machine; everything else that a command starts must be in the repository.
MACHINE = {'.', 'cat', 'cd', 'cut', 'echo', 'export', 'git', 'head', 'ls', 'mkdir', 'pip', 'printf', 'python3', 'sed'}
MACHINE |= {'cc', 'curl', 'docker', 'kubectl', 'serve'}  # of servers; the last is Ray Serve's
PARSERS = {
    'script/quickstart.sh': quickstart_parser,
    'infer_classifyer.py': INFER.build_parser,
    'ernie_encoder.py': encoder_parser,
    'train.py': PRETRAIN.build_parser,
    'script/zh_task/pretrain.sh': PRETRAIN.build_parser,
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
        'ernie finetune data/messages.csv',
        'ernie predict',
        'ernie download',
        'run_ChnSentiCorp.sh',
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
            check_flags(CLASSIFY.build_parser(), flags)
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
    named = {
        n for page in PAGES for b in page.texts('sh') for n in re.findall(r'ernie(?:\.zoo)? download ([\w.-]+)', b)
    }
    assert named and named <= {*BUNDLES, *DATA_SETS}


PROSE = ('settings', 'differences', 'checkpoints', 'training', 'architecture')


def test_flags_named_in_the_prose_exist():
    parsers = (
        CLASSIFY.build_parser(),
        INFER.build_parser(),
        encoder_parser(),
        launch_parser(),
        PRETRAIN.build_parser(),
        ranker_parser(),
        SERVE.build_parser(),
    )
    known = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    others = {'--to', '--config', '--vocab', '--run_config', '--hparam', '--no-deps', '--use_fast_executor'}
    others |= {'--max_unpacked_gb', '--their_python'}  # of ernie.zoo and a benchmark
    for page in (ENGLISH, CHINESE, *(ROOT / f'docs/{name}.md' for name in PROSE)):
        named = set(re.findall(r'--[a-z][a-z0-9_-]*', re.sub('<!--.*?-->', '', Page(page).prose)))
        assert named <= known | others, page.name


def code(page):
    """The blocks of a page, without their places."""
    return [block[:4] for block in page.blocks]


def test_the_architecture_names_every_package():
    text = (ROOT / 'docs/architecture.md').read_text(encoding='utf-8')
    packages = [path.parent.name for base in ('ernie', 'propeller') for path in (ROOT / base).glob('*/__init__.py')]
    assert [name for name in packages if f' {name}/' not in text] == []


TRANSLATED = [(page, Page(path)) for page in PAGES for path in translations(page)]


@pytest.mark.parametrize(('page', 'chinese'), TRANSLATED, ids=lambda page: page.name)
def test_a_page_has_the_same_blocks_and_sections_in_chinese(page, chinese):
    assert code(page) == code(chinese)
    headings = [re.findall(r'^#+ ', text.prose, re.M) for text in (page, chinese)]
    assert headings[0] == headings[1]


def test_the_main_pages_are_there_in_chinese():
    main = ('README', 'first_model', 'data', 'inference', 'report', 'models', 'training')
    assert {Path(page.name).stem for page, _ in TRANSLATED} == set(main)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_relative_links_and_paths_exist(page):
    for link in re.findall(r'\]\(([^)#]+)', page.text):
        assert link.startswith(('https://', 'http://')) or (page.path.parent / link).exists(), link
    for path in re.findall(r'`((?:script|docs|tests|benchmark|config|ernie|propeller)/[\w./-]*)`', page.prose):
        assert (ROOT / path).exists(), path


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A folder with the data of the README and a tiny model, which is the working folder."""
    folder, before = tmp_path_factory.mktemp('readme'), os.getcwd()
    shutil.copytree(ROOT / 'data', folder / 'data')
    config = {**CONFIG, 'max_position_embeddings': 64}
    write_model(folder / 'tiny', random_parameters(config), config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ERNIE_CACHE', str(folder / 'cache'))
        os.chdir(folder)
        yield folder
        os.chdir(before)


def test_own_data_is_trained_and_predicted(checkout, capsys):
    """The commands of the README, with a tiny model and few steps."""
    (training,) = [
        words for block in blocks(ENGLISH, 'sh') for words in commands(block) if words[:2] == ['ernie', 'finetune']
    ]
    (prediction,) = [
        words for block in blocks(ENGLISH, 'sh') for words in commands(block) if words[:2] == ['ernie', 'predict']
    ]
    assert not command([*training[1:], '--model', 'tiny', '--epoch', '2'])
    left = set(os.listdir(checkout / 'runs/messages'))
    assert {'best', 'reports', 'report.html', 'run.log', 'run.yaml', 'curves.png', 'metrics.jsonl'} <= left
    capsys.readouterr()
    assert not command([*prediction[1:], '--format', 'jsonl'])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['text'] for line in lines] == ['快递晚了三天', '周末营业吗', '师傅很热情']
    assert {line['label'] for line in lines} <= {'投诉', '咨询', '表扬'}


def test_python_example_runs(checkout, capsys):
    """The same; scores and labels are those of a model of two layers."""
    (code,) = blocks(ENGLISH, 'python')
    assert code.count("'multilingual-e5-small'") == code.count("'data/messages.csv'") == 1
    code = code.replace("'multilingual-e5-small'", "'tiny'").replace('epoch=8', "model='tiny', epoch=1")
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4].startswith('runs/python/best ') and lines[-1].startswith('(12,) ')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_no_output_names_a_machine(page):
    for block in page.blocks:
        for word in ('/home/', '/root/', '/tmp/', 'http://', 'pypi'):
            said = block.text.replace('http://127.0.0.1', '')  # whoever reads it
            assert block.mark == 'not output' or word not in said, block.text


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
    assert not outputs['serve.py'].stderr
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
