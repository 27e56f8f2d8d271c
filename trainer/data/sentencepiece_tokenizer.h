// A SentencePiece model (Kudo and Richardson 2018, 1808.06226), trained here or read from a file.
//
// With a model of byte pieces (ours have them) and no normalisation, decode(encode(text)) is the text for
// every string of bytes: what is not UTF-8, and the character U+2581 that stands for a space inside
// SentencePiece, goes byte by byte. Foreign models may normalise, and lose what they have no piece for.
#pragma once

#include <array>
#include <memory>

#include "trainer/data/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace thinwire::trainer {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  // model: a serialised SentencePiece ModelProto. Throws std::runtime_error if it is none.
  explicit SentencePieceTokenizer(std::string model);
  ~SentencePieceTokenizer() override;

  std::int64_t vocab_size() const override;
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;
  std::string to_bytes() const override;

 private:
  void encode_stretch(std::string_view text, std::vector<std::int32_t>& tokens) const;
  void encode_bytes(std::string_view bytes, std::vector<std::int32_t>& tokens) const;

  std::string model_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::array<std::int32_t, 256> byte_pieces_;
  bool has_byte_pieces_ = true;
  bool adds_space_ = false;  // the model puts a space before every text
};

}  // namespace thinwire::trainer
