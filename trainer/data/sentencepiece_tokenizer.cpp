#include "trainer/data/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <stdexcept>

#include "trainer/data/corpus.h"

namespace thinwire::trainer {
namespace {

constexpr std::string_view kSpacePiece = "\xe2\x96\x81";  // U+2581
constexpr std::size_t kMaxSentenceBytes = 4096;
constexpr std::size_t kMaxTrainingBytes = 32 << 20;

// Length of the UTF-8 character at the start of text; 0 if there is none (RFC 3629, no surrogates).
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xf0 && at(1) < 0x90);
  const bool surrogate = first == 0xed && at(1) > 0x9f;
  const bool beyond = first == 0xf4 && at(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

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

// Lines of the texts, without their ends, long ones cut; every n-th line where the texts are many.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string_view>& texts) {
    std::size_t bytes = 0;
    for (const std::string_view text : texts) bytes += text.size();
    stride_ = bytes / kMaxTrainingBytes + 1;
    for (const std::string_view text : texts) add_lines(text);
    if (!done()) value_ = lines_[0];
  }

  bool done() const override { return next_ >= lines_.size(); }
  void Next() override {
    next_ += stride_;
    if (!done()) value_ = lines_[next_];
  }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void add_lines(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      for (const std::string_view part : cut_at_lines(line, kMaxSentenceBytes)) lines_.push_back(part);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  }

  std::vector<std::string_view> lines_;
  std::size_t stride_ = 1;
  std::size_t next_ = 0;
  std::string value_;
};

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::string model)
    : model_(std::move(model)), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const auto status = processor_->LoadFromSerializedProto(model_);
  if (!status.ok()) throw std::runtime_error("not a SentencePiece model: " + status.ToString());
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
  const auto status = processor_->Encode(text, &ids);
  if (!status.ok()) throw std::runtime_error("SentencePiece cannot encode: " + status.ToString());
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

std::string train_bpe(const std::vector<std::string_view>& texts, std::int64_t vocab_size) {
  Lines lines(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "bpe"},
       {"vocab_size", std::to_string(vocab_size)},
       {"hard_vocab_limit", "false"},
       {"byte_fallback", "true"},
       {"character_coverage", "0.9995"},
       {"normalization_rule_name", "identity"},
       {"add_dummy_prefix", "false"},
       {"remove_extra_whitespaces", "false"},
       {"allow_whitespace_only_pieces", "true"},
       {"max_sentence_length", std::to_string(2 * kMaxSentenceBytes)},
       {"bos_id", "-1"},
       {"eos_id", "-1"},
       {"num_threads", "1"},
       {"minloglevel", "2"}},
      &lines, &model);
  if (!status.ok()) {
    throw std::runtime_error("cannot train a bpe of data.vocab_size = " + std::to_string(vocab_size) + ": " +
                             status.ToString());
  }
  return model;
}

}  // namespace thinwire::trainer
