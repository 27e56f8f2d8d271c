#include "trainer/data/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "trainer/data/bpe_trainer.h"
#include "trainer/data/byte_tokenizer.h"
#include "trainer/data/corpus.h"
#include "trainer/data/sentencepiece_tokenizer.h"
#include "trainer/format/file_io.h"
#include "trainer/format/safetensors_header.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStart = "thinwire tokenizer: ";
constexpr char kTokenizerTensor[] = "tokenizer";  // in exported models

// All of data.path, also where workers need no more than their own.
std::vector<Source> all_sources(const DataOptions& options) {
  for (const std::string& path : options.path) {
    if (options.shards == "by_source" && !fs::exists(path)) {
      throw std::runtime_error(
          "data.tokenizer = \"bpe\" is trained by worker 0 on all of data.path, which has no '" + path +
          "' on its host; copy that source to it, or give data.tokenizer a SentencePiece model or the folder "
          "of a run");
    }
  }
  return open_sources(options.path);
}

// On the training part alone: the held-out text stays unseen.
std::string train_bpe_on(const DataOptions& options, const TextWatch& watch) {
  std::vector<TrainingText> texts;
  std::uint64_t bytes = 0;
  for (const Source& source : all_sources(options)) {
    texts.push_back({source.text, {}});
    for (const Stretch& stretch : split_text(*source.text, options.held_out)) {
      if (!stretch.held_out) texts.back().stretches.push_back(stretch);
    }
    bytes += source.bytes;
  }
  if (bytes >= kLongTextBytes) {
    watch.notice("training a bpe of " + std::to_string(options.vocab_size) + " tokens on " +
                 text_size(std::min<std::uint64_t>(bytes, kMaxTrainingBytes)) + " of " + text_size(bytes) +
                 " of text");
  }
  return train_bpe(texts, options.vocab_size, watch);
}

// The path of the stored tokenizer of the run that a folder is, or is a checkpoint of.
std::optional<std::string> stored_in(const std::string& folder) {
  fs::path run = fs::absolute(folder).lexically_normal();
  if (!run.has_filename()) run = run.parent_path();
  if (run.filename().string().starts_with("worker-")) run = run.parent_path();
  if (run.filename().string().starts_with("step-")) run = run.parent_path().parent_path();
  const fs::path path = run / "tokenizer";
  if (!fs::exists(path)) return std::nullopt;
  return path.string();
}

// The stored tokenizer of an exported model; nothing if the file is no safetensors file.
std::optional<std::string> exported_tokenizer(const InputFile& file) {
  std::uint64_t length = 0;
  char brace = 0;
  if (file.size() < sizeof length + 2) return std::nullopt;
  file.read_at(0, &length, sizeof length);
  file.read_at(sizeof length, &brace, 1);
  if (brace != '{' || length > kMaxSafetensorsHeaderBytes || length > file.size() - sizeof length)
    return std::nullopt;
  std::string json(static_cast<std::size_t>(length), '\0');
  file.read_at(sizeof length, json.data(), json.size());
  const std::uint64_t begin = sizeof length + length;
  for (const SafetensorsEntry& entry : parse_safetensors_header(json, file.size() - begin).entries) {
    if (entry.name != kTokenizerTensor || entry.end - entry.begin > kMaxTokenizerBytes) continue;
    std::string bytes(static_cast<std::size_t>(entry.end - entry.begin), '\0');
    file.read_at(begin + entry.begin, bytes.data(), bytes.size());
    return bytes;
  }
  throw std::runtime_error("the model in it has no tokenizer");
}

std::unique_ptr<Tokenizer> read_tokenizer(const std::string& path) {
  const InputFile file(path);
  if (const auto exported = exported_tokenizer(file)) return tokenizer_from_bytes(*exported);
  const std::string bytes = read_whole_file(path, kMaxTokenizerBytes);
  if (bytes.starts_with(kStart)) return tokenizer_from_bytes(bytes);
  return std::make_unique<SentencePieceTokenizer>(bytes);
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  constexpr char kExpected[] =
      "expected bytes, bpe, a SentencePiece model, a run's folder or its `tokenizer`, or an exported model";
  std::optional<std::string> file = path;
  if (!fs::exists(path)) {
    throw std::runtime_error("data.tokenizer: " + std::string(kExpected) + "; found no file '" + path + "'");
  }
  if (fs::is_directory(path)) file = stored_in(path);
  if (!file) {
    throw std::runtime_error("data.tokenizer: " + std::string(kExpected) + "; found the folder '" + path +
                             "', which has no file `tokenizer`");
  }
  try {
    return read_tokenizer(*file);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("data.tokenizer '" + path + "': " + kExpected + "; " + error.what());
  }
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const DataOptions& options, const TextWatch& watch) {
  if (options.tokenizer == "bytes") return std::make_unique<ByteTokenizer>();
  if (options.tokenizer == "bpe")
    return std::make_unique<SentencePieceTokenizer>(train_bpe_on(options, watch));
  return open_tokenizer(options.tokenizer);
}

std::unique_ptr<Tokenizer> tokenizer_from_bytes(std::string_view bytes) {
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
