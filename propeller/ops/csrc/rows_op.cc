// Operators of Paddle over tables of which a training reads a few rows at a time: `propeller_used_rows`,
// `propeller_mark_rows`, `propeller_marked_rows`, `propeller_spread_rows`, `propeller_pay_rows`, and
// `propeller_adamw_rows`. The last two change their tables in place. See rows.h and optimizer.h for the computation, rows.py
// and optimizer.py for what is called.
#include <algorithm>

#include "optimizer.h"
#include "rows.h"
#include "tensors.h"

namespace ops::rows_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using Types = std::vector<DataType>;

void check_ids(const std::string& op, const Tensor& ids, int64_t rows) {
  require_int64(ids, op, "ids");
  const std::string complaint = wrong_row(ids.data<int64_t>(), ids.numel(), rows);
  if (!complaint.empty()) refuse(op + ": " + complaint);
}

void check_table(const std::string& op, const Tensor& table) {
  require_float32(table, op, "the table");
  if (table.shape().size() != 2) refuse(op + ": the table has shape " + text(table.shape()) + ", expected [rows, width]");
}

void check_values(const std::string& op, const Tensor& values, const Tensor& ids, int64_t width) {
  check_like(op, "the rows", values, {ids.numel(), width});
}

// State is float32, so that it is kept and cleared like any variable. Operators that only read it do not change it.
RowState state_of(const std::string& op, const Tensor& state, const Shape& table) {
  require_float32(state, op, "the state");
  const int64_t rows = table[0], capacity = state.numel() - 1 - rows;
  if (capacity < 1) {
    refuse(op + ": the state of a table of shape " + text(table) + " has shape " + text(state.shape()) +
           ", expected [" + std::to_string(rows + 2) + "] or more");
  }
  return {const_cast<float*>(state.data<float>()), rows, capacity};
}

// Where a batch has no tokens, row 0 stands for them: no tensor is empty, and its gradient is 0.
std::vector<Tensor> used_rows(const Tensor& table, const Tensor& state, const Tensor& ids) {
  const std::string op = "used_rows";
  check_table(op, table);
  const int64_t width = table.shape()[1], rows = table.shape()[0];
  check_ids(op, ids, rows);
  const RowState known = state_of(op, state, table.shape());
  Tensor places = new_tensor(ids.shape(), DataType::INT64);
  std::vector<int64_t> used(std::max<int64_t>(ids.numel(), 1), 0);
  const int64_t count = std::max<int64_t>(
      number_rows(ids.data<int64_t>(), ids.numel(), rows, used.data(), places.data<int64_t>()), 1);
  Tensor found = new_tensor({count}, DataType::INT64), out = new_tensor({count, width});
  std::copy_n(used.data(), count, found.data<int64_t>());
  run(op.c_str(), [&] { copy_rows(table.data<float>(), width, known, used.data(), count, out.data<float>()); });
  return {found, places, out};
}

std::vector<Tensor> mark_rows(const Tensor& ids, int64_t rows) {
  check_ids("mark_rows", ids, rows);
  Tensor marks = new_tensor({rows});
  std::fill_n(marks.data<float>(), rows, 0.0f);
  for (int64_t i = 0; i < ids.numel(); ++i) marks.data<float>()[ids.data<int64_t>()[i]] = 1;
  return {marks};
}

// The rows that are marked, in their order, and the sums of `values` in them.
std::vector<Tensor> marked_rows(const Tensor& marks, const Tensor& ids, const Tensor& values) {
  const std::string op = "marked_rows";
  const int64_t rows = marks.numel(), width = values.shape().back();
  check_like(op, "marks", marks, {rows});
  check_ids(op, ids, rows);
  check_values(op, values, ids, width);
  std::vector<int64_t> numbers(rows), marked, own;
  for (int64_t r = 0; r < rows; ++r) {
    numbers[r] = static_cast<int64_t>(marked.size());
    if (marks.data<float>()[r] != 0) marked.push_back(r);
  }
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const int64_t id = ids.data<int64_t>()[i];
    if (marks.data<float>()[id] == 0) refuse(op + ": row " + std::to_string(id) + " is not marked");
    own.push_back(numbers[id]);
  }
  const int64_t count = static_cast<int64_t>(marked.size());
  Tensor found = new_tensor({count}, DataType::INT64), out = new_tensor({count, width});
  std::copy_n(marked.data(), count, found.data<int64_t>());
  run(op.c_str(), [&] {
    spread_rows(nullptr, count, width, own.data(), ids.numel(), values.data<float>(), out.data<float>());
  });
  return {found, out};
}

std::vector<Tensor> spread(const paddle::optional<Tensor>& base, const Tensor& ids, const Tensor& values,
                           int64_t rows) {
  const std::string op = "spread_rows";
  check_ids(op, ids, rows);
  const int64_t width = values.shape().back();
  check_values(op, values, ids, width);
  if (base) check_like(op, "the base", *base, {rows, width});
  Tensor out = new_tensor({rows, width});
  run(op.c_str(), [&] {
    spread_rows(base ? base->data<float>() : nullptr, rows, width, ids.data<int64_t>(), ids.numel(),
                values.data<float>(), out.data<float>());
  });
  return {out};
}

void pay_rows(Tensor& table, Tensor& state) {
  check_table("pay_rows", table);
  const RowState known = state_of("pay_rows", state, table.shape());
  run("pay_rows", [&] { pay_all(known, table.shape()[1], table.data<float>()); });
  known.numbers[0] = 0;  // whoever asks may change moments
}

void update_rows(Tensor& table, const Tensor& ids, const Tensor& gradient, Tensor& moment1, Tensor& moment2,
                 Tensor& beta1_power, Tensor& beta2_power, Tensor& state, const Tensor& learning_rate,
                 const Tensor& factor, const Tensor& skip, float rate, float decay, float beta1, float beta2,
                 float epsilon) {
  const std::string op = "adamw_rows";
  check_table(op, table);
  const Shape shape = table.shape();
  check_ids(op, ids, shape[0]);
  check_values(op, gradient, ids, shape[1]);
  check_like(op, "the first moment", moment1, shape);
  check_like(op, "the second moment", moment2, shape);
  for (const Tensor* power : {&beta1_power, &beta2_power}) check_like(op, "a power of beta", *power, {1});
  if (learning_rate.numel() != 1 || factor.numel() != 1 || skip.numel() != 1 || skip.dtype() != DataType::BOOL) {
    refuse(op + ": expected one learning rate, one factor and one bool that says whether to skip");
  }
  require_float32(learning_rate, op, "the learning rate");
  require_float32(factor, op, "the factor");
  const RowState known = state_of(op, state, shape);
  if (*skip.data<bool>()) return;
  run(op.c_str(), [&] {
    const Trained trained{table.numel(),          table.data<float>(),       gradient.data<float>(),
                          moment1.data<float>(),  moment2.data<float>(),     beta1_power.data<float>(),
                          beta2_power.data<float>(), rate,                   decay};
    adamw_rows({beta1, beta2, epsilon, *learning_rate.data<float>(), *factor.data<float>()}, trained, shape[1],
               ids.data<int64_t>(), ids.numel(), known);
  });
}

std::vector<Shape> infer_used(const Shape& table, const Shape&, const Shape& ids) {
  if (table.size() != 2) refuse("used_rows: the table has shape " + text(table) + ", expected [rows, width]");
  return {{-1}, ids, {-1, table[1]}};
}
Types infer_used_types(const DataType&, const DataType&, const DataType&) {
  return {DataType::INT64, DataType::INT64, DataType::FLOAT32};
}
std::vector<Shape> infer_marks(const Shape&, int64_t rows) { return {{rows}}; }
Types infer_marks_type(const DataType&, int64_t) { return {DataType::FLOAT32}; }
std::vector<Shape> infer_marked(const Shape&, const Shape&, const Shape& values) { return {{-1}, {-1, values.back()}}; }
Types infer_marked_types(const DataType&, const DataType&, const DataType&) {
  return {DataType::INT64, DataType::FLOAT32};
}
std::vector<Shape> infer_spread(const paddle::optional<Shape>&, const Shape&, const Shape& values, int64_t rows) {
  return {{rows, values.back()}};
}
Types infer_spread_type(const paddle::optional<DataType>&, const DataType&, const DataType&, int64_t) {
  return {DataType::FLOAT32};
}

}  // namespace
}  // namespace ops::rows_op

PD_BUILD_OP(propeller_used_rows)
    .Inputs({"Table", "State", "Ids"})
    .Outputs({"Used", "Places", "Rows"})
    .SetKernelFn(PD_KERNEL(ops::rows_op::used_rows))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::rows_op::infer_used))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::rows_op::infer_used_types));

PD_BUILD_OP(propeller_mark_rows)
    .Inputs({"Ids"})
    .Outputs({"Marks"})
    .Attrs({"rows: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::rows_op::mark_rows))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::rows_op::infer_marks))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::rows_op::infer_marks_type));

PD_BUILD_OP(propeller_marked_rows)
    .Inputs({"Marks", "Ids", "Values"})
    .Outputs({"Marked", "Sums"})
    .SetKernelFn(PD_KERNEL(ops::rows_op::marked_rows))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::rows_op::infer_marked))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::rows_op::infer_marked_types));

PD_BUILD_OP(propeller_spread_rows)
    .Inputs({paddle::Optional("Base"), "Ids", "Values"})
    .Outputs({"Out"})
    .Attrs({"rows: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::rows_op::spread))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::rows_op::infer_spread))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::rows_op::infer_spread_type));

PD_BUILD_OP(propeller_pay_rows)
    .Inputs({"Table", "State"})
    .Outputs({"TableOut", "StateOut"})
    .SetInplaceMap({{"Table", "TableOut"}, {"State", "StateOut"}})
    .SetKernelFn(PD_KERNEL(ops::rows_op::pay_rows));

PD_BUILD_OP(propeller_adamw_rows)
    .Inputs({"Table", "Ids", "Gradient", "Moment1", "Moment2", "Beta1Power", "Beta2Power", "State", "LearningRate",
             "Factor", "Skip"})
    .Outputs({"TableOut", "Moment1Out", "Moment2Out", "Beta1PowerOut", "Beta2PowerOut", "StateOut"})
    .Attrs({"rate: float", "decay: float", "beta1: float", "beta2: float", "epsilon: float"})
    .SetInplaceMap({{"Table", "TableOut"},
                    {"Moment1", "Moment1Out"},
                    {"Moment2", "Moment2Out"},
                    {"Beta1Power", "Beta1PowerOut"},
                    {"Beta2Power", "Beta2PowerOut"},
                    {"State", "StateOut"}})
    .SetKernelFn(PD_KERNEL(ops::rows_op::update_rows));
