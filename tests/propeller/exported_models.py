"""Exported models for the tests of servers: a bag of words, and some whose rows cannot be computed together."""

import numpy as np

from propeller import graph
from propeller.graph import F, paddle
from propeller.session import Session

IDS = graph.Feed('ids', (-1, -1), 'int64')
WEIGHTS = graph.Feed('weights', (-1, 3), 'float32')
SAMPLE = [np.arange(10).reshape(2, 5) % 5, np.ones((2, 3), np.float32)]


def bag_of_words(ids, weights):
    """Outputs: probabilities [rows, 3], sums [rows]."""
    table = graph.parameter('table', [7, 3], graph.truncated_normal(0.5))
    scores = F.embedding(ids, table).sum(axis=1) * weights
    return [ids, weights], [F.softmax(scores), scores.sum(axis=-1)]


def scaled(weights):
    """A model has a parameter, or it cannot be exported."""
    return weights * graph.parameter('scale', [3], graph.truncated_normal(0.5))


def centred(ids, weights):
    """An output whose rows depend on each other."""
    more = scaled(weights)
    return [ids, weights], [more - more.mean(axis=0, keepdim=True), ids * 2]


def mean(ids, weights):
    """An output without rows."""
    return [ids, weights], [scaled(weights).mean(), ids * 2]


def chosen(ids, weights):
    """An output with a row for each id that is not 0."""
    return [ids, weights], [paddle.masked_select(ids, ids != 0), scaled(weights)]


def looked_up(ids, weights):
    """Ids that a reshape and a cast bring to one table, and that come to a longer one as they are."""
    short, long = (graph.parameter(*one, graph.truncated_normal(0.5)) for one in (('short', [5, 3]), ('long', [9, 3])))
    flat = F.embedding(ids.reshape([-1]).astype('int32'), short).sum(axis=0)
    return [ids, weights], [F.embedding(ids, long).sum(axis=1) * weights + flat]


def shifted(ids, weights):
    """Ids that are computed with before they are looked up: -1 is the first row."""
    table = graph.parameter('table', [7, 3], graph.truncated_normal(0.5))
    return [ids, weights], [F.embedding((ids + 1) % 7, table).sum(axis=1) * weights]


def export(build, folder):
    """Export the model of a build function to an existing folder."""
    session = Session(seed=3)
    program = session.build([IDS, WEIGHTS], build)
    session.initialize(program)
    session.export_inference(program, *program.outputs, str(folder), SAMPLE)


def request(rows, length, seed=0):
    """The arrays of a request."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 7, (rows, length)), rng.normal(size=(rows, 3)).astype(np.float32)
