// Text to token ids and back. `bytes` is the identity on bytes; `bpe` is a SentencePiece BPE that the tool
// trains; a path is a SentencePiece model, or a run or exported model whose tokenizer is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/text.h"
#include "trainer/options/data_options.h"

namespace thinwire::trainer {

// Of to_bytes(); longer files are refused.
inline constexpr std::size_t kMaxTokenizerBytes = 64u << 20;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  // What tokenizer_from_bytes needs to make it again; stored with the run and broadcast by worker 0.
  virtual std::string to_bytes() const = 0;
};

// Makes the tokenizer that options asks for; trains a bpe on the sources, all of which must be here
// (worker 0 does this, once). A path may be a SentencePiece model, a
// run's folder or one of its checkpoints, a run's `tokenizer`, or an exported model. Throws
// std::runtime_error that names the path that is missing, empty, or none of these.
std::unique_ptr<Tokenizer> make_tokenizer(const DataOptions& options, const TextWatch& watch = {});
// Throws std::runtime_error if these are not the bytes of a tokenizer.
std::unique_ptr<Tokenizer> tokenizer_from_bytes(std::string_view bytes);

}  // namespace thinwire::trainer
