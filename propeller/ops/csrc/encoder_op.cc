// Paddle's operator `propeller_encoder`, and how Python gives it its weights. See encoder.h for the computation,
// encoder.py for what users call.
#include <map>
#include <mutex>

#include "encoder.h"
#include "tensors.h"
#include "threads.h"
#include "tokens.h"

namespace ops {
namespace {

using paddle::DataType;
using paddle::Tensor;

// The encoders of this process by number. One that is removed lives until no operator runs it.
class Encoders {
 public:
  void put(int64_t number, std::shared_ptr<const Encoder> encoder) {
    const std::lock_guard<std::mutex> lock(mutex_);
    encoders_[number] = std::move(encoder);
  }
  void remove(int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    encoders_.erase(number);
  }
  std::shared_ptr<const Encoder> get(int64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = encoders_.find(number);
    return found == encoders_.end() ? nullptr : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<const Encoder>> encoders_;
};

Encoders& encoders() {
  static Encoders all;
  return all;
}

// The tokens of a batch, without rows that have none.
struct Batch {
  std::vector<int64_t> starts, tokens, rows, places;  // rows: those that have tokens; places: see TokenLayout
  std::vector<std::vector<int64_t>> ids;

  Batch(const Tensor& mask, const std::vector<Tensor>& tables) {
    const int64_t count = mask.shape()[0], columns = mask.shape()[1];
    const auto* data = mask.data<float>();
    std::vector<int64_t> all(count + 1);
    tokens.resize(count_tokens(data, count * columns));
    places.resize(count * columns);
    lay_out_tokens(data, count, columns, {all.data(), tokens.data(), places.data()});
    for (int64_t row = 0; row < count; ++row) {
      if (all[row] == all[row + 1]) continue;
      rows.push_back(row);
      starts.push_back(all[row]);
    }
    starts.push_back(all[count]);
    for (const Tensor& table : tables) {
      std::vector<int64_t>& own = ids.emplace_back();
      for (const int64_t token : tokens) own.push_back(table.data<int64_t>()[token]);
    }
  }

  TokenRows token_rows() const {
    TokenRows result{static_cast<int64_t>(rows.size()), starts.data(), {}};
    for (const auto& own : ids) result.ids.push_back(own.data());
    return result;
  }
};

void check_inputs(const Encoder& encoder, const Tensor& mask, const std::vector<Tensor>& ids) {
  require_float32(mask, "encoder", "mask");
  if (mask.shape().size() != 2) refuse("encoder: mask has shape " + text(mask.shape()) + ", expected [rows, columns]");
  if (static_cast<int64_t>(ids.size()) != encoder.shape().tables) {
    refuse("encoder: found ids of " + std::to_string(ids.size()) + " tables, expected " +
           std::to_string(encoder.shape().tables));
  }
  for (const Tensor& own : ids) {
    require_int64(own, "encoder", "ids");
    if (own.shape() != mask.shape()) {
      refuse("encoder: ids have shape " + text(own.shape()) + ", expected " + text(mask.shape()) + ", that of mask");
    }
  }
}

std::vector<Tensor> forward(const Tensor& mask, const std::vector<Tensor>& ids, int64_t number, int64_t hidden,
                            bool firsts, int64_t threads) {
  const std::shared_ptr<const Encoder> encoder = encoders().get(number);
  if (!encoder || encoder->shape().hidden != hidden) refuse("encoder: its weights are not there");
  check_inputs(*encoder, mask, ids);
  const int64_t rows = mask.shape()[0], columns = mask.shape()[1];
  Tensor out = new_tensor(firsts ? Shape{rows, hidden} : Shape{rows, columns, hidden});
  const Batch batch(mask, ids);
  const TokenRows tokens = batch.token_rows();
  const std::string wrong = encoder->wrong_id(tokens);
  if (!wrong.empty()) refuse("encoder: " + wrong);
  run("encoder", [&] {
    const Threads own(threads);
    Scratch scratch;
    const auto count = static_cast<int64_t>(firsts ? batch.rows.size() : batch.tokens.size());
    float* const found = scratch.get<float>(count * hidden);
    encoder->run(tokens, firsts, found);
    std::vector<int64_t> places = batch.places;
    if (firsts) {  // the first column's are wanted, of rows that have some
      places.assign(rows, -1);
      for (size_t i = 0; i < batch.rows.size(); ++i) {
        if (batch.places[batch.rows[i] * columns] >= 0) places[batch.rows[i]] = static_cast<int64_t>(i);
      }
    }
    take(found, hidden * static_cast<int64_t>(sizeof(float)), places.data(), static_cast<int64_t>(places.size()), 0,
         out.data<float>());
  });
  return {out};
}

std::vector<Shape> infer_shape(const Shape& mask, const std::vector<Shape>&, int64_t, int64_t hidden, bool firsts,
                               int64_t) {
  if (mask.size() != 2) refuse("encoder: mask has shape " + text(mask) + ", expected [rows, columns]");
  return {firsts ? Shape{mask[0], hidden} : Shape{mask[0], mask[1], hidden}};
}

std::vector<DataType> infer_type(const DataType&, const std::vector<DataType>&) { return {DataType::FLOAT32}; }

}  // namespace
}  // namespace ops

PD_BUILD_OP(propeller_encoder)
    .Inputs({"Mask", paddle::Vec("Ids")})
    .Outputs({"Out"})
    .Attrs({"number: int64_t", "hidden: int64_t", "firsts: bool", "threads: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::infer_type));

extern "C" {

// Packs the weights of an encoder and calls it `number`. sizes: tables, hidden, inner, heads, layers; activation, form: as
// the enumerations number them; values, table_rows: see `Encoder`, `count` of the first. 0: done; 1: no memory; 2: another
// number of values is needed.
int propeller_encoder_put(int64_t number, const int64_t* sizes, float epsilon, int activation, int form,
                          const float* const* values, int64_t count, const int64_t* table_rows) {
  try {
    const ops::EncoderShape shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], epsilon,
                                  static_cast<ops::Activation>(activation)};
    if (ops::Encoder::values_of(shape) != count) return 2;
    const std::vector<const float*> all(values, values + count);
    const std::vector<int64_t> rows(table_rows, table_rows + shape.tables);
    ops::encoders().put(number, std::make_shared<const ops::Encoder>(shape, static_cast<ops::Form>(form), all, rows));
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

void propeller_encoder_remove(int64_t number) { ops::encoders().remove(number); }
}
