"""Samples of each task against its definition. Every token of the made-up documents tells where it comes from."""

import itertools
import json
import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.pretrain.building.units import Sentence
from ernie.pretrain.samples import format_line, parse_line
from ernie.pretrain.tasks import TASKS, make_sample_builders
from ernie.pretrain.tasks.discourse_markers import RELATIONS, MarkerTable, load_relations
from ernie.pretrain.tasks.sample_builder import Balance, SampleSettings, another, truncated
from ernie.pretrain.tasks.sentence_reordering import class_count, order_class
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie.building_texts import write_vocabulary

CLS, SEP, UNK, FIRST = 1, 2, 3, 100
SPECIAL = SimpleNamespace(vocab={'[CLS]': CLS, '[SEP]': SEP, '[UNK]': UNK})  # all that most builders ask a tokenizer


class Corpus:
    """Documents in which no token comes twice; the place of each is known."""

    def __init__(self, documents=7, most_sentences=9, most_tokens=11, seed=0):
        rng = random.Random(seed)
        self.place = {}
        self.documents = []
        token = FIRST
        for d in range(documents):
            sentences = []
            for s in range(rng.randint(1, most_sentences)):
                length = rng.randint(1, most_tokens)
                ids = list(range(token, token + length))
                token += length
                self.place |= dict.fromkeys(ids, (d, s))
                segments = [0] + [int(rng.random() < 0.4) for _ in ids[1:]]
                sentences.append(Sentence('', ids, segments, [rng.choice([-1, 0, 1]) for _ in ids]))
            self.documents.append(sentences)
        self.segment = {t: g for doc in self.documents for s in doc for t, g in zip(s.ids, s.segments, strict=True)}

    def sentence(self, place):
        return self.documents[place[0]][place[1]]


def make(task, items, notes=None, seed=0, tokenizer=SPECIAL, **sample_settings):
    tasks = sample_settings.pop('tasks', ('knowledge_masking', task))
    sample_builder = next(
        m for m in make_sample_builders(SampleSettings(tasks, **sample_settings), tokenizer) if m.name == task
    )
    samples = list(sample_builder.samples(items, random.Random(seed), Counter() if notes is None else notes))
    assert samples
    for sample in samples:
        read = parse_line(format_line(sample))
        for field in range(4):
            np.testing.assert_array_equal(read[field], sample[field])
        assert len(sample.token_ids) <= sample_builder.settings.max_seq_len
        assert list(sample.positions) == list(range(len(sample.token_ids)))
    return samples


def parts_of(sample):
    """Token ids between the special tokens."""
    assert sample.token_ids[0] == CLS
    assert sample.token_ids[-1] == SEP
    assert [i for i, s in enumerate(sample.segments) if s == -1] == [
        i for i, t in enumerate(sample.token_ids) if t in (CLS, SEP)
    ]
    parts = [[]]
    types = [[]]
    for token, kind in zip(sample.token_ids[1:], sample.sentence_types[1:], strict=True):
        types[-1].append(kind)
        if token == SEP:
            parts.append([])
            types.append([])
        else:
            parts[-1].append(token)
    assert all(len(set(kinds)) <= 1 for kinds in types)
    assert sample.sentence_types[0] == types[0][0]
    return parts[:-1], [kinds[0] for kinds in types[:-1]]


def is_run(corpus, part):
    """Whether the tokens are neighbouring sentences of one document, the last perhaps cut."""
    return part == list(range(part[0], part[-1] + 1)) and len({corpus.place[t][0] for t in part}) == 1


@pytest.mark.parametrize('one', [False, True])
@pytest.mark.parametrize('max_seq_len', [8, 17, 64])
def test_next_sentence(one, max_seq_len):
    corpus = Corpus(documents=60)
    samples = make('next_sentence', corpus.documents, max_seq_len=max_seq_len, one_sentence_pairs=one)
    labels = Counter()
    for sample in samples:
        (first, second), types = parts_of(sample)
        assert types == [0, 1]
        assert sample.task_id == 0
        assert sample.labels['knowledge_masking'] is None
        assert is_run(corpus, first)
        assert is_run(corpus, second)
        (d1, s1), (d2, s2) = corpus.place[first[-1]], corpus.place[second[0]]
        label = sample.labels['next_sentence']
        labels[label] += 1
        if label:
            assert (d1, s1 + 1) == (d2, s2)
        else:
            assert d1 != d2
        # Every part starts with a sentence, and one-sentence pairs hold one each.
        assert all(part[0] == corpus.sentence(corpus.place[part[0]]).ids[0] for part in (first, second))
        if one:
            assert len({corpus.place[t] for t in first}) == len({corpus.place[t] for t in second}) == 1
        for part, start in ((first, 1), (second, len(first) + 2)):
            assert sample.segments[start : start + len(part)] == [corpus.segment[t] for t in part]
        assert len(format_line(sample).split(';')) == 5
    assert abs(labels[1] / sum(labels.values()) - 0.5) < 0.1
    if max_seq_len == 64 and not one:  # what is missing are last sentences without a second part
        assert len({t for sample in samples for part in parts_of(sample)[0] for t in part}) > 0.9 * len(corpus.place)


@pytest.mark.parametrize(('share', 'expected'), [(0.0, {1}), (1.0, {0})])
def test_share_of_replaced_second_parts(share, expected):
    corpus = Corpus(documents=20)
    samples = make('next_sentence', corpus.documents, max_seq_len=32, negative_share=share)
    assert {sample.labels['next_sentence'] for sample in samples} == expected


def test_a_document_alone_has_no_replaced_parts():
    corpus, notes = Corpus(documents=1, most_sentences=30, seed=3), Counter()
    samples = make('next_sentence', corpus.documents, notes, max_seq_len=24)
    assert {sample.labels['next_sentence'] for sample in samples} == {1}
    assert notes['replaced parts left out: only one document in the block'] > 0


def test_short_samples_come_as_often_as_asked():
    corpus = Corpus(documents=8, most_sentences=900, most_tokens=3)
    lengths = {}
    for share in (0.0, 0.5):
        samples = make('next_sentence', corpus.documents, max_seq_len=64, short_seq_prob=share, negative_share=0.0)
        lengths[share] = np.array([len(sample.token_ids) for sample in samples])
    assert np.mean(lengths[0.0] >= 60) > 0.75
    assert 0.25 < np.mean(lengths[0.5] < 50) < 0.7


def test_next_sentence_beside_other_tasks_carries_its_own_id():
    corpus = Corpus()
    tasks = ('knowledge_masking', 'next_sentence', 'sentence_distance')
    sample = make('next_sentence', corpus.documents, tasks=tasks)[0]
    assert sample.task_id == TASKS['next_sentence'].id
    assert list(sample.labels) == ['knowledge_masking', 'next_sentence']
    assert list(make('sentence_distance', corpus.documents, tasks=tasks)[0].labels) == ['sentence_distance']
    joint = make('sentence_distance', corpus.documents, tasks=tasks, joint_masking=True)[0]
    assert list(joint.labels) == ['knowledge_masking', 'sentence_distance']
    made = make_sample_builders(SampleSettings(tasks), SPECIAL)
    assert [sample_builder.name for sample_builder in made] == ['sentence_distance', 'next_sentence']
    assert list(make('next_sentence', corpus.documents, tasks=('next_sentence',))[0].labels) == ['next_sentence']


def test_knowledge_masking_holds_all_text_once():
    corpus = Corpus(documents=9)
    samples = make('knowledge_masking', corpus.documents, max_seq_len=14, short_seq_prob=0.3)
    found = [part for sample in samples for part in parts_of(sample)[0]]
    assert all(is_run(corpus, part) for part in found)
    assert sorted(itertools.chain(*found)) == sorted(corpus.place)
    assert {tuple(sample.labels.items()) for sample in samples} == {(('knowledge_masking', None),)}


def test_capitalization():
    corpus = Corpus(documents=9, most_tokens=20)
    notes = Counter()
    plain = [Sentence('', [90, 91, 92], [0, 0, 0], [-1, -1, -1])]
    samples = make('capitalization', [*corpus.documents, plain], notes, max_seq_len=14, short_seq_prob=0.3)
    capital = {t: c for doc in corpus.documents for s in doc for t, c in zip(s.ids, s.capitals, strict=True)}
    for sample in samples:
        labels = sample.labels['capitalization']
        assert labels == [capital.get(t, -1) for t in sample.token_ids]
        assert 90 not in sample.token_ids
    assert sum(notes.values()) >= 1


def test_token_document():
    rng = random.Random(5)
    documents = []
    for _ in range(20):
        lengths = [rng.randint(1, 9) for _ in range(rng.randint(1, 12))]
        drawn = [[rng.choice([UNK, *range(100, 160)]) for _ in range(n)] for n in lengths]
        documents.append([Sentence('', ids, [0] * len(ids)) for ids in drawn])
    notes = Counter()
    samples = make('token_document', documents, notes, max_seq_len=20)
    texts = [[t for s in document for t in s.ids] for document in documents if len(document) > 1]
    position = 0
    for text in texts:  # the samples of a document stand in a row and hold its text
        if all(t == UNK for t in text):
            continue
        segments, rest = [], text
        while rest:
            (part,), _ = parts_of(samples[position])
            assert rest[: len(part)] == part
            rest = rest[len(part) :]
            segments.append((part, samples[position].labels['token_document']))
            position += 1
        assert len(segments) > 1
        for number, (part, labels) in enumerate(segments):
            others = {t for other, (tokens, _) in enumerate(segments) if other != number for t in tokens}
            assert labels == [-1, *(-1 if t == UNK else int(t in others) for t in part), -1]
    assert position == len(samples)
    assert notes['token_document: documents of one sentence'] == sum(len(d) == 1 for d in documents)


def test_classes_of_orders_are_all_orders_in_sequence():
    expected = [order for n in range(1, 6) for order in itertools.permutations(range(n))]
    assert [order_class(order) for order in expected] == list(range(len(expected)))
    assert [class_count(m) for m in (1, 2, 3, 4)] == [1, 3, 9, 33]
    assert class_count(3) == TASKS['sentence_reordering'].num_classes


@pytest.mark.parametrize('most', [2, 3, 4])
def test_sentence_reordering(most):
    corpus = Corpus(documents=400, most_sentences=20)
    samples = make('sentence_reordering', corpus.documents, max_seq_len=48, max_pieces=most)
    counts = Counter()
    for sample in samples:
        parts, types = parts_of(sample)
        assert set(types) == {0}
        order = [sorted(parts).index(part) for part in parts]
        assert sample.labels['sentence_reordering'] == order_class(order)
        passage = list(itertools.chain(*sorted(parts)))
        assert is_run(corpus, passage)
        assert len({corpus.place[t] for t in passage}) >= most
        assert all(part[0] == corpus.sentence(corpus.place[part[0]]).ids[0] for part in parts)
        counts[sample.labels['sentence_reordering']] += 1
    classes = class_count(most)
    mean = len(samples) / classes
    assert all(abs(counts[c] - mean) < 5 * mean**0.5 for c in range(classes))


def test_sentence_distance():
    corpus, notes = Corpus(documents=150), Counter()
    corpus.documents.append([Sentence('', [1000000], [0])])
    corpus.place[1000000] = (150, 0)
    samples = make('sentence_distance', corpus.documents, notes, max_seq_len=16)
    counts = Counter()
    for sample in samples:
        (first, second), types = parts_of(sample)
        (d1, s1), (d2, s2) = corpus.place[first[0]], corpus.place[second[0]]
        expected = 2 if d1 != d2 else int(s2 != s1 + 1)
        assert s1 != s2 or d1 != d2
        assert (d1, s1 - 1) != (d2, s2)
        assert sample.labels['sentence_distance'] == expected
        assert types == [0, 1]
        counts[expected] += 1
    assert max(counts.values()) - min(counts.values()) < 0.02 * len(samples) + 3
    alone = Corpus(documents=1, most_sentences=30, seed=3)
    found = {s.labels['sentence_distance'] for s in make('sentence_distance', alone.documents)}
    assert found == {0, 1}


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    words = [m for markers in RELATIONS.values() for m in markers]
    english = [w for m in words if m.isascii() for w in m.split()]
    path = tmp_path_factory.mktemp('vocab') / 'vocab.txt'
    return FullTokenizer(write_vocabulary(path, ''.join(words), '，,小猫一二三四', extra=['some', '##thing', *english]))


@pytest.mark.parametrize(
    ('text', 'units', 'expected'),
    [
        ('但是，小猫', None, ('contrast', '小猫')),
        ('但小猫', None, ('contrast', '小猫')),
        ('也就是说小猫', None, ('example', '小猫')),
        ('因此小猫', ['因此', '小猫'], ('result', '小猫')),
        ('即小猫', ['即小', '猫'], None),
        ('For example, some', None, ('example', 'some')),
        ('As a result some', None, ('result', 'some')),
        ('So something', None, ('result', 'something')),
        ('Something', None, None),
        ('小猫但是', None, None),
        ('但是，', None, None),
        ('因为', None, None),
    ],
)
def test_markers(tokenizer, text, units, expected):
    from ernie.pretrain.building.lexers import LEXERS, Word
    from ernie.pretrain.building.units import UnitEncoder

    table = MarkerTable(RELATIONS, tokenizer)
    words = None if units is None else [Word(unit) for unit in units]
    sentence = UnitEncoder(tokenizer, LEXERS['none']()).encode(text, words)
    found = table.match(sentence)
    if expected is None:
        assert found is None
    else:
        relation, rest = expected
        assert list(RELATIONS)[found[0]] == relation
        assert sentence.ids[found[1] :] == tokenizer.encode(rest)


def test_discourse_relation(tokenizer):
    names = list(RELATIONS)
    assert len(names) == TASKS['discourse_relation'].num_classes
    texts = [['小猫', '但是，一二三', '所以小猫', '二'], ['因为三', '小猫四', '例如二三']]
    documents = [
        [Sentence(t, tokenizer.encode(t), [0, 1] + [0] * (len(tokenizer.encode(t)) - 2)) for t in document]
        for document in texts
    ]
    for document in documents:
        for sentence in document:
            del sentence.segments[len(sentence.ids) :]
    samples = make('discourse_relation', documents, tokenizer=tokenizer)
    found = [
        (names[s.labels['discourse_relation']], *(''.join(tokenizer.convert_ids_to_tokens(p)) for p in parts))
        for s, parts in zip(samples, map(parts_of_real, samples), strict=True)
    ]
    assert found == [('contrast', '小猫', '一二三'), ('result', '但是，一二三', '小猫'), ('example', '小猫四', '二三')]
    for sample in samples:
        assert sample.segments[sample.token_ids.index(SEP) + 1] == 0


def parts_of_real(sample):
    ends = [i for i, s in enumerate(sample.segments) if s == -1]
    return [sample.token_ids[a + 1 : b] for a, b in itertools.pairwise(ends)]


def test_marker_lists_of_the_user(tmp_path):
    path = tmp_path / 'm.json'
    path.write_text(json.dumps({'a': ['但'], 'b': ['so', 'then']}), encoding='utf-8')
    assert load_relations(path) == {'a': ['但'], 'b': ['so', 'then']}
    wrong = ['[1]', '{"a": ["x"]}', '{"a": ["x"], "b": []}', '{"a": ["x"], "b": ["X"]}', '{"a": "x", "b": ["y"]}', '{']
    for content in wrong:
        path.write_text(content, encoding='utf-8')
        with pytest.raises(UserError, match=r'm.json(:1)?: found'):
            load_relations(path)
    assert len({m.lower() for markers in RELATIONS.values() for m in markers}) >= 90


def text(*ids):
    return Sentence(str(ids), list(ids), [0] * len(ids))


def test_ir_relevance():
    rows = [(text(100 + q), text(1000 + 10 * q + t), t % 2) for q in range(30) for t in range(3)]
    known = {(q.ids[0], t.ids[0]): label for q, t, label in rows}
    samples = make('ir_relevance', rows, random_share=1 / 3)
    counts = Counter()
    for sample in samples:
        (query, title), types = parts_of(sample)
        assert types == [0, 1]
        expected = known.get((query[0], title[0]), 2)
        assert sample.labels['ir_relevance'] == expected
        counts[expected] += 1
    assert counts[0] + counts[1] == len(rows)
    assert abs(counts[2] - len(rows) / 2) <= 3
    assert Counter(s.labels['ir_relevance'] for s in make('ir_relevance', rows, random_share=0.0))[2] == 0
    assert len(make('ir_relevance', rows[:3])) == 3


def test_dialogue_response():
    rng = random.Random(1)
    dialogues, place, token = [], {}, FIRST
    for d in range(80):
        turns = []
        for t in range(rng.randint(1, 7)):
            turns.append(text(*range(token, token + rng.randint(1, 5))))
            place |= dict.fromkeys(turns[-1].ids, (d, t))
            token += 5
        dialogues.append(turns)
    before = [list(turns) for turns in dialogues]
    samples = make('dialogue_response', dialogues, max_seq_len=14)
    assert dialogues == before
    counts = Counter()
    for sample in samples:
        parts, types = parts_of(sample)
        assert types == list(range(len(parts)))
        assert 2 <= len(parts) <= 3
        places = [place[part[0]] for part in parts]
        common, _ = Counter(d for d, _ in places).most_common(1)[0]
        real = len({d for d, _ in places}) == 1
        assert sample.labels['dialogue_response'] == int(real)
        turns = [t for d, t in places if d == common]
        if real:
            assert turns == list(range(turns[0], turns[0] + len(parts)))
        else:
            assert sum(d != common for d, _ in places) == 1
        counts[int(real)] += 1
    assert abs(counts[0] / len(samples) - 0.5) < 0.1
    kept = make('dialogue_response', dialogues, max_seq_len=64, negative_share=0.0)
    in_pairs = {t for turns in dialogues if len(turns) > 1 for turn in turns for t in turn.ids}
    assert {t for s in kept for t in s.token_ids} - {CLS, SEP} == in_pairs


def test_truncation_takes_from_the_longest_and_of_equal_ones_from_the_last():
    parts = [(list(range(9)), [0] * 9), (list(range(4)), [0] * 4)]
    for room in range(2, 14):
        notes = Counter()
        cut = truncated(parts, room, notes)
        a, b = 9, 4
        while a + b > room:  # the rule of the readers
            a, b = (a, b - 1) if b >= a else (a - 1, b)
        assert [len(ids) for ids, _ in cut] == [a, b]
        assert [len(segments) for _, segments in cut] == [a, b]
        assert notes.total() == 13 - room


def test_another_is_uniform_over_the_others():
    rng = random.Random(0)
    counts = Counter(another(5, 2, rng) for _ in range(4000))
    assert set(counts) == {0, 1, 3, 4}
    assert min(counts.values()) > 900
    assert another(1, 0, rng) is None


def test_balance():
    balance, rng = Balance('abc'), random.Random(0)
    drawn = Counter(balance.choose('abc' if i % 3 else 'ab', rng) for i in range(3000))
    assert max(drawn.values()) - min(drawn.values()) <= 2


def test_classes_that_the_settings_decide_on(tokenizer):
    relations = {'so': ['所以'], 'but': ['但是'], 'for': ['因为']}
    sample_settings = SampleSettings(tuple(TASKS), max_pieces=4, relations=relations)
    builders = {builder.name: builder for builder in make_sample_builders(sample_settings, tokenizer)}
    assert {name: builder.classes() for name, builder in builders.items() if builder.classes()} == {
        'sentence_reordering': 1 + 2 + 6 + 24,
        'discourse_relation': ['so', 'but', 'for'],
    }
    assert [builder.content() for builder in builders.values() if builder.content()] == [{'relations': relations}]
    assert list(builders) == [name for name in TASKS if name != 'knowledge_masking']
    documents = [
        [Sentence('', tokenizer.encode(t), [0] * len(tokenizer.encode(t))) for t in ('小猫', '但是一二三', '因此四')]
    ]
    samples = list(builders['discourse_relation'].samples(documents, random.Random(0), Counter()))
    assert [sample.labels['discourse_relation'] for sample in samples] == [1]
