"""Words that link two neighbouring sentences, by the relation that they mark: lists, and their token ids."""

from propeller.errors import bad_input, quoted
from propeller.inputs import read_json_object

# Classes in the order of their ids. Only words that say one thing when they open a sentence.
RELATIONS = {
    'cause': ['因为', '由于', '因為', '由於', '原因是', '是因为', 'because', 'due to', 'owing to', 'this is because'],
    'result': [
        *('所以', '因此', '因而', '于是', '从而', '结果', '由此', '为此', '於是', '從而', '結果', '為此'),
        *('so', 'therefore', 'thus', 'hence', 'consequently', 'as a result', 'accordingly'),
    ],
    'contrast': [
        *('但是', '但', '然而', '可是', '不过', '相反', '尽管如此', '却', '不過', '儘管如此', '卻'),
        *('but', 'however', 'yet', 'nevertheless', 'nonetheless', 'on the other hand', 'in contrast', 'instead'),
        *('on the contrary', 'despite this', 'even so', 'still'),
    ],
    'addition': [
        *('而且', '并且', '此外', '另外', '同时', '况且', '再说', '並且', '同時', '況且', '再說', '除此之外'),
        *('and', 'also', 'moreover', 'furthermore', 'in addition', 'besides', 'additionally', 'likewise', 'similarly'),
    ],
    'example': [
        *('例如', '比如', '譬如', '比方说', '具体来说', '也就是说', '换句话说', '即', '事实上', '其实'),
        *('比方說', '具體來說', '也就是說', '換句話說', '事實上', '其實'),
        *('for example', 'for instance', 'in particular', 'specifically', 'in fact', 'in other words', 'that is'),
    ],
    'time': [
        *('然后', '后来', '接着', '随后', '之后', '最后', '此后', '不久', '当时', '这时', '起初', '首先'),
        *('然後', '後來', '接著', '隨後', '之後', '最後', '此後', '當時', '這時'),
        *('then', 'later', 'afterwards', 'afterward', 'finally', 'meanwhile', 'subsequently', 'eventually', 'at first'),
        *('at the same time', 'soon', 'soon after', 'first', 'next'),
    ],
}
_COMMAS = ('，', ',', '：', ':')


def load_relations(path):
    """The marker lists of a JSON file: an object of at least two lists of strings; its order numbers the classes.

    Raises:
        UserError: the file cannot be read or is not of that form.
    """
    expected = 'a JSON object {"relation": ["marker", ...], ...} of at least two relations'
    relations = read_json_object(path, expected)
    if len(relations) < 2:
        raise bad_input(path, f'{len(relations)} relations', expected)
    owners = {}
    for relation, markers in relations.items():
        if not isinstance(markers, list) or not markers or not all(isinstance(m, str) and m.strip() for m in markers):
            raise bad_input(path, f'{quoted(relation)} without a list of markers', expected)
        for marker in markers:
            owner = owners.setdefault(marker.lower(), relation)
            if owner != relation:
                found = f'{quoted(marker, 60)} in {quoted(owner, 50)} and in {quoted(relation, 50)}'
                raise bad_input(path, found, 'each marker once')
    return relations


class MarkerTable:
    """Markers as token ids.

    Args:
        relations: dict relation -> list of markers.
        tokenizer: a `FullTokenizer`.

    Attributes:
        classes: dict tuple of ids -> class, the place of its relation.
    """

    def __init__(self, relations, tokenizer):
        unk = tokenizer.vocab['[UNK]']
        self.classes = {}
        for number, markers in enumerate(relations.values()):
            for marker in markers:
                ids = tuple(tokenizer.encode(marker))
                if ids and unk not in ids:
                    self.classes.setdefault(ids, number)
        self.lengths = sorted({len(ids) for ids in self.classes}, reverse=True)
        self.continued = frozenset(index for piece, index in tokenizer.vocab.items() if piece.startswith('##'))
        self.commas = frozenset(tokenizer.vocab[mark] for mark in _COMMAS if mark in tokenizer.vocab)

    def match(self, sentence):
        """-> (class, tokens to drop: the longest marker that opens the sentence and a comma after it), or None.

        A marker ends where a unit ends: `但` does not open 但是, nor `so` `some`.

        Args:
            sentence: a `Sentence`.
        """
        ids, segments = sentence.ids, sentence.segments
        for length in self.lengths:
            if length >= len(ids) or segments[length] or ids[length] in self.continued:
                continue
            label = self.classes.get(tuple(ids[:length]))
            if label is not None:
                end = length + (ids[length] in self.commas)
                return (label, end) if end < len(ids) else None
        return None
