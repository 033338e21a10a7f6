// `propeller_process_sum`, and `propeller_sum_own_share`, which changes its inputs in place. See process_sum.h for the
// computation, process_sum.py for what programs call.
#include "process_sum.h"
#include "share.h"
#include "tensors.h"

namespace ops::process_sum_op {
namespace {

using paddle::Tensor;

Place place_of(int64_t file, int64_t rank, int64_t processes) {
  return {static_cast<int>(file), static_cast<int>(rank), static_cast<int>(processes)};
}

std::vector<Tensor> process_sum(const Tensor& values, int64_t file, int64_t rank, int64_t processes) {
  require_float32(values, "process_sum", "the values");
  Tensor sums = new_tensor(values.shape());
  if (values.numel() == 0) return {sums};
  run("process_sum", [&] {
    sum_over_processes(place_of(file, rank, processes), values.data<float>(), sums.data<float>(), values.numel());
  });
  return {sums};
}

void own_share(std::vector<Tensor>& values, Tensor& numbers, int64_t file, int64_t rank, int64_t processes) {
  const Share own{rank, processes};
  std::vector<Numbers> arrays;
  for (size_t i = 0; i < values.size(); ++i) {
    require_float32(values[i], "sum_own_share", "value " + std::to_string(i));
    if (values[i].numel()) arrays.push_back({values[i].data<float>(), values[i].numel(), own.unit(values[i].shape())});
  }
  require_float32(numbers, "sum_own_share", "the numbers");
  if (numbers.numel() == 0) refuse("sum_own_share: found no numbers, expected one or more");
  run("sum_own_share", [&] {
    sum_own_share(place_of(file, rank, processes), arrays, {numbers.data<float>(), numbers.numel(), 1});
  });
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

PD_BUILD_OP(propeller_sum_own_share)
    .Inputs({paddle::Vec("Values"), "Numbers"})
    .Outputs({paddle::Vec("Sums"), "NumbersOut"})
    .Attrs({"file: int64_t", "rank: int64_t", "processes: int64_t"})
    .SetInplaceMap({{paddle::Vec("Values"), paddle::Vec("Sums")}, {"Numbers", "NumbersOut"}})
    .SetKernelFn(PD_KERNEL(ops::process_sum_op::own_share));
