#include "sha256.h"

#include <array>
#include <cmath>
#include <cstdint>

namespace ernie {
namespace {

constexpr std::size_t kBlock = 64, kRounds = 64;

std::uint32_t rotated(std::uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

// The first 32 bits behind the point of roots of the first primes: cube roots for the rounds, square roots to begin with.
struct Constants {
  std::array<std::uint32_t, kRounds> rounds;
  std::array<std::uint32_t, 8> start;

  Constants() {
    std::size_t count = 0;
    for (std::uint64_t n = 2; count < kRounds; ++n) {
      bool is_prime = true;
      for (std::uint64_t k = 2; k * k <= n; ++k) is_prime = is_prime && n % k != 0;
      if (!is_prime) continue;
      rounds[count] = fraction(std::cbrt(static_cast<long double>(n)));
      if (count < start.size()) start[count] = fraction(std::sqrt(static_cast<long double>(n)));
      ++count;
    }
  }

  static std::uint32_t fraction(long double root) {
    return static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0L);
  }
};

void add_block(const unsigned char* bytes, const Constants& constants, std::array<std::uint32_t, 8>& state) {
  std::array<std::uint32_t, kRounds> words;
  for (std::size_t i = 0; i < 16; ++i) {
    words[i] = std::uint32_t{bytes[4 * i]} << 24 | std::uint32_t{bytes[4 * i + 1]} << 16 |
               std::uint32_t{bytes[4 * i + 2]} << 8 | bytes[4 * i + 3];
  }
  for (std::size_t i = 16; i < kRounds; ++i) {
    const std::uint32_t near = words[i - 15], far = words[i - 2];
    words[i] = words[i - 16] + (rotated(near, 7) ^ rotated(near, 18) ^ near >> 3) + words[i - 7] +
               (rotated(far, 17) ^ rotated(far, 19) ^ far >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < kRounds; ++i) {
    const std::uint32_t first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) +
                                constants.rounds[i] + words[i];
    const std::uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const std::array<std::uint32_t, 8> added{a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < state.size(); ++i) state[i] += added[i];
}

}  // namespace

std::string sha256(std::string_view bytes) {
  static const Constants constants;
  std::array<std::uint32_t, 8> state = constants.start;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t at = 0;
  for (; bytes.size() - at >= kBlock; at += kBlock) add_block(data + at, constants, state);
  std::string rest(bytes.substr(at));
  rest += '\x80';
  while (rest.size() % kBlock != kBlock - 8) rest += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) rest += static_cast<char>(std::uint64_t{bytes.size()} * 8 >> shift & 0xFF);
  const auto* end = reinterpret_cast<const unsigned char*>(rest.data());
  for (at = 0; at < rest.size(); at += kBlock) add_block(end + at, constants, state);
  std::string digits;
  for (const std::uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 0xF];
  }
  return digits;
}

}  // namespace ernie
