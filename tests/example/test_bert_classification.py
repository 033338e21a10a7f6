"""The program with the flags of Pytorch-BERT-Classification: frozen, and a run on CSV files of two reviews sites."""

import csv
import json
import re

import pytest

from ernie.settings.fields import described
from ernie.settings.flags import SettingsParser
from example.bert_classification.train import (
    Epoch,
    TrainSettings,
    epochs_of,
    in_flags_of_this_program,
    main,
    report,
)
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import sentences, write_model

# The options of that program, in its order, and ours.
FLAGS = {
    'max_length': 256,
    'save_path': '',
    'bert_name': 'bert-base-uncased',
    'bert_finetuning': False,
    'dropout_p': 0.1,
    'boost': False,
    'n_epochs': 10,
    'lr': 1e-3,
    'lr_main': 5e-5,
    'early_stop': -1,
    'batch_size': 32,
    'gradient_accumulation_steps': 1,
    'text_column': None,
    'label_column': None,
    'truncation': 'head',
    'skip_bad_rows': False,
    'random_seed': 1,
    'cpu_threads': None,
    'resume': False,
}


def parse(*argv):
    return SettingsParser(TrainSettings, 'bert_classification').parse_args(list(argv))


def test_the_flags_and_their_defaults_are_these(tmp_path):
    (tmp_path / 'a.csv').touch()
    needed = ['--train_path', str(tmp_path / 'a.csv'), '--valid_path', str(tmp_path / 'a.csv')]
    found = parse(*needed)
    assert {name: getattr(found, name) for name in FLAGS} == FLAGS
    assert set(described(TrainSettings)) == {'train_path', 'valid_path', *FLAGS}
    given = parse(*needed, '--boost', 'True', '--bert_finetuning', 'False', '--dropout_p', '0.3', '--lr', '0.01')
    made = given.checked().as_finetune()
    assert (made.freeze_encoder, made.boost, made.head_dropout, made.learning_rate) == (True, True, 0.3, 0.01)
    assert not made.gave('text_column', 'cpu_threads')
    columns = ('--text_column', 'review', '--label_column', 'mood')
    made = parse(*needed, *columns, '--truncation', 'tail', '--random_seed', '7').as_finetune()
    assert (made.text_column, made.label_column, made.truncation, made.random_seed) == ('review', 'mood', 'tail', 7)
    tuned = parse(*needed, '--bert_finetuning', 'True', '--lr_main', '2e-5').as_finetune()
    assert (tuned.freeze_encoder, tuned.learning_rate, tuned.head_learning_rate) == (False, 2e-5, 1e-3)
    assert (tuned.lr_scheduler, tuned.warmup_proportion, tuned.weight_decay) == ('constant', 0, 0)
    with pytest.raises(UsageError, match='--boost True: with --bert_finetuning True'):
        parse(*needed, '--boost', 'True', '--bert_finetuning', 'True').checked()
    with pytest.raises(UsageError, match='--max_length'):
        parse(*needed, '--max_length', '513').checked()
    with pytest.raises(UserError, match=r'--valid_path .*b.csv: no such file'):
        parse(*needed, '--valid_path', str(tmp_path / 'b.csv')).checked()
    with pytest.raises(UsageError, match='--train_path'):
        parse().checked()


def write_csv(path, rows, names=('text', 'label')):
    with open(path, 'w', encoding='utf-8', newline='') as f:
        csv.writer(f).writerows([names, *rows])
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    rows = [(f'{text}<br /><br />的, "人"', label) for text, label in sentences(56, 1)]
    values = {
        'train_path': write_csv(tmp_path / 'reviews.csv', rows[:40]),
        'valid_path': write_csv(tmp_path / 'test.csv', rows[40:]),
        'bert_name': write_model(tmp_path / 'm') / 'params',
        'save_path': tmp_path / 'saved',
        'max_length': 15,
        'batch_size': 4,
        'gradient_accumulation_steps': 2,
        'n_epochs': 3,
        'lr': 0.01,
    }
    return lambda **more: [str(word) for name, value in {**values, **more}.items() for word in (f'--{name}', value)]


def test_a_run_ends_with_the_table_of_its_epochs(files, tmp_path, capsys):
    main(files(boost=True, dropout_p=0.2))
    lines = capsys.readouterr().out.splitlines()
    epochs = epochs_of(tmp_path / 'saved/metrics.jsonl')
    assert [epoch.number for epoch in epochs] == [1, 2, 3] and all(epoch.train_loss > 0 for epoch in epochs)
    best = max(epochs, key=lambda epoch: (epoch.valid_accuracy, -epoch.valid_loss))
    assert lines[-9] == '| epoch | train loss | valid loss | valid accuracy |'
    (marked,) = [line for line in lines if '(best)' in line]
    cells = ' | '.join(f'{value:.4f}' for value in best[2:])
    assert marked == f'| {best.number} (best) | {cells} |'
    assert lines[-1].startswith('| reviews | ') and lines[-1].endswith(f' | False | 15 | {best.number} | {cells} |')
    saved = json.loads((tmp_path / 'saved/best/labels.json').read_text(encoding='utf-8'))
    assert (saved['head_dropout'], saved['drop_html_breaks'], saved['truncation']) == (0.2, True, 'head')
    assert json.loads((tmp_path / 'saved/best/metrics.json').read_text())['acc'] == pytest.approx(best.valid_accuracy)
    with pytest.raises(UsageError, match=r'--save_path .*saved: holds a training. .* \(--resume True\)'):
        main(files(boost=True))


def test_columns_of_any_name_and_classes_that_are_numbers(files, tmp_path, capsys):
    """Many different numbers would be values for `ernie finetune`; this program knows classes only."""
    rows = [(i, f'{i % 12 / 10}', text) for i, (text, _) in enumerate(sentences(48, 2))]
    path = write_csv(tmp_path / 'odd.csv', rows, ('Nr.', 'mood of it', 'What they wrote'))
    names = {'text_column': 'What they wrote', 'label_column': 'mood of it'}
    main(files(train_path=path, valid_path=path, n_epochs=1, boost=True, **names))
    assert capsys.readouterr().out.splitlines()[-1].startswith('| odd | ')
    saved = json.loads((tmp_path / 'saved/best/labels.json').read_text(encoding='utf-8'))
    assert (saved['task'], len(saved['label_map'])) == ('classification', 12)
    both = '--text_column NAME --label_column NAME say which they are'
    with pytest.raises(UserError, match=f"odd.csv:1: found the columns 'Nr.', 'mood of it', .* {both}"):
        main(files(train_path=path, save_path=tmp_path / 'other'))


def test_a_run_that_was_interrupted_goes_on(files, tmp_path, capsys):
    main(files(n_epochs=1))
    main(files(n_epochs=3, resume=True))
    resumed = epochs_of(tmp_path / 'saved/metrics.jsonl')
    assert [epoch.number for epoch in resumed] == [1, 2, 3]
    assert capsys.readouterr().out.splitlines()[-1].startswith('| reviews | ')


def test_the_epoch_of_the_best_checkpoint_is_marked():
    args = parse('--train_path', 'x/imdb.csv', '--valid_path', 'b.csv')
    epochs = [Epoch(5, 1, 0.5, 0.6, 0.8), Epoch(10, 2, None, 0.55, 0.8), Epoch(15, 3, 0.1, 0.9, 0.7)]
    lines = report(args, epochs, best_step=10)
    assert lines[3] == '| 2 (best) |  | 0.5500 | 0.8000 |'
    assert lines[-1] == '| imdb | bert-base-uncased | False | 256 | 2 |  | 0.5500 | 0.8000 |'


@pytest.mark.parametrize(
    ('rows', 'names', 'words'),
    [
        ([('a', '1')], ('one', 'two'), "bad.csv:1: found the columns 'one', 'two', expected also a column"),
        ([('好', '1'), ('坏', 'x'), ('差', '0')], ('text', 'label'), r'bad.csv:3: found the label .x., expected'),
    ],
)
def test_a_file_that_is_none_of_reviews(files, tmp_path, rows, names, words):
    bad = write_csv(tmp_path / 'bad.csv', rows, names)
    flag = 'train_path' if names[0] == 'one' else 'valid_path'
    with pytest.raises(UserError, match=words) as error:
        main(files(**{flag: bad}))
    # In the flags of this program: neither `--train_set` nor `--is_regression` is one.
    assert not re.search('--train_set|--dev_set|(?<!finetune. )--is_regression', str(error.value))


def test_messages_name_the_flags_of_this_program():
    text = '--max_seq_len 900: at most 512. --label_column says; --is_regression true is for numbers; --epoch 3--x'
    assert in_flags_of_this_program(text) == (
        '--max_length 900: at most 512. --label_column says; (ernie finetune) --is_regression true is for '
        'numbers; --n_epochs 3--x'
    )
