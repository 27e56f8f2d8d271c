#include "trainer/data/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "trainer/data/byte_tokenizer.h"
#include "trainer/data/corpus.h"
#include "trainer/data/sentencepiece_tokenizer.h"

namespace thinwire::trainer {
namespace {

// On the training part alone: the held-out text stays unseen.
std::string train_bpe_on(const DataOptions& options) {
  const std::vector<Source> sources = read_sources(options.path);
  std::vector<std::string_view> texts;
  for (const Source& source : sources) {
    for (const std::string_view stretch : split_text(source.text, options.held_out).train)
      texts.push_back(stretch);
  }
  return train_bpe(texts, options.vocab_size);
}

std::unique_ptr<Tokenizer> read_model_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw std::runtime_error(
        "data.tokenizer: expected bytes, bpe or a SentencePiece model file; found no file '" + path + "'");
  }
  try {
    return std::make_unique<SentencePieceTokenizer>(std::string(std::istreambuf_iterator<char>(file), {}));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("data.tokenizer '" + path + "': " + error.what());
  }
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const DataOptions& options) {
  if (options.tokenizer == "bytes") return std::make_unique<ByteTokenizer>();
  if (options.tokenizer == "bpe") return std::make_unique<SentencePieceTokenizer>(train_bpe_on(options));
  return read_model_file(options.tokenizer);
}

std::unique_ptr<Tokenizer> tokenizer_from_bytes(std::string_view bytes) {
  constexpr std::string_view kStart = "thinwire tokenizer: ";
  const std::size_t line = bytes.substr(0, 64).find('\n');
  const std::string_view head = bytes.substr(0, line);
  if (line == std::string_view::npos || !head.starts_with(kStart)) {
    throw std::runtime_error("expected a stored tokenizer ('" + std::string(kStart) + "...'), found " +
                             std::to_string(bytes.size()) + " bytes of something else");
  }
  const std::string_view kind = head.substr(kStart.size());
  if (kind == "bytes") return std::make_unique<ByteTokenizer>();
  if (kind == "sentencepiece") {
    return std::make_unique<SentencePieceTokenizer>(std::string(bytes.substr(line + 1)));
  }
  throw std::runtime_error("stored tokenizer: expected bytes or sentencepiece, found '" + std::string(kind) +
                           "'");
}

}  // namespace thinwire::trainer
