"""Programs, inputs and parameters: what build functions call. And the one place where paddle is loaded.

`paddle` and `F` (`paddle.nn.functional`) of this module are stand-ins: paddle is loaded when something of them is used,
so that tokenizers, results and everything else that only stands in the same files can be had without it.

Paddle's program API is touched here and in the three files that stand on this one: `update` (gradients and optimizer),
`session` (execution, variables, random state), `exported` (inference models). Another version of Paddle should cost
these four. The rest of the code calls `paddle` and `paddle.nn.functional` only for stateless layers (matmul, softmax,
dropout ...), which have been stable for years.

The static graph of Paddle 3 is PIR. A training program and its evaluation program are built apart, by the same code in
two modes; they share parameters because both refer to them by name in one scope. Only the training program is
initialised.
"""

import contextlib
import contextvars
import functools
import importlib
import io
import itertools
import os
import warnings
from typing import NamedTuple

import numpy as np

import propeller  # noqa: F401  (makes the processor settings before paddle is loaded)
from propeller.environment import keep_memory
from propeller.errors import UserError, keep_sigterm, quoted


class _Module:
    """Stands for a module of paddle, which is loaded at the first use of one of its names."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        return getattr(_loaded(self._name), name)


@functools.cache
def _loaded(name):
    """The module, with the settings that paddle reads once."""
    os.environ.setdefault('GLOG_minloglevel', '2')  # the interpreter's own chatter hides the training log
    # Quietly: it warns of more than one thread, which is what is wanted here, and of a missing ccache, which is not
    # needed.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import paddle
    keep_sigterm()
    keep_memory()
    # Operators run one by one as they were built, not each as soon as its inputs are there in threads of their own:
    # half the memory, for results are used up sooner, and a tenth more speed, for the threads of a product are
    # undisturbed.
    paddle.set_flags({'FLAGS_enable_pir_in_executor_trace_run': True})
    # Memory that is no longer used is given back 16 MB at a time. Paddle does it in a thread that, once woken, keeps a
    # core busy for a while: woken for each tensor, it took a twentieth of the time of a process with one core.
    if not os.environ.get(GARBAGE):
        paddle.set_flags({GARBAGE: 1 / 64})
    return importlib.import_module(name)


GARBAGE = 'FLAGS_eager_delete_tensor_gb'
paddle, F = _Module('paddle'), _Module('paddle.nn.functional')
_numbers = itertools.count(1)
_build = contextvars.ContextVar('propeller_build', default=None)
_full_precision = contextvars.ContextVar('propeller_full_precision', default=False)
_borrowed = contextvars.ContextVar('propeller_borrowed', default=None)  # see `borrowed_parameters`


@functools.cache
def _program_class():
    class NumberedProgram(paddle.static.Program):
        """A program of Paddle that is called by its number. `repr` shows its operators.

        Paddle's executor knows a program again by its text, which it writes anew at every run, some 3 ms for a training
        step of six layers.
        """

        def __init__(self):
            super().__init__()
            self.name = f'program {next(_numbers)}'

        def __str__(self):
            return self.name

    return NumberedProgram


def paddle_program():
    """A new program of Paddle, empty. What is run is not to be changed afterwards: it is known by its number."""
    return _program_class()()


def load_paddle():
    """Load paddle, quietly, for a package that would load it by itself."""
    _loaded('paddle')


class Feed(NamedTuple):
    """One input of a program: its name, its shape with -1 for sizes that vary, its numpy type name."""

    name: str
    shape: tuple
    dtype: str


class RowUse(NamedTuple):
    """Rows of a table that a batch uses: the table, their numbers, and the rows, by which a loss is differentiated."""

    table: object
    used: object
    rows: object


class Program:
    """A built graph.

    Attributes:
        feeds: list of `Feed`, in the order in which `Session.run` takes arrays.
        outputs: whatever the build function returned.
        training: whether an optimizer was appended.
        initial: dict name -> (shape, initialiser) of the parameters that `parameter` made, in their order.
        plan: `propeller.update.Plan`, how updates are made.
        update: `propeller.update.Update` of a training program, else None.
        backward: loss -> list of (parameter, gradient), in place of Paddle's backward pass; None for Paddle's own.
        on_cpu: whether it runs on a processor.
        precision: `fp32`, `bf16` or `fp16`, of its matrix products.
        build_fn, inference: the build function that it was made with; whether as in prediction.
        sample: list of arrays for its feeds, a real batch, where one is at hand; None otherwise.
        borrowed_values: dict name -> value: parameters of another model, see `borrowed_parameters`.
        helper_values: dict name -> value: parameters that only the training has, see `helper_parameter`.
        row_states: dict name -> value: of tables that may be trained by rows, see `propeller.ops.rows`.
        row_uses: list of `RowUse`.
        row_tables: dict name -> (its shape, that of its state): of tables that are trained by rows.
    """

    def __init__(self, main, startup, feeds, plan=None):
        self.main, self.startup, self.feeds, self.plan = main, startup, feeds, plan
        self.outputs = self.update = self.inputs = self._weight = None
        self.parameter_values, self.rates, self.initial = {}, {}, {}
        self.borrowed_values, self.helper_values = {}, {}
        self.row_states, self.row_uses, self.row_tables = {}, [], {}
        self.rules = []
        self.backward, self.inference = None, False
        self.on_cpu, self.precision, self.build_fn, self.sample = True, 'fp32', None, None

    @property
    def training(self):
        return self.update is not None

    def loss_weight(self):
        """What the mean loss of a batch is the mean of, float32 [1]: what `set_loss_weight` said, or its rows."""
        if self._weight is None:
            if not self.inputs or not len(self.inputs[0].shape):
                return paddle.full([1], 1.0, 'float32')
            return paddle.shape(self.inputs[0])[:1].astype('float32')
        return self._weight.reshape([1])

    def check_input(self, value):
        """Raises `UserError` for a value that is no input of the program."""
        if not any(is_value(value) and value.is_same(known) for known in self.inputs):
            raise UserError(f'inference_spec: found the input {quoted(value, 80)}, expected one of the features.')

    def adopt_parameters(self):
        """From here on the parameters that Paddle's own layers have made are the program's too.

        A layer names them by its kind and number, so that programs share them if they make their layers in one order.
        """
        others = self.borrowed_values.keys() | self.helper_values.keys()
        others |= {value.name for value in self.row_states.values()}
        for value in self.main.global_block().all_parameters():
            if value.name not in self.parameter_values and value.name not in others:
                self.parameter_values[value.name], self.rates[value.name] = value, 1.0

    def parameters(self):
        """dict name -> shape (tuple of int) of every parameter the program reads."""
        return {name: tuple(value.shape) for name, value in self.parameter_values.items()}

    def trainable(self):
        """Names of the parameters that the optimizer changes."""
        return [name for name, value in self.parameter_values.items() if not value.stop_gradient]

    def trained_values(self):
        """The same as graph values, and those that only the training has."""
        return [*(self.parameter_values[name] for name in self.trainable()), *self.helper_values.values()]

    def leaves(self):
        """Values by which a loss is differentiated: `trained_values`, and rows of tables that batches use."""
        return [*self.trained_values(), *(use.rows for use in self.row_uses)]

    def optimizer_state(self):
        """dict name -> shape of moments and power accumulators (the persistable variables that are no parameters), and
        of the parameters that only the training has.
        """
        found = {name: tuple(value.shape) for name, value in self.helper_values.items()}
        main = self.update.main if self.update and self.update.main else self.main
        for op in main.global_block().ops:
            if op.name() == 'pd_op.data':
                attrs = op.attrs()
                if any(attrs.get('persistable', [False])):
                    found[attrs['name']] = tuple(attrs['shape'])
        return dict(sorted(found.items()))


# ---------------------------------------------------------------- inside a build function


def is_value(x):
    """Whether `x` is a value of a graph."""
    return isinstance(x, paddle.pir.Value)


def building():
    """The `Program` being built."""
    program = _build.get()
    assert program is not None, 'this belongs inside a build function'
    return program


def begin(program):
    """From here on `building()` is `program`. Returns what `end` takes."""
    return _build.set(program)


def end(token):
    """The program of `begin` is built."""
    _build.reset(token)


@contextlib.contextmanager
def fresh_names():
    """In the block, Paddle numbers the names of layers and parameters from 0: the same code makes the same names."""
    names = paddle.base.unique_name
    # The functions of paddle.static.nn count in a program of the old graph that nothing else uses.
    old_graph = paddle.base.framework.default_main_program()
    with names.guard(), old_graph.switch_name_generator_guard(names.UniqueNameGenerator()):
        yield


@contextlib.contextmanager
def full_precision():
    """What is built inside is computed in the types of its inputs, whatever the session's precision is."""
    token = _full_precision.set(True)
    try:
        with paddle.amp.auto_cast(enable=False):
            yield
    finally:
        _full_precision.reset(token)


def in_full_precision():
    """Whether what is built now is inside `full_precision`."""
    return _full_precision.get()


@contextlib.contextmanager
def products_in(full):
    """Inside, `product_precision` is as it was where `in_full_precision` was `full`."""
    token = _full_precision.set(full)
    try:
        yield
    finally:
        _full_precision.reset(token)


def product_precision():
    """`fp32`, `bf16` or `fp16`: of matrix products that are built now."""
    return 'fp32' if _full_precision.get() else building().precision


def float32(x):
    """`x` in float32, whatever the precision it was computed in."""
    return x if x.dtype == paddle.float32 else x.astype('float32')


def set_loss_weight(value):
    """Say what the loss is the mean of, when that is not the rows of the batch: a number of tokens, say.

    Args:
        value: float32 value of one element, 0 or more.
    """
    building()._weight = value


def late_input(name):
    """One more input, float32 [1], after those that the program was built with."""
    building().feeds.append(Feed(name, (1,), 'float32'))
    return paddle.static.data(name, [1], 'float32')


def variable(name, shape, rate=1.0, trainable=False):
    """The variable `name` of the session, 0 at the start, in whatever program is being built."""
    attr = paddle.ParamAttr(name=name, initializer=constant(0), learning_rate=rate, trainable=trainable)
    return paddle.create_parameter(shape=list(shape), dtype='float32', attr=attr)


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
    program = building()
    if _borrowed.get() is not None:
        return _borrow(program, _borrowed.get() + name, shape, dtype)
    if name in program.parameter_values:
        value = program.parameter_values[name]
        assert tuple(value.shape) == tuple(shape), (name, value.shape, shape)
        return value
    frozen = any(rule.frozen(name) for rule in program.rules)
    rate = float(np.prod([rule.rate(name) for rule in program.rules] or [1.0]))
    attr = paddle.ParamAttr(name=name, initializer=initializer, learning_rate=rate, trainable=not frozen)
    value = paddle.create_parameter(shape=list(shape), dtype=dtype, attr=attr)
    program.parameter_values[name], program.rates[name] = value, rate
    program.initial[name] = tuple(shape), initializer
    return value


@contextlib.contextmanager
def borrowed_parameters(prefix):
    """Inside, `parameter` gives those of another model, which only lends its values: their names have the prefix, they
    are 0 until somebody writes them, never trained, and no part of what is saved. They may be written after
    `Session.initialize`, to `prefix + name`.
    """
    token = _borrowed.set(prefix)
    try:
        yield
    finally:
        _borrowed.reset(token)


def _borrow(program, name, shape, dtype):
    known = program.borrowed_values
    if name not in known:
        attr = paddle.ParamAttr(name=name, initializer=constant(0), trainable=False)
        known[name] = paddle.create_parameter(shape=list(shape), dtype=dtype, attr=attr)
    return known[name]


def helper_parameter(name, shape, initializer):
    """A parameter that training needs and the trained model does not have: it is trained at the full rate, and saved
    with the state of the optimizer.
    """
    program = building()
    if name not in program.helper_values:
        attr = paddle.ParamAttr(name=name, initializer=initializer)
        program.helper_values[name] = paddle.create_parameter(shape=list(shape), dtype='float32', attr=attr)
        program.rates[name] = 1.0
    return program.helper_values[name]


class _Rule(NamedTuple):
    frozen: object
    rate: object


@contextlib.contextmanager
def parameter_rules(frozen=None, rate=None):
    """For parameters made inside: `frozen(name)` -> bool (not trained), `rate(name)` -> share of the learning rate."""
    rules = building().rules
    rules.append(_Rule(frozen or (lambda name: False), rate or (lambda name: 1.0)))
    try:
        yield
    finally:
        rules.pop()


def release_results(program):
    """Undo `value.persistable = True` on what operators compute. Programs of 2019 kept values for the fetch that way.

    Nothing needs it today, and a model that is exported would look for a variable of that name.
    """
    for op in program.main.global_block().ops:
        if op.name() not in ('builtin.parameter', 'pd_op.data'):
            for value in op.results():
                if value.persistable:
                    value.persistable = False
    for value in program.inputs:
        value.persistable = False


# ---------------------------------------------------------------- devices


def cuda_devices():
    """Number of GPUs that Paddle can use here; 0 with a CPU build."""
    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def require_cuda():
    """Raises `UserError` where Paddle has no GPU."""
    if not cuda_devices():
        why = 'this PaddlePaddle is a CPU build' if not paddle.is_compiled_with_cuda() else 'no GPU is visible'
        raise UserError(f'--use_cuda true, but {why}. Use --use_cuda false, or install paddlepaddle-gpu 3.3.')
