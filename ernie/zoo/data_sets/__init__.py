"""Data sets by name, each fetched once and converted to the columns of this suite.

ernie download imdb                     # prints the folder
ernie finetune imdb:train --test_set imdb:test

find_data_set('imdb').labels            # ('neg', 'pos')
fetch_split('imdb', 'train')            # the path of a TSV file
examples('imdb', 'train')               # its rows, as dict column -> text
"""

from ernie.zoo.data_sets.converting import read_examples
from ernie.zoo.data_sets.entries import CLASSIFY, PAIR, READ, REGRESSION, TAG, DataSet
from ernie.zoo.data_sets.fetching import convert_own, fetch_data_set, fetch_split, folder_of, splits_here
from ernie.zoo.data_sets.names import find_data_set, known_data_set, nearest_reference, reference
from ernie.zoo.data_sets.table import DATA_SETS

__all__ = [
    'CLASSIFY',
    'DATA_SETS',
    'PAIR',
    'READ',
    'REGRESSION',
    'TAG',
    'DataSet',
    'convert_own',
    'examples',
    'fetch_data_set',
    'fetch_split',
    'find_data_set',
    'folder_of',
    'known_data_set',
    'nearest_reference',
    'reference',
    'splits_here',
]


def examples(name, split, **options):
    """The rows of a split that is a table, a list of dict column -> text. Tokens of a tagged text stand between \\x02.

    Args:
        name, split: of a data set.
        options: see `fetch_split`.
    Raises:
        UserError: see `fetch_split`.
    """
    return list(read_examples(fetch_split(name, split, **options), find_data_set(name)))
