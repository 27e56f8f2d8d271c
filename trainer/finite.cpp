#include "trainer/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

namespace thinwire::trainer {
namespace {

constexpr std::uint32_t kExponent = 0x7f800000;  // all ones: NaN or infinite

// In pieces whose test the compiler turns into vectors: it branches once a piece.
std::optional<std::int64_t> first_in(std::span<const float> values) {
  constexpr std::size_t kPiece = 1024;
  for (std::size_t begin = 0; begin < values.size(); begin += kPiece) {
    const std::span<const float> piece = values.subspan(begin, std::min(kPiece, values.size() - begin));
    std::uint32_t found = 0;
    for (const float value : piece) found |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent;
    if (found == 0) continue;
    const auto first = std::find_if(piece.begin(), piece.end(), [](float v) { return !std::isfinite(v); });
    return static_cast<std::int64_t>(begin) + (first - piece.begin());
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> first_nonfinite(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat) return std::nullopt;
  const at::Tensor whole = tensor.detach().contiguous();
  return first_in({whole.const_data_ptr<float>(), static_cast<std::size_t>(whole.numel())});
}

std::optional<std::string> describe_nonfinite(
    const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const auto index = first_nonfinite(tensor);
    if (!index) continue;
    const float value = tensor.detach().contiguous().const_data_ptr<float>()[*index];
    return fmt::format("{}[{}] is {}", name, *index, std::isnan(value) ? "NaN" : "infinite");
  }
  return std::nullopt;
}

}  // namespace thinwire::trainer
