#include "trainer/data/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <stdexcept>

#include "trainer/data/utf8.h"

namespace thinwire::trainer {
namespace {

constexpr std::string_view kSpacePiece = "\xe2\x96\x81";  // U+2581

// Bytes at the start of text that SentencePiece itself carries without loss.
std::size_t plain_bytes(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t length = character_bytes(text.substr(end));
    if (length == 0 || text.substr(end, length) == kSpacePiece) break;
    end += length;
  }
  return end;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::string model)
    : model_(std::move(model)), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  if (model_.empty() || !processor_->LoadFromSerializedProto(model_).ok())
    throw std::runtime_error("found " + std::to_string(model_.size()) +
                             " bytes that are not a SentencePiece model");
  constexpr char kHex[] = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string piece{'<', '0', 'x', kHex[byte / 16], kHex[byte % 16], '>'};
    byte_pieces_[byte] = processor_->PieceToId(piece);
    has_byte_pieces_ = has_byte_pieces_ && processor_->IsByte(byte_pieces_[byte]);
  }
  std::vector<std::string> pieces;
  adds_space_ =
      processor_->Encode("a", &pieces).ok() && !pieces.empty() && pieces[0].starts_with(kSpacePiece);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::int64_t SentencePieceTokenizer::vocab_size() const {
  return processor_->GetPieceSize();
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  if (!has_byte_pieces_) {
    encode_stretch(text, tokens);
    return tokens;
  }
  while (!text.empty()) {
    const std::size_t plain = plain_bytes(text);
    if (plain > 0) encode_stretch(text.substr(0, plain), tokens);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const std::size_t odd = std::max<std::size_t>(1, character_bytes(text));
    encode_bytes(text.substr(0, odd), tokens);
    text.remove_prefix(odd);
  }
  return tokens;
}

void SentencePieceTokenizer::encode_stretch(std::string_view text, std::vector<std::int32_t>& tokens) const {
  std::vector<int> ids;
  if (!processor_->Encode(text, &ids).ok()) {
    throw std::runtime_error(
        "the SentencePiece model cannot encode this text; expected a model that was made by SentencePiece's "
        "own trainer");
  }
  tokens.insert(tokens.end(), ids.begin(), ids.end());
}

void SentencePieceTokenizer::encode_bytes(std::string_view bytes, std::vector<std::int32_t>& tokens) const {
  for (const char c : bytes) tokens.push_back(byte_pieces_[static_cast<unsigned char>(c)]);
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocab_size()) {
      throw std::invalid_argument("SentencePiece tokenizer: expected a token in 0.." +
                                  std::to_string(vocab_size() - 1) + ", found " + std::to_string(token));
    }
    if (processor_->IsControl(token)) continue;
    const std::string& piece = processor_->IdToPiece(token);
    if (processor_->IsByte(token)) {
      text += static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
      continue;
    }
    for (std::size_t i = 0; i < piece.size();) {
      const bool space = piece.compare(i, kSpacePiece.size(), kSpacePiece) == 0;
      text += space ? ' ' : piece[i];
      i += space ? kSpacePiece.size() : 1;
    }
  }
  if (adds_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string SentencePieceTokenizer::to_bytes() const {
  return "thinwire tokenizer: sentencepiece\n" + model_;
}

}  // namespace thinwire::trainer
