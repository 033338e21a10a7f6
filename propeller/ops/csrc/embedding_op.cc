// Operators of Paddle, `propeller_embedding_norm_1` to `_4`, by the number of tables: lists can be inputs, but gradients
// that are lists cannot be outputs. See embedding.h for the computation, embedding.py for what users call.
#include <utility>

#include "embedding.h"
#include "norm_tensors.h"

namespace ops::embedding_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using MaybeTensor = paddle::optional<Tensor>;
using Tensors = std::vector<const Tensor*>;
using Types = std::vector<DataType>;

const std::string kOp = "embedding_norm";

Shape output_shape(Shape ids, const Shape& table) {
  ids.push_back(table.back());
  return ids;
}

void check_table(const Tensors& tables, size_t t) {
  const Tensor& table = *tables[t];
  const std::string name = "table " + std::to_string(t);
  require_float32(table, kOp, name);
  const Shape first = tables[0]->shape();
  if (table.shape().size() != 2 || table.shape()[1] != first.back()) {
    refuse(kOp + ": " + name + " has shape " + text(table.shape()) + ", expected [rows, width], as table 0 of shape " +
           text(first));
  }
}

void check_ids(const std::vector<Tensor>& ids, size_t t) {
  const std::string name = "ids " + std::to_string(t);
  require_int64(ids[t], kOp, name);
  if (ids[t].shape() != ids[0].shape()) {
    refuse(kOp + ": " + name + " have shape " + text(ids[t].shape()) + ", expected " + text(ids[0].shape()) +
           ", that of ids 0");
  }
}

std::vector<Lookup> lookups_of(const Tensors& tables, const std::vector<Tensor>& ids) {
  if (ids.size() != tables.size()) {
    refuse(kOp + ": found ids for " + std::to_string(ids.size()) + " tables, expected " +
           std::to_string(tables.size()));
  }
  std::vector<Lookup> lookups;
  for (size_t t = 0; t < tables.size(); ++t) {
    check_table(tables, t);
    check_ids(ids, t);
    lookups.push_back({tables[t]->data<float>(), tables[t]->shape()[0], ids[t].data<int64_t>()});
  }
  const std::string complaint = wrong_id(lookups, ids[0].numel());
  if (!complaint.empty()) refuse(kOp + ": " + complaint);
  return lookups;
}

std::vector<Tensor> forward(const Tensors& tables, const std::vector<Tensor>& ids, const Tensor& scale,
                            const Tensor& bias, const Dropout& dropout, float epsilon) {
  const std::vector<Lookup> lookups = lookups_of(tables, ids);
  const Shape shape = output_shape(ids[0].shape(), tables[0]->shape());
  check_like(kOp, "scale", scale, {shape.back()});
  check_like(kOp, "bias", bias, {shape.back()});
  Tensor y = new_tensor(shape), stats = new_tensor(stats_shape(shape));
  run(kOp.c_str(), [&] {
    embedding_norm_forward(norm_shape(shape), lookups, epsilon, dropout, scale.data<float>(), bias.data<float>(),
                           y.data<float>(), stats.data<float>());
  });
  return {y, stats};
}

// Of the tables, scale and bias. A gradient that nobody wants is an empty tensor.
std::vector<Tensor> backward(const Tensors& tables, const std::vector<Tensor>& ids, const Tensor& scale,
                             const Tensor& stats, const Tensor& dy, const Dropout& dropout,
                             const std::vector<int>& wanted) {
  const std::vector<Lookup> lookups = lookups_of(tables, ids);
  const Shape shape = output_shape(ids[0].shape(), tables[0]->shape());
  check_like(kOp, "the gradient", dy, shape);
  std::vector<Tensor> gradients;
  std::vector<float*> dtables;
  for (size_t t = 0; t < tables.size(); ++t) {
    gradients.push_back(new_tensor(wanted.at(t) ? tables[t]->shape() : Shape{0}));
    dtables.push_back(wanted[t] ? gradients[t].data<float>() : nullptr);
  }
  Tensor dscale = new_tensor(scale.shape()), dbias = new_tensor(scale.shape());
  run("embedding_norm's gradient", [&] {
    embedding_norm_backward(norm_shape(shape), lookups, dropout, scale.data<float>(), stats.data<float>(),
                            dy.data<float>(), dtables, dscale.data<float>(), dbias.data<float>());
  });
  gradients.push_back(dscale);
  gradients.push_back(dbias);
  return gradients;
}

template <typename T, size_t>
using Each = const T&;

// The functions that Paddle calls, for as many tables as `I` has numbers.
template <typename I>
struct Operator;

template <size_t... I>
struct Operator<std::index_sequence<I...>> {
  static std::vector<Tensor> compute(Each<Tensor, I>... tables, const Tensor& scale, const Tensor& bias,
                                     const std::vector<Tensor>& ids, const MaybeTensor& seed, float epsilon,
                                     float dropout, int64_t site, const std::vector<int>&) {
    return forward({&tables...}, ids, scale, bias, dropout_from(kOp, dropout, seed, site), epsilon);
  }
  static std::vector<Tensor> gradients(Each<Tensor, I>... tables, const Tensor& scale, const std::vector<Tensor>& ids,
                                       const Tensor& stats, const MaybeTensor& seed, const Tensor& dy, float,
                                       float dropout, int64_t site, const std::vector<int>& wanted) {
    return backward({&tables...}, ids, scale, stats, dy, dropout_from(kOp, dropout, seed, site), wanted);
  }
  static std::vector<Shape> shapes(Each<Shape, I>... tables, const Shape&, const Shape&, const std::vector<Shape>& ids,
                                   const paddle::optional<Shape>&) {
    const Shape shape = output_shape(ids[0], std::vector<Shape>{tables...}[0]);
    return {shape, stats_shape(shape)};
  }
  static Types types(Each<DataType, I>..., const DataType&, const DataType&, const Types&,
                     const paddle::optional<DataType>&) {
    return {DataType::FLOAT32, DataType::FLOAT32};
  }
  static std::vector<Shape> gradient_shapes(Each<Shape, I>... tables, const Shape& scale, const std::vector<Shape>&,
                                            const Shape&, const paddle::optional<Shape>&, const Shape&) {
    return {tables..., scale, scale};
  }
};

using Names = std::vector<std::string>;

// Table0, Table1, ... or their gradients, and more.
Names tables_and(int count, bool gradients, const Names& more) {
  Names names;
  for (int t = 0; t < count; ++t) {
    const std::string name = "Table" + std::to_string(t);
    names.push_back(gradients ? paddle::Grad(name) : name);
  }
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

}  // namespace
}  // namespace ops::embedding_op

#define PROPELLER_EMBEDDING_NORM(COUNT)                                                                               \
  PD_BUILD_OP(propeller_embedding_norm_##COUNT)                                                                       \
      .Inputs(ops::embedding_op::tables_and(COUNT, false,                                                             \
                                               {"Scale", "Bias", paddle::Vec("Ids"), paddle::Optional("Seed")}))      \
      .Outputs({"Out", "Stats"})                                                                                      \
      .Attrs({"epsilon: float", "dropout: float", "site: int64_t", "wanted: std::vector<int>"})                       \
      .SetKernelFn(PD_KERNEL(ops::embedding_op::Operator<std::make_index_sequence<COUNT>>::compute))                  \
      .SetInferShapeFn(PD_INFER_SHAPE(ops::embedding_op::Operator<std::make_index_sequence<COUNT>>::shapes))          \
      .SetInferDtypeFn(PD_INFER_DTYPE(ops::embedding_op::Operator<std::make_index_sequence<COUNT>>::types));          \
  PD_BUILD_GRAD_OP(propeller_embedding_norm_##COUNT)                                                                  \
      .Inputs(ops::embedding_op::tables_and(COUNT, false,                                                             \
                                               {"Scale", paddle::Vec("Ids"), "Stats", paddle::Optional("Seed"),       \
                                                paddle::Grad("Out")}))                                                \
      .Outputs(ops::embedding_op::tables_and(COUNT, true, {paddle::Grad("Scale"), paddle::Grad("Bias")}))             \
      .Attrs({"epsilon: float", "dropout: float", "site: int64_t", "wanted: std::vector<int>"})                       \
      .SetKernelFn(PD_KERNEL(ops::embedding_op::Operator<std::make_index_sequence<COUNT>>::gradients))                \
      .SetInferShapeFn(PD_INFER_SHAPE(ops::embedding_op::Operator<std::make_index_sequence<COUNT>>::gradient_shapes))

PROPELLER_EMBEDDING_NORM(1);
PROPELLER_EMBEDDING_NORM(2);
PROPELLER_EMBEDDING_NORM(3);
PROPELLER_EMBEDDING_NORM(4);
