"""Fonts for the names in pictures: found on the system, or in a pip package, or it is said that there are none."""

import contextlib
import functools
import importlib.util
import os
import unicodedata

from propeller.log import get_logger

log = get_logger(__name__)

PACKAGE = 'noto-cjk-sans-otc'
# Chinese first: their Korean and Japanese companions draw the same characters a little differently.
_FAMILIES = (
    'Noto Sans CJK SC',
    'Noto Sans SC',
    'Source Han Sans SC',
    'Source Han Sans CN',
    'WenQuanYi Micro Hei',
    'WenQuanYi Zen Hei',
    'PingFang SC',
    'Hiragino Sans GB',
    'Heiti SC',
    'Microsoft YaHei',
    'SimHei',
    'Noto Sans CJK TC',
    'Noto Sans CJK KR',
    'Noto Sans KR',
    'Malgun Gothic',
    'Apple SD Gothic Neo',
    'NanumGothic',
    'NanumBarunGothic',
    'UnDotum',
    'Noto Sans CJK JP',
    'Droid Sans Fallback',
    'Arial Unicode MS',
)
# Packages that hold a font, whose code is never imported: module, path of the font in it.
_PACKAGED = (
    ('noto_cjk_sans_otc', 'NotoSansCJK-Regular.ttc'),
    ('mplfonts', 'fonts/NotoSansCJKsc-Regular.otf'),
    ('koreanize_matplotlib', 'fonts/NanumGothic.ttf'),
)
# Boxes for every character; bitmaps that cannot be drawn.
_USELESS = ('last resort', 'color', 'emoji')
_told = []


class Lettering:
    """Texts as they can be drawn, and the fonts for it.

    Args:
        texts: what will be drawn.
    Attributes:
        families: names of fonts, in the order in which a character is looked for.
        missing: set of the characters that none of them has.
    """

    def __init__(self, texts):
        self.families, self.missing = _families_for(set(''.join(map(visible, texts))))

    def can(self, text):
        """Whether all of `text` can be drawn."""
        return self.missing.isdisjoint(visible(text))

    def plain(self, text):
        """`text` for matplotlib: what cannot be drawn as `\\uXXXX`, no formulas."""
        text = ''.join(char if char not in self.missing else _escaped(char) for char in visible(text))
        return text.replace('$', r'\$')

    @contextlib.contextmanager
    def used(self):
        """Pictures that are drawn inside have these fonts."""
        import matplotlib

        with matplotlib.rc_context({'font.family': self.families, 'axes.unicode_minus': False}):
            yield

    def tell(self):
        """Say once that characters cannot be drawn, and what helps."""
        if self.missing and not _told:
            _told.append(True)
            log.warning(
                'pictures: no font has %s. pip install %s (Debian: apt install fonts-noto-cjk) brings one.',
                *(', '.join(sorted(self.missing)[:3]) + (', ...' if len(self.missing) > 3 else ''), PACKAGE),
            )


def visible(text):
    """`text` without control and format characters and variation selectors; a space for white space."""
    text = ' '.join(text.split())
    return ''.join(
        c for c in text if unicodedata.category(c) not in ('Cc', 'Cf', 'Cs') and not '\ufe00' <= c <= '\ufe0f'
    )


def _escaped(char):
    return f'\\u{ord(char):04x}' if ord(char) < 0x10000 else f'\\U{ord(char):08x}'


def _families_for(needed):
    """(families, characters that none of them has). needed: set of characters."""
    import matplotlib
    from matplotlib import font_manager

    families = list(matplotlib.rcParams['font.family'])
    needed = needed - _characters(font_manager.findfont(font_manager.FontProperties()))
    for name, path in _candidates() if needed else ():
        found = needed & _characters(path)
        if found:
            needed, families = needed - found, [*families, name]
        if not needed:
            break
    return families, needed


def _candidates():
    """(family, file) of fonts beside the usual one: those known to be good first."""
    from matplotlib.font_manager import fontManager

    installed = {}
    for font in sorted(fontManager.ttflist, key=lambda font: (font.weight != 400, font.style != 'normal')):
        installed.setdefault(font.name, font.fname)
    yield from ((name, installed[name]) for name in _FAMILIES if name in installed)
    for path in (*_new_system_fonts(), *_packaged_fonts()):
        if name := _added(path):
            yield name, path
    others = [item for item in installed.items() if item[0] not in _FAMILIES]
    yield from (item for item in sorted(others) if not any(word in item[0].lower() for word in _USELESS))


def _new_system_fonts():
    """Files of likely fonts that came after matplotlib made its list."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    signs = [name.replace(' ', '').lower() for name in _FAMILIES]
    signs += ['notosanscjk', 'wqy-', 'msyh', 'simhei', 'malgun', 'nanum']
    likely = lambda path: any(sign in os.path.basename(path).lower() for sign in signs)  # noqa: E731
    found = [path for path in findSystemFonts() if path not in known and likely(path)]
    return sorted(found, key=lambda path: ('regular' not in path.lower(), 'sans' not in path.lower(), path))


def _packaged_fonts():
    for module, name in _PACKAGED:
        spec = importlib.util.find_spec(module)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if os.path.isfile(path := os.path.join(folder, name)):
                yield path


def _added(path):
    """The family of a font file, now known to matplotlib; None for one that cannot be read."""
    from matplotlib.font_manager import fontManager, get_font

    try:
        if path not in {font.fname for font in fontManager.ttflist}:
            fontManager.addfont(path)
        return get_font(path).family_name
    except (OSError, RuntimeError, ValueError):
        return None


@functools.lru_cache(maxsize=64)
def _characters(path):
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
