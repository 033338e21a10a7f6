"""Records of a run: `metrics.jsonl`, always; files for TensorBoard and VisualDL, when asked for."""

import contextlib
import itertools
import json
import math
import numbers
import os
import time

import numpy as np

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import parse_json, read_bytes
from propeller.log import get_logger
from propeller.storage.atomic import is_stream, output_file
from propeller.train.visual_dl import VisualDlWriter

log = get_logger(__name__)

METRICS_FILE = 'metrics.jsonl'
_MAX_BYTES = 1 << 31
_OWN_KEYS = ('step', 'epoch', 'phase', 'time')


_RECORDS = 'the records of a run'
_event_files = itertools.count()


class MetricsFile:
    """A file of JSON lines `{"step", "epoch", "phase", "time", ...values}`, on the disk line by line.

    `step` is the global step, `epoch` counts from 0, `phase` is a word such as `train` or `dev`, `time` is in seconds
    since 1970. A value that is not finite is written as null, for JSON has no word for it.

    Args:
        path: the file; its folder is made.
        resume_step: global step from which training goes on: records of later steps are removed, for they will be
            written again, and 0 begins anew. None keeps all, as a mere evaluation does.

    Raises:
        UserError: the file cannot be written, or a line other than the last, which a crash may have cut, is broken.
    """

    def __init__(self, path, resume_step=None):
        self.path = os.fspath(path)
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            self._mend(resume_step)
            self._file = open(self.path, 'ab')  # noqa: SIM115 (kept open for the whole run)
        except OSError as e:
            raise UserError(f'{self.path}: cannot be written ({e.strerror or e}).') from e

    def _mend(self, resume_step):
        """Leave only whole lines of the steps that stay."""
        if not os.path.exists(self.path) or is_stream(self.path):
            return
        content = read_bytes(self.path, _MAX_BYTES, _RECORDS)
        if resume_step == 0:
            if content.strip() and not content.startswith(b'{"step": ') and not any(map(_parse, content.split(b'\n'))):
                raise bad_input(self.path, 'a file without a record of a run', _RECORDS, advice='Move it away.')
            kept = b''
        else:
            lines = _whole_lines(self.path, content)
            kept = b''.join(
                line + b'\n' for line, record in lines if resume_step is None or record['step'] <= resume_step
            )
        if kept != content:
            with output_file(self.path, binary=True) as f:
                f.write(kept)

    def append(self, phase, step, epoch, values):
        """Write one record.

        Args:
            phase: `train`, `dev`, `test` ...
            step: global step.
            epoch: number of the epoch, from 0.
            values: dict of numbers, numpy scalars included, or strings; other names than the record's own.
        """
        taken = [name for name in values if name in _OWN_KEYS]
        assert not taken, f'{taken} are keys of the record itself'
        record = {'step': int(step), 'epoch': int(epoch), 'phase': phase, 'time': round(time.time(), 3)}
        record.update((name, _plain(value)) for name, value in values.items())
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + '\n'
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as e:
            raise UserError(f'{self.path}: cannot be written ({e.strerror or e}).') from e

    def close(self):
        """Close the file; nothing can be appended any more."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_metrics(path):
    """The records of a `MetricsFile`, as a list of dicts in the order of writing.

    A last line that was cut by a crash is left out. A device or a FIFO keeps nothing that could be read.

    Raises:
        UserError: the file cannot be read, or another line is broken; the line is named.
    """
    if is_stream(path):
        return []
    return [record for _, record in _whole_lines(path, read_bytes(path, _MAX_BYTES, 'the records of a run'))]


def _whole_lines(path, content):
    """List of (line without its end, record)."""
    result = []
    lines = content.split(b'\n')
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            result.append((line, record))
        elif number < len(lines):
            found = quoted(line[:60].decode('utf-8', 'replace'))
            raise bad_input(
                path, found, 'a JSON object with "step", "epoch" and "phase"', number, 'Move the file away.'
            )
    return result


def _parse(line):
    try:
        record = parse_json(line, 'a record', finite=False)
    except UserError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get('phase'), str):
        return None
    if not all(isinstance(record.get(key), int) for key in ('step', 'epoch')):
        return None
    # No run counts so far, and nothing that draws or compares could take it.
    return record if all(abs(v) < 2**63 for v in record.values() if isinstance(v, int)) else None


def _plain(value):
    """A number or string as JSON has it."""
    if isinstance(value, str):
        return value
    value = np.asarray(value).item() if not isinstance(value, numbers.Number) else value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None


class EventWriter:
    """TensorBoard event files, through the package tensorboardX, and the scalars for VisualDL 2 beside them.

    Every event is in the file when a method returns. When the disk refuses one, a warning says so and no more of them
    are written: a training is not given up for its pictures. (The package's own `SummaryWriter` hands events to a
    thread, which dies of such an error, and then waits for it.)

    Args:
        log_dir: folder of the event files; made if needed.
        resume_step: global step from which training goes on: viewers then hide later points of the earlier run.

    Raises:
        UserError: tensorboardX is not installed, or the folder cannot be written.
    """

    def __init__(self, log_dir, resume_step=None):
        try:
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
        except ImportError as e:
            raise UserError('event files need the package tensorboardX: pip install tensorboardX') from e
        self.log_dir, self._summary, self._event = os.fspath(log_dir), summary, Event
        self._visual_dl = VisualDlWriter(log_dir, resume_step)
        try:
            os.makedirs(log_dir, exist_ok=True)
            # The package names a file by the second, and a second one of that name would empty it.
            suffix = f'.{os.getpid()}.{next(_event_files)}'
            self._file = EventsWriter(os.path.join(self.log_dir, 'events'), suffix)
            if resume_step is not None:
                start = SessionLog(status=SessionLog.START)
                self._file.write_event(Event(wall_time=time.time(), step=resume_step + 1, session_log=start))
            self._file.flush()
        except OSError as e:
            raise UserError(f'{log_dir}: event files cannot be written ({e.strerror or e}).') from e

    def _write(self, summary, step, number=None):
        """number: (name, value) that VisualDL takes, too."""
        if self._file is None:
            return
        try:
            self._file.write_event(self._event(wall_time=time.time(), step=int(step), summary=summary))
            self._file.flush()
            if number:
                self._visual_dl.add_scalar(*number, step)
        except OSError as e:
            log.warning(
                '%s: event files cannot be written (%s): none from step %d on', self.log_dir, e.strerror or e, step
            )
            self._file = None

    def add_scalar(self, name, value, step):
        """Write one number; one that is not finite is left out with a warning."""
        value = float(np.asarray(value).item())
        if math.isfinite(value):
            self._write(self._summary.scalar(name, value), step, (name, value))
        else:
            log.warning('summary %s is %f at step %d, left out', name, value, step)

    def add_histogram(self, name, values, step):
        """Write the distribution of an array; one with values that are not finite is left out with a warning."""
        values = np.asarray(values, dtype=np.float64).reshape(-1)
        if values.size and np.isfinite(values).all():
            self._write(self._summary.histogram(name, values, _BINS, None), step)
        else:
            log.warning('summary %s is empty or not finite at step %d, left out', name, step)

    def add_scalars(self, values, step, prefix=''):
        """Write every number of a dict, under `prefix` + name; strings are skipped."""
        for name, value in values.items():
            if not isinstance(value, str):
                self.add_scalar(prefix + name, value, step)

    def close(self):
        """Close the files; nothing is written any more."""
        with contextlib.suppress(OSError):  # a warning has said what the disk refuses
            self._visual_dl.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Records:
    """The numbers of a run in both kinds of file; those that are not asked for are not written.

    Args:
        path: of the `MetricsFile`, or None.
        log_dir: of the `EventWriter`, or None.
        resume_step: as there.
    """

    def __init__(self, path=None, log_dir=None, resume_step=None):
        self.metrics = MetricsFile(path, resume_step) if path else None
        self.events = EventWriter(log_dir, resume_step) if log_dir else None

    def append(self, phase, step, epoch, values, tag=None):
        """Write one record: see `MetricsFile.append`. tag: what stands before the names in event files, else phase."""
        if self.metrics:
            self.metrics.append(phase, step, epoch, values)
        if self.events:
            self.events.add_scalars(values, step, f'{tag or phase}/')

    def close(self):
        """Close the files."""
        for file in filter(None, (self.metrics, self.events)):
            file.close()


# TensorBoard's own: from 1e-12, each a tenth wider than the one before.
_POSITIVE = 1e-12 * 1.1 ** np.arange(774)
_BINS = np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE]).tolist()
