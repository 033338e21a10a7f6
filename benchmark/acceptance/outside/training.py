"""States, schedules, settings and messages of training."""

import json
import struct

import numpy as np

from benchmark.acceptance.mutations import mutate_bytes, mutate_json, mutate_json_lines
from benchmark.acceptance.outside.inputs import RUN_YAML, SCHEDULE, STATE, YAML
from benchmark.acceptance.outside.registry import parser


@parser('training_state.json', {'training_state.json': json.dumps(STATE).encode()}, mutate_json)
def _state(folder):
    from propeller.data.batching import BatchStream
    from propeller.train.checkpoint import read_state
    from propeller.train.hooks import EvaluationHook
    from propeller.train.precision import LossScale

    class Rows:
        lengths = np.array([3, 4, 5])

    state = read_state(folder)
    if state.get('loss_scale'):
        LossScale().load_state_dict(state['loss_scale'])
    EvaluationHook(None, 1).load_state_dict(state.get('hooks', {}).get('evaluation'))
    stream = BatchStream(Rows(), lambda indices: [], 2, window=0)
    position = state.get('data_position')
    stream.seek(position if not isinstance(position, dict) else stream.position | position)


def _schedule(name, content, mutate):
    @parser(f'schedule {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.schedule import read_schedule, turns

        schedule = read_schedule(folder / name)
        for stage in schedule.stages:
            next(turns(stage, stage.total // 2), None)
        schedule.rate('linear_warmup_decay', 1e-3, 10)(schedule.total // 2)


_schedule('s.json', json.dumps(SCHEDULE).encode(), mutate_json)
_schedule('s.yaml', YAML, mutate_bytes)


@parser('run.yaml', {'run.yaml': RUN_YAML}, mutate_bytes)
def _run_settings(folder):
    from ernie.settings.finetune import FinetuneSettings
    from ernie.settings.run_yaml import read_settings

    values = read_settings(folder / 'run.yaml', FinetuneSettings, 'finetune classification')
    FinetuneSettings(**values | {'do_train': False, 'do_val': False, 'do_test': True}).replace(epoch=1)


@parser('best.json', {'best.json': b'{"dev": {"acc": 0.5, "loss": 1.25}, "test": {"acc": 1}}'}, mutate_json)
def _best(folder):
    from propeller.train.exporter import BestExporter

    BestExporter(str(folder), lambda old, new: old['dev']['acc'] < new['dev']['acc'])


_RECORD = {'step': 1, 'epoch': 0, 'phase': 'train', 'time': 1.5, 'loss': 0.5, 'acc': None}


@parser('metrics.jsonl', {'m.jsonl': (json.dumps(_RECORD).encode() + b'\n') * 3}, mutate_json_lines)
def _metrics(folder):
    from propeller.train.record import MetricsFile, read_metrics

    read_metrics(folder / 'm.jsonl')
    MetricsFile(folder / 'm.jsonl', resume_step=1).close()


def _settings(name, content):
    @parser(name, {'settings': content}, mutate_json)
    def read(folder):
        from propeller.config import parse_file
        from propeller.types import HParams, RunConfig

        HParams.from_json(HParams.from_dict(parse_file(folder / 'settings')).to_json())
        RunConfig(**parse_file(folder / 'settings'))


_settings(
    'run configuration', json.dumps({'model_dir': 'm', 'max_steps': 100, 'log_steps': 10, 'precision': 'fp32'}).encode()
)


@parser('run configuration, Python', {'settings': b"{'model_dir': 'm', # x\n 'max_steps': 10*(2**3), 'log_steps': 1,}"})
def _python_settings(folder):
    from propeller.config import parse_file
    from propeller.types import RunConfig

    RunConfig(**parse_file(folder / 'settings'))


_MESSAGE = {'failed': {'text': 'x', 'code': 1, 'restartable': True, 'signal': 0}, 'start': 3, '--master': 'a:1'}


@parser('launcher messages', {'m': (json.dumps(_MESSAGE).encode() + b'\n') * 2}, mutate_json_lines)
def _messages(folder):
    from propeller.launch.messages import Failure, Lines, disagreement

    lines, content = Lines(), (folder / 'm').read_bytes()
    for at in range(0, len(content), 4096):
        for message in lines.feed(content[at : at + 4096]):
            disagreement({'--master': 'b:1'}, message, 1)
            if 'failed' in message:
                Failure.from_message(message)


_REQUESTS = b''.join(
    struct.pack('=iQ', command, 3) + b'key' + rest
    for command, rest in ((3, struct.pack('=Q', 2) + b'12'), (0, struct.pack('=q', 5)), (1, b''), (2, b''), (4, b''))
)


@parser('requests to the store', {'requests': _REQUESTS * 3})
def _requests(folder):
    from propeller.launch.store import Store, parse

    store, received = Store(), bytearray((folder / 'requests').read_bytes())
    while request := parse(received):
        del received[: request[0]]
        store.answer('client', *request[1:])


@parser('lock file', {'lock': json.dumps({'host': 'a', 'boot': 'b', 'pid': 7}).encode()}, mutate_json)
def _lock(folder):
    from propeller.storage.locks import holder_of, is_of_this_machine, may_be_alive

    owner = holder_of(folder / 'lock')
    is_of_this_machine(owner)
    may_be_alive(owner)
