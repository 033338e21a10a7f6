"""The settings of `ernie serve`, frozen as flags by their test."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from ernie.inference.engines import ENGINES, PRECISIONS, check_engine
from ernie.inference.pooling import POOLINGS
from ernie.settings.fields import setting
from ernie.settings.groups import ConsoleSettings, ModelSettings, Settings, SubwordSettings
from ernie.settings.predict import tasks
from ernie.tokenizers import TOKENIZERS
from propeller.errors import UsageError
from propeller.service import flags
from propeller.service.limits import Limits

HTTP_PORT = 8080


@dataclass(frozen=True, kw_only=True)
class LimitSettings(Settings, title='limits'):
    max_texts: int = setting(1024, 'Texts of a request.', least=1)
    max_chars: int = setting(200_000, 'Characters of a text.', least=1)
    request_tokens: int = setting(131_072, 'Tokens of a request, over all its texts.', least=1)
    queue_tokens: int = setting(262_144, 'Tokens of all that waits; what comes beyond is refused (429).', least=1)
    batch_tokens: int = setting(4096, 'Tokens of a batch, padding included.', least=1)
    batch_rows: int = setting(64, 'Rows of a batch: texts, or windows of long ones.', least=1)
    window: int = setting(256, 'Rows from the head of the queue of which a batch is chosen.', least=1)
    timeout: float = setting(30.0, 'Seconds that a request may take where it does not say.', above=0)
    max_timeout: float = setting(600.0, 'Seconds that a request may ask for.', above=0)
    message_bytes: int = setting(16 << 20, 'Bytes of a request.', least=1)
    client_requests: int = setting(128, 'Requests that one ZeroMQ client may have under way.', least=1)
    result_bytes: int = setting(256 << 20, 'Bytes of the results of a request.', least=1)
    drain_timeout: float = setting(flags.DRAIN_TIMEOUT, flags.DRAIN, least=0)

    def limits(self) -> Limits:
        """The `Limits`. Raises `UsageError`: they contradict each other."""
        try:
            return Limits(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Limits)})
        except ValueError as e:
            raise UsageError(f'--{e}.') from None


@dataclass(frozen=True, kw_only=True)
class SecuritySettings(Settings, title='who may ask'):
    host: str = setting('127.0.0.1', 'Address to bind to; 0.0.0.0 lets other machines in.')
    auth_token: str | None = setting(
        None,
        'What each request must show. Users of this machine see it in the list of processes: --auth_token_file or the '
        'variable PROPELLER_AUTH_TOKEN keep it to themselves.',
    )
    auth_token_file: str | None = setting(None, 'File that holds the token.')
    curve_secret_key: str | None = setting(
        None, "The server's keys (NAME.key_secret of zmq.auth.create_certificates): ZeroMQ is encrypted then."
    )
    curve_client_keys: str | None = setting(
        None, 'Folder of public keys (NAME.key) of the clients that are let in. Left out: any that knows the server.'
    )


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Settings, title='workers'):
    workers: int | None = setting(None, flags.WORKERS, least=1)
    cpu_threads: int | None = setting(None, flags.THREADS, least=1, short='threads')
    tokenizer_threads: int = setting(1, 'Threads that tokenize.', least=1)
    engine: str | None = setting(
        None,
        'What runs the models. Left out: what reads an exported one, else fused or predictor.',
        choices=ENGINES,
        listed=True,
    )
    precision: str | None = setting(
        None,
        'Precision of matrix products. Left out: that of an exported model, else fp32.',
        choices=PRECISIONS,
        listed=True,
    )
    use_cuda: bool | None = setting(None, 'Run on GPU. Left out: where the engine has one.')


@dataclass(frozen=True, kw_only=True)
class ServeSettings(
    ModelSettings,
    SubwordSettings,
    WorkerSettings,
    LimitSettings,
    SecuritySettings,
    ConsoleSettings,
    title='models and addresses',
):
    """Models behind HTTP and ZeroMQ, until SIGTERM or Ctrl-C."""

    first_flags = (
        *('models', 'http_port', 'port', 'host', 'auth_token_file', 'workers', 'cpu_threads', 'engine', 'precision'),
        *('task', 'pooling', 'normalize', 'max_texts', 'timeout'),
    )

    models: tuple[str, ...] = setting(
        (),
        'Checkpoints, exported models, folders of trainings, encoders by name; NAME=PATH gives a name.',
        positional=True,
        metavar='MODEL or NAME=MODEL ...',
    )
    http_port: int | None = setting(
        None,
        f'Port of HTTP; 0: one that is free. Left out: {HTTP_PORT}, and none beside --port.',
        least=0,
        most=65535,
    )
    port: int | None = setting(None, 'Port of ZeroMQ; 0: one that is free. Left out: none.', least=0, most=65535)
    task: str | None = setting(
        None,
        'What the models are for. Left out: what they were trained for, else embedding.',
        choices=tasks,
        listed=True,
    )
    pooling: str | None = setting(None, 'Vector of a text. Left out: pooled.', choices=POOLINGS, listed=True)
    layer: int | None = setting(None, '0 embeddings, 1 first, -1 last. Left out: the last, as pooled always is.')
    normalize: bool = setting(False, 'Scale vectors to length 1 where a request does not say.')
    max_seq_len: int | None = setting(None, 'Longest input in tokens. Left out: that of the model.', least=3)
    do_lower_case: bool | None = setting(None, 'Lower-case and strip accents. Left out: as in training.')
    tokenizer: str | None = setting(None, 'Left out: as in training.', choices=TOKENIZERS)
    for_cn: bool | None = setting(None, 'Drop spaces next to ideographs. Left out: as in training.')
    label_map_config: str | None = setting(None, 'JSON object: label -> id. Left out: those in the checkpoint.')
    num_labels: int | None = setting(None, 'Number of classes. Left out: that of the checkpoint.', least=1)
    save_inference_model_path: str = setting(
        '', 'Folder where exports are kept for the next start. Left out: they vanish with the server.'
    )

    @property
    def given(self) -> dict[str, object]:
        """What is said of models whose folder does not say it."""
        names = (
            *('ernie_config_path', 'vocab_path', 'label_map_config', 'num_labels', 'max_seq_len', 'do_lower_case'),
            *('tokenizer', 'for_cn', 'sentence_piece_model', 'word_dict'),
        )
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def checked(self) -> Self:
        settings = super().checked()
        if not self.models:
            raise UsageError('no model is given. Expected: ernie serve MODEL, or ernie serve NAME=MODEL NAME=MODEL.')
        check_engine(self.engine, self.precision, bool(self.use_cuda))
        self.limits()
        names = ('ernie_config_path', 'vocab_path', 'label_map_config', 'sentence_piece_model')
        files = [name for name in names if getattr(self, name)]
        if files and len(self.models) > 1:
            raise UsageError(f'--{files[0]} is for one model, and {len(self.models)} are given.')
        if self.port is None and self.http_port is None:
            settings = settings.replace(http_port=HTTP_PORT)
        for name in ('curve_secret_key', 'curve_client_keys'):
            if self.port is None and getattr(self, name):
                raise UsageError(f'--{name} is for ZeroMQ, which is not served; HTTP takes no keys. Give --port too.')
        if self.port and self.port == settings.http_port:
            raise UsageError(f'--port {self.port} and --http_port {self.port}: expected two ports.')
        return settings
