#include "trainer/data/evaluation_text.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace thinwire::trainer {
namespace {

// `count` windows of `length` tokens, the first of which starts at `begin`, and their targets.
Batch read_windows(const TokenStream& tokens, std::int64_t begin, std::int64_t count, std::int64_t length) {
  Batch batch{at::empty({count, length}, at::kLong), at::empty({count, length}, at::kLong)};
  std::vector<std::int64_t> row(static_cast<std::size_t>(length) + 1);
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.read(static_cast<std::uint64_t>(begin + i * length), row);
    std::copy(row.begin(), row.end() - 1, batch.tokens.data_ptr<std::int64_t>() + i * length);
    std::copy(row.begin() + 1, row.end(), batch.targets.data_ptr<std::int64_t>() + i * length);
  }
  return batch;
}

}  // namespace

StreamBatches::StreamBatches(TokenStream tokens, std::int64_t length, std::int64_t rows)
    : tokens_(std::move(tokens)), length_(length), rows_(rows) {
  const auto targets = std::max<std::int64_t>(0, static_cast<std::int64_t>(tokens_.size()) - 1);
  windows_ = targets / length_;
  size_ = static_cast<std::size_t>((windows_ + rows_ - 1) / rows_ + (targets % length_ > 0 ? 1 : 0));
}

Batch StreamBatches::at(std::size_t i) const {
  const std::int64_t first = static_cast<std::int64_t>(i) * rows_;
  if (first < windows_)
    return read_windows(tokens_, first * length_, std::min(rows_, windows_ - first), length_);
  const std::int64_t begin = windows_ * length_;
  return read_windows(tokens_, begin, 1, static_cast<std::int64_t>(tokens_.size()) - 1 - begin);
}

Batch batch_of(const std::vector<StreamBatches>& texts, std::size_t i) {
  std::size_t text = 0;
  for (; i >= texts.at(text).size(); ++text) i -= texts[text].size();
  return texts[text].at(i);
}

}  // namespace thinwire::trainer
