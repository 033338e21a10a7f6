import numpy as np
import pytest
from matplotlib.ft2font import FT2Font

from ernie.metrics.report import class_report, confusion_matrix, display_width
from ernie.report import fonts, pictures
from ernie.report.fonts import Lettering, visible

pytestmark = pytest.mark.curves

CHINESE, KOREAN = '财经频道：股票基金与宏观经济', '배송이 늦거나 파손된 경우'


@pytest.fixture
def without_fonts(monkeypatch):
    """Nothing but what comes with matplotlib."""
    monkeypatch.setattr(fonts, '_candidates', lambda: iter(()))
    monkeypatch.setattr(fonts, '_told', [])


def cells(figure):
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in figure.axes[0].texts}


def test_confusion_matrix_shows_counts_and_shares(without_fonts):
    rng = np.random.default_rng(0)
    true, found = rng.integers(3, size=70), rng.integers(3, size=70)
    report = class_report(true, found, 3, ['plain', CHINESE, 'c$_1$'])
    figure = pictures._matrix(np.array(report['confusion_matrix']), ['plain', CHINESE, 'c$_1$'], Lettering([CHINESE]))
    matrix = confusion_matrix(true, found, 3)
    shares = matrix / matrix.sum(1, keepdims=True)
    assert cells(figure) == {(i, j): f'{matrix[i, j]}\n{shares[i, j]:.0%}' for i in range(3) for j in range(3)}
    # No font has the characters of the second name: its number stands there, and never a box.
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ['plain', '#1', r'c\$_1\$']


def test_of_many_classes_the_most_confused_are_shown(without_fonts):
    matrix = np.diag(np.full(50, 9))
    matrix[3, 7], matrix[41, 2] = 5, 4
    assert pictures.most_confused(matrix, 4).tolist() == [2, 3, 7, 41]
    figure = pictures._matrix(matrix, [f'k{i}' for i in range(50)], Lettering([]))
    assert figure.axes[0].get_title() == 'The 30 most confused of 50 classes'
    names = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert len(names) == 30 and {'k2', 'k3', 'k7', 'k41'} <= set(names)
    drawn = {key: text for key, text in cells(figure).items() if key[0] != key[1]}
    assert drawn == {(names.index('k3'), names.index('k7')): '5', (names.index('k41'), names.index('k2')): '4'}


def test_long_names_are_shortened_and_stay_apart():
    long = [
        'a very long name of a class about shipping',
        'a very long nickname of a class about shipping',
        CHINESE,
        '短',
    ]
    short = pictures.shortened(long, 16)
    assert len(set(short)) == 4 and all(display_width(name) <= 16 for name in short) and short[3] == '短'
    assert short[2].startswith('财经频') and short[2].endswith('经济') and '…' in short[2]
    assert visible('a\tb\u200b\x07\ufe0f c') == 'a b c'


def test_characters_without_a_font_are_said_once(without_fonts, logged):
    lettering = Lettering([CHINESE, KOREAN, 'plain'])
    assert lettering.missing == set(CHINESE + KOREAN) - {' '} and not lettering.can(KOREAN) and lettering.can('plain é')
    assert lettering.plain('股 1$') == r'\u80a1 1\$'
    lettering.tell()
    Lettering(['国']).tell()
    assert len(logged) == 1 and 'pip install noto-cjk-sans-otc' in logged[0] and 'fonts-noto-cjk' in logged[0]


def test_fonts_are_taken_until_all_characters_are_there(monkeypatch):
    known = {'zh.ttf': set(CHINESE), 'ko.ttf': set(KOREAN), 'x.ttf': set('xyz')}
    usual = fonts._characters
    monkeypatch.setattr(fonts, '_characters', lambda path: known.get(path) or usual(path))
    monkeypatch.setattr(fonts, '_candidates', lambda: iter([(p[:1].upper(), p) for p in ('x.ttf', 'zh.ttf', 'ko.ttf')]))
    found = Lettering([CHINESE, KOREAN, 'abc'])
    assert found.families[-2:] == ['Z', 'K'] and not found.missing
    assert Lettering(['abc']).families[-1] not in ('X', 'Z', 'K')


def test_the_font_of_the_package_has_chinese_and_korean():
    """the package `noto-cjk-sans-otc`, or a font of the system that is preferred to it."""
    installed = list(fonts._packaged_fonts())
    if not installed:
        pytest.skip('no package with a font is installed')
    have = {chr(code) for code in FT2Font(installed[0]).get_charmap()}
    assert have >= {chr(c) for c in range(0x4E00, 0x9FA6)} | {chr(c) for c in range(0xAC00, 0xD7A4)}
    assert not Lettering([CHINESE, KOREAN]).missing


def test_pictures_of_probabilities(without_fonts, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, 'png', lambda draw, texts=(): drawn.append(draw(Lettering(texts))) or b'')
    curve = {'precision': [1.0, 0.5], 'recall': [0.5, 1.0], 'threshold': [0.9, 0.2], 'average_precision': 0.75}
    pictures.precision_recall_picture({'x': curve, CHINESE: curve})
    pictures.calibration_picture({'count': [0, 4], 'confidence': [0.0, 0.9], 'accuracy': [0.0, 0.75], 'ece': 0.15})
    pictures.confusion_picture({'classes': [{'name': 'x'}], 'confusion_matrix': [[[5, 1], [2, 3]]]})
    (panel,), (above, below), (bars,) = (figure.axes for figure in drawn)
    assert [t.get_text() for t in panel.get_legend().get_texts()] == ['x (0.750)', '#1 (0.750)']
    assert above.get_title().endswith('0.150') and [p.get_height() for p in above.patches] == [0.75]
    assert [p.get_height() for p in below.patches] == [0, 4]
    assert [p.get_width() for p in bars.patches] == [3, 2, 1]


def test_values_of_a_regression(without_fonts, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, 'png', lambda draw, texts=(): drawn.append(draw(Lettering(texts))) or b'')
    pictures.values_picture((np.array([1.0, 2.0, 5.0]), np.array([0.5, 2.5, 4.0])))
    line, points = drawn[0].axes[0].get_lines()
    assert list(line.get_xdata()) == list(line.get_ydata()) == [0.5, 5.0]
    assert list(points.get_xdata()) == [1, 2, 5] and list(points.get_ydata()) == [0.5, 2.5, 4]
