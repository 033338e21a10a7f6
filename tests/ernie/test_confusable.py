"""Texts that look alike: folding with the way back, and what a message shows of them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.reader.confusable import (
    Folded,
    alike_advice,
    appearance,
    clusters,
    composed,
    difference,
    find_alike,
    look_alike,
)

MARKED = st.text(st.sampled_from('ae\u00e9\u0301\u0327 \u00a0\u3000x中가\u1100\u1161\u11a8ﬁＡ'), max_size=14)


@given(MARKED, st.sampled_from([composed, appearance]))
def test_folding_by_parts_is_folding_of_the_whole(text, fold):
    folded = Folded(text, fold)
    assert folded.text == fold(text)
    assert len(folded.starts) == len(folded.ends) == len(folded.text)
    assert all(fold(text[slice(*place)]) for place in zip(folded.starts, folded.ends, strict=True))


@given(MARKED, st.integers(0, 14), st.integers(0, 14), st.sampled_from(['NFC', 'NFD']))
def test_any_part_is_found_in_any_composition(text, begin, end, form):
    """A part of whole characters is found, however it is composed; what is found is that part."""
    part = text[begin:end]
    place = find_alike(text, unicodedata.normalize(form, part), begin)
    ends = {0, *(end for _, end in clusters(text))}
    if place is None:
        assert not part or not {begin, min(end, len(text))} <= ends
    else:
        assert composed(text[slice(*place)]) == composed(part)


@pytest.mark.parametrize(
    ('context', 'answer', 'near', 'expected'),
    [
        ('He ran 5\u00a0km', '5 km', 0, '5\u00a0km'),
        ('He ran 5 km', '5\u202fkm', 7, '5 km'),
        ('un cafe\u0301 noir', 'caf\u00e9', 3, 'cafe\u0301'),
        ('un caf\u00e9 noir', 'cafe\u0301', 3, 'caf\u00e9'),
        ('한국 \u1112\u1161\u11ab국', '한국', 9, '\u1112\u1161\u11ab국'),
        ('e\u0301 e', 'e', 0, 'e'),
        ('e\u0301', 'e', 0, None),
        ('abc', 'd', 0, None),
        ('abc', '', 0, None),
    ],
)
def test_answers(context, answer, near, expected):
    place = find_alike(context, answer, near)
    assert (place and context[slice(*place)]) == expected


def test_the_nearest_occurrence_is_taken():
    text = 'e\u0301-e\u0301-e\u0301'
    assert [find_alike(text, '\u00e9', near) for near in (0, 3, 9)] == [(0, 2), (3, 5), (6, 8)]


@pytest.mark.parametrize(
    ('text', 'known', 'points'),
    [
        ('cafe\u0301', 'caf\u00e9', 'from character 4 on the first has U+0065 U+0301, the other U+00E9'),
        ('ＢＡＤ', 'BAD', 'from character 1 on the first has U+FF22 U+FF21 U+FF24, the other U+0042 U+0041 U+0044'),
        ('bad ', 'bad', 'from character 4 on the first has U+0020, the other nothing'),
        ('ba\u200bd', 'bad', 'from character 3 on the first has U+200B, the other nothing'),
        ('bad', '\ufeffbad', 'from character 1 on the first has nothing, the other U+FEFF'),
        ('very\u00a0bad', 'very bad', 'from character 5 on the first has U+00A0, the other U+0020'),
    ],
)
def test_labels(text, known, points):
    assert look_alike(text, ['good', known, 'worse']) == known
    assert alike_advice(text, ['good', known]).endswith(f'they look alike, but {points}.')
    assert alike_advice(known, [known, 'good']) == ''


def test_a_difference_is_short():
    assert len(difference('a' * 1000, 'b' * 1000)) < 200
