#include "lstm.h"

#include <algorithm>
#include <vector>

#include "functions.h"
#include "linear.h"
#include "small_product.h"
#include "support.h"

namespace ops {
namespace {

// Rows that one thread takes through all steps: no thread waits for another, and what is computed does not depend on
// how many there are.
constexpr int64_t kRows = 12;
// Columns of a matrix that lie together, so that a product reads it from one end to the other.
constexpr int64_t kPanel = 64;
constexpr int64_t kWidth = 16;  // small products have such multiples of columns

// A matrix [k, n] as the right factor of small products: panels of 64 columns, the last filled up with zeros.
class Panels {
 public:
  // `transposed`: the matrix is x^T, x [n, k].
  Panels(const float* x, int64_t k, int64_t n, bool transposed) : k_(k), width_(round_up(n, kWidth)) {
    data_ = scratch_.get<float>(k * round_up(width_, kPanel));
    parallel_for(ceil_div(width_, kPanel), [&](int64_t p) {
      const int64_t first = p * kPanel, count = std::min(kPanel, n - first), wide = std::min(kPanel, width_ - first);
      float* out = data_ + p * kPanel * k;
      for (int64_t i = 0; i < k; ++i, out += wide) {
        for (int64_t j = 0; j < count; ++j) out[j] = transposed ? x[(first + j) * k + i] : x[i * n + first + j];
        std::fill(out + count, out + wide, 0.0f);
      }
    });
  }

  int64_t width() const { return width_; }

  // c [m, width] = a x, or c + a x; a: rows of `stride` numbers.
  void product(int64_t m, const float* a, int64_t stride, float* c, bool add) const {
    for (int64_t first = 0; first < width_; first += kPanel) {
      const int64_t wide = std::min(kPanel, width_ - first);
      small_product<float>(m, wide, k_, {a, stride, 1}, data_ + first * k_, wide, c + first, width_, add);
    }
  }

 private:
  Scratch scratch_;
  const int64_t k_, width_;
  float* data_;
};

// e^-|2x| keeps both functions from overflow; near 0 their error is that of 1, below 1e-7.
Lanes tanh(const Lanes& x) {
  const Lanes size = as_lanes(as_bits(x) & 0x7fffffffu);
  const Lanes e = exp_negative(-2.0f * size);
  const Lanes value = (1.0f - e) / (1.0f + e);
  return x < Lanes{} ? -value : value;
}

Lanes logistic(const Lanes& x) {
  const Lanes e = exp_negative(-as_lanes(as_bits(x) & 0x7fffffffu));
  const Lanes value = 1.0f / (1.0f + e);
  return x < Lanes{} ? e * value : value;
}

Lanes clipped(const Lanes& x, float most) {
  if (most == 0) return x;
  const Lanes high = lanes(most), low = -high;
  const Lanes below = x > high ? high : x;
  return below < low ? low : below;
}

// `x` where `value`, which may have been clipped, was not; else 0.
Lanes where_free(const Lanes& x, const Lanes& value, float most) {
  if (most == 0) return x;
  return as_lanes(as_bits(value) & 0x7fffffffu) < lanes(most) ? x : Lanes{};
}

// One row of a step: gates (sums before, values after), the cell, and o tanh(cell).
void forward_row(int64_t cells, float clip, const float* sums, const float* before, float* gates, float* cell,
                 float* output) {
  for_lanes(cells, [&](int64_t j, auto extent, int) {
    const Lanes u = tanh(load(sums + j, extent)), i = logistic(load(sums + cells + j, extent));
    const Lanes f = logistic(load(sums + 2 * cells + j, extent)), o = logistic(load(sums + 3 * cells + j, extent));
    const Lanes c = clipped(f * load(before + j, extent) + i * u, clip);
    store(u, gates + j, extent);
    store(i, gates + cells + j, extent);
    store(f, gates + 2 * cells + j, extent);
    store(o, gates + 3 * cells + j, extent);
    store(c, cell + j, extent);
    store(o * tanh(c), output + j, extent);
  });
}

// The same backwards. dcell: of the cell, on the way in from the step behind, on the way out to the step before.
// output: o tanh(cell) again, for the gradient of the projection.
void backward_row(int64_t cells, float clip, const float* gates, const float* before, const float* cell,
                  const float* doutput, float* dcell, float* dgates, float* output) {
  for_lanes(cells, [&](int64_t j, auto extent, int) {
    const Lanes u = load(gates + j, extent), i = load(gates + cells + j, extent);
    const Lanes f = load(gates + 2 * cells + j, extent), o = load(gates + 3 * cells + j, extent);
    const Lanes c = load(cell + j, extent), t = tanh(c), d = load(doutput + j, extent);
    const Lanes dc = where_free(load(dcell + j, extent) + d * o * (1.0f - t * t), c, clip);
    store(dc * i * (1.0f - u * u), dgates + j, extent);
    store(dc * u * i * (1.0f - i), dgates + cells + j, extent);
    store(dc * load(before + j, extent) * f * (1.0f - f), dgates + 2 * cells + j, extent);
    store(d * t * o * (1.0f - o), dgates + 3 * cells + j, extent);
    store(dc * f, dcell + j, extent);
    store(o * t, output + j, extent);
  });
}

// Rows [first, first + count) through all steps.
void forward_rows(const LstmShape& s, const LstmInputs& in, const LstmOutputs<float>& out, const Panels& recurrent,
                  const Panels& projection, int64_t first, int64_t count) {
  thread_local Scratch sum_scratch, output_scratch, state_scratch;
  const Trim trim_sums(sum_scratch), trim_outputs(output_scratch), trim_states(state_scratch);
  const int64_t wide = 4 * s.cells;
  float* const sums = sum_scratch.get<float>(kRows * recurrent.width());
  float* const outputs = output_scratch.get<float>(kRows * s.cells);
  float* const projected = state_scratch.get<float>(kRows * projection.width());
  const float *state = in.state + first * s.states, *cell = in.cell + first * s.cells;
  for (int64_t t = 0; t < s.steps; ++t) {
    const int64_t row = t * s.rows + first;
    recurrent.product(count, state, s.states, sums, false);
    for (int64_t i = 0; i < count; ++i) {
      float* const sum = sums + i * recurrent.width();
      const float* const input = in.input + (row + i) * wide;
      for_lanes(wide, [&](int64_t j, auto extent, int) {
        store(load(sum + j, extent) + load(input + j, extent), sum + j, extent);
      });
      forward_row(s.cells, s.cell_clip, sum, cell + i * s.cells, out.gates + (row + i) * wide,
                  out.cells + (row + i) * s.cells, outputs + i * s.cells);
    }
    projection.product(count, outputs, s.cells, projected, false);
    for (int64_t i = 0; i < count; ++i) {
      for_lanes(s.states, [&](int64_t j, auto extent, int) {
        store(clipped(load(projected + i * projection.width() + j, extent), s.state_clip),
              out.states + (row + i) * s.states + j, extent);
      });
    }
    state = out.states + row * s.states;
    cell = out.cells + row * s.cells;
  }
}

// dprojected [T, B, P]: of the states before they are clipped. outputs [T, B, C]: o tanh(cell).
void backward_rows(const LstmShape& s, const LstmInputs& in, const LstmOutputs<const float>& out, const float* dstates,
                   const Panels& recurrent, const Panels& projection, float* dgates, float* dprojected, float* outputs,
                   int64_t first, int64_t count) {
  thread_local Scratch state_scratch, output_scratch, cell_scratch;
  const Trim trim_states(state_scratch), trim_outputs(output_scratch), trim_cells(cell_scratch);
  const int64_t wide = 4 * s.cells;
  float* const dstate = state_scratch.get<float>(kRows * recurrent.width());
  float* const doutput = output_scratch.get<float>(kRows * projection.width());
  float* const dcell = cell_scratch.get<float>(kRows * s.cells);
  std::fill(dstate, dstate + kRows * recurrent.width(), 0.0f);
  std::fill(dcell, dcell + kRows * s.cells, 0.0f);
  for (int64_t t = s.steps - 1; t >= 0; --t) {
    const int64_t row = t * s.rows + first;
    const float* const before = t == 0 ? in.cell + first * s.cells : out.cells + (row - s.rows) * s.cells;
    for (int64_t i = 0; i < count; ++i) {
      for_lanes(s.states, [&](int64_t j, auto extent, int) {
        const int64_t at = (row + i) * s.states + j;
        const Lanes sum = load(dstate + i * recurrent.width() + j, extent) + load(dstates + at, extent);
        store(where_free(sum, load(out.states + at, extent), s.state_clip), dprojected + at, extent);
      });
    }
    projection.product(count, dprojected + row * s.states, s.states, doutput, false);
    for (int64_t i = 0; i < count; ++i) {
      backward_row(s.cells, s.cell_clip, out.gates + (row + i) * wide, before + i * s.cells,
                   out.cells + (row + i) * s.cells, doutput + i * projection.width(), dcell + i * s.cells,
                   dgates + (row + i) * wide, outputs + (row + i) * s.cells);
    }
    recurrent.product(count, dgates + row * wide, wide, dstate, false);
  }
}

// out [inputs, outputs] = x^T dy over all steps.
void weight_gradient(const LstmShape& s, int64_t inputs, int64_t outputs, const float* x, const float* dy, float* out) {
  transposed_product(s.steps * s.rows, x, inputs, dy, outputs, Precision::kFloat32, out);
}

}  // namespace

void lstm_forward(const LstmShape& s, const LstmInputs& inputs, const LstmOutputs<float>& outputs) {
  const Panels recurrent(inputs.recurrent, s.states, 4 * s.cells, false);
  const Panels projection(inputs.projection, s.cells, s.states, false);
  parallel_for(ceil_div(s.rows, kRows), [&](int64_t block) {
    const int64_t first = block * kRows;
    forward_rows(s, inputs, outputs, recurrent, projection, first, std::min(kRows, s.rows - first));
  });
}

void lstm_backward(const LstmShape& s, const LstmInputs& inputs, const LstmOutputs<const float>& outputs,
                   const float* dstates, const LstmGradients& gradients) {
  const int64_t tokens = s.steps * s.rows;
  Scratch projected_scratch, output_scratch, before_scratch;
  float* const dprojected = projected_scratch.get<float>(tokens * s.states);
  float* const products = output_scratch.get<float>(tokens * s.cells);
  {
    const Panels recurrent(inputs.recurrent, 4 * s.cells, s.states, true);
    const Panels projection(inputs.projection, s.states, s.cells, true);
    parallel_for(ceil_div(s.rows, kRows), [&](int64_t block) {
      const int64_t first = block * kRows;
      backward_rows(s, inputs, outputs, dstates, recurrent, projection, gradients.input, dprojected, products, first,
                    std::min(kRows, s.rows - first));
    });
  }
  float* const before = before_scratch.get<float>(tokens * s.states);  // the states that each step began with
  const int64_t one = std::min<int64_t>(tokens, s.rows) * s.states;
  std::copy(inputs.state, inputs.state + one, before);
  std::copy(outputs.states, outputs.states + tokens * s.states - one, before + one);
  weight_gradient(s, s.states, 4 * s.cells, before, gradients.input, gradients.recurrent);
  weight_gradient(s, s.cells, s.states, products, dprojected, gradients.projection);
}

}  // namespace ops
