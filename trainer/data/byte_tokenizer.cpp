#include "trainer/data/byte_tokenizer.h"

#include <stdexcept>

namespace thinwire::trainer {

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) {
    if (token < 0 || token > 255) {
      throw std::invalid_argument("byte tokenizer: expected a token in 0..255, found " +
                                  std::to_string(token));
    }
    text += static_cast<char>(token);
  }
  return text;
}

std::string ByteTokenizer::to_bytes() const {
  return "thinwire tokenizer: bytes\n";
}

}  // namespace thinwire::trainer
