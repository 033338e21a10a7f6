"""What a program that reads a corpus found, for people and for programs."""

import json

from propeller.storage.atomic import output_file


def tell_figures(figures, lines, args):
    """Prints figures, and writes them where they were asked for.

    Args:
        figures: JSON-able dict.
        lines: function of the figures and the output that gives their lines for people.
        args: settings with `output`, and `report`, the path of a JSON file; '': none.
    """
    print('\n'.join(lines(figures, args.output)))
    if args.report:
        with output_file(args.report) as f:
            json.dump(figures, f, indent=1, ensure_ascii=False)
