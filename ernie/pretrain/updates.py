"""From batches to updates: whose turn it is by the schedule, the parts of each update, and where the run stands."""

from typing import NamedTuple

import numpy as np

from ernie.pretrain.model import loss_scales
from ernie.pretrain.schedule import order_of
from propeller.errors import UserError


class Update(NamedTuple):
    """What one process computes for one update.

    Attributes:
        parts: list of batches of a `PretrainStream`, with `arrays`, `counts` and `counted`.
        stage: number of the stage, from 0.
        position: where the next update is, JSON-able.
        epoch, file, file_index, files, mask_type: of the last part, for the log.
    """

    parts: list
    stage: int
    position: dict
    epoch: int
    file: str
    file_index: int
    files: int
    mask_type: str


class Updates:
    """The updates of a run, from any position on.

    Args:
        schedule: `ernie.pretrain.schedule.Schedule`.
        streams: dict name -> `ernie.pretrain.reader.PretrainStream`.
        parts: batches of one process for one update.
    """

    def __init__(self, schedule, streams, parts=1):
        self.schedule, self.streams, self.parts = schedule, streams, parts
        self.done = 0

    @property
    def position(self):
        """Where the next `iter()` starts."""
        return self._position({name: stream.position for name, stream in self.streams.items()})

    def _position(self, streams):
        return {'updates': self.done, 'parts': self.parts, 'streams': dict(streams)}

    def seek(self, position):
        """Let the next `iter()` start at a position that an update carried.

        Raises:
            UserError: it was made with other streams or another accumulation.
        """
        found = {'streams': sorted(position['streams']), 'parts': position['parts']}
        expected = {'streams': sorted(self.streams), 'parts': self.parts}
        for key, value in expected.items():
            if found[key] != value:
                raise UserError(
                    f'found a data position made with {key} {found[key]}, expected {key} {value}. '
                    f'Continue with the schedule and settings that the checkpoint was made with.'
                )
        self.done = int(position['updates'])
        for name, stream in self.streams.items():
            stream.seek(position['streams'][name])

    def __iter__(self):
        sources = {name: iter(stream) for name, stream in self.streams.items()}
        positions = {name: stream.position for name, stream in self.streams.items()}
        while self.done < self.schedule.total:
            number, begun = self.schedule.place(self.done)
            names, whose = order_of(self.schedule.stages[number])
            for i in whose[begun:]:
                name = names[i]
                parts = [batch for _, batch in zip(range(self.parts), sources[name], strict=False)]
                if not parts:
                    return  # the epochs are over
                parts += [parts[0]._replace(counted=False)] * (self.parts - len(parts))
                self.done += 1
                last = parts[-1]
                positions[name] = last.position
                yield Update(
                    parts,
                    number,
                    self._position(positions),
                    *(last.epoch, last.file, last.file_index, last.files, last.mask_type),
                )


def parts_of(update, world):
    """The parts of an update as the engine takes them, scaled by the labels of all parts in all processes.

    Args:
        update: `Update`.
        world: `propeller.distribution.World`.
    """
    counted = [part for part in update.parts if part.counted]
    own = np.array([len(counted), *sum((part.counts for part in counted), np.zeros_like(update.parts[0].counts))])
    parts, *counts = sum(numbers for (numbers,) in world.gather([own]))
    scales = loss_scales(counts, int(parts))
    return [([*part.arrays, scales], part.counted) for part in update.parts]
