// A long short-term memory whose state is projected (Sak, Senior, Beaufays 2014, section 2; without peepholes), over all
// steps of a batch.
//
//   [u, i, f, o] = input_t + state_{t-1} recurrent       u: tanh; i, f, o: logistic
//   cell_t  = clip(f cell_{t-1} + i u)                    to [-cell_clip, cell_clip]
//   state_t = clip((o tanh(cell_t)) projection)           to [-state_clip, state_clip]
//
// The order of the four gates in a row is that of Paddle 1.6's dynamic_lstmp.
#pragma once

#include <cstdint>

namespace ops {

// A clip of 0 clips nothing.
struct LstmShape {
  int64_t steps, rows, cells, states;  // T, B, C, P
  float cell_clip, state_clip;
};

struct LstmInputs {
  const float* input;       // [T, B, 4 C]
  const float* recurrent;   // [P, 4 C]
  const float* projection;  // [C, P]
  const float* state;       // [B, P], before the first step
  const float* cell;        // [B, C]
};

// What a forward pass leaves: the result `states` [T, B, P]; for the backward pass `gates` [T, B, 4 C], after their
// functions, and `cells` [T, B, C].
template <typename T>
struct LstmOutputs {
  T* states;
  T* gates;
  T* cells;
};

struct LstmGradients {
  float* input;
  float* recurrent;
  float* projection;
};

void lstm_forward(const LstmShape& shape, const LstmInputs& inputs, const LstmOutputs<float>& outputs);

// The state and the cell before the first step have no gradients: what was learnt from goes back to the first step alone.
void lstm_backward(const LstmShape& shape, const LstmInputs& inputs, const LstmOutputs<const float>& outputs,
                   const float* dstates, const LstmGradients& gradients);

}  // namespace ops
