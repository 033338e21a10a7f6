"""Whatever name is mistyped, the message says the nearest one that there is."""

from pkgutil import resolve_name

import pytest

from ernie.checkpoint.convert import convert
from ernie.metrics.classification import check_metric
from ernie.pretrain.tasks import make_tasks
from ernie.programs import ENCODE, EXPORT, FINETUNE, INFER, PREDICT, PRETRAIN
from ernie.settings.fields import described
from ernie.settings.finetune import FinetuneSettings
from ernie.settings.run_yaml import read_settings
from propeller.errors import UserError, did_you_mean

PROGRAMS = {'finetune': FINETUNE.classify, 'pretrain': PRETRAIN, 'encode': ENCODE, 'infer': INFER, 'predict': PREDICT}
PROGRAMS['export'] = EXPORT
CHOICES = [
    (program, name)
    for program in sorted(PROGRAMS)
    for name, one in described(resolve_name(PROGRAMS[program].settings)).items()
    if one.description.choices
]

WORDS = {'predict': ('model', 'a text')}


def mistyped(word):
    """A letter too many, in small letters."""
    return f'{word[:3]}x{word[3:]}'.lower()


@pytest.mark.parametrize(('program', 'name'), CHOICES)
def test_every_flag_with_choices_names_the_nearest(program, name):
    longest = max(described(resolve_name(PROGRAMS[program].settings))[name].description.allowed(), key=len)
    with pytest.raises(UserError) as error:
        PROGRAMS[program].build_parser().parse_args([*WORDS.get(program, ()), f'--{name}', mistyped(longest)]).checked()
    assert f'Did you mean {longest}?' in str(error.value)


def test_flags_settings_metrics_tasks_formats(tmp_path):
    (tmp_path / 'run.yaml').write_text('optimizer: adamww\n')
    (tmp_path / 'name.yaml').write_text('learning_rat: 0.1\n')
    for call, near in (
        (lambda: PROGRAMS['finetune'].build_parser().parse_args(['--learning_rte', '1']), '--learning_rate'),
        (lambda: read_settings(str(tmp_path / 'run.yaml'), FinetuneSettings), 'adamw'),
        (lambda: read_settings(str(tmp_path / 'name.yaml'), FinetuneSettings), 'learning_rate'),
        (lambda: check_metric('macro_F1s', 'classify', 2, False), 'macro_f1'),
        (lambda: make_tasks(['knowledge_maskin']), 'knowledge_masking'),
        (lambda: convert('a', 'b', 'hugingface'), 'huggingface'),
    ):
        with pytest.raises(UserError, match=rf'Did you mean {near}\?'):
            call()


def test_letter_case_does_not_matter():
    assert did_you_mean('ADAMW', ['sgd', 'adamw']) == ' Did you mean adamw?'
    assert did_you_mean('iobes', ['IOB', 'IOBES']) == ' Did you mean IOBES?'
    assert did_you_mean('xyz', ['IOB', 'adamw']) == ''


def test_names_of_two_or_three_characters():
    columns = ['编号', '评论', '情感', 'id']
    assert (
        did_you_mean('平论', columns) == ' Did you mean 评论?'
        and did_you_mean('情咸', columns) == ' Did you mean 情感?'
    )
    assert did_you_mean('라밸', ['라벨', '문장']) == ' Did you mean 라벨?'
    assert did_you_mean('电影论', ['电影评', '书']) == ' Did you mean 电影评?'
    # Nothing in common, the characters elsewhere, several as near, short words of ASCII.
    assert not any(did_you_mean(name, columns) for name in ('文本', '论评', 'ix', 'no', '一二三'))
    assert did_you_mean('评价', ['评论', '评分']) == ''
