"""AdamW for all parameters in one operator."""

from propeller.graph import paddle


class FusedAdamW(paddle.optimizer.AdamW):
    """Paddle's optimizer, of which it keeps the names and initial values of all variables, with one operator at the
    end in place of one for each parameter.
    """

    def __init__(self, rate, weight_decay, decays, skip, factor):
        super().__init__(rate, weight_decay=weight_decay, apply_decay_param_fun=decays)
        self._skip, self._factor, self._trained = skip, factor, []

    def _append_optimize_op(self, block, param_and_grad):
        parameter, gradient = param_and_grad
        names = self._moment1_acc_str, self._moment2_acc_str, self._beta1_pow_acc_str, self._beta2_pow_acc_str
        state = (self._get_accumulator(name, parameter) for name in names)
        self._trained.append((parameter, gradient, *state))

    def _finish_update(self, block, parameters_and_grads):
        parameters, *tensors = (list(column) for column in zip(*self._trained, strict=True))
        rates = [float(p.optimize_attr['learning_rate']) for p in parameters]
        decays = [self._weight_decay * float(self._apply_decay_param_fun(p.name)) for p in parameters]
        factor = paddle.ones([1]) if self._factor is None else self._factor
        numbers = [self._global_learning_rate(), factor, self._skip]
        attributes = [rates, decays, self._beta1, self._beta2, self._epsilon]
        paddle._C_ops._run_custom_op('propeller_adamw', parameters, *tensors, *numbers, *attributes)
