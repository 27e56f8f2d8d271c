// The identity on bytes: token = byte, 256 of them.
#pragma once

#include "trainer/data/tokenizer.h"

namespace thinwire::trainer {

class ByteTokenizer final : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;
  std::string to_bytes() const override;
};

}  // namespace thinwire::trainer
