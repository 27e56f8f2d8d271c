#include "quant/codec/rotated_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "quant/codec/block_scale.h"
#include "quant/codec/rounding.h"
#include "quant/codec/stochastic.h"

namespace thinwire::quant {
namespace {

// What goes through a buffer on the stack at once: whole blocks, of any size that is allowed.
using Strip = std::array<float, kMaxRotatedBlock>;

void hadamard(float* block, std::size_t size) {
  for (std::size_t distance = 1; distance < size; distance *= 2) {
    for (std::size_t begin = 0; begin < size; begin += 2 * distance) {
      float* const low = block + begin;
      float* const high = low + distance;
      for (std::size_t j = 0; j < distance; ++j) {
        const float a = low[j], b = high[j];
        low[j] = a + b;
        high[j] = a - b;
      }
    }
  }
}

}  // namespace

RotatedCodec::RotatedCodec(std::unique_ptr<Codec> inner) : Codec(inner->options()), inner_(std::move(inner)) {
  if (!std::has_single_bit(block()) || block() > kMaxRotatedBlock) {
    throw std::invalid_argument("codec '" + std::string(name()) +
                                "': rotation needs a block that is a power of two, at most " +
                                std::to_string(kMaxRotatedBlock) + ", got " + std::to_string(block()) +
                                "; set block to 256, or rotate to false");
  }
  for (std::size_t j = 0; j < block(); ++j) {
    signs_.push_back((draw_hash(/*key=*/0, static_cast<std::uint32_t>(j)) & 1u) != 0 ? -1.0f : 1.0f);
  }
  const int log2_block = std::countr_zero(block());
  factor_ = std::ldexp(1.0f, -((log2_block + 1) / 2));
  inverse_factor_ = std::ldexp(1.0f, -(log2_block / 2));
}

void RotatedCodec::rotate(std::span<float> values) const {
  for (; values.size() >= block(); values = values.subspan(block())) {
    for (std::size_t j = 0; j < block(); ++j) {
      values[j] = clamp(values[j], -kLargestMagnitude, kLargestMagnitude) * signs_[j] * factor_;
    }
    hadamard(values.data(), block());
  }
}

void RotatedCodec::rotate_back(std::span<float> values) const {
  for (; values.size() >= block(); values = values.subspan(block())) {
    for (std::size_t j = 0; j < block(); ++j) values[j] *= inverse_factor_;
    hadamard(values.data(), block());
    for (std::size_t j = 0; j < block(); ++j) values[j] = values[j] * signs_[j] + 0.0f;
  }
}

void RotatedCodec::encode_range(std::size_t n, std::size_t first, std::span<const float> values,
                                std::uint64_t key, std::span<std::byte> code) const {
  Strip strip;
  for (std::size_t begin = 0; begin == 0 || begin < values.size(); begin += strip.size()) {
    const auto part = values.subspan(begin, std::min(strip.size(), values.size() - begin));
    const std::span rotated = std::span(strip).first(part.size());
    std::copy(part.begin(), part.end(), rotated.begin());
    rotate(rotated);
    inner_->encode_range(n, first + begin, rotated, key, code);
  }
}

void RotatedCodec::decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                                std::span<float> values) const {
  inner_->decode_range(n, first, code, values);
  rotate_back(values);
}

void RotatedCodec::decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                                    std::span<float> sum) const {
  Strip strip;
  for (std::size_t begin = 0; begin == 0 || begin < sum.size(); begin += strip.size()) {
    const auto part = sum.subspan(begin, std::min(strip.size(), sum.size() - begin));
    const std::span decoded = std::span(strip).first(part.size());
    decode_range(n, first + begin, code, decoded);
    for (std::size_t i = 0; i < part.size(); ++i) part[i] += decoded[i];
  }
}

}  // namespace thinwire::quant
