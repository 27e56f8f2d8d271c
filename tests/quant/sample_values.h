// Seeded inputs shared by the codec tests.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace thinwire::quant::testing {

inline std::vector<float> normal_values(std::size_t n, std::uint64_t seed, float deviation = 1.0f) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

// Normal values of very different size, with zeros of both signs, infinities and denormals strewn in, and
// whole stretches that are zero, constant or denormal.
inline std::vector<float> awkward_values(std::size_t n, std::uint64_t seed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  const float specials[] = {0.0f,      -0.0f,      kInfinity, -kInfinity, kDenormal, -kDenormal,
                            0x1p-126f, -0x1p-126f, 0x1p100f,  0x1p127f,   -3.4e38f,  0x1.8p-140f};
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t draw = generator();
    const std::size_t stretch = i / 200 % 6;  // changes within and across blocks
    if (stretch == 1) {
      values[i] = 0.0f;
    } else if (stretch == 2) {
      values[i] = -2.5f;
    } else if (stretch == 3) {
      values[i] = kDenormal * static_cast<float>(draw % 1000);
    } else if (stretch == 4 && draw % 16 == 0) {
      values[i] = specials[draw / 16 % std::size(specials)];
    } else {
      values[i] = std::ldexp(normal(generator), static_cast<int>(draw % 24) - 12);
    }
  }
  return values;
}

}  // namespace thinwire::quant::testing
