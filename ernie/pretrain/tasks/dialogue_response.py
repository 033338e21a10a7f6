"""Turns of a conversation (ERNIE 1.0, dialogue language model)."""

from ernie.pretrain.tasks.sample_builder import SampleBuilder, another, truncated
from ernie.pretrain.tasks.task import SequenceTask

_TURNS = 3


class DialogueResponseSampleBuilder(SampleBuilder):
    """Query, response, query: up to three neighbouring turns with the sentence types 0, 1, 2; then on from the last.

    The replaced turn, any of them, is a random turn of another dialogue.
    """

    source = 'dialogues'
    published = True

    def samples(self, items, rng, notes):
        for number, turns in enumerate(items):
            if len(turns) < 2:
                notes['dialogue_response: dialogues of one turn'] += 1
            for start in range(0, len(turns) - 1, _TURNS - 1):
                window = turns[start : start + _TURNS]
                other = another(len(items), number, rng)
                negative = rng.random() < self.settings.negative_share
                if negative and other is None:
                    notes['replaced parts left out: only one dialogue in the block'] += 1
                    negative = False
                if negative:
                    window[rng.randrange(len(window))] = rng.choice(items[other])
                parts = [(turn.ids, turn.segments) for turn in window]
                parts = truncated(parts, self.room(len(parts)), notes)
                yield self.sample(parts, tuple(range(len(parts))), int(not negative))


class DialogueResponse(SequenceTask):
    """1: the turns belong together, 0: one was replaced. The sentence types mark the speakers."""

    name = 'dialogue_response'
    id = 8
    sample_builder = DialogueResponseSampleBuilder
