// Two operators of Paddle: `propeller_token_layout`, from a mask to where its tokens are, and `propeller_take`, rows of
// an array by number. See tokens.h for the computation, tokens.py for what users call.
#include "tensors.h"
#include "tokens.h"

namespace ops::tokens_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

void check_mask(const Shape& mask) {
  if (mask.size() != 2) refuse("token_layout: mask has shape " + text(mask) + ", expected [rows, columns]");
}

template <typename T>
std::vector<Tensor> layout_of(const Tensor& mask) {
  const int64_t rows = mask.shape()[0], columns = mask.shape()[1];
  const T* data = mask.data<T>();
  Tensor starts = new_tensor({rows + 1}, DataType::INT64), places = new_tensor(mask.shape(), DataType::INT64);
  Tensor tokens = new_tensor({count_tokens(data, rows * columns)}, DataType::INT64);
  const TokenLayout layout{starts.data<int64_t>(), tokens.data<int64_t>(), places.data<int64_t>()};
  lay_out_tokens(data, rows, columns, layout);
  return {starts, tokens, places};
}

std::vector<Tensor> token_layout(const Tensor& mask) {
  check_mask(mask.shape());
  switch (mask.dtype()) {
    case DataType::FLOAT32: return layout_of<float>(mask);
    case DataType::INT32: return layout_of<int32_t>(mask);
    case DataType::INT64: return layout_of<int64_t>(mask);
    case DataType::BOOL: return layout_of<bool>(mask);
    default:
      refuse("token_layout: mask of shape " + text(mask.shape()) + " is " + phi::DataTypeToString(mask.dtype()) +
             ", expected float32, int32, int64 or bool");
  }
}

std::vector<Shape> infer_layout(const Shape& mask) {
  check_mask(mask);
  return {{mask[0] < 0 ? -1 : mask[0] + 1}, {-1}, mask};
}

std::vector<DataType> infer_layout_types(const DataType&) { return std::vector<DataType>(3, DataType::INT64); }

Shape taken_shape(const Shape& x, Shape index) {
  if (x.empty()) refuse("take: x has shape [], expected [rows, ...]");
  index.insert(index.end(), x.begin() + 1, x.end());
  return index;
}

int64_t width_of(const Shape& x) {
  int64_t width = 1;
  for (size_t i = 1; i < x.size(); ++i) width *= x[i];
  return width;
}

void check_index(const Tensor& index, const Shape& x) {
  require_int64(index, "take", "index");
  const int64_t* data = index.data<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    if (data[i] < -1 || data[i] >= x[0]) {
      refuse("take: index of shape " + text(index.shape()) + " holds " + std::to_string(data[i]) + ", expected -1 to " +
             std::to_string(x[0] - 1) + " for x of shape " + text(x));
    }
  }
}

std::vector<Tensor> take_rows(const Tensor& x, const Tensor& index) {
  if (x.dtype() != DataType::FLOAT32 && x.dtype() != DataType::INT64) {
    refuse("take: x of shape " + text(x.shape()) + " is " + phi::DataTypeToString(x.dtype()) +
           ", expected float32 or int64");
  }
  const Shape shape = taken_shape(x.shape(), index.shape());
  check_index(index, x.shape());
  Tensor out = new_tensor(shape, x.dtype());
  run("take", [&] {
    const int64_t bytes = width_of(x.shape()) * static_cast<int64_t>(phi::SizeOf(x.dtype()));
    const int none = x.dtype() == DataType::INT64 ? 0xff : 0;  // zeros, or again -1
    take(x.data(), bytes, index.data<int64_t>(), index.numel(), none, out.data());
  });
  return {out};
}

std::vector<Tensor> take_backward(const Tensor& x, const Tensor& index, const Tensor& dout) {
  check_like("take", "the gradient", dout, taken_shape(x.shape(), index.shape()));
  check_index(index, x.shape());
  Tensor dx = new_tensor(x.shape());
  run("take's gradient", [&] {
    take_gradient(dout.data<float>(), width_of(x.shape()), index.data<int64_t>(), index.numel(), x.shape()[0],
                  dx.data<float>());
  });
  return {dx};
}

std::vector<Shape> infer_taken(const Shape& x, const Shape& index) { return {taken_shape(x, index)}; }
std::vector<DataType> infer_taken_type(const DataType& x, const DataType&) { return {x}; }
std::vector<Shape> infer_take_gradient(const Shape& x, const Shape&, const Shape&) { return {x}; }

}  // namespace
}  // namespace ops::tokens_op

PD_BUILD_OP(propeller_token_layout)
    .Inputs({"Mask"})
    .Outputs({"Starts", "Tokens", "Places"})
    .SetKernelFn(PD_KERNEL(ops::tokens_op::token_layout))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::tokens_op::infer_layout))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::tokens_op::infer_layout_types));

PD_BUILD_OP(propeller_take)
    .Inputs({"X", "Index"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(ops::tokens_op::take_rows))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::tokens_op::infer_taken))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::tokens_op::infer_taken_type));

PD_BUILD_GRAD_OP(propeller_take)
    .Inputs({"X", "Index", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X")})
    .SetKernelFn(PD_KERNEL(ops::tokens_op::take_backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::tokens_op::infer_take_gradient));
