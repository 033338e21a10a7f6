"""Order of the updates by the schedule: which task comes next, with which batches, and the position in the data."""

from ernie.pretrain.model import loss_scales
from ernie.pretrain.schedule import ONLY, turns
from propeller.errors import UserError, quoted
from propeller.train.state import is_count, is_object


class Updates:
    """The batches of a run, one an update, from any position on.

    Args:
        schedule: `ernie.pretrain.schedule.Schedule`.
        streams: dict name -> `ernie.pretrain.reader.PretrainStream`, for the streams of the schedule.
    """

    def __init__(self, schedule, streams):
        self.schedule, self.streams = schedule, streams
        self._done = 0

    def seek(self, position):
        """Let the next `iter()` start at a position that an update carried.

        Raises:
            UserError: it was made with other streams, other files or other settings.
        """
        if not is_object(position):
            raise UserError(f'found the data position {quoted(position)}, expected an object.')
        streams, done = position.get('streams', {}), position.get('updates')
        if not is_count(done) or not is_object(streams) or not all(map(is_object, streams.values())):
            raise UserError(f'found the data position {quoted(position)}, expected updates and streams.')
        found, expected = sorted(streams), sorted(self.streams)
        if found != expected:
            made, given = (', '.join(names) if names != [ONLY] else '--train_filelist' for names in (found, expected))
            raise UserError(f'found a data position made with {made}, expected {given}.')
        self._done = done
        for name, stream in self.streams.items():
            stream.seek(streams[name])

    def count(self):
        """Updates of the run from its beginning, at most those of the stages.

        Returns:
            int; None where the data are too large to be counted (`PretrainStream.steps_of_run`).
        """
        left = {}
        for name, stream in self.streams.items():
            left[name] = stream.steps_of_run(sum(stage.steps.get(name, 0) for stage in self.schedule.stages))
            if left[name] is None:
                return None
        done = 0
        for stage in self.schedule.stages:
            if all(left[name] >= count for name, count in stage.steps.items()):
                left |= {name: left[name] - count for name, count in stage.steps.items()}
                done += stage.total
                continue
            for name in turns(stage):
                if not left[name]:
                    return done
                left[name] -= 1
                done += 1
        return done

    def __iter__(self):
        done, sources = self._done, {name: iter(stream) for name, stream in self.streams.items()}
        positions = {name: stream.position for name, stream in self.streams.items()}
        while done < self.schedule.total:
            number, begun = self.schedule.place(done)
            for name in turns(self.schedule.stages[number], begun):
                batch = next(sources[name], None)
                if batch is None:
                    return  # the epochs are over
                done += 1
                positions[name] = batch.position
                yield batch._replace(stage=number, position={'updates': done, 'streams': dict(positions)})


def parts_of(batch, tasks, use_task_id):
    """The parts of an update as the engine takes them, scaled by the labels of all parts in all processes.

    Args:
        batch: `ernie.pretrain.batches.PretrainBatch`.
        tasks: list of `PretrainTask`, those of the program.
        use_task_id: whether the model has a task embedding.
    """
    scales = loss_scales([batch.label_counts[task.name] for task in tasks], batch.counted_parts)
    return [([*part.arrays.inputs(tasks, use_task_id), scales], part.counted) for part in batch.parts]
