"""The command `ernie`: its verbs, their flags, what it says to mistakes, and that it starts without Paddle."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from benchmark.acceptance.cpp_executor import compared
from ernie.command import VERBS, find_verb, main
from ernie.programs import CLASSIFY, ENCODE, INFER, PRETRAIN, READ, TAG
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import texts, write_checkpoint
from tests.ernie.tiny_model import table

ROOT = Path(__file__).parents[2]


def ernie(*argv, **kwargs):
    command = [sys.executable, '-m', 'ernie', *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, **kwargs)


def test_help_has_a_line_for_every_verb(capsys):
    assert main(['--help']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(VERBS) + 4
    for line, (name, verb) in zip(lines[2:], VERBS.items(), strict=False):
        assert line.split('  ')[1] == name and line.endswith(f'  {verb.about}')
        assert len(line) <= 100


@pytest.mark.parametrize('name', VERBS)
def test_help_of_a_verb_names_the_verb(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([*name.split(), '--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: ernie {name} ')


def test_help_loads_neither_paddle_nor_numpy():
    code = (
        'import sys\nfrom ernie.command import main\n'
        "try:\n    main(sys.argv[1:])\nfinally:\n    print(*sys.modules, file=sys.stderr, sep='\\n')\n"
    )
    for argv, absent in (['--help'], {'paddle', 'numpy'}), (['finetune', 'read', '--help'], {'paddle'}):
        done = subprocess.run([sys.executable, '-c', code, *argv], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert 'ernie.command' in done.stderr.splitlines()
        assert not absent & set(done.stderr.splitlines())


@pytest.mark.parametrize(
    ('argv', 'text'),
    [
        (['trian'], "'trian': unknown verb. Did you mean pretrain? ernie --help lists all."),
        (
            ['build_data', '--input', 'x'],
            "'build_data': unknown verb. Did you mean build-data? ernie --help lists all.",
        ),
        (['classify'], "'classify': unknown verb. Did you mean finetune classify? ernie --help lists all."),
        (['--init_checkpoint'], "'--init_checkpoint': unknown verb. ernie --help lists all."),
        ([], 'no verb is given. ernie --help lists all.'),
    ],
)
def test_what_is_no_verb(argv, text):
    with pytest.raises(UsageError) as error:
        find_verb(argv)
    assert str(error.value) == text


def test_mistakes_are_one_line_and_exit_code_2():
    for argv in (['exprot'], ['predict', '--init_checkpiont', 'x']):
        done = ernie(*argv)
        assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
    assert done.stderr.startswith('error: ')


DOORS = {
    'run_classifier': ('finetune classify', CLASSIFY),
    'run_sequence_labeling': ('finetune tag', TAG),
    'run_mrc': ('finetune read', READ),
    'train': ('pretrain', PRETRAIN),
    'ernie_encoder': ('encode', ENCODE),
    'infer_classifyer': ('predict', INFER),
    'infer_classifier': ('predict', INFER),
}


@pytest.mark.parametrize('file', DOORS)
def test_a_program_of_2019_is_a_door_to_the_same_function_and_flags(file):
    verb, program = DOORS[file]
    door = importlib.import_module(file)
    assert (door.main, door.build_parser) == (program.main, program.build_parser)
    of_verb = resolve_name(VERBS[verb].place).__self__
    names, of_door = ([a.option_strings for a in p.build_parser()._actions] for p in (of_verb, program))
    if verb.startswith('finetune'):  # the same flags with other defaults, and a file that stands alone
        assert {*map(tuple, names)} - {*map(tuple, of_door)} == {(), ('--model',)}
    elif verb == 'predict':  # takes texts, and knows more of where results go
        assert [name for name in names if name in of_door] == of_door
    else:
        assert of_verb.run is program.run and names == of_door


@pytest.mark.parametrize(
    ('argv', 'words'),
    [
        ([], 'no training file is given: ernie finetune FILE'),
        (['tga', '--model', '.'], 'tga: no such file. Did you mean ernie finetune tag'),
        (['none.csv', '--model', '.'], 'none.csv: no such file'),
        (['here', '--train_set', 'here'], "found a file, 'here', and --train_set: give one"),
        (['here', '--model', 'a', '--init_pretraining_params', 'b'], 'mean the same: give one'),
        (['here', '--model', 'a', '--dev_set', 'here', '--dev_share', '0.2'], '--dev_set and --dev_share: give one'),
        (['here', '--epoch', 'many'], "--epoch: found 'many', expected a whole number, or auto"),
        (['--help', 'everything'], '--help \'everything\': expected nothing more, or "all"'),
    ],
)
def test_what_finetune_says_to_mistakes(tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    Path('here').write_text('text_a\tlabel\na\t1\n')
    with pytest.raises(UserError) as error:
        main(['finetune', *argv])
    assert words in str(error.value) and os.listdir() == ['here']


def test_help_of_finetune_is_short_and_all_of_it_can_be_had(capsys):
    lengths = []
    for argv in ['--help'], ['--help', 'all']:
        with pytest.raises(SystemExit):
            main(['finetune', *argv])
        text = capsys.readouterr().out
        lengths.append(len(text.splitlines()))
        assert '--model' in text and '--dev_share' in text
        assert ('--loss_scaling' in text or '--init_loss_scaling' in text) == (len(argv) == 2)
    assert lengths[0] <= 40 < lengths[1]


def test_launch_starts_verbs_and_checks_them_first(monkeypatch):
    jobs = []
    monkeypatch.setattr('propeller.launch.command.run_job', lambda settings, environ: jobs.append(settings))
    main(['launch', '--nproc_per_node', '2', 'finetune', 'tag', '--epoch', '2'])
    main(['launch', '--nproc_per_node', '1', 'run_mrc.py', '--epoch', '2'])
    assert [(job.nproc, job.script, job.arguments) for job in jobs] == [
        (2, '-m', ('ernie', 'finetune', 'tag', '--epoch', '2')),
        (1, 'run_mrc.py', ('--epoch', '2')),
    ]
    for argv, text in ((['finetun', '--epoch', '2'], 'finetun: no such script'), (['predict'], 'no such script')):
        with pytest.raises(UsageError, match=text):
            main(['launch', *argv])


def test_predict_keeps_no_export_and_export_predicts_nothing():
    predict, export = (resolve_name(VERBS[name].place).__self__.build_parser() for name in ('predict', 'export'))
    whole = vars(INFER.build_parser().parse_args([]))
    own = {'model': None, 'inputs': (), 'text': (), 'text_b': (), 'question': (), 'context': None}
    own |= {'engine_cluster': 'local', 'ray_address': None, 'workers': None}
    changed = {'save_inference_model_path': '', 'format': None, 'carry': True, 'engine': None}
    assert vars(predict.parse_args([])) == whole | own | changed
    given = export.parse_args(['--export_format', 'onnx', '--overwrite'])
    changed = {'export_format': 'onnx', 'overwrite': True, 'do_prediction': False, 'engine': None}
    own = dict.fromkeys(('model', 'pooling', 'layer', 'calibration_set', 'dev_set', 'max_drop'))
    assert vars(given) == whole | changed | own
    assert export.parse_args(['m']).checked().init_checkpoint == 'm'
    for other in (['--predict_set', 'x'], ['--engine', 'nonsense'], ['--do_prediction', 'true']):
        with pytest.raises(UsageError):
            export.parse_args(other)


def test_cpu_threads_are_set_before_paddle_is_loaded(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    seen = []
    place = 'ernie.finetune.own_data.fine_tune_file'
    monkeypatch.setattr(place, lambda *_: seen.append(os.environ['OMP_NUM_THREADS']))
    main(['finetune', 'tag'])
    main(['finetune', 'tag', '--cpu_threads', '3'])
    assert seen == ['7', '3']


def test_a_checkpoint_and_its_export_predict_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint = write_checkpoint(tmp_path / 'made', 'classify')
    new = table(tmp_path / 'new.tsv', [(text,) for text in texts(7)], ['text_a'])
    assert main(['predict', '--init_checkpoint', str(checkpoint), '--predict_set', new]) == 0
    first = capsys.readouterr().out
    assert first.count('\n') == 7 and sorted(os.listdir()) == ['made', 'new.tsv']
    assert main(['export', '--init_checkpoint', str(checkpoint)]) == 0
    (exported,) = Path('inference_model').iterdir()
    assert capsys.readouterr().out == ''
    assert main(['predict', '--init_checkpoint', str(exported), '--predict_set', new]) == 0
    second = capsys.readouterr().out  # of another engine
    assert compared(first.splitlines(), second.splitlines())[1] < 1e-6
