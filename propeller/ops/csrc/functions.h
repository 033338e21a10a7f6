// Functions of vectors.
#pragma once

#include "lanes.h"

namespace ops {

// e^x for x <= 1, relative error below 3e-7; 0 below -87.3; NaN stays NaN.
inline Lanes exp_negative(const Lanes& x) {
  const Lanes least = lanes(-87.3f), shift = lanes(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
  const Lanes clamped = x < least ? least : x;
  const Lanes shifted = clamped * 1.44269504f + shift;
  const Lanes n = shifted - shift;
  Lanes r = clamped - n * 0.693359375f;  // log 2 in two parts (Cody, Waite 1980)
  r = r - n * -2.12194440e-4f;
  Lanes p = lanes(1.0f / 720);  // Taylor: |r| <= log(2) / 2
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Lanes power = as_lanes((as_bits(shifted) - as_bits(shift) + 127u) << 23);  // 2^n
  return x < least ? Lanes{} : p * power;
}

// gelu(z) = z Phi(z), Phi the normal distribution function (Hendrycks, Gimpel 2016), and its slope
// Phi(z) + z phi(z). Phi(-|z|) = t poly(t) e^(-z^2 / 2) with t = 1 / (1 + 0.3 |z|), the form of Hastings 1955; the
// coefficients are a least-maximum fit for |z| <= 14 by us: relative error below 2e-7. In float32 it is below 1e-6 for
// |z| <= 5, and grows with the rounding of z^2 / 2 to 5e-6 for |z| = 12.
struct Gelu {
  Lanes value, slope;
};

inline Gelu gelu(const Lanes& z) {
  const Lanes size = as_lanes(as_bits(z) & 0x7fffffffu);
  const Lanes t = 1.0f / (1.0f + 0.3f * size);
  const Lanes e = exp_negative(-0.5f * z * z);
  Lanes p = lanes(0.0356747776f);
  p = p * t - 0.157203089f;
  p = p * t + 0.206353504f;
  p = p * t - 0.0536836285f;
  p = p * t + 0.128561611f;
  p = p * t + 0.0999134991f;
  p = p * t + 0.120753955f;
  p = p * t + 0.119629299f;
  const Lanes tail = p * t * e;
  const Lanes phi = z < Lanes{} ? tail : 1.0f - tail;
  return {z * phi, phi + z * (0.39894228f * e)};
}

// Between -most and most; NaN stays.
inline Lanes clamped(const Lanes& z, float most) {
  const Lanes above = z < lanes(-most) ? lanes(-most) : z;
  return above > lanes(most) ? lanes(most) : above;
}

// gelu(z) to less than 1e-4, for what is rounded to 16 or 8 bits afterwards; without e^x and division it takes a third of
// the time. Phi(z) - 1/2 is z times a polynomial of z^2, a least-maximum fit by us for |z| <= 4.5; beyond, 0 or z.
inline Lanes gelu_near(const Lanes& z) {
  const Lanes t = clamped(z, 4.5f), square = t * t;
  Lanes p = lanes(3.0000245e-11f);
  p = p * square - 3.283927e-9f;
  p = p * square + 1.5802622e-7f;
  p = p * square - 4.431694e-6f;
  p = p * square + 8.120981e-5f;
  p = p * square - 1.0362539e-3f;
  p = p * square + 9.580655e-3f;
  p = p * square - 6.5977275e-2f;
  p = p * square + 0.39870858f;
  return z * (t * p + 0.5f);
}

// The same with the slope, whose fit of the same form has errors below 1.6e-4.
inline Gelu gelu_and_slope_near(const Lanes& z) {
  const Lanes t = clamped(z, 4.5f), square = t * t;
  Lanes p = lanes(-2.2107745e-11f);
  p = p * square + 2.5212988e-9f;
  p = p * square - 1.2680488e-7f;
  p = p * square + 3.7219325e-6f;
  p = p * square - 7.1222044e-5f;
  p = p * square + 9.4054354e-4f;
  p = p * square - 8.8158706e-3f;
  p = p * square + 5.8609341e-2f;
  p = p * square - 0.26492574f;
  p = p * square + 0.79762619f;
  return {gelu_near(z), t * p + 0.5f};
}

// The form with tanh of the same paper, z / 2 (1 + tanh(u)) = z s(2 u), s the logistic function, for
// u = sqrt(2 / pi) (z + 0.044715 z^3).
inline Gelu gelu_tanh(const Lanes& z) {
  const Lanes square = z * z;
  const Lanes twice = 1.59576912f * z * (1.0f + 0.044715f * square);
  const Lanes e = exp_negative(-as_lanes(as_bits(twice) & 0x7fffffffu));  // NaN stays
  const Lanes part = 1.0f / (1.0f + e), tail = e * part;
  const Lanes s = twice < Lanes{} ? tail : part;
  return {z * s, s + z * (part * tail * (1.59576912f * (1.0f + 0.134145f * square)))};
}

}  // namespace ops
