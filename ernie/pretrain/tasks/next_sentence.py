"""Two parts of one document, or of two (ERNIE 1.0)."""

from ernie.pretrain.tasks.sample_builder import SampleBuilder, another, joined, truncated
from ernie.pretrain.tasks.task import SequenceTask


class NextSentenceSampleBuilder(SampleBuilder):
    """Walks through each document: a run of sentences up to the wanted length is cut in two at random.

    For a replaced second part the sentences that it replaces are used again. The last sentence of a document, if it is
    alone, can only have a replaced second part: it gets one as long as these are not more than their share.
    """

    published = True

    def __init__(self, task, sample_settings, tokenizer):
        super().__init__(task, sample_settings, tokenizer)
        if set(sample_settings.tasks) <= {'knowledge_masking', 'next_sentence'}:
            self.task_id = 0  # the published form has no task id

    def samples(self, items, rng, notes):
        self._negatives = self._all = 0
        for number, sentences in enumerate(items):
            start = 0
            while start < len(sentences):
                target = self.target(2, rng)
                end = start + 1 if self.settings.one_sentence_pairs else _run_end(sentences, start, target)
                end = min(max(end, start + 2), len(sentences))
                sample, start = self._pair(items, number, start, end, target, rng, notes)
                if sample:
                    yield sample

    def _pair(self, items, number, start, end, target, rng, notes):
        """-> (sample or None, where the next run starts)."""
        sentences, other = items[number], another(len(items), number, rng)
        share = self.settings.negative_share
        if end - start == 1:
            if other is None or self._negatives + 1 > share * (self._all + 1):
                notes['single sentences at the end of a document, without a second part'] += 1
                return None, end
            negative, middle = True, end
        else:
            negative = rng.random() < share
            middle = start + 1 if self.settings.one_sentence_pairs else rng.randint(start + 1, end - 1)
            if negative and other is None:
                notes['replaced parts left out: only one document in the block'] += 1
                negative = False
        first = joined(sentences[start:middle])
        if negative:
            second, end = self._random_part(items[other], target - len(first[0]), rng), middle
        else:
            second = joined(sentences[middle:end])
        self._all += 1
        self._negatives += negative
        parts = truncated([first, second], max(target, 2), notes)
        return self.sample(parts, (0, 1), int(not negative)), end

    def _random_part(self, sentences, room, rng):
        """Sentences from a random place on, up to `room` tokens, at least one."""
        start = rng.randrange(len(sentences))
        if self.settings.one_sentence_pairs:
            return joined(sentences[start : start + 1])
        return joined(sentences[start : _run_end(sentences, start, room)])


def _run_end(sentences, start, target):
    """End of the longest run from `start` of at most `target` tokens, or of one sentence."""
    end, length = start + 1, len(sentences[start].ids)
    while end < len(sentences) and length + len(sentences[end].ids) <= target:
        length += len(sentences[end].ids)
        end += 1
    return end


class NextSentence(SequenceTask):
    """1: the second part follows the first, 0: it was replaced."""

    name = 'next_sentence'
    id = 7
    head = 'next_sent_fc'
    sample_builder = NextSentenceSampleBuilder
