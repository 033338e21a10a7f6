"""Building and running programs: one scope of variables, one executor."""

import contextlib
import json
import os
import random
import warnings

from propeller import graph
from propeller.compare import check_outputs
from propeller.distribution import ProcessInfo, World, is_lost_peer, lost_peer
from propeller.environment import LARGEST_SEED
from propeller.errors import UsageError, UserError
from propeller.execution import memory_errors
from propeller.exported import EXPORTED, ExportedModel, check_exported, unloadable
from propeller.graph import Feed, Program, np, paddle, require_cuda
from propeller.inputs import parse_json
from propeller.ops import choice
from propeller.ops.process_sum import segment_of
from propeller.ops.rows import state_name
from propeller.ops.shared_weights import SharedWeights
from propeller.shared_memory import SharedArrays
from propeller.storage.atomic import check_room
from propeller.train.precision import TYPE_NAMES
from propeller.update import Plan, run_update

FUSED = 'custom_op.propeller_'  # how the names of fused operators begin in a program


class Session:
    """One set of variables and an executor: programs built here share parameters by name.

    Args:
        use_cuda: run on a GPU.
        seed: seed of parameter initialisation and of dropout, 0 .. 2**64 - 1; None draws one (see attribute `seed`).
        device: number of the GPU; None: the one that the launcher gave to this process, or the first.
        precision: `fp32`; `bf16` or `fp16` for matrix products in half precision. Parameters, optimizer, softmax, norms
            and losses stay in float32. `auto`: on a processor `bf16` where that is faster (see `propeller.ops`), or
            else `fp32`.
        world: `propeller.distribution.World` when the processes of a job train together; None: this one is alone.
        fused_ops: `auto`, `true` or `false`: see `propeller.ops.use`; None: as it says.
    Raises:
        UserError: `use_cuda` without a usable GPU.
        UsageError: another seed; `fp16` without a GPU; `bf16` where nothing multiplies such numbers; `fused_ops` is
            `true` on a GPU, or where they cannot be had.
    """

    def __init__(self, use_cuda=False, seed=None, device=None, precision='fp32', world=None, fused_ops=None):
        if use_cuda and fused_ops == 'true':
            raise UsageError('fused operators are for processors: on a GPU use --fused_ops auto or false.')
        if use_cuda:
            require_cuda()
        if precision == 'auto':
            precision = 'fp32' if use_cuda else choice.best_precision(fused_ops or 'auto')
        if precision == 'fp16' and not use_cuda:
            raise UsageError('half precision fp16 needs a GPU: on a processor use --precision bf16, or fp32.')
        if precision == 'bf16' and not use_cuda and not choice.can_multiply_bfloat16(fused_ops or 'auto'):
            raise UsageError('this processor has no products of bfloat16 numbers: use --precision fp32.')
        self.world, self.precision, self._fused_ops = world or World(ProcessInfo()), precision, fused_ops
        if seed is not None and not 0 <= int(seed) <= LARGEST_SEED:
            raise UsageError(f'seed {int(seed)}: expected a whole number from 0 to {LARGEST_SEED}.')
        paddle.enable_static()
        drawn = random.SystemRandom().randrange(2**31) if seed is None else int(seed)
        self.seed = self.world.broadcast_object(drawn)
        self._segment = None if use_cuda else segment_of(self.world, fused_ops or 'auto')
        paddle.seed(self.seed)
        if device is None:
            device = paddle.distributed.ParallelEnv().device_id if use_cuda and self.world.size > 1 else 0
        self.place = paddle.CUDAPlace(device) if use_cuda else paddle.CPUPlace()
        self.scope = paddle.static.Scope()
        self.executor = paddle.static.Executor(self.place)
        # Tables that a program trains by rows; the program that pays their rows; whether some may be owed something.
        self._row_tables, self._paying, self._owing = {}, None, False
        self._last = None  # the program that ran last, if nobody has written a variable since
        self._in_common = {}  # name -> (tensor in memory that all processes share, its address)

    def build(self, feeds, build_fn, parts=1, loss_scale=None, portable=False, exact=False, inference=False):
        """Build a program: `build_fn(*inputs)` is called with one graph value per feed; its result is `.outputs`.

        Args:
            feeds: list of `Feed`.
            build_fn: the build function.
            parts: batches that one process computes for an update.
            loss_scale: `propeller.train.precision.LossScale` for an update in half precision.
            portable: of Paddle's own operators only, so that it can be exported.
            exact: in float32, whatever the session's precision is.
            inference: layers of Paddle that know of training, as dropout and batch norm do, are as in prediction.
        """
        program = Program(graph.paddle_program(), graph.paddle_program(), list(feeds))
        program.plan, program.build_fn = Plan(self.world.size, parts, loss_scale, self._segment), build_fn
        program.on_cpu = not isinstance(self.place, paddle.CUDAPlace)
        program.precision, program.inference = 'fp32' if exact else self.precision, inference
        token = graph.begin(program)
        try:
            with (
                paddle.static.program_guard(program.main, program.startup),
                graph.fresh_names(),
                self._operators(portable),
            ):
                program.inputs = [paddle.static.data(f.name, list(f.shape), f.dtype) for f in program.feeds]
                with self._casts(program.precision):
                    program.outputs = build_fn(*program.inputs)
                if not program.training:
                    program.adopt_parameters()
                if inference:
                    program.main.set_is_test_attr()
        finally:
            graph.end(token)
        if not program.row_tables.keys() <= self._row_tables.keys():
            self._row_tables, self._paying = self._row_tables | program.row_tables, None
        return program

    def _operators(self, portable):
        """Context: which operators are built."""
        if portable:
            return choice.portable()
        return choice.use(self._fused_ops) if self._fused_ops else contextlib.nullcontext()

    def _casts(self, precision):
        """Context: Paddle's mixed precision, unless fused operators see to it."""
        if precision not in TYPE_NAMES or choice.enabled():
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(dtype=TYPE_NAMES[precision], level='O1')

    def portable(self, program):
        """`program` if it can be exported, else one that computes the same from the same parameters, and can."""
        if not any(op.name().startswith(FUSED) for op in program.main.global_block().ops):
            return program
        return self.build(
            program.feeds,
            program.build_fn,
            portable=True,
            exact=program.precision == 'fp32',
            inference=program.inference,
        )

    def initialize(self, program, given=()):
        """Give every variable of `program` its initial value. Other programs must not be initialised afterwards.

        Args:
            given: names of parameters that are written before anything reads them. Where there are no others their
                values are not drawn, which takes longer than reading a model: they are NaN until they are written.
        """
        self._last = None
        made = {} if program.training else _initial_values(program.startup)
        if made and made.keys() <= set(given):
            for name, shape in made.items():
                self.scope.var(name).get_tensor().set(np.full(shape, np.nan, np.float32), self.place)
            return
        with paddle.static.scope_guard(self.scope):
            if program.training and program.update.startup:
                # It knows the parameters too, but not their initial values: those come after it.
                self.executor.run(program.update.startup)
            self.executor.run(program.startup)

    def _pay_rows(self):
        """Multiply in the decay that rows of tables are owed, before anybody sees them: see `propeller.ops.rows`."""
        if not self._owing:
            return
        if self._paying is None:
            self._paying = graph.paddle_program()
            with paddle.static.program_guard(self._paying, graph.paddle_program()):
                for name, (table, state) in self._row_tables.items():
                    values = graph.variable(name, table), graph.variable(state_name(name), state)
                    paddle._C_ops._run_custom_op('propeller_pay_rows', *values)
        with paddle.static.scope_guard(self.scope):
            self.executor.run(self._paying)
        self._owing = False

    def run(self, program, arrays, fetch_list):
        """Run `program` once. arrays: one per feed, in order. Returns a numpy array per fetched value."""
        feed = {f.name: array for f, array in zip(program.feeds, arrays, strict=True)}
        return self._execute(program, program.main, feed, fetch_list)

    def run_update(self, program, fetch_list):
        """Run the second half of an update that has several parts; see `propeller.update`."""
        return self._execute(program, program.update.main, {}, fetch_list)

    def _execute(self, program, main, feed, fetch_list):
        if program.row_tables.keys() != self._row_tables.keys():
            self._pay_rows()
        self._owing = self._owing or bool(program.row_tables)
        # The executor looks for the learning rate in the global scope, whatever scope it is given.
        with paddle.static.scope_guard(self.scope), memory_errors(program.training), self._weights_of(program):
            try:
                return self.executor.run(main, feed=feed, fetch_list=list(fetch_list))
            except (RuntimeError, OSError) as e:  # OSError: of our own operators
                if self.world.size > 1 and is_lost_peer(e):
                    raise lost_peer(self.world, e) from e
                raise

    def _weights_of(self, program):
        """Context of a run: weights that an update of this program has packed, if nothing ran in between."""
        weights = program.update.weights if program.training else None
        if weights and self._last is not program:
            weights.forget()
        self._last = program
        return weights.in_use() if weights else contextlib.nullcontext()

    def update(self, program, parts, fetch_list, stop=False):
        """One update of a training program from the parts of this process; see `propeller.update.run_update`."""
        update = program.update
        if not update.in_common:
            return run_update(self, program, parts, fetch_list, stop)
        self._have_in_common(update.in_common)
        if update.weights is None:
            update.weights = SharedWeights(self.world)
        outcome = run_update(self, program, parts, fetch_list, stop)
        if outcome.finite:
            update.weights.share()
        return outcome

    def _have_in_common(self, names):
        """From the first update on, all processes have these variables in the same memory."""
        new = [name for name in names if name not in self._in_common]
        if new:
            arrays = SharedArrays(self.world, {name: self.view(name) for name in new}).arrays
            for name, array in arrays.items():
                tensor = self.scope.find_var(name).get_tensor()
                tensor.set(array, self.place, True)
                self._in_common[name] = tensor, array.ctypes.data
        for name, (tensor, place) in self._in_common.items():
            # Whoever gave a variable other memory would go on with what this process alone has updated.
            assert tensor._ptr() == place, f'{name} is no longer in the memory of all processes'

    def step(self, program, arrays, fetch_list):
        """One update from one batch: like `run`, then the schedule moves on."""
        return self.update(program, [(arrays, True)], fetch_list).fetched[0]

    def learning_rate(self, program):
        """The rate that the next update will use."""
        return program.update.schedule()

    def updates_done(self, program):
        """Number of updates that the schedule has seen."""
        return program.update.schedule.last_epoch

    def set_updates_done(self, program, steps):
        """Put the schedule where `steps` updates leave it."""
        program.update.schedule.move_to(steps)

    def seed_dropout_by_rank(self):
        """From here on each process draws other random numbers; until here all have drawn the same."""
        if self.world.rank:
            paddle.seed((self.seed + 1_000_003 * self.world.rank) % 2**31)

    def read(self, name):
        """A copy of variable `name` as a numpy array."""
        self._pay_rows()
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        return np.array(variable.get_tensor())

    def view(self, name):
        """Variable `name` as an array that is read at once: on a processor no copy, but the variable's own memory."""
        self._pay_rows()
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        tensor = variable.get_tensor()
        if not tensor._place().is_cpu_place() or str(tensor._dtype()) == 'paddle.bfloat16' or not tensor._numel():
            return np.array(tensor)  # numpy sees no GPU's memory, has no bfloat16
        return np.from_dlpack(_Lent(tensor))

    def dtype(self, name):
        """numpy type of variable `name`, as `read` gives it and `write` takes it."""
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        kind = str(variable.get_tensor()._dtype()).removeprefix('paddle.')
        return np.dtype('uint16' if kind == 'bfloat16' else kind)  # numpy has no bfloat16: Paddle gives its bits

    def write(self, name, array):
        """Set variable `name`; shape and type must be those it has."""
        self._pay_rows()
        variable = self.scope.find_var(name)
        if variable is None:
            raise KeyError(name)
        tensor = variable.get_tensor()
        if list(tensor.shape()) != list(array.shape):
            raise UserError(f'{name}: found shape {list(array.shape)}, expected {list(tensor.shape())}.')
        if array.dtype != self.dtype(name):  # Paddle would change the variable's type, and later steps fail or lie
            raise UserError(f'{name}: found type {array.dtype}, expected {self.dtype(name)}.')
        tensor.set(np.ascontiguousarray(array), self.place)
        self._last = None

    def export_inference(self, program, inputs, outputs, folder, sample, tolerance=1e-4, threads=1):
        """Write Paddle's inference model (`model.json`, `model.pdiparams`) and prove that it gives the same numbers.

        Args:
            program: where `inputs` and `outputs`, lists of graph values, belong to; see `portable`.
            folder: existing folder to write to.
            sample: list of arrays for the feeds of `program`, a real batch; those that `outputs` do not depend on may
                be missing at the end.
            tolerance: largest allowed difference from the executor.
            threads: of the predictor that proves it.
        Returns:
            the `ExportedModel`, which needs the folder no longer; its inputs have the names and the order of the feeds.
        Raises:
            UserError: it cannot be written, or differs from the program on the sample; one of `inputs` is none of the
                program's feeds.
        """
        self._pay_rows()
        arrays = {f.name: array for f, array in zip(program.feeds, sample, strict=False)}
        for value in inputs:
            program.check_input(value)
        graph.release_results(program)
        prefix = os.path.join(folder, 'model')
        with paddle.static.scope_guard(self.scope), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            paddle.static.save_inference_model(prefix, inputs, outputs, self.executor, program=program.main)
        with paddle.static.scope_guard(self.scope):
            expected = self.executor.run(program.main, feed=arrays, fetch_list=outputs)
        try:
            model = ExportedModel(folder, threads)
            exported = model.run([arrays[name] for name in model.input_names])
        except UserError:
            check_room(folder)  # Paddle does not notice that what it writes is cut
            raise
        check_outputs(folder, expected, exported, tolerance)
        return model

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
            raise unloadable(folder, e) from e
        program.main, names, program.outputs = loaded
        program.feeds = [Feed(name, (), '') for name in names]
        return program

    def random_state(self):
        """State of the generators that dropout draws from, as plain lists of integers (JSON-able)."""
        state = {'cpu': _generator_state(paddle.get_rng_state()[0])}
        if isinstance(self.place, paddle.CUDAPlace):
            state['cuda'] = [_generator_state(s) for s in paddle.get_cuda_rng_state()]
        return state

    def random_states(self):
        """`random_state` of every process, by rank."""
        own = np.frombuffer(json.dumps(self.random_state()).encode(), np.uint8)
        return [parse_json(state.tobytes(), 'another process') for (state,) in self.world.all_gather([own])]

    def set_random_state(self, state):
        """Take back what `random_state` gave. Raises `UserError` for anything else."""
        own = self.random_state()
        for device in own if isinstance(state, dict) and 'cuda' in state else ('cpu',):
            if not isinstance(state, dict) or not _like(state.get(device), own[device]):
                raise UserError(f'found the random state of another generator ({device}), expected one of Paddle.')
        paddle.set_rng_state([_restored_generator(state['cpu'])])
        if 'cuda' in state and isinstance(self.place, paddle.CUDAPlace):
            paddle.set_cuda_rng_state([_restored_generator(s) for s in state['cuda']])


def _initial_values(startup):
    """dict name -> shape of the variables to which a program gives their first values; empty: not all are float32."""
    setting = [op for op in startup.global_block().ops if op.name() == 'builtin.set_parameter']
    made = {op.attrs()['parameter_name']: op.operands_source()[0] for op in setting}
    if any(value.dtype != paddle.float32 for value in made.values()):
        return {}
    return {name: tuple(value.shape) for name, value in made.items()}


class _Lent:
    """A tensor of Paddle in the protocol by which numpy takes an array without copying it."""

    def __init__(self, tensor):
        self._tensor = tensor

    def __dlpack__(self, **_):
        return self._tensor._to_dlpack()

    def __dlpack_device__(self):
        return 1, 0  # the processor


def _generator_state(state):
    def plain(x):
        return [plain(y) for y in x] if isinstance(x, (list, tuple)) else int(x)

    return plain(state.__getstate__())


def _like(found, own):
    """Whether plain values are those of a generator as `own` are: Paddle's own code trusts them."""
    if isinstance(own, int):
        return type(found) is int and -(1 << 63) <= found < 1 << 64
    if not isinstance(found, list):
        return False
    if own and all(type(code) is int for code in own) and len(own) > 16:
        # The text of a Mersenne twister, as codes of characters: its words and its place among them.
        try:
            words, needed = bytes(found).split(), bytes(own).split()
        except (TypeError, ValueError):
            return False
        fits = len(words) == len(needed) and all(len(word) <= 20 and word.isdigit() for word in words)
        return fits and all(int(word) < 1 << 64 for word in words) and int(words[-1]) < len(words)
    return len(found) == len(own) and all(map(_like, found, own))


def _restored_generator(plain):
    kind = type(paddle.get_rng_state()[0])
    state = kind.__new__(kind)
    state.__setstate__(tuple(plain))
    return state
