"""CoNLL files: which characters part columns, what is a token, a comment, or the end of a sentence."""

import pytest

from ernie.reader.conll import Sentence, columns_of, read_sentences, width_of
from ernie.reader.sequence_label import SequenceLabelReader
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError

MAP = {'B-LOC': 0, 'I-LOC': 1, 'O': 2}


@pytest.fixture
def sentences(tmp_path):
    """Function (text, labelled) -> [(line, tokens, labels)] as the reader of a program gives them."""
    vocabulary = tmp_path / 'vocab.txt'
    vocabulary.write_text('[PAD]\n[CLS]\n[SEP]\n[MASK]\n[UNK]\n我\n在\n京\n', encoding='utf-8')
    tokenizer = FullTokenizer(str(vocabulary))

    def read(text, labelled=True):
        path = tmp_path / 'data.txt'
        path.write_bytes(text.encode())
        reader = SequenceLabelReader(tokenizer, 20, MAP, 'IOB', labelled, cache=False)
        return [(row.line, row.tokens, row.labels) for row in reader.rows(path, None)]

    return read


WHITE = {
    'ideographic space': ('我 O\n\u3000 O\n京 B-LOC\n', ['我', '\u3000', '京']),
    'ideographic space first': ('\u3000 O\n京 B-LOC\n', ['\u3000', '京']),
    'ideographic space, TAB': ('我\tO\n\u3000\tO\n京\tB-LOC\n', ['我', '\u3000', '京']),
    'no-break space': ('我 O\n\u00a0 O\n京 B-LOC\n', ['我', '\u00a0', '京']),
    'space': ('我 O\n  O\n京 B-LOC\n', ['我', ' ', '京']),
    'space first': ('  O\n我 O\n京 B-LOC\n', [' ', '我', '京']),
    'space, four columns': ('我 N N O\n  N N O\n京 N N B-LOC\n', ['我', ' ', '京']),
    'space, TAB': ('我\tO\n \tO\n京\tB-LOC\n', ['我', ' ', '京']),
    'TAB': ('George O\n\t O\nParis B-LOC\n', ['George', '\t', 'Paris']),
    'next line': ('我 O\n\u0085 O\n京 B-LOC\n', ['我', '\u0085', '京']),
    'spaces inside, TAB': ('New York\tB-LOC\n我\tO\n', ['New York', '我']),
    'more than one space between': ('我   O\n京  B-LOC \n', ['我', '京']),
    'a wide space between': ('我\u3000O\n京\u3000B-LOC\n', ['我', '京']),
    'Windows': ('我 O\r\n京 B-LOC\r\n\r\n', ['我', '京']),
}


@pytest.mark.parametrize('case', WHITE)
def test_white_space(sentences, case):
    text, tokens = WHITE[case]
    ((_, found, labels),) = sentences(text)
    assert found == tokens and labels[-1] in ('B-LOC', 'O') and len(labels) == len(tokens)
    ((_, found, labels),) = sentences(text, labelled=False)
    assert found == tokens and labels is None


def test_lines_without_text_part_sentences(sentences):
    text = '我 O\n   \n京 B-LOC\n\t\n在 O\n\u3000\n我 O\n\n\n'
    assert [(line, tokens) for line, tokens, _ in sentences(text)] == [
        (1, ['我']),
        (3, ['京']),
        (5, ['在']),
        (7, ['我']),
    ]


COMMENTS = {
    'before the first sentence': ('# id 12 domain=news\n我 O\n京 B-LOC\n\n# id 13 domain=news\n在 O\n', [2, 6]),
    'later': ('我 O\n京 B-LOC\n\n# id 13 domain=news\n在 O\n', [1, 5]),
    'as many words as columns': ('# id\n我 O\n京 B-LOC\n\n# newdoc\n在 O\n', [2, 6]),
    'four columns': ('# id 1\n我 _ _ O\n京 _ _ B-LOC\n\n# text = 在\n在 _ _ O\n', [2, 6]),
    'two in a row': ('# sent_id = 7\n# text = 我京\n我 O\n京 B-LOC\n\n#   global.columns = A B\n\n在 O\n', [3, 8]),
}


@pytest.mark.parametrize('case', COMMENTS)
@pytest.mark.parametrize('labelled', [True, False])
def test_comments(sentences, case, labelled):
    text, lines = COMMENTS[case]
    found = sentences(text, labelled)
    assert [(line, tokens) for line, tokens, _ in found] == [(lines[0], ['我', '京']), (lines[1], ['在'])]


@pytest.mark.parametrize('labelled', [True, False])
@pytest.mark.parametrize(
    'text', ['# O\n京 B-LOC\n在 O\n', '#\tO\n京\tB-LOC\n在\tO\n', '# O\n京 B-LOC\n在 O\n\n# B-LOC\n']
)
def test_a_number_sign_is_a_token(sentences, text, labelled):
    found = sentences(text, labelled)
    assert found[0][1] == ['#', '京', '在']
    assert [tokens for _, tokens, _ in found[1:]] == [['#']] * (len(found) - 1)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('我 O\n京\n', ':2: found 1 columns, expected 2'),
        ('我 O\n# id 12 x\n京 O\n', ':2: found 4 columns, expected 2'),  # inside of a sentence there is no comment
        ('我 O\n O\n京 O\n', ':2: found 1 columns, expected 2'),
        ('我 O\n\n#\n京 O\n', ':3: found 1 columns, expected 2'),
        ('# id 1\n\n# id 2\n', 'expected a header line'),
    ],
)
def test_what_is_no_line_of_conll(sentences, text, words):
    with pytest.raises(UserError, match=words):
        sentences(text)


def test_one_column_is_read_for_prediction(sentences):
    assert sentences('我\n在\n京\n\n# id 1\n在 \n\u3000\n#\n', labelled=False) == [
        (1, ['我', '在', '京'], None),
        (6, ['在', '\u3000', '#'], None),
    ]
    assert sentences('我\n在\n', labelled=False) == [(1, ['我', '在'], None)]
    assert sentences('我们\n北京\n\n在\n', labelled=False) == [(1, ['我们', '北京'], None), (4, ['在'], None)]
    with pytest.raises(UserError, match='expected a header line'):
        sentences('我\n在\n京\n')
    for texts in ('我在北京\n我在京\n', '我在北京，今天天气非常好，我很喜欢这里。\n\n我在京\n'):
        with pytest.raises(UserError, match='to be predicted, also a token a line and an empty line between sentences'):
            sentences(texts, labelled=False)


def test_width():
    assert width_of([]) == width_of(['\n', ' \n']) == 0
    assert width_of(['-DOCSTART- -X- O\n', '\n', '我 -X- _ O\n']) == 4
    assert width_of(['# id 1 2 3\n', '  O\n', '我 O\n']) == 2
    assert width_of(['# O\n']) == 2
    assert columns_of('\tO\n', 2) == ['', 'O']


def test_lines_of_tokens(tmp_path):
    rows = list(read_sentences('x', [b'# id 1 2\n', '我 O\n'.encode(), '京 O\n'.encode()], 2, MAP, True))
    assert rows == [Sentence(2, ['我', '京'], ['O', 'O'], True)]
    assert rows[0].line_of(1) == 3
