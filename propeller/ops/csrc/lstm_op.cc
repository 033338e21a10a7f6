// Paddle's operator `propeller_lstm`. See lstm.h for the computation, lstm.py for what users call.
#include "lstm.h"
#include "tensors.h"

namespace ops::lstm_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

const std::string kOp = "lstm";

void check_shapes(const Shape& input, const Shape& recurrent, const Shape& projection) {
  const bool matrices = recurrent.size() == 2 && projection.size() == 2 && fits(recurrent[0], projection[1]) &&
                        fits(recurrent[1], 4 * projection[0]);
  if (!matrices || input.size() != 3 || !fits(input[2], recurrent[1])) {
    refuse(kOp + ": found input of shape " + text(input) + ", recurrent " + text(recurrent) + " and projection " +
           text(projection) + ", expected [steps, rows, 4 x cells], [states, 4 x cells] and [cells, states]");
  }
}

LstmShape shape_of(const Tensor& input, const Tensor& recurrent, const Tensor& projection, const Tensor& state,
                   const Tensor& cell, float cell_clip, float state_clip) {
  require_float32(input, kOp, "input");
  require_float32(recurrent, kOp, "recurrent");
  require_float32(projection, kOp, "projection");
  check_shapes(input.shape(), recurrent.shape(), projection.shape());
  const LstmShape shape{input.shape()[0],      input.shape()[1], projection.shape()[0], projection.shape()[1],
                        cell_clip, state_clip};
  check_like(kOp, "state", state, {shape.rows, shape.states});
  check_like(kOp, "cell", cell, {shape.rows, shape.cells});
  return shape;
}

LstmInputs inputs_of(const Tensor& input, const Tensor& recurrent, const Tensor& projection, const Tensor& state,
                     const Tensor& cell) {
  return {input.data<float>(), recurrent.data<float>(), projection.data<float>(), state.data<float>(),
          cell.data<float>()};
}

std::vector<Tensor> forward(const Tensor& input, const Tensor& recurrent, const Tensor& projection,
                            const Tensor& state, const Tensor& cell, float cell_clip, float state_clip) {
  const LstmShape shape = shape_of(input, recurrent, projection, state, cell, cell_clip, state_clip);
  Tensor states = new_tensor({shape.steps, shape.rows, shape.states}), gates = new_tensor(input.shape());
  Tensor cells = new_tensor({shape.steps, shape.rows, shape.cells});
  run(kOp.c_str(), [&] {
    lstm_forward(shape, inputs_of(input, recurrent, projection, state, cell),
                 {states.data<float>(), gates.data<float>(), cells.data<float>()});
  });
  return {states, gates, cells};
}

std::vector<Tensor> backward(const Tensor& input, const Tensor& recurrent, const Tensor& projection,
                             const Tensor& state, const Tensor& cell, const Tensor& states, const Tensor& gates,
                             const Tensor& cells, const Tensor& dstates, float cell_clip, float state_clip) {
  const LstmShape shape = shape_of(input, recurrent, projection, state, cell, cell_clip, state_clip);
  check_like(kOp, "the gradient", dstates, states.shape());
  Tensor dinput = new_tensor(input.shape()), drecurrent = new_tensor(recurrent.shape());
  Tensor dprojection = new_tensor(projection.shape());
  run("lstm's gradient", [&] {
    lstm_backward(shape, inputs_of(input, recurrent, projection, state, cell),
                  {states.data<float>(), gates.data<float>(), cells.data<float>()}, dstates.data<float>(),
                  {dinput.data<float>(), drecurrent.data<float>(), dprojection.data<float>()});
  });
  return {dinput, drecurrent, dprojection};
}

std::vector<Shape> infer_shape(const Shape& input, const Shape& recurrent, const Shape& projection, const Shape&,
                               const Shape&, float, float) {
  check_shapes(input, recurrent, projection);
  return {{input[0], input[1], projection[1]}, input, {input[0], input[1], projection[0]}};
}

std::vector<Shape> infer_gradient(const Shape& input, const Shape& recurrent, const Shape& projection, const Shape&,
                                  const Shape&, const Shape&, const Shape&, const Shape&, const Shape&) {
  return {input, recurrent, projection};
}

std::vector<DataType> infer_type(const DataType&, const DataType&, const DataType&, const DataType&, const DataType&) {
  return {DataType::FLOAT32, DataType::FLOAT32, DataType::FLOAT32};
}

}  // namespace
}  // namespace ops::lstm_op

PD_BUILD_OP(propeller_lstm)
    .Inputs({"Input", "Recurrent", "Projection", "State", "Cell"})
    .Outputs({"Out", "Gates", "Cells"})
    .Attrs({"cell_clip: float", "state_clip: float"})
    .SetKernelFn(PD_KERNEL(ops::lstm_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::lstm_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::lstm_op::infer_type));

PD_BUILD_GRAD_OP(propeller_lstm)
    .Inputs({"Input", "Recurrent", "Projection", "State", "Cell", "Out", "Gates", "Cells", paddle::Grad("Out")})
    .Outputs({paddle::Grad("Input"), paddle::Grad("Recurrent"), paddle::Grad("Projection")})
    .Attrs({"cell_clip: float", "state_clip: float"})
    .SetKernelFn(PD_KERNEL(ops::lstm_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::lstm_op::infer_gradient));
