#include "trainer/random.h"

#include <xxhash.h>

#include <limits>
#include <string>

namespace thinwire::trainer {

RandomStream random_stream(std::uint64_t seed, std::string_view purpose,
                           std::initializer_list<std::uint64_t> numbers) {
  std::string key(purpose);
  for (const std::uint64_t number : numbers) key.append("/").append(std::to_string(number));
  return RandomStream(XXH3_64bits_withSeed(key.data(), key.size(), seed));
}

std::uint64_t uniform_below(RandomStream& stream, std::uint64_t n) {
  // Values past the last whole multiple of n would favour small results.
  const std::uint64_t limit = std::numeric_limits<std::uint64_t>::max() / n * n;
  std::uint64_t value = stream();
  while (value >= limit) value = stream();
  return value % n;
}

double uniform(RandomStream& stream) {
  return static_cast<double>(stream() >> 11) * 0x1p-53;
}

void fill_normal(RandomStream& stream, double std, std::span<float> values) {
  for (float& value : values) {
    std::int64_t sum = 0;
    for (int pair = 0; pair < 6; ++pair) {
      const std::uint64_t bits = stream();
      sum += static_cast<std::int64_t>((bits >> 32) + (bits & 0xffffffffu));
    }
    // Twelve draws from 0 .. 2^32 - 1 have mean 6 (2^32 - 1) and, in units of 2^32, variance 1.
    const std::int64_t centred = sum - 6 * std::int64_t{0xffffffff};
    value = static_cast<float>(static_cast<double>(centred) * 0x1p-32 * std);
  }
}

}  // namespace thinwire::trainer
