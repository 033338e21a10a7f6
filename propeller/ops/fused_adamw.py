"""AdamW for all parameters in one operator, and for each table with a gradient by rows in another one."""

from propeller.graph import paddle
from propeller.ops.choice import ALONE
from propeller.ops.rows import RowGradient


class FusedAdamW(paddle.optimizer.AdamW):
    """Paddle's optimizer, of which it keeps the names and initial values of all variables, with one operator at the
    end in place of one for each parameter.

    Attributes:
        in_common: with `segment`, names of the parameters of which each process updates its share, and of their
            moments.
    """

    def __init__(self, rate, weight_decay, decays, skip, factor, segment=None):
        super().__init__(rate, weight_decay=weight_decay, apply_decay_param_fun=decays)
        self._skip, self._factor, self._trained, self._rows = skip, factor, [], {}
        self._place, self.in_common = segment.place if segment else ALONE, []

    def apply_gradients(self, params_grads):
        """As Paddle's. params_grads: list of (parameter, gradient); a gradient may be a `RowGradient`."""
        self._rows = {p.name: g for p, g in params_grads if isinstance(g, RowGradient)}
        return super().apply_gradients([(p, g.values if isinstance(g, RowGradient) else g) for p, g in params_grads])

    def _append_optimize_op(self, block, param_and_grad):
        parameter, gradient = param_and_grad
        names = self._moment1_acc_str, self._moment2_acc_str, self._beta1_pow_acc_str, self._beta2_pow_acc_str
        state = (self._get_accumulator(name, parameter) for name in names)
        self._trained.append((parameter, gradient, *state))

    def _finish_update(self, block, parameters_and_grads):
        factor = paddle.ones([1]) if self._factor is None else self._factor
        numbers = [self._global_learning_rate(), factor, self._skip]
        powers = [self._beta1, self._beta2, self._epsilon]
        whole = [tensors for tensors in self._trained if tensors[0].name not in self._rows]
        if whole:
            parameters, *tensors = (list(column) for column in zip(*whole, strict=True))
            rates, decays = (list(column) for column in zip(*map(self._shares, parameters), strict=True))
            settings = [*numbers, rates, decays, *powers, *self._place]
            paddle._C_ops._run_custom_op('propeller_adamw', parameters, *tensors, *settings)
            self.in_common = [value.name for value in (*parameters, *tensors[1], *tensors[2])]  # with both moments
        for table, gradient, *state in self._trained:
            if table.name in self._rows:
                tensors = [table, self._rows[table.name].ids, gradient, *state, self._rows[table.name].state]
                shares = self._shares(table)
                paddle._C_ops._run_custom_op('propeller_adamw_rows', *tensors, *numbers, *shares, *powers)

    def _shares(self, parameter):
        """Of a parameter: its share of the learning rate, and its weight decay."""
        rate = float(parameter.optimize_attr['learning_rate'])
        return rate, self._weight_decay * float(self._apply_decay_param_fun(parameter.name))
