"""From a function that draws to a PNG: matplotlib and fonts are seen to here, once for all pictures."""

import io

from ernie.report.fonts import Lettering
from propeller.log import get_logger

log = get_logger(__name__)

_told = []
GRID = {'visible': True, 'alpha': 0.3}


def png(draw, texts=()):
    """A picture as the bytes of a PNG; None, with one warning, where matplotlib is not installed.

    Args:
        draw: function (`Lettering`) -> figure of matplotlib.
        texts: every text of the user's that is drawn.
    """
    try:
        import matplotlib  # noqa: F401 (asks whether it is there)
    except ImportError:
        if not _told:
            log.warning('no pictures: they need the package matplotlib (pip install matplotlib)')
            _told.append(True)
        return None
    return render(draw, texts)


def render(draw, texts):
    """See `png`."""
    lettering = Lettering(texts)
    lettering.tell()
    with lettering.used(), io.BytesIO() as file:
        draw(lettering).savefig(file, format='png')
        return file.getvalue()


def new_figure(width, height):
    """A figure of its own, not pyplot's: no window system, no state shared with the user's figures. In inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout='constrained')


def tidy(panel):
    """A grid, and no frame above and to the right."""
    panel.grid(**GRID)
    panel.set_axisbelow(True)
    panel.spines[['top', 'right']].set_visible(False)
