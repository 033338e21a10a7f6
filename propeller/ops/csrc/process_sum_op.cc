// `propeller_process_sum`. See process_sum.h for the computation, process_sum.py for what programs call.
#include "process_sum.h"
#include "tensors.h"

namespace ops::process_sum_op {
namespace {

using paddle::Tensor;

std::vector<Tensor> process_sum(const Tensor& values, int64_t file, int64_t rank, int64_t processes) {
  require_float32(values, "process_sum", "the values");
  Tensor sums = new_tensor(values.shape());
  if (values.numel() == 0) return {sums};
  run("process_sum", [&] {
    sum_over_processes(static_cast<int>(file), static_cast<int>(rank), static_cast<int>(processes),
                       values.data<float>(), sums.data<float>(), values.numel());
  });
  return {sums};
}

std::vector<Shape> infer_shape(const Shape& values, int64_t, int64_t, int64_t) { return {values}; }

std::vector<paddle::DataType> infer_type(const paddle::DataType& values, int64_t, int64_t, int64_t) {
  return {values};
}

}  // namespace
}  // namespace ops::process_sum_op

PD_BUILD_OP(propeller_process_sum)
    .Inputs({"Values"})
    .Outputs({"Sums"})
    .Attrs({"file: int64_t", "rank: int64_t", "processes: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::process_sum_op::process_sum))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::process_sum_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::process_sum_op::infer_type));
