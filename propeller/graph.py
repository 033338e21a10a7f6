"""Everything that touches Paddle's program API: programs, parameters, optimizer, execution, random state.

Another version of Paddle should cost this one file. The rest of the code calls `paddle` and `paddle.nn.functional` only
for stateless layers (matmul, softmax, dropout ...), which have been stable for years.

The static graph of Paddle 3 is PIR. A training program and its evaluation program are built apart, by the same code in
two modes; they share parameters because both refer to them by name in one scope. Only the training program is
initialised.
"""

import contextlib
import contextvars
import io
import os
import random
import warnings
from typing import NamedTuple

import propeller  # noqa: F401  (makes the processor settings before paddle is loaded)
from propeller.compare import check_outputs
from propeller.environment import keep_memory
from propeller.errors import UserError, bad_input

os.environ.setdefault('GLOG_minloglevel', '2')  # the interpreter's own chatter hides the training log

import numpy as np  # noqa: E402

# Loaded quietly: it warns of more than one thread, which is what is wanted here, and of a missing ccache, which is not
# needed. Models take `paddle` and `F` from this module, so that it is never loaded without its settings.
with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import paddle  # noqa: E402
    import paddle.nn.functional as F  # noqa: E402, F401

keep_memory()
_build = contextvars.ContextVar('propeller_build', default=None)


class Feed(NamedTuple):
    """One input of a program: its name, its shape with -1 for sizes that vary, its numpy type name."""

    name: str
    shape: tuple
    dtype: str


class Program:
    """A built graph.

    Attributes:
        feeds: list of `Feed`, in the order in which `Session.run` takes arrays.
        outputs: whatever the build function returned.
        training: whether an optimizer was appended.
    """

    def __init__(self, main, startup, feeds):
        self.main, self.startup, self.feeds = main, startup, feeds
        self.outputs = None
        self.schedule = None
        self.parameter_values = {}
        self.rules = []

    @property
    def training(self):
        return self.schedule is not None

    def parameters(self):
        """dict name -> shape (tuple of int) of every parameter the program reads."""
        return {name: tuple(value.shape) for name, value in self.parameter_values.items()}

    def trainable(self):
        """Names of the parameters that the optimizer changes."""
        return [name for name, value in self.parameter_values.items() if not value.stop_gradient]

    def optimizer_state(self):
        """dict name -> shape of moments and power accumulators (the persistable variables that are no parameters)."""
        found = {}
        for op in self.main.global_block().ops:
            if op.name() == 'pd_op.data':
                attrs = op.attrs()
                if any(attrs.get('persistable', [False])):
                    found[attrs['name']] = tuple(attrs['shape'])
        return dict(sorted(found.items()))


# ---------------------------------------------------------------- inside a build function


def truncated_normal(std):
    """Initialiser: normal of mean 0 and deviation `std`, cut at two deviations."""
    return paddle.nn.initializer.TruncatedNormal(mean=0.0, std=std, a=-2 * std, b=2 * std)


def constant(value):
    """Initialiser: one value everywhere."""
    return paddle.nn.initializer.Constant(float(value))


def values(array):
    """Initialiser: an array of the parameter's shape."""
    return paddle.nn.initializer.Assign(np.asarray(array, np.float32))


def parameter(name, shape, initializer, dtype='float32'):
    """The parameter `name` of the program being built: made at the first request, the same value at every later one.

    The enclosing `parameter_rules` decide whether it is trained and at which share of the learning rate.
    """
    program = _build.get()
    assert program is not None, 'parameter() belongs inside a build function'
    if name in program.parameter_values:
        value = program.parameter_values[name]
        assert tuple(value.shape) == tuple(shape), (name, value.shape, shape)
        return value
    frozen = any(rule.frozen(name) for rule in program.rules)
    rate = float(np.prod([rule.rate(name) for rule in program.rules] or [1.0]))
    attr = paddle.ParamAttr(name=name, initializer=initializer, learning_rate=rate, trainable=not frozen)
    value = paddle.create_parameter(shape=list(shape), dtype=dtype, attr=attr)
    program.parameter_values[name] = value
    return value


class _Rule(NamedTuple):
    frozen: object
    rate: object


@contextlib.contextmanager
def parameter_rules(frozen=None, rate=None):
    """For parameters made inside: `frozen(name)` -> bool (not trained), `rate(name)` -> share of the learning rate."""
    rules = _build.get().rules
    rules.append(_Rule(frozen or (lambda name: False), rate or (lambda name: 1.0)))
    try:
        yield
    finally:
        rules.pop()


class _Schedule(paddle.optimizer.lr.LRScheduler):
    """Paddle's scheduler interface over a pure function step -> rate."""

    def __init__(self, rate):
        self._rate = rate
        super().__init__(learning_rate=rate(0))

    def get_lr(self):
        return float(self._rate(self.last_epoch))


def minimize(loss, rate, weight_decay=0.0, decays=lambda name: True, clip_norm=None):
    """Append AdamW (beta 0.9 and 0.999, epsilon 1e-8) to the program being built.

    p <- p - lr * weight_decay * p_old - lr * m_hat / (sqrt(v_hat) + epsilon)   (Loshchilov, Hutter 2019, algorithm 2)

    Args:
        loss: scalar value.
        rate: function of the number of updates done so far (int) -> learning rate (float).
        weight_decay: decoupled decay, in units of the learning rate.
        decays: name -> whether decay applies to that parameter.
        clip_norm: gradients are scaled down so that their global norm is at most this; None for no clipping.
    """
    program = _build.get()
    program.schedule = _Schedule(rate)
    clip = None if clip_norm is None else paddle.nn.ClipGradByGlobalNorm(clip_norm)
    optimizer = paddle.optimizer.AdamW(
        learning_rate=program.schedule,
        weight_decay=weight_decay,
        apply_decay_param_fun=decays,
        grad_clip=clip,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message=".*'place' interface")
        optimizer.minimize(loss)


# ---------------------------------------------------------------- building and running


def cuda_devices():
    """Number of GPUs that Paddle can use here; 0 with a CPU build."""
    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def require_cuda():
    """Raises `UserError` where Paddle has no GPU."""
    if not cuda_devices():
        why = 'this PaddlePaddle is a CPU build' if not paddle.is_compiled_with_cuda() else 'no GPU is visible'
        raise UserError(f'--use_cuda true, but {why}. Use --use_cuda false, or install paddlepaddle-gpu 3.3.')


class Session:
    """One set of variables and an executor: programs built here share parameters by name.

    Args:
        use_cuda: run on GPU `device`.
        seed: seed of parameter initialisation and of dropout; None draws one (see attribute `seed`).
    Raises:
        UserError: `use_cuda` without a usable GPU.
    """

    def __init__(self, use_cuda=False, seed=None, device=0):
        if use_cuda:
            require_cuda()
        paddle.enable_static()
        self.seed = random.SystemRandom().randrange(2**31) if seed is None else int(seed)
        paddle.seed(self.seed)
        self.place = paddle.CUDAPlace(device) if use_cuda else paddle.CPUPlace()
        self.scope = paddle.static.Scope()
        self.executor = paddle.static.Executor(self.place)

    def build(self, feeds, build_fn):
        """Build a program: `build_fn(*inputs)` is called with one graph value per feed; its result is `.outputs`."""
        program = Program(paddle.static.Program(), paddle.static.Program(), list(feeds))
        token = _build.set(program)
        try:
            with paddle.static.program_guard(program.main, program.startup), paddle.utils.unique_name.guard():
                inputs = [paddle.static.data(f.name, list(f.shape), f.dtype) for f in program.feeds]
                program.outputs = build_fn(*inputs)
        finally:
            _build.reset(token)
        return program

    def initialize(self, program):
        """Give every variable of `program` its initial value. Other programs must not be initialised afterwards."""
        with paddle.static.scope_guard(self.scope):
            self.executor.run(program.startup)

    def run(self, program, arrays, fetch_list):
        """Run `program` once. arrays: one per feed, in order. Returns a numpy array per fetched value."""
        feed = {f.name: array for f, array in zip(program.feeds, arrays, strict=True)}
        # The executor looks for the learning rate in the global scope, whatever scope it is given.
        with paddle.static.scope_guard(self.scope):
            return self.executor.run(program.main, feed=feed, fetch_list=list(fetch_list))

    def step(self, program, arrays, fetch_list):
        """One training step: like `run`, then the schedule moves on."""
        fetched = self.run(program, arrays, fetch_list)
        program.schedule.step()
        return fetched

    def learning_rate(self, program):
        """The rate that the next update will use."""
        return program.schedule()

    def set_updates_done(self, program, steps):
        """Put the schedule where `steps` updates leave it."""
        program.schedule.last_epoch = int(steps)
        program.schedule.last_lr = program.schedule.get_lr()

    def read(self, name):
        """A copy of variable `name` as a numpy array."""
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        return np.array(variable.get_tensor())

    def write(self, name, array):
        """Set variable `name`; shape and type must be those it has."""
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        tensor = variable.get_tensor()
        if list(tensor.shape()) != list(array.shape):
            raise UserError(f'{name}: found shape {list(array.shape)}, expected {list(tensor.shape())}.')
        tensor.set(np.ascontiguousarray(array), self.place)

    def export_inference(self, program, inputs, outputs, folder, sample, tolerance=1e-4):
        """Write Paddle's inference model (`model.json`, `model.pdiparams`) and prove that it gives the same numbers.

        Args:
            program: where `inputs` and `outputs`, lists of graph values, belong to.
            folder: existing folder to write to.
            sample: list of arrays for `inputs`, a real batch.
            tolerance: largest allowed difference from the executor.
        Raises:
            UserError: the exported model differs from the program on the sample.
        """
        prefix = os.path.join(folder, 'model')
        with paddle.static.scope_guard(self.scope), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            paddle.static.save_inference_model(prefix, inputs, outputs, self.executor, program=program.main)
        feed = {f.name: array for f, array in zip(program.feeds, sample, strict=False)}
        with paddle.static.scope_guard(self.scope):
            expected = self.executor.run(program.main, feed=feed, fetch_list=outputs)
        check_outputs(folder, expected, ExportedModel(folder).run(sample), tolerance)

    def load_exported(self, folder):
        """The inference model in `folder` as a `Program` of this session; its `outputs` are the list of its results.

        Raises:
            UserError: Paddle cannot load it.
        """
        check_exported(folder)
        program = Program(None, None, [])
        try:
            with paddle.static.scope_guard(self.scope), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                loaded = paddle.static.load_inference_model(os.path.join(folder, EXPORTED), self.executor)
        except Exception as e:  # whatever Paddle's own code makes of damaged files
            raise _unloadable(folder, e) from e
        program.main, names, program.outputs = loaded
        program.feeds = [Feed(name, (), '') for name in names]
        return program

    def random_state(self):
        """State of the generators that dropout draws from, as plain lists of integers (JSON-able)."""
        state = {'cpu': _generator_state(paddle.get_rng_state()[0])}
        if isinstance(self.place, paddle.CUDAPlace):
            state['cuda'] = [_generator_state(s) for s in paddle.get_cuda_rng_state()]
        return state

    def set_random_state(self, state):
        """Take back what `random_state` gave."""
        paddle.set_rng_state([_restored_generator(state['cpu'])])
        if 'cuda' in state and isinstance(self.place, paddle.CUDAPlace):
            paddle.set_cuda_rng_state([_restored_generator(s) for s in state['cuda']])


EXPORTED = 'model'  # an inference model is `model.json` and `model.pdiparams`


class ExportedModel:
    """An inference model in Paddle's predictor, on a processor with oneDNN's fused operators.

    Args:
        folder: holds `model.json` and `model.pdiparams`.
        threads: threads of matrix products.
        bf16: compute matrix products in bfloat16; has no effect where the processor does not know it.
        device: GPU number, None for the processor.
    Raises:
        UserError: Paddle cannot load it.
    """

    def __init__(self, folder, threads=1, bf16=False, device=None):
        from paddle import inference

        check_exported(folder)
        prefix = os.path.join(folder, EXPORTED)
        config = inference.Config(f'{prefix}.json', f'{prefix}.pdiparams')
        config.disable_glog_info()
        if device is None:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
            config.enable_mkldnn()
            if bf16:
                config.enable_mkldnn_bfloat16()
        else:
            config.enable_use_gpu(100, device)
        try:
            self._predictor = inference.create_predictor(config)
        except Exception as e:  # whatever Paddle's own code makes of damaged files
            raise _unloadable(folder, e) from e
        self.input_names = self._predictor.get_input_names()
        self._inputs = [self._predictor.get_input_handle(name) for name in self.input_names]

    def run(self, arrays):
        """Outputs for one batch, a list of arrays. arrays: in the order of the inputs."""
        for handle, array in zip(self._inputs, arrays, strict=True):
            handle.copy_from_cpu(np.ascontiguousarray(array))
        self._predictor.run()
        names = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]


def check_exported(folder):
    """Raises `UserError` when the two files of an inference model are not in `folder`."""
    missing = [f'{EXPORTED}{end}' for end in ('.json', '.pdiparams') if not os.path.isfile(f'{folder}/{EXPORTED}{end}')]
    if missing:
        raise bad_input(folder, f'no {" and no ".join(missing)}', "Paddle's inference model, in two files")


def _unloadable(folder, error):
    reason = ' '.join(str(error).split())[-200:]
    return bad_input(folder, f'an inference model that Paddle cannot load ({reason})', 'one that it can')


def _generator_state(state):
    def plain(x):
        return [plain(y) for y in x] if isinstance(x, (list, tuple)) else int(x)

    return plain(state.__getstate__())


def _restored_generator(plain):
    kind = type(paddle.get_rng_state()[0])
    state = kind.__new__(kind)
    state.__setstate__(tuple(plain))
    return state
