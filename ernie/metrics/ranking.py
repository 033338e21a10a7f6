"""Metrics of ranked candidates (NLPCC-DBQA): rows of one question share a qid and are ordered by the model's score."""

from propeller.scores import mean_average_precision as mean_average_precision
from propeller.scores import mean_reciprocal_rank


def mrr(qids, scores, labels):
    """Mean reciprocal rank: see `propeller.scores.mean_reciprocal_rank`."""
    return float(mean_reciprocal_rank(qids, scores, labels))
