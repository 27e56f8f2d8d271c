// Random streams that are functions of what they are for - seed, purpose and some numbers - and never of
// global state or thread timing. All arithmetic is on integers, so unlike processors draw the same values.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <string_view>

namespace thinwire::trainer {

using RandomStream = std::mt19937_64;

// Streams of different purposes or numbers are independent.
RandomStream random_stream(std::uint64_t seed, std::string_view purpose,
                           std::initializer_list<std::uint64_t> numbers = {});

// Uniform in [0, n), without bias; n > 0.
std::uint64_t uniform_below(RandomStream& stream, std::uint64_t n);

// Uniform in [0, 1), a multiple of 2^-53.
double uniform(RandomStream& stream);

// Fills with N(0, std^2), approximated by the sum of twelve uniform 32-bit integers (exact variance, no value
// beyond 6 std): logarithms and cosines would differ between processors in the last bit.
void fill_normal(RandomStream& stream, double std, std::span<float> values);

}  // namespace thinwire::trainer
