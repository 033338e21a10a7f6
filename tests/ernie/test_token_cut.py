"""How tokens were cut is learnt from them, and new text is cut the same way: exact slices, in linear time."""

import collections
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.tokenizers.token_cut import AS_TOKENIZER, TokenCut, learn, slices

SENTENCES = {
    'characters': ['昨 天 买 的 i P h o n e 1 2 坏 了 。', '2 0 1 9 年 , 在 B M W 工 作'],
    'words': ['昨 天 买 的 iPhone 12 坏 了 。', '2019 年 , 在 BMW 工 作', 'Mr. Smith , 3.5 % of U.S sales ( e.g. it )'],
    'segmented': ['昨天 买 的 iPhone 坏 了 。', '二零一九年 在 北京 工作'],
}


def learnt(*sentences):
    return learn(collections.Counter(token for sentence in sentences for token in sentence.split(' ')))


def cut(text, rule):
    return [text[start:end] for start, end in slices(text, rule, None)]


def test_every_character_a_token():
    rule, remark = learnt(*SENTENCES['characters'])
    assert (rule, remark) == (TokenCut('characters'), '')
    assert cut('在2019年3月 Mate30。', rule) == [*'在2019年3月Mate30。']
    for sentence in SENTENCES['characters']:
        assert cut(sentence.replace(' ', ''), rule) == sentence.split(' ')


def test_words_and_numbers_whole():
    rule, remark = learnt(*SENTENCES['words'])
    assert (rule.rule, remark) == ('words', '') and '.' in rule.inside
    assert cut('在2019年3月 Mate30。', rule) == ['在', '2019', '年', '3', '月', 'Mate30', '。']
    assert cut('It rose 3.5%, in U.S sales (it).', rule) == [
        'It',
        'rose',
        '3.5',
        '%',
        ',',
        'in',
        'U.S',
        'sales',
        '(',
        'it',
        ')',
        '.',
    ]


def test_punctuation_of_words():
    sentences = ["John 's car , a well-known one , isn 't here .", "@mary #new it 's 1,000 - or so - 12:30 .", '" #1']
    rule, _ = learnt(*sentences)
    assert rule == TokenCut('words', (), ',-:', "#'@")
    assert cut("Ann's @bob: 5-6, #9 a-b", rule) == ['Ann', "'s", '@bob', ':', '5-6', ',', '#9', 'a-b']
    assert cut('a - b -c --', rule) == ['a', '-', 'b', '-', 'c', '-', '-']


def test_what_is_not_sure_is_said():
    rule, remark = learnt('我 爱 北 京 。')
    assert rule.rule == 'characters' and 'whether words and numbers are kept whole does not show' in remark
    rule, remark = learnt(*SENTENCES['segmented'])
    assert rule == AS_TOKENIZER and 'several ideographs' in remark
    rule, remark = learnt('a b c d e f 年 g h', *['1 2 3 4'] * 50, 'ok')
    assert rule.rule == 'characters' and remark == '1 tokens of several letters or digits'


@pytest.mark.parametrize(
    ('extra', 'kinds', 'expected'),
    [
        ('', (), ['北', '京', 'e\u0301', 'x']),
        ('\u200b', ('invisible',), ['北', '\u200b', '京', 'e\u0301', 'x', '\ue000']),
        ('\u0301', ('mark',), ['北', '京', 'e', '\u0301', 'x']),
        ('\u3000', ('space',), ['北', '京', ' ', 'e\u0301', 'x']),
    ],
)
def test_what_carries_no_text_is_a_token_where_it_was_one(extra, kinds, expected):
    tokens = [*'在2019年', *extra]
    rule, _ = learn(collections.Counter(tokens))
    assert rule == TokenCut('characters', kinds)
    assert cut('北\u200b京 e\u0301x\ue000', rule) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aé中,.-'\u0301\u200b\ue000 \u3000\n😀한") | st.characters(), max_size=30), st.data())
def test_slices_of_any_text(text, data):
    kinds = tuple(data.draw(st.sets(st.sampled_from(('space', 'mark', 'invisible')))))
    for rule in (TokenCut('characters', kinds), TokenCut('words', kinds, ".-'", "'")):
        found = slices(text, rule, None)
        ends = [0, *(place for pair in found for place in pair)]
        assert ends == sorted(ends) and all(start < end for start, end in found)
        left = ''.join(char for i, char in enumerate(text) if not any(a <= i < b for a, b in found))
        assert not any(char.isalnum() or (char.isprintable() and char.isascii() and char != ' ') for char in left)
        if rule.rule == 'words':
            assert cut(' '.join(cut(text, rule)), rule) == cut(text, rule)


def test_any_text_is_cut_in_linear_time():
    rule, started = TokenCut('words', (), '-.', "'"), time.process_time()
    for text in ('a' + '-' * 100_000, "'" * 100_000, 'a\u200b' * 50_000, '\u200b' * 100_000, 'a-' * 50_000):
        slices(text, rule, None)
    assert time.process_time() - started < 5  # the square of it would be minutes


@pytest.mark.parametrize(
    'rule', [TokenCut(), TokenCut('characters', ('space', 'mark')), TokenCut('words', (), '.', '@')]
)
def test_json_gives_the_rule_back(rule):
    assert TokenCut.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@pytest.mark.parametrize(
    'value', [None, 3, 'characters', {}, {'rule': 'x'}, {'rule': 'words', 'inside': 3}, {'rule': 'words', 'y': 1}]
    + [{'rule': 'characters', 'tokens': tokens} for tokens in ('mark', ['x'], [[]], {}, 3)],
)  # fmt: skip
def test_json_that_is_no_rule(value):
    with pytest.raises(ValueError, match='not a rule'):
        TokenCut.from_json(value)
