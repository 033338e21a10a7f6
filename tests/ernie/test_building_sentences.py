"""Sentence boundaries in Chinese and English."""

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.pretrain.building.sentences import language_of, split_sentences

# Sentences with `|` between; in Chinese nothing stands between them, in English a space.
CHINESE = [
    '他来了。|你呢？|走吧！！|好……|真的？！|是的；|不是',
    '他说：“好。”|然后走了。|（真的吗？）|《为什么？》|是一本书。',
    '增长了3.5%。|请看 http://a.cn/?b=1;c 的说明。|好!|完',
    '等等......|后来呢?!|他叫"小王。"|她叫"小李"。|「是嗎？」|她問。',
    '这是 e.g. 的意思。|U.S. 是美国。|Yes.然后',
    '没有标点的一行',
    '。。。|前面只有句号。',
    '😀好！|👍🏽。|再见',
]
ENGLISH = [
    'Dr. Smith met Mr. J. R. Jones at 3.5 p.m. in the U.S. Senate.|They talked.',
    'He arrived at 5 p.m.|It was late.|She stayed.',
    'It rose 3.5 percent.|"Why?" he asked.|"I know."|She left.',
    'Wait... what?|No...|Never!|Really?!|Yes.',
    'See Fig. 3 and No. 7 on pp. 4-5.|(It is there.)|[So it is.]|The end',
    'I saw it, etc.|The others did not.|Apple Inc. announced it.',
    'Homarus gammarus , known as lobster .|It is related to H. americanus .|In life , they are blue .',
    'Éric est venu.|Ça va ?|Oui.',
    'Она пришла.|Он ушёл!|Да.',
    'no capital after. this period, so one sentence',
    'So did I.|The answer: no.|"So be it."|\u201cGo on.\u201d|She did.',
]


@pytest.mark.parametrize('marked', CHINESE)
def test_chinese(marked):
    assert split_sentences(marked.replace('|', ''), 'zh') == marked.split('|')


@pytest.mark.parametrize('marked', ENGLISH)
def test_english(marked):
    assert split_sentences(marked.replace('|', ' '), 'en') == marked.split('|')


@pytest.mark.parametrize(
    ('text', 'language'),
    [('中文里有 some English', 'zh'), ('English text mentions 北京 once in a while', 'en'), ('これは本です', 'zh')]
    + [('', 'en'), ('123', 'en'), ('中', 'zh'), ('Привет', 'en')],
)
def test_language(text, language):
    assert language_of(text) == language


@given(st.text('。！？；…“”’)（.!?;"\' \tA中aDr文9é😀', max_size=60), st.sampled_from(['zh', 'en', None]))
def test_nothing_is_lost(text, language):
    sentences = split_sentences(text, language)
    assert ''.join(''.join(sentences).split()) == ''.join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.skipif('ERNIE_TEST_DATA' not in os.environ, reason='ERNIE_TEST_DATA is not set')
def test_real_text_has_sentences_of_usual_length():
    folder = os.environ['ERNIE_TEST_DATA']
    for path, least, most in (
        ('pretrain_en/state_union.txt.gz', 90, 150),
        ('pretrain_zh/zhwiki_simplified.txt.gz', 30, 55),
    ):
        with gzip.open(os.path.join(folder, path), 'rt', encoding='utf-8') as f:
            lengths = [len(s) for line in f for s in split_sentences(line.strip())]
        assert least < sum(lengths) / len(lengths) < most
        assert max(lengths) < 3000
